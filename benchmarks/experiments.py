"""
The experiments behind the README's results: what stage 1 is worth, on rendered and on real imagery.

    python -m benchmarks.experiments clean-chips          two stages against scratch, for 4 to 32 clean chips
    python -m benchmarks.experiments real DATA_DIR        Massachusetts OSM masks, then EPFL clean masks
    python -m benchmarks.experiments kampala DATA_DIR     buildings: OSM polygons, then a few chips as clean
    python -m benchmarks.experiments focal-gradient       the release's gradient of the focal loss against Lin's
        [--budget tiny|small|full] [--finished]

A row is one training and its scores on the test chips. Finished rows are kept and not run again, an unfinished one
goes on after its last finished epoch. The last step writes results/; `--finished` does it at any time, from the rows
that are. Two experiments in two processes with OMP_NUM_THREADS=1 use two cores better than one with two threads.
"""

import argparse
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.comparisons import BOTH, LONG_SCRATCH, NOISY, SCRATCH, publish
from lib.chips.manifest import load_manifest, select
from lib.errors import InputError
from lib.mapping.predict import predict_chips
from lib.networks.checkpoint import TrainedModel, load_model
from lib.networks.devices import device_name, precision_for
from lib.networks.models import ModelConfig
from lib.paths import ROOT, write_whole
from lib.scores.evaluate import best_of_views, probability_pairs, score_chips
from lib.scores.sweep import threshold_sweep
from lib.show import reports
from lib.training.recipe import FOCAL_GRADIENTS, TrainConfig
from lib.training.trainer import fit

AREAS = {"clean-chips": "demo", "real": "massachusetts-epfl", "kampala": "kampala", "focal-gradient": "demo"}
NETWORKS = {"D-LinkNet": "d_linknet", "LinkNet": "linknet", "U-Net": "unet", "DeepLabV3+": "deeplabv3plus"}


@dataclass(frozen=True)
class Budget:
    """
    What an experiment may spend.

    Attributes
    ----------
    stage1, stage2
        (epochs, crops an epoch); 0 crops is one a chip.
    crop_px
        Side of a crop in stage 1 and in stage 2.
    model, config
        What all rows share.
    seeds
        How many trainings of a row that is repeated.
    gsd_m
        Metres a pixel of the chips; 0 keeps that of params/.
    tta
        Views of a test chip, see `lib.mapping.predict`.
    """

    stage1: tuple[int, int]
    stage2: tuple[int, int]
    crop_px: tuple[int, int]
    model: ModelConfig
    config: TrainConfig
    seeds: int = 3
    gsd_m: float = 0.0
    tta: str = "none"


NARROW = ModelConfig(encoder_name="resnet18")
PAPER = ModelConfig(encoder_name="resnet34", encoder_weights="imagenet")
FEW_STEPS = TrainConfig(batch_size=4, learning_rate=5e-4)  # at a small budget more steps count for more
TINY = Budget((1, 8), (1, 8), (64, 64), NARROW, FEW_STEPS, seeds=1)
FULL = {"model": PAPER, "config": TrainConfig(), "tta": "d4"}
BUDGETS = {
    "clean-chips": {
        "tiny": TINY,
        "small": Budget((12, 160), (10, 80), (192, 192), NARROW, FEW_STEPS),
        "full": Budget((90, 0), (90, 0), (256, 256), **FULL),
    },
    "real": {
        "tiny": TINY,
        "small": Budget((12, 320), (15, 160), (128, 128), NARROW, replace(FEW_STEPS, batch_size=8), gsd_m=1.0),
        "full": Budget((90, 0), (90, 0), (512, 320), **FULL, gsd_m=0.5),
    },
    "kampala": {
        "tiny": TINY,
        "small": Budget((12, 160), (8, 80), (192, 192), NARROW, FEW_STEPS),
        "full": Budget((90, 0), (90, 0), (256, 256), **FULL),
    },
}
BUDGETS["focal-gradient"] = {
    "tiny": TINY,
    "small": Budget((0, 0), (8, 80), (96, 96), NARROW, FEW_STEPS),
    "full": Budget((0, 0), (90, 0), (256, 256), **FULL),
}
CLEAN_CHIPS = (4, 8, 16, 32)
VAL_CLEAN = 4  # clean chips that choose epoch and threshold, the same in both arms
VAL_OSM = 12  # noisy chips that choose stage 1's epoch: more would cost as much as the training


@dataclass(frozen=True)
class Row:
    """
    One training: what it learns, from which weights, on how many clean chips (0: all).

    A row with `stage` 0 trains nothing: it takes the network of `after`, and the threshold that is best on the clean
    validation chips.
    """

    name: str
    seed: int
    stage: int
    budget: Budget
    model: ModelConfig
    after: "Row | None" = None
    clean_chips: int = 0
    both_budgets: bool = False  # as many crops as stage 1 and stage 2 together
    recipe: tuple[tuple[str, Any], ...] = ()  # what differs from the budget's config

    @property
    def folder(self) -> str:
        """Name of its run's folder."""
        chips = f"_{self.clean_chips}" if self.clean_chips else ""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()) + f"{chips}_seed{self.seed}"

    @property
    def config(self) -> TrainConfig:
        """How it is trained."""
        stage1, stage2 = self.budget.stage1, self.budget.stage2
        epochs, crops = stage1 if self.stage == 1 else stage2
        if self.both_budgets:
            total = stage1[0] * stage1[1] + stage2[0] * stage2[1]
            crops = max(stage1[1], stage2[1])
            epochs = -(-total // crops) if crops else stage1[0] + stage2[0]
        spent = {"epochs": epochs, "samples_per_epoch": crops, "crop_px": self.budget.crop_px[self.stage != 1]}
        return replace(self.budget.config, seed=self.seed, **spent, **dict(self.recipe))


def clean_chips_rows(budget: Budget) -> Iterator[Row]:
    """Stage 1 once a seed; for each number of clean chips both stages, and scratch with one budget and with both."""
    shared = {"budget": budget, "model": budget.model}
    for seed in range(budget.seeds):
        first = Row(NOISY, seed, 1, **shared)
        yield first
        for count in CLEAN_CHIPS:
            yield Row(BOTH, seed, 2, after=first, clean_chips=count, **shared)
            yield Row(SCRATCH, seed, 2, clean_chips=count, **shared)
            yield Row(LONG_SCRATCH, seed, 2, clean_chips=count, both_budgets=True, **shared)


def stages(seed: int, budget: Budget, clean_chips: int = 0) -> Iterator[Row]:
    """Stage 1 alone, with its own threshold and with that of clean chips; both stages; scratch."""
    shared = {"budget": budget, "model": budget.model}
    first = Row(NOISY, seed, 1, **shared)
    yield first
    yield Row(f"{NOISY}, clean threshold", seed, 0, after=first, **shared)
    yield Row(BOTH, seed, 2, after=first, clean_chips=clean_chips, **shared)
    yield Row(SCRATCH, seed, 2, clean_chips=clean_chips, **shared)


def two_stages(name: str, seed: int, budget: Budget, model: ModelConfig, recipe: dict[str, Any]) -> Iterator[Row]:
    """Both stages of one network and recipe."""
    shared = {"budget": budget, "model": model, "recipe": tuple(recipe.items())}
    first = Row(f"{name}, {NOISY}", seed, 1, **shared)
    yield first
    yield Row(name, seed, 2, after=first, **shared)


def real_rows(budget: Budget) -> Iterator[Row]:
    """The stages, with one budget and both; then other networks, contexts, losses and schedules; all over seeds."""
    model, seeds = budget.model, range(budget.seeds)
    for seed in seeds:
        yield from stages(seed, budget)
    for seed in seeds:
        yield Row(LONG_SCRATCH, seed, 2, budget, model, both_budgets=True)
    for seed in seeds:
        for name, architecture in NETWORKS.items():
            yield from two_stages(name, seed, budget, replace(model, architecture=architecture, context="32"), {})
        for context in ("32", "128", "64 hdc"):
            yield from two_stages(f"context {context}", seed, budget, replace(model, context=context), {})
        yield from two_stages("BCE + dice", seed, budget, model, {"loss": "bce_dice"})
        yield from two_stages("constant rate", seed, budget, model, {"schedule": "constant"})


def kampala_rows(budget: Budget) -> Iterator[Row]:
    """The stages over seeds, four chips treated as clean."""
    for seed in range(budget.seeds):
        yield from (row for row in stages(seed, budget, CLEAN_CHIPS[0]) if row.stage)


def focal_gradient_rows(budget: Budget) -> Iterator[Row]:
    """Stage 2 alone on all clean chips, with each gradient of the focal loss."""
    for seed in range(budget.seeds):
        for gradient, name in ((FOCAL_GRADIENTS[0], SCRATCH), (FOCAL_GRADIENTS[1], f"{SCRATCH}, detached weight")):
            yield Row(name, seed, 2, budget, budget.model, recipe=(("focal_gradient", gradient),))


ROWS = {
    "clean-chips": clean_chips_rows,
    "real": real_rows,
    "kampala": kampala_rows,
    "focal-gradient": focal_gradient_rows,
}


@dataclass(frozen=True)
class Bench:
    """Where an experiment finds its chips and keeps its runs."""

    experiment: str
    work_dir: Path
    manifest: pd.DataFrame
    tta: str

    @property
    def area(self) -> str:
        """Its folder of params/."""
        return AREAS[self.experiment]

    @property
    def task(self) -> str:
        """Of "roads" or "buildings"."""
        return "buildings" if self.experiment == "kampala" else "roads"

    def folder(self, row: Row) -> Path:
        """Where a row is kept."""
        return self.work_dir / "runs" / self.area / row.folder

    def chips(self, row: Row) -> tuple[pd.DataFrame, pd.DataFrame]:
        """
        Chips to learn from and to validate with.

        Clean ones are drawn by the row's seed, scene by scene in turn, so that 4 are part of 8, and 8 of 16. Where they
        are counted, VAL_CLEAN validate; else all that there are.
        """
        if row.stage == 1:
            val = select(self.manifest, "osm", "val")
            return select(self.manifest, "osm", "train"), val.sample(min(VAL_OSM, len(val)), random_state=0)
        train, val = (drawn(select(self.manifest, "clean", split), row.seed) for split in ("train", "val"))
        return (train.head(row.clean_chips), val.head(VAL_CLEAN)) if row.clean_chips else (train, val)


def drawn(chips: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Chips in an order drawn by lot, those of each scene in turn."""
    chips = chips.sample(frac=1, random_state=seed)
    return chips.iloc[chips.groupby("scene").cumcount().argsort(kind="stable")].reset_index(drop=True)


def make_bench(experiment: str, budget: Budget, data_dir: str, work_dir: Path) -> Bench:
    """Chips of an experiment, cut by notebook 1 with the area's parameters where they are not there yet."""
    area = AREAS[experiment]
    chips_dir = work_dir / "chips" / f"{budget.gsd_m or 'own'}"
    path = reports.chip_dir(area, chips_dir) / "manifest.csv"
    if not path.is_file():
        stated = {"data_dir": data_dir, "gsd_m": budget.gsd_m}
        given = {"clean_chips": 0} | {name: value for name, value in stated.items() if value}
        reports.run_notebook("01_rasterize_osm", area, given, chips_dir)
    return Bench(experiment, work_dir, load_manifest(path), budget.tta)


def train(bench: Bench, row: Row) -> TrainedModel:
    """Network of a row, trained as far as it is not yet."""
    before = None if row.after is None else train(bench, row.after)
    train_chips, val_chips = bench.chips(row)
    folder = bench.folder(row)
    if row.stage == 0:
        probabilities = predict_chips(before, val_chips, folder / "val", bench.tta)
        sweep = threshold_sweep(probability_pairs(val_chips, probabilities))
        best = float(sweep["threshold"][sweep["iou"].idxmax()])
        return replace(before, info=replace(before.info, threshold=best))
    print(f"-- {bench.area}, {folder.name}: {len(train_chips)} chips, {len(val_chips)} to validate", flush=True)
    init = None if row.after is None else bench.folder(row.after) / "best.safetensors"
    result = fit(train_chips, val_chips, folder, row.config, row.model, bench.task, init)
    return best_of_views(load_model(result.checkpoint), val_chips, folder / "val", bench.tta)


def finish(bench: Bench, row: Row) -> None:
    """Train and score a row; what was kept of the same network and threshold stays."""
    model = train(bench, row)
    folder, threshold = bench.folder(row), model.info.threshold
    path, key = folder / "row.json", f"{model.digest} {threshold} {bench.tta}"
    if path.is_file() and json.loads(path.read_text())["key"] == key:
        return
    test = select(bench.manifest, "clean", "test")
    table = score_chips(test, predict_chips(model, test, folder / "test", bench.tta), threshold, bench.task)
    write_whole(folder / "scores.csv", table.to_csv(index=False))
    write_whole(path, json.dumps({"key": key, "threshold": threshold, "device": device()}))


def facts(bench: Bench, row: Row) -> dict[str, Any]:
    """What a reader must know of a finished row to trust it, or to run it again."""
    train_chips, val_chips = bench.chips(row)
    history = pd.read_csv(bench.folder(row) / "history.csv") if row.stage else None
    kept = json.loads((bench.folder(row) / "row.json").read_text())
    return {
        "row": row.name,
        "seed": row.seed,
        "network": f"{row.model.architecture} {row.model.context}",
        "encoder": f"{row.model.encoder_name}, {row.model.encoder_weights or 'random'}",
        "loss": row.config.loss,
        "schedule": row.config.schedule,
        "clean_chips": 0 if row.stage != 2 else row.clean_chips or len(train_chips),
        "train_chips": len(train_chips),
        "val_chips": len(val_chips),
        "crops_before": 0 if row.after is None else crops(bench, row.after),
        "crops": crops(bench, row),
        "crop_px": row.config.crop_px,
        "batch_size": row.config.batch_size,
        "gsd_m": float(train_chips["gsd_m"].iloc[0]),
        "threshold": kept["threshold"],
        "best_epoch": 0 if history is None else int(history.loc[history["val_iou"].idxmax(), "epoch"]),
        "minutes": 0 if history is None else round(float(history["seconds"].sum()) / 60, 2),
        "device": kept["device"],
    }


def crops(bench: Bench, row: Row) -> int:
    """Crops that a row's training sees."""
    if not row.stage:
        return 0
    size = row.config.batch_size
    return row.config.epochs * -(-(row.config.samples_per_epoch or len(bench.chips(row)[0])) // size) * size


def device() -> str:
    """What it ran on, and how."""
    threads = "" if torch.cuda.is_available() else f"{torch.get_num_threads()} of {os.cpu_count()} CPU cores, "
    return f"{threads}{device_name()}, {precision_for()}"


def finished(bench: Bench, rows: Sequence[Row]) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Facts, and scores a chip, of each row that is finished."""
    done = [row for row in rows if (bench.folder(row) / "row.json").is_file()]
    return [(facts(bench, row), pd.read_csv(bench.folder(row) / "scores.csv")) for row in done]


def study_parser(description: str) -> argparse.ArgumentParser:
    """Command line of a study that is one table of rows, seed after seed, as those beside this one are."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--finished", action="store_true", help="train nothing, only write what is finished")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "runs" / "experiments")
    return parser


def write_study(name: str, table: Sequence[dict[str, Any]]) -> None:
    """Rows of a study as results/NAME.csv."""
    text = pd.DataFrame(table).to_csv(index=False, float_format="%.4f")
    write_whole(ROOT / "results" / f"{name}.csv", text)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=AREAS)
    parser.add_argument("data_dir", nargs="?", default="", help="where the imagery lies; else as params/ says")
    parser.add_argument("--budget", choices=("tiny", "small", "full"), default="small")
    parser.add_argument("--finished", action="store_true", help="train nothing, only write the results again")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "runs" / "experiments")
    options = parser.parse_args(arguments)
    budget = BUDGETS[options.experiment][options.budget]
    work_dir = options.work_dir.resolve() / options.budget
    official = options.budget == "small" and options.work_dir == parser.get_default("work_dir")
    results_dir = ROOT / "results" if official else work_dir / "results"
    bench = make_bench(options.experiment, budget, options.data_dir, work_dir)
    rows = list(ROWS[options.experiment](budget))
    for row in [] if options.finished else rows:
        finish(bench, row)
    done = finished(bench, rows)
    if not done:
        raise InputError(f"No row of {options.experiment} is finished in {work_dir}: run it without --finished first.")
    print(publish(options.experiment, done, bench.manifest, results_dir))
    print(f"{len(done)} of {len(rows)} rows are finished; results are in {results_dir}")


if __name__ == "__main__":
    main()
