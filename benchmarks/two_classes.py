"""
One network for roads and buildings, or one for each: the sample town, both stages.

    python -m benchmarks.two_classes [--seeds 3] [--finished]

Four trainings a seed: roads; buildings; both in one network, with as many crops as one of those; and both with twice as
many, which is what two networks take. Each is scored on the same test chips, at the thresholds that its validation
chose. The seed draws the clean chips and all of the training. Rows go to results/two_classes.csv, their means over the
seeds to the terminal; what is finished is not trained again.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchmarks.experiments import FEW_STEPS, NARROW, VAL_CLEAN, VAL_OSM, device, drawn, study_parser, write_study
from lib.chips.manifest import load_manifest, of_class, of_task, select
from lib.limits import TASKS, classes_of
from lib.mapping.predict import predict_chips
from lib.networks.checkpoint import load_model
from lib.scores.evaluate import score_chips, scoreboard
from lib.show import reports
from lib.training.trainer import fit

BOTH = TASKS[-1]
# what a row is called, its task, and how many times the crops of a network of one class it takes
WAYS = (
    ("one class", "roads", 1),
    ("one class", "buildings", 1),
    ("both", BOTH, 1),
    ("both, twice as long", BOTH, 2),
)
EPOCHS, CROPS, CROP_PX = 6, {1: 160, 2: 64}, 160  # of each stage; crops an epoch
CLEAN_CHIPS = 8
SCORES = {"roads": ("IoU, pooled", "APLS"), "buildings": ("IoU, pooled", "F1 of buildings")}


def chips_of(manifest: pd.DataFrame, stage: int, task: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows to learn from and to validate with: all chips of OSM, or a few clean ones, the same for every task."""
    label = "osm" if stage == 1 else "clean"
    parts = []
    for split, count in (("train", CLEAN_CHIPS if stage == 2 else 0), ("val", VAL_CLEAN if stage == 2 else VAL_OSM)):
        rows = select(manifest, label, split)
        names = drawn(rows.drop_duplicates("chip"), seed if split == "train" else 0)["chip"]
        parts.append(of_task(rows[rows["chip"].isin(names.head(count or len(names)))], task).reset_index(drop=True))
    return parts[0], parts[1]


def rows_of(manifest: pd.DataFrame, work_dir: Path, seed: int, finished: bool) -> Iterator[dict[str, float | str]]:
    """Scores of each way and class, as they are finished."""
    for way, task, times in WAYS:
        model, start = replace(NARROW, classes=len(classes_of(task))), None
        for stage in (1, 2):
            config = replace(
                FEW_STEPS, epochs=EPOCHS, crop_px=CROP_PX, samples_per_epoch=times * CROPS[stage], seed=seed
            )
            folder = work_dir / f"{task}_{times}_stage{stage}_seed{seed}"
            if finished and not (folder / "done.json").is_file():
                return
            print(f"-- {folder.name}", flush=True)
            start = fit(*chips_of(manifest, stage, task, seed), folder, config, model, task, start).checkpoint
        network, test = load_model(start), of_task(select(manifest, "clean", "test"), task)
        paths = predict_chips(network, test, folder / "test", "none")
        for kind, threshold in network.info.thresholds.items():
            rows = of_class(test, kind)
            table = score_chips(rows, paths[rows.index], threshold, kind)
            values = scoreboard({way: table}, kind).set_index("metric")["value"]
            first, second = (values[name] for name in SCORES[kind])
            yield {"class": kind, "way": way, "seed": seed, "iou_pooled": first, SCORES[kind][1]: second}


def main() -> None:
    options = study_parser(__doc__).parse_args()
    work_dir = options.work_dir.resolve() / "two_classes"
    path = reports.chip_dir("demo", work_dir) / "manifest.csv"
    if not path.is_file():
        reports.run_notebook("01_rasterize_osm", "demo", {"task": BOTH, "clean_chips": 0}, work_dir)
    manifest, table = load_manifest(path), []
    for seed in range(options.seeds):
        for row in rows_of(manifest, work_dir, seed, options.finished):
            table.append(row | {"device": device()})
            write_study("two_classes", table)
    shown = pd.DataFrame(table).groupby(["class", "way"], sort=False)
    print(shown[["iou_pooled", "APLS", "F1 of buildings"]].mean().round(3).to_string())


if __name__ == "__main__":
    main()
