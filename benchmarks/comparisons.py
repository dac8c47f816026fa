"""The rows of an experiment compared: mean scores and paired differences with intervals, as CSV, figure and table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lib.paths import write_whole
from lib.scores.metrics import Interval, bootstrap_interval, paired_difference, pixel_scores
from lib.show.canvas import FAINT, INK, OCHRE, SLATE, TEAL
from lib.show.sheet import STYLE, Sheet, save_figure

Finished = Sequence[tuple[dict[str, Any], pd.DataFrame]]
Shares = Callable[[pd.DataFrame], tuple[pd.Series, pd.Series]]  # a score's numerator and denominator, chip by chip

IOU: dict[str, Shares] = {"IoU, pooled": lambda t: (t["tp"], t["tp"] + t["fp"] + t["fn"])}
ROADS = IOU | {"APLS, strict": lambda t: (t["apls"], t["apls"] * 0 + 1)}
BUILDINGS = IOU | {
    "F1 of buildings": lambda t: (2 * t["building_tp"], 2 * t["building_tp"] + t["building_fp"] + t["building_fn"])
}
NOISY, BOTH, SCRATCH = "stage 1 alone", "stage 1, then 2", "stage 2 alone"  # what a training learned from
LONG_SCRATCH = f"{SCRATCH}, both budgets"  # as many crops as both stages together
NAMES = {
    "clean-chips": "clean_chips",
    "real": "real_imagery",
    "kampala": "kampala",
    "focal-gradient": "focal_gradient",
}  # of files in results/
ARMS = {BOTH: TEAL, LONG_SCRATCH: OCHRE, SCRATCH: SLATE}


def metrics_of(finished: Finished) -> dict[str, Shares]:
    """The two headline scores of the task that the tables are of."""
    return BUILDINGS if "building_tp" in finished[0][1] else ROADS


def groups(finished: Finished) -> dict[tuple[str, int], list[tuple[int, pd.DataFrame]]]:
    """(row, clean chips) -> its seeds and their scores a chip."""
    found: dict[tuple[str, int], list[tuple[int, pd.DataFrame]]] = {}
    for facts, table in finished:
        found.setdefault((facts["row"], facts["clean_chips"]), []).append((facts["seed"], table))
    return found


def _wide(tables: Sequence[pd.DataFrame], shares: Shares) -> pd.DataFrame:
    """One row a chip, by its name: numerator and denominator of each seed, in turn."""
    columns = [part.to_numpy(float) for table in tables for part in shares(table)]
    return pd.DataFrame(np.stack(columns, axis=1), index=pd.Index(tables[0]["chip"], name="chip"))


def _mean_score(wide: pd.DataFrame) -> float:
    """Mean over seeds of each one's pooled score."""
    sums = wide.to_numpy().sum(axis=0)
    return float(np.mean(sums[::2] / np.maximum(sums[1::2], 1e-9)))


def interval(tables: Sequence[pd.DataFrame], shares: Shares) -> Interval:
    """Mean score over seeds, and its 95 % interval over the test chips."""
    return bootstrap_interval(_wide(tables, shares), _mean_score)


def difference(tables: Sequence[pd.DataFrame], others: Sequence[pd.DataFrame], shares: Shares) -> Interval:
    """How much higher `tables` score than `others`, mean over seeds, and its 95 % interval over the same chips."""
    return paired_difference(_wide(others, shares).reset_index(), _wide(tables, shares).reset_index(), _mean_score)


def differences(finished: Finished) -> pd.DataFrame:
    """Both stages (or else the first row) against every other on as many clean chips (or none), the same seeds."""
    own, rows = groups(finished), []
    subject = BOTH if any(row == BOTH for row, _ in own) else next(iter(own))[0]
    subjects = {clean: dict(seeds) for (row, clean), seeds in own.items() if row == subject}
    for (row, clean), seeds in own.items():
        for count in [clean] if clean else sorted(subjects):
            shared = [seed for seed, _ in seeds if seed in subjects.get(count, {})]
            if row == subject or row.endswith(f", {NOISY}") or not shared:
                continue
            others = dict(seeds)
            for metric, shares in metrics_of(finished).items():
                found = difference([subjects[count][s] for s in shared], [others[s] for s in shared], shares)
                what = {"difference": f"{subject} minus {row}", "clean_chips": count, "seeds": len(shared)}
                rows.append(what | {"metric": metric} | asdict(found))
    return pd.DataFrame(rows)


def publish(experiment: str, finished: Finished, manifest: pd.DataFrame, folder: Path) -> str:
    """Write rows, differences, splits and figure into `folder`; returns the table in Markdown, and the differences."""
    name, metrics, rows = NAMES[experiment], metrics_of(finished), []
    for facts, table in finished:
        scores = {"test_chips": len(table)}
        for metric, shares in metrics.items():
            found = interval([table], shares)
            scores |= {metric: found.value, f"{metric}, low": found.low, f"{metric}, high": found.high}
        rows.append(facts | scores | {"IoU, mean a chip": pixel_scores(table)["iou_mean_per_image"]})
    gains, chips = differences(finished), manifest.loc[manifest["label"] == "clean", ["chip", "split"]]
    for suffix, frame in (("", pd.DataFrame(rows)), ("_differences", gains), ("_splits", chips.sort_values("chip"))):
        write_whole(folder / f"{name}{suffix}.csv", frame.to_csv(index=False, float_format="%.4f"))
    save_figure(curve(finished) if experiment == "clean-chips" else board(finished), folder / name)
    return f"{markdown(pd.DataFrame(rows), list(metrics))}\n{gains.round(3).to_string(index=False)}"


def markdown(rows: pd.DataFrame, metrics: list[str]) -> str:
    """A line a row of the experiment: mean over seeds, and lowest to highest."""
    lines = [["training", "clean chips", "seeds", *metrics, "IoU, mean a chip"]]
    for (row, clean), own in rows.groupby(["row", "clean_chips"], sort=False):
        lines.append([str(row), str(clean), str(len(own)), *(_cell(own[metric]) for metric in lines[0][3:])])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(values: pd.Series) -> str:
    spread = f" ({values.min():.2f} to {values.max():.2f})" if len(values) > 1 else ""
    return f"{values.mean():.2f}{spread}"


def curve(finished: Finished) -> Sheet:
    """Both scores over the number of clean chips, one line an arm: seeds as dots, bands over the test chips."""
    own, metrics = groups(finished), metrics_of(finished)
    counts = sorted({clean for _, clean in own if clean})
    note = (
        f"dots: seeds, up to {max(map(len, own.values()))}; line: their mean; band: its 95 % interval, bootstrap over "
        f"the {len(finished[0][1])} test chips.\n4 more clean chips choose epoch and threshold, the same in all arms; "
        "stage 1 alone saw no clean chip."
    )
    sheet = Sheet(9.0, 4.3, f"{' and '.join(metrics)} over the number of clean chips. {note}", photo=False)
    for ax, (metric, shares) in zip(sheet.subplots(1, len(metrics)), metrics.items(), strict=True):
        found = interval([table for _, table in own[NOISY, 0]], shares)
        ax.axhline(found.value, color=INK, linewidth=1, linestyle=(0, (4, 3)), label=NOISY)
        for arm, color in ARMS.items():
            tables = {clean: [table for _, table in seeds] for (row, clean), seeds in own.items() if row == arm}
            _arm(ax, {counts.index(clean): tables[clean] for clean in sorted(tables)}, shares, color, arm)
        ax.set_xticks(range(len(counts)), counts)
        ax.set(xlim=(-0.3, len(counts) - 0.7), ylim=(0, None))
        _calm(ax, "y")
        ax.set_title(metric, loc="left", **STYLE)
        ax.set_xlabel("clean chips to learn from", **STYLE)
    handles, labels = sheet.axes[0].get_legend_handles_labels()
    sheet.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=9, labelcolor=INK)
    _note(sheet, note)
    return sheet


def _arm(ax: Axes, found: Mapping[int, list[pd.DataFrame]], shares: Shares, color: str, label: str) -> None:
    """One arm: line and band, seeds as dots."""
    if not found:
        return
    places, means = list(found), [interval(tables, shares) for tables in found.values()]
    values, low, high = ([getattr(m, name) for m in means] for name in ("value", "low", "high"))
    ax.plot(places, values, "-", color=color, linewidth=2, label=label)
    ax.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
    for place, tables in found.items():
        ax.plot([place] * len(tables), [interval([t], shares).value for t in tables], "o", color=color, markersize=4)


def board(finished: Finished) -> Sheet:
    """Both scores of every row: bar the mean over seeds, dots the seeds, line the interval over the test chips."""
    own, metrics = groups(finished), metrics_of(finished)
    shown = [key for key in own if not key[0].endswith(f", {NOISY}")]
    names = [f"{row}{' (one seed)' * (len(own[row, clean]) == 1)}" for row, clean in shown]
    note = f"bar: mean over seeds; dots: seeds; line: 95 % interval, bootstrap over {len(finished[0][1])} test chips"
    alt = f"{' and '.join(metrics)} of {len(shown)} trainings. {note}"
    sheet = Sheet(9.0, 1.1 + 0.34 * len(shown), alt, photo=False)
    axes = sheet.subplots(1, len(metrics), sharey=True)
    for ax, (metric, shares) in zip(axes, metrics.items(), strict=True):
        for place, key in enumerate(shown):
            tables = [table for _, table in own[key]]
            found, color = interval(tables, shares), TEAL if key[0] == BOTH else SLATE
            ax.barh(place, found.value, height=0.6, color=color, alpha=0.35)
            ax.plot([found.low, found.high], [place, place], color=INK, linewidth=1.2)
            values = [interval([table], shares).value for table in tables]
            ax.plot(values, [place] * len(values), "o", color=color, markersize=4)
            where = {"xytext": (5, 0), "textcoords": "offset points", "va": "center"}
            ax.annotate(f"{found.value:.2f}", (max(found.high, *values, 0), place), **where, **STYLE)
        _calm(ax, "x")
        ax.set_title(metric, loc="left", **STYLE)
        ax.set_xlim(0, ax.get_xlim()[1] * 1.1)
    axes[0].set_yticks(range(len(shown)), names)
    axes[0].set_ylim(len(shown) - 0.4, -0.6)
    _note(sheet, note)
    return sheet


def _calm(ax: Axes, grid: str) -> None:
    ax.spines[:].set_visible(False)
    ax.tick_params(colors=INK, labelsize=8.5, length=0)
    ax.grid(axis=grid, color=FAINT, linewidth=0.8)
    ax.set_axisbelow(True)


def _note(sheet: Sheet, text: str) -> None:
    sheet.supxlabel(text, x=0.01, ha="left", **{**STYLE, "fontsize": 8, "color": SLATE})
