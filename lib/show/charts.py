"""
Charts of numbers: training curves, the scoreboard, widths, the threshold's sweep.

Tables in, a matplotlib Figure out, no global state.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from lib.errors import InputError
from lib.show.canvas import BLUE, FAINT, INK, OCHRE, PLUM, SERIES, SLATE, TEAL, short
from lib.show.sheet import LABEL_LENGTH, STYLE, Sheet

RUN_COLORS = (SLATE, PLUM, BLUE, SLATE, OCHRE, TEAL)  # of runs, read from the end: the last run is the subject
DOTTED = (0, (2, 3))


def need(table: pd.DataFrame, columns: Sequence[str], what: str) -> None:
    """Raise InputError unless the table has a row and all the columns."""
    missing = [name for name in columns if name not in table.columns]
    if missing or table.empty:
        raise InputError(
            f"Expected {what} with at least one row and the columns {', '.join(columns)}; "
            f"got {len(table)} rows of {', '.join(map(str, table.columns)) or 'no columns'}."
        )


def score_text(value: float | None, sign: str = "") -> str:
    """A score for people, with "+" as `sign` a difference; a dash where it is not defined: null in JSON."""
    return format(value, f"{sign}.3f") if value is not None and np.isfinite(value) else "–"


def _calm(ax: Axes, x: str = "", y: str = "", title: str = "", grid: str = "y") -> None:
    """Quiet axes: a faint grid behind, no box, small ink; what x and y are, and a title at the left."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.tick_params(colors=INK, labelsize=8, length=0)
    ax.grid(axis=grid, color=FAINT, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.set_xlabel(x, **STYLE)
    ax.set_ylabel(y, **STYLE)
    ax.set_title(title, loc="left", **STYLE)


def training_curves(
    history: pd.DataFrame | Mapping[str, Sequence[float]],
    *,
    best_epoch: int,
    title: str = "",
) -> Figure:
    """
    Loss, validation IoU and learning rate by epoch, one above the other, the kept epoch marked.

    Parameters
    ----------
    history
        One row an epoch: `epoch`, `train_loss`, `val_iou`, `learning_rate`; `val_loss` is drawn where present, and
        `val_iou_<class>` thinner beside their mean.
    best_epoch
        The epoch whose weights are kept.
    title
        Above the curves, for instance the run's name.
    """
    table = pd.DataFrame(history)
    need(table, ["epoch", "train_loss", "val_iou", "learning_rate"], "a history")
    sheet = Sheet(7.5, 5.2, f"Loss, validation IoU and learning rate by epoch. {title}", photo=False)
    loss, score, rate = sheet.subplots(3, 1, sharex=True, height_ratios=[3, 3, 1.2])
    marker = "o" if len(table) < 3 else None  # a line of one epoch would be invisible
    options = {"linewidth": 1.8, "marker": marker, "markersize": 4, "clip_on": False}
    loss.plot(table["epoch"], table["train_loss"], color=TEAL, label="training", **options)
    if "val_loss" in table and table["val_loss"].notna().any():
        loss.plot(table["epoch"], table["val_loss"], color=OCHRE, label="validation", **options)
        above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}  # where no curve can run into it
        loss.legend(frameon=False, fontsize=8, labelcolor=INK, ncols=2, **above)
    score.plot(table["epoch"], table["val_iou"], color=OCHRE, label="mean", **options)
    of_classes = [name for name in table if str(name).startswith("val_iou_")]
    for name, color in zip(of_classes, (PLUM, BLUE), strict=False):
        label = {"label": name.removeprefix("val_iou_"), "linestyle": "-" if color == PLUM else "--"}
        score.plot(table["epoch"], table[name], color=color, **options | {"linewidth": 1.2} | label)
    if of_classes:
        above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
        score.legend(frameon=False, fontsize=8, labelcolor=INK, ncols=3, **above)
    rate.plot(table["epoch"], table["learning_rate"], color=SLATE, **options)
    _calm(loss, y="loss", title=title)
    _calm(score, y="validation IoU")
    _calm(rate, x="epoch", y="learning rate")
    for ax in (loss, score, rate):
        ax.margins(x=0.02)
        ax.axvline(best_epoch, color=INK, linewidth=0.9, linestyle=DOTTED)
    loss.set_ylim(bottom=0)
    rate.set_ylim(bottom=0)
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    rate.yaxis.offsetText.set(size=7, color=INK)
    if len(table) == 1:
        rate.set_xticks(table["epoch"])
    else:
        rate.xaxis.get_major_locator().set_params(integer=True)
    _mark_best(score, table, best_epoch)
    sheet.align_ylabels()
    return sheet


def _mark_best(ax: Axes, table: pd.DataFrame, best_epoch: int) -> None:
    """Point at the kept epoch and say its score at the foot of its line, where a rising curve leaves room."""
    row = table.loc[table["epoch"] == best_epoch]
    if row.empty:
        raise InputError(
            f"Expected best_epoch to be one of the history's epochs, {table['epoch'].min():g} to "
            f"{table['epoch'].max():g}; got {best_epoch}."
        )
    best = float(row["val_iou"].iloc[0])
    ax.plot([best_epoch], [best], "o", color=OCHRE, markeredgecolor="white", markersize=8, zorder=5)
    late = best_epoch > (table["epoch"].min() + table["epoch"].max()) / 2
    _foot_note(ax, best_epoch, f"best: epoch {best_epoch}, IoU {best:.3f}", late)


def _foot_note(ax: Axes, x: float, text: str, to_the_left: bool) -> None:
    """Text beside a vertical line, at the bottom of the axes."""
    ax.annotate(
        text,
        (x, 0.06),
        xycoords=("data", "axes fraction"),
        xytext=(-6 if to_the_left else 6, 0),
        textcoords="offset points",
        ha="right" if to_the_left else "left",
        path_effects=[withStroke(linewidth=3, foreground="white")],
        **STYLE,
    )


def plot_scoreboard(
    table: pd.DataFrame,
    *,
    metrics: Sequence[str] | None = None,
    title: str = "",
    note: str = "",
) -> Figure:
    """
    Scores of several runs with their intervals, one panel a metric.

    Parameters
    ----------
    table
        One row a run and metric: `run`, `metric`, `value`; `low` and `high`, the ends of the interval, where known
        (NaN elsewhere).
    metrics
        Which, and in which order; None: as they come.
    title, note
        Above and below: the note says what the intervals are and on how many chips.
    """
    need(table, ["run", "metric", "value"], "a table of scores")
    metrics = list(dict.fromkeys(table["metric"])) if metrics is None else list(metrics)
    runs = list(dict.fromkeys(table["run"]))
    names = list(dict.fromkeys(str(run).split(": ")[-1] for run in runs))  # "roads: scratch" has the colour of scratch
    alt = f"{', '.join(metrics)} of {', '.join(map(str, runs))}. {note}"
    sheet = Sheet(9.0, 1.15 + 0.5 * len(runs), alt, photo=False)
    axes = sheet.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for ax, metric in zip(axes, metrics, strict=True):
        rows = table.loc[table["metric"] == metric]
        for row in rows.itertuples():
            color = names.index(str(row.run).split(": ")[-1]) - len(names)
            _score_row(ax, runs.index(row.run), row, RUN_COLORS[color % len(RUN_COLORS)])
        _calm(ax, title=metric, grid="x")
        ax.spines["left"].set_visible(False)
        ends = rows[[name for name in ("value", "low", "high") if name in rows]].to_numpy(float)
        largest = ends.max(initial=0.0, where=np.isfinite(ends))
        room = 1 + 0.1 * max(len(metrics), 2)  # for the values behind the bars: the narrower the panel, the more
        ax.set_xlim(0, largest * room if largest > 0 else 1)
    axes[0].set_yticks(range(len(runs)), [short(str(run), LABEL_LENGTH) for run in runs])
    axes[0].tick_params(axis="y", labelsize=9.5)
    axes[0].set_ylim(len(runs) - 0.45, -0.55)
    if title:
        sheet.suptitle(title, x=0.01, ha="left", **{**STYLE, "fontsize": 10.5, "fontweight": "bold"})
    if note:
        sheet.supxlabel(note, x=0.01, ha="left", **{**STYLE, "fontsize": 8, "color": SLATE})
    return sheet


def _score_row(ax: Axes, place: int, row: NamedTuple, color: str) -> None:
    """One run's bar, interval and number; `row` of the scoreboard's table."""
    value = row.value if np.isfinite(row.value) else 0.0
    ax.barh(place, value, height=0.52, color=color, alpha=0.85)
    low, high = getattr(row, "low", np.nan), getattr(row, "high", np.nan)
    known = np.isfinite([low, high]).all()
    if known:
        ax.plot([low, high], [place, place], color=INK, linewidth=1.4, solid_capstyle="butt")
        ax.plot([low, high], [place, place], "|", color=INK, markersize=7)
    end = (max(value, high) if known else value, place)
    ax.annotate(score_text(row.value), end, xytext=(6, 0), textcoords="offset points", va="center", **STYLE)


def widths_histogram(widths_m: Sequence[float], classes: Sequence[str]) -> Figure:
    """
    How wide the roads are: number of roads by width, in bars of a metre, stacked by highway class.

    Parameters
    ----------
    widths_m
        One a road, metres; 0 (not drawn) is left out.
    classes
        One a road, its `highway` value; the five with the most roads get a colour, the others are "other".
    """
    roads = pd.DataFrame({"width_m": np.asarray(widths_m, float), "class": np.asarray(classes, object)})
    roads = roads.loc[roads["width_m"] > 0]
    need(roads, ["width_m"], "roads wider than 0 m")
    frequent = roads.groupby("class").size().sort_values(ascending=False).index[:5]
    named = roads["class"].where(roads["class"].isin(frequent), "other")
    names = [name for name in dict.fromkeys([*frequent, "other"]) if (named == name).any()]
    sheet = Sheet(7.5, 3.0, "Road widths.", photo=False)
    ax = sheet.subplots()
    ax.hist(
        [roads.loc[named == name, "width_m"] for name in names],
        bins=np.arange(0, roads["width_m"].max() + 2),
        stacked=True,
        color=SERIES[: len(names)],
        edgecolor="white",
        linewidth=0.6,
        label=[short(str(name), LABEL_LENGTH) for name in names],
    )
    _calm(ax, x="width, metres", y="roads")
    ax.set_xlim(left=0)
    ax.legend(frameon=False, fontsize=8, labelcolor=INK)
    return sheet


def lane_dumbbells(classes: pd.DataFrame, *, title: str = "") -> Figure:
    """
    Width of a lane by highway class, as it was and as it was fitted.

    Parameters
    ----------
    classes
        One row a class: `highway`, `road_m` (metres of road it was fitted to), `before_m`, `after_m`, `own` (fitted by
        itself; the others share one factor).
    title
        Above the chart.
    """
    need(classes, ["highway", "road_m", "before_m", "after_m", "own"], "lane widths")
    sheet = Sheet(7.5, 1.1 + 0.34 * len(classes), f"Lane widths before and after the fit. {title}", photo=False)
    ax = sheet.subplots()
    for place, row in enumerate(classes.itertuples()):
        ax.plot([row.before_m, row.after_m], [place, place], color=FAINT, linewidth=3, zorder=1)
        ax.plot(row.before_m, place, "o", color=SLATE, markersize=7)
        ax.plot(row.after_m, place, "o", color=TEAL, markersize=7, markerfacecolor=TEAL if row.own else "white")
        ends = (max(row.before_m, row.after_m), place)
        ax.annotate(f"{row.after_m:.2f} m", ends, xytext=(8, 0), textcoords="offset points", va="center", **STYLE)
    names = [f"{short(row.highway, LABEL_LENGTH)} ({row.road_m / 1000:.1f} km)" for row in classes.itertuples()]
    _calm(ax, x="width of a lane, metres", title=title, grid="x")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.set_xlim(0, 1.25 * classes[["before_m", "after_m"]].to_numpy().max())
    marks = [("profile", SLATE, SLATE), ("fitted, by itself", TEAL, TEAL), ("fitted, in common", TEAL, "white")]
    for label, color, face in marks:
        ax.plot([], [], "o", color=color, markerfacecolor=face, markersize=7, label=label)
    sheet.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=8.5)
    return sheet


def precision_recall(sweep: pd.DataFrame, *, chosen: float) -> Figure:
    """
    What the threshold trades: precision against recall, and IoU and F1 by threshold.

    Parameters
    ----------
    sweep
        As `lib.scores.sweep.threshold_sweep` gives it: `threshold`, `precision`, `recall`, `f1`, `iou`. NaN is left
        out.
    chosen
        The threshold in use, marked in both panels at the nearest row.
    """
    need(sweep, ["threshold", "precision", "recall", "f1", "iou"], "a sweep")
    sheet = Sheet(9.0, 3.6, "Precision, recall and IoU by threshold.", photo=False)
    curve, scores = sheet.subplots(1, 2)
    curve.plot(sweep["recall"], sweep["precision"], color=TEAL, linewidth=1.8)
    curve.set(xlim=(0, 1.02), ylim=(0, 1.04), aspect="equal")
    scores.plot(sweep["threshold"], sweep["iou"], color=OCHRE, linewidth=1.8, label="IoU")
    scores.plot(sweep["threshold"], sweep["f1"], color=SLATE, linewidth=1.4, label="F1")
    scores.legend(frameon=False, fontsize=8, labelcolor=INK)
    scores.set(xlim=(0, 1), ylim=(0, 1.04))
    _calm(curve, "recall", "precision", grid="both")
    _calm(scores, "threshold", "score", grid="both")
    row = sweep.iloc[(sweep["threshold"] - chosen).abs().argmin()]
    marker = {"color": INK, "markeredgecolor": "white", "markersize": 8, "zorder": 5}
    curve.plot(row["recall"], row["precision"], "o", **marker)
    scores.axvline(row["threshold"], color=INK, linewidth=0.9, linestyle=DOTTED)
    scores.plot(row["threshold"], row["iou"], "o", **marker)
    _foot_note(scores, row["threshold"], f"threshold {row['threshold']:g}: IoU {row['iou']:.3f}", chosen > 0.5)
    return sheet


def reliability_diagram(series: Mapping[str, pd.DataFrame], *, title: str = "", note: str = "") -> Figure:
    """
    How often what was said is right: points on the diagonal are calibrated, below it too sure, above too careful.

    Parameters
    ----------
    series
        Name -> table of `lib.networks.calibration.reliability`: `said`, `right`, `weight`. A point's area is its
        share of the weight, the smallest still visible.
    title, note
        Above and below.
    """
    for name, table in series.items():
        need(table, ["said", "right", "weight"], f"the reliability of {name}")
    sheet = Sheet(5.2, 5.4 + 0.15 * len(series), f"Reliability of {', '.join(series)}. {note}", photo=False)
    ax = sheet.subplots()
    ax.plot([0, 1], [0, 1], color=INK, linewidth=0.9, linestyle=DOTTED)
    for place, (name, table) in enumerate(series.items()):
        color = SERIES[place % len(SERIES)]
        ax.plot(table["said"], table["right"], color=color, linewidth=1.4, label=short(name, LABEL_LENGTH))
        area = 12 + 220 * table["weight"] / table["weight"].sum()
        ax.scatter(table["said"], table["right"], s=area, color=color, alpha=0.75, linewidths=0, clip_on=False)
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    _calm(ax, "confidence", "share that is right", title, grid="both")
    sheet.legend(loc="outside upper left", frameon=False, fontsize=8.5, ncols=2, labelcolor=INK)
    if note:
        sheet.supxlabel(note, x=0.01, ha="left", **{**STYLE, "fontsize": 8, "color": SLATE})
    return sheet
