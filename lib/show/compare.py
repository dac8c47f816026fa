"""
Two areas, or one area from two work folders, side by side: `python -m lib.show.compare A B`, into reports/compare/.

What differs between their parameters, their scores with intervals, and, where they share test chips, the gain of B over
A on just these, with pictures. A side is the name of an area, or the folder of a report (WORK_DIR/reports/AREA).
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lib.chips.manifest import load_manifest, of_task, select
from lib.errors import InputError, run
from lib.limits import classes_of
from lib.mapping.predict import predict_chips
from lib.networks.checkpoint import load_model, read_info
from lib.paths import is_written, read_mapping, write_whole
from lib.scores.evaluate import Case, read_case, score_chips, statistics
from lib.scores.metrics import paired_difference
from lib.show.figures import error_panels
from lib.show.front import EVALUATION, MEANINGS, verdict
from lib.show.pages import OSM_LICENCE, picture, templates, value_text
from lib.show.reports import RUN_FOLDERS, chip_dir, report_dir, run_dir

CHIPS_SHOWN = 6  # of those that both share: where they differ the most
NOT_COMPARED = {"area", "work_dir"}  # parameters that name a side


@dataclass(frozen=True)
class Side:
    """
    One of the two: its report, and what lies beside it.

    Attributes
    ----------
    name
        As the call names it.
    area, work_dir
        Where its chips and runs are.
    record
        What its metrics.json holds.
    """

    name: str
    area: str
    work_dir: Path
    record: dict[str, Any]

    @property
    def title(self) -> str:
        """Its area, and the work folder where the call names a folder: what a reader elsewhere can make sense of."""
        return self.area if self.name == self.area else f"{self.area} in {self.work_dir.name}"

    @property
    def evaluation(self) -> dict[str, Any]:
        """Metrics of its evaluation."""
        return self.record[EVALUATION]["metrics"]


def side(name: str) -> Side:
    """
    The side that a call names.

    Raises
    ------
    InputError
        If there is no report of that name, or it has not come to its evaluation.
    """
    folder = Path(name).resolve() if len(Path(name).parts) > 1 else report_dir(name)
    record = read_mapping(folder / "metrics.json")
    if EVALUATION not in record:
        raise InputError(
            f"{name}: expected an area with a report, or a report's folder; {folder}/metrics.json holds no evaluation. "
            f"`make report AREA={folder.name}` makes one."
        )
    return Side(name, folder.name, folder.parents[1], record)


def differing(a: Side, b: Side) -> list[tuple[str, str, str, str]]:
    """Parameters that are not the same in both: (notebook, name, value in a, value in b); "–" where there is none."""
    rows = []
    for notebook in dict.fromkeys([*a.record, *b.record]):
        one, other = (s.record.get(notebook, {}).get("parameters", {}) for s in (a, b))
        for name in dict.fromkeys([*one, *other]):
            texts = [value_text(values[name]) if name in values else "–" for values in (one, other)]
            if texts[0] != texts[1] and name not in NOT_COMPARED:
                rows.append((notebook, name, *texts))
    return rows


def scores(a: Side, b: Side) -> list[dict[str, Any]]:
    """One row a run and metric that either has: run, metric, and each one's value, low and high, or None."""
    found = [{(row["run"], row["metric"]): row for row in s.evaluation["intervals"]} for s in (a, b)]
    return [
        {"run": run, "metric": metric, "sides": [rows.get((run, metric)) for rows in found]}
        for run, metric in dict.fromkeys([*found[0], *found[1]])
    ]


def shared_classes(a: Side, b: Side) -> list[str]:
    """What both find."""
    tasks = [one.record[EVALUATION]["parameters"]["task"] for one in (a, b)]
    return [kind for kind in classes_of(tasks[0]) if kind in classes_of(tasks[1])]


def shared_chips(a: Side, b: Side, kind: str) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """
    Test chips that both have, row by row: one name, one size and one truth of a class, byte for byte.

    None where there is none, and where chips or checkpoints of one are no longer there.
    """
    tables = []
    for one in (a, b):
        label = one.record[EVALUATION]["parameters"]["test_label"]
        chips = chip_dir(one.area, one.work_dir)
        if not (is_written(chips / "manifest.csv") and is_written(_checkpoint(one))):
            return None
        tables.append(select(of_task(load_manifest(chips), kind), label, "test").set_index("chip", drop=False))
    names = [
        name
        for name in tables[0].index.intersection(tables[1].index)
        if Path(tables[0]["mask"][name]).read_bytes() == Path(tables[1]["mask"][name]).read_bytes()
    ]
    own = [table.loc[names].reset_index(drop=True) for table in tables]
    return (own[0], own[1]) if names else None


def _checkpoint(one: Side) -> Path:
    """Checkpoint of a side's best run."""
    best = one.evaluation["best_run"]
    return run_dir(one.area, RUN_FOLDERS.get(best, best), one.work_dir) / "best.safetensors"


def gains(
    a: Side, b: Side, chips: tuple[pd.DataFrame, pd.DataFrame], kind: str
) -> tuple[list[dict[str, Any]], list[list[Case]]]:
    """
    How much higher b's best run scores than a's on the chips that both have, and the chips where that differs the most.

    Returns
    -------
    rows
        One a metric: metric, value, low, high, verdict.
    pairs
        Up to CHIPS_SHOWN pairs of cases, a's and b's.
    """
    tables, cases = [], []
    for one, table in zip((a, b), chips, strict=True):
        best, model = one.evaluation["best_run"], load_model(_checkpoint(one), task=kind)
        chosen = one.evaluation.get("thresholds", {}).get(best, {})  # of notebook 4, by hand or not
        threshold = chosen.get(kind, model.info.threshold)
        # notebook 4's, if it is the same
        folder = "test" if read_info(_checkpoint(one)).task == kind else f"test_{kind}"
        found = predict_chips(model, table, _checkpoint(one).parent / folder, tta=one.evaluation.get("tta", "none"))
        tables.append(score_chips(table, found, threshold, kind))
        cases.append([read_case(c, found[c.Index], threshold) for c in table.itertuples()])
    rows = []
    for metric, statistic in statistics(kind).items():
        gain = paired_difference(*tables, statistic)
        rows.append({"metric": metric, **asdict(gain), "verdict": verdict(gain.low, gain.high)})
    pairs = sorted(zip(*cases, strict=True), key=lambda pair: -abs(pair[1].score - pair[0].score))
    return rows, pairs[:CHIPS_SHOWN]


def comparison_page(a: Side, b: Side) -> str:
    """HTML of both side by side, whole in one file."""
    kinds, rows, pairs, chips = shared_classes(a, b), [], [], 0
    for kind in kinds:
        if shared := shared_chips(a, b, kind):
            own_rows, own_pairs = gains(a, b, shared, kind)
            of_class = "" if len(kinds) == 1 else f"{kind}: "
            rows += [row | {"metric": of_class + row["metric"], "meaning": MEANINGS[row["metric"]]} for row in own_rows]
            pairs, chips = pairs + own_pairs, max(chips, len(shared[0]))
    pictures = []
    for one, other in pairs:
        sides = (("A", a, one), ("B", b, other))
        titles = [f"{letter}, {s.title}: IoU {case.score:.2f}" for letter, s, case in sides]
        sheet = error_panels(one.image, one.truth, [one.prediction, other.prediction], titles, gsd_m=one.gsd_m)
        said = f"{one.name}: {titles[0]}; {titles[1]}"
        pictures.append((said, picture(sheet.encoded()[1], said)))
    return templates.get_template("compare.html").render(
        a=a,
        b=b,
        evaluations=[s.record[EVALUATION] for s in (a, b)],
        differing=differing(a, b),
        scores=scores(a, b),
        gains=rows,
        chips=chips,
        pictures=pictures,
        meanings=[(row["metric"], row["meaning"]) for row in rows],
        attribution=OSM_LICENCE,
    )


def main() -> None:
    """Write the page of two sides, and say where it is."""
    parser = argparse.ArgumentParser(description="Compare the reports of two areas, or of two work folders.")
    parser.add_argument("a", help="an area with a report, e.g. demo, or a report's folder")
    parser.add_argument("b", help="the other one; gains are b's over a's")
    arguments = parser.parse_args()
    a, b = side(arguments.a), side(arguments.b)
    out = report_dir("compare") / f"{a.title}, {b.title}.html"
    print(write_whole(out, comparison_page(a, b)))


if __name__ == "__main__":
    run(main)
