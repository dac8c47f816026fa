"""
Whether undoing the offset between map and image pays: Massachusetts tiles, their OSM masks moved by a known vector.

    python -m benchmarks.offset_study DATA_DIR [--seeds 3] [--finished]

Stage 1 learns from masks as they came, 3 m off and 6 m off: all tiles alike, as where one image layer is off, or each
its own way, as where each image is. The displacement is left in, or undone tile by tile by what `lib.masks.offset`
measures, where that is certain: from the image alone, or from what the network with the displacement left in predicts.
Labels that validate are moved like those that train; those that test lie elsewhere and stay as they came. The seed
draws tiles, directions and all of the training. Rows go to results/offset_study.csv, their means over the seeds to the
terminal; finished rows are kept.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.experiments import (
    FEW_STEPS,
    NARROW,
    Bench,
    Budget,
    Row,
    device,
    drawn,
    make_bench,
    study_parser,
    train,
    write_study,
)
from lib.chips.manifest import read_image, read_mask, select, write_png
from lib.errors import InputError, run
from lib.grid import MASK_IGNORE
from lib.mapping.predict import predict_chips, predict_image
from lib.masks.offset import LEAST_CONFIDENCE, estimate_offset
from lib.networks.checkpoint import TrainedModel
from lib.paths import write_whole
from lib.sample.layers import generator
from lib.scores.evaluate import probability_pairs, to_mask
from lib.scores.metrics import PixelScores, paired_difference, pixel_scores
from lib.trust.self_training import move

GSD_M = 1.0  # of the tiles, so that metres are their pixels
BUDGET = Budget((4, 120), (0, 0), (128, 128), NARROW, FEW_STEPS, gsd_m=GSD_M)
TRAIN_TILES, VAL_TILES, VAL_CHIPS, TEST_CHIPS = 12, 3, 6, 14
SIDE_PX = 768  # middle of a tile, on which its offset is measured
OWN_WAY = "each its own way"
STILL = "all alike, no augmentation"  # no flips and rotations, which turn labels that are off with the image
LEFT, IMAGE, PREDICTION = "left in", "by image", "by prediction"
# how tiles are displaced, by how many metres, and what is done about it; what tells most comes first
STUDIED = (
    ("not", 0.0, LEFT),
    ("all alike", 6.0, LEFT),
    ("all alike", 6.0, IMAGE),
    ("all alike", 6.0, PREDICTION),
    (OWN_WAY, 6.0, LEFT),
    (OWN_WAY, 6.0, PREDICTION),
    (STILL, 6.0, LEFT),
    (STILL, 6.0, PREDICTION),
    ("not", 0.0, IMAGE),
    ("all alike", 3.0, LEFT),
    ("all alike", 3.0, PREDICTION),
    ("all alike", 3.0, IMAGE),
    (OWN_WAY, 6.0, IMAGE),
)
SHOWN = {"IoU, pooled": "iou_pooled", "relaxed F1": "relaxed_f1"}


def chosen(manifest: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Chips of the tiles that a seed trains and validates with, and of all test tiles, which count as clean."""
    train, val, test = (select(manifest, "osm", split) for split in ("train", "val", "test"))
    train, val = (
        chips[chips["scene"].isin(np.random.default_rng(seed).permutation(chips["scene"].unique())[:tiles])]
        for chips, tiles in ((train, TRAIN_TILES), (val, VAL_TILES))
    )
    test = drawn(test, 0).head(TEST_CHIPS).assign(label="clean")
    return pd.concat([train, drawn(val, seed).head(VAL_CHIPS), test], ignore_index=True)


def displacements(scenes: list[str], way: str, metres: float, seed: int) -> pd.DataFrame:
    """Metres to the right and up by which each tile's labels are moved: whole pixels. One row a tile."""
    names = [scene if way == OWN_WAY else "all" for scene in scenes]
    angles = np.array([generator(seed, "offset study", name).uniform(0, 2 * np.pi) for name in names])
    moved = np.round(metres * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    return pd.DataFrame(moved, index=scenes, columns=["dx_m", "dy_m"])


def measured(moved_m: pd.DataFrame, tiles: Path, model: TrainedModel | None = None) -> pd.DataFrame:
    """What `estimate_offset` says of the middle of each displaced tile, from its image or the model's prediction."""
    rows = []
    for scene, (dx_m, dy_m) in moved_m.iterrows():
        image, mask = read_image(tiles / "images" / f"{scene}.jpg"), read_mask(tiles / "masks" / f"{scene}.png")
        top, left = ((side - SIDE_PX) // 2 for side in mask.shape)
        middle = np.s_[top : top + SIDE_PX, left : left + SIDE_PX]
        seen = image[middle] if model is None else predict_image(model, image[middle], tta="none")
        rows.append(asdict(estimate_offset(seen, move(mask, dx_m / GSD_M, dy_m / GSD_M)[middle], GSD_M)))
    return pd.DataFrame(rows, index=moved_m.index)


def kept(path: Path, moved_m: pd.DataFrame, tiles: Path, model: TrainedModel | None = None) -> pd.DataFrame:
    """`measured`, read where it was written before."""
    if not path.is_file():
        write_whole(path, measured(moved_m, tiles, model).to_csv(index_label="scene"))
    return pd.read_csv(path, index_col="scene")


def moved_bench(bench: Bench, by_m: pd.DataFrame, folder: Path) -> tuple[Bench, float]:
    """A bench whose labels are moved tile by tile, and their pooled IoU with the labels as they came."""
    manifest, scores = bench.manifest.copy(), PixelScores()
    for chip in manifest[manifest["label"] == "osm"].itertuples():
        true, path = read_mask(chip.mask), folder / f"{chip.chip}.png"
        mask = move(true, *by_m.loc[chip.scene] / GSD_M)
        scores.update(mask, np.where(mask == MASK_IGNORE, mask, true), chip=chip.chip)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, mask)
        manifest.loc[chip.Index, "mask"] = str(path)
    return replace(bench, manifest=manifest), float(scores.compute()["iou_pooled"])


def rows(
    bench: Bench, tiles: Path, seed: int, finished: bool
) -> Iterator[tuple[Bench, Row, Row, Mapping[str, object]]]:
    """Each training of a seed, that with the displacement left in, and what its table says; a bench holds its masks."""
    bench = replace(bench, manifest=chosen(bench.manifest, seed))
    osm = bench.manifest[bench.manifest["label"] == "osm"]
    scenes, trained = osm["scene"].unique().tolist(), {}
    for way, metres, correction in STUDIED:
        moved_m = displacements(scenes, way, metres, seed)
        recipe = (("augmentation", "none"),) if way == STILL else ()
        row = Row(f"offset {way} {metres:g} {correction}", seed, 1, BUDGET, BUDGET.model, recipe=recipe)
        if finished and not is_finished(bench, row):
            continue
        folder = bench.work_dir / "labels" / row.folder
        off_m, certain, model = moved_m, pd.Series(False, index=scenes), None
        if correction == PREDICTION:
            model = train(*trained[way, metres])
            folder = folder / model.digest[:12]
        if correction != LEFT:
            found = kept(folder / "offsets.csv", moved_m, tiles, model)
            certain = found["confidence"] >= LEAST_CONFIDENCE
            off_m = moved_m + found[["dx_m", "dy_m"]].where(certain, 0.0)
        moved, label_iou = moved_bench(bench, off_m, folder)
        if correction == LEFT:
            trained[way, metres] = moved, row
        known = {"displaced": way, "metres": metres, "correction": correction, "seed": seed, "tiles": len(off_m)}
        known |= misses(off_m, certain) | ({"certain": np.nan} if correction == LEFT else {})
        yield moved, row, trained[way, metres][1], known | {"labels' IoU": label_iou}


def misses(off_m: pd.DataFrame, certain: pd.Series) -> dict[str, float]:
    """How far tiles lie from the labels as they came: the median, and of those whose offset is certain also the way."""
    miss_m = np.hypot(off_m["dx_m"], off_m["dy_m"])
    sure, way_m = miss_m[certain], off_m[certain].median()
    return {
        "miss, m": miss_m.median(),
        "certain": certain.mean(),
        "miss where certain, m": sure.median(),
        "largest miss, m": sure.max(),
        "median to the right, m": way_m["dx_m"],
        "median up, m": way_m["dy_m"],
    }


def is_finished(bench: Bench, row: Row) -> bool:
    """Whether a row is trained and scored."""
    return (bench.folder(row) / "scores.csv").is_file()


def finish(bench: Bench, row: Row) -> None:
    """Train a row and count pixels of the test chips; without road graphs, which take longer than all the rest."""
    model = train(bench, row)
    test, scores = select(bench.manifest, "clean", "test"), PixelScores()
    paths = predict_chips(model, test, bench.folder(row) / "test", bench.tta)
    for chip, (probability, truth) in zip(test["chip"], probability_pairs(test, paths), strict=True):
        scores.update(to_mask(probability, model.info.threshold, truth), truth, chip=chip)
    table = scores.table().assign(threshold=model.info.threshold, device=device())
    write_whole(bench.folder(row) / "scores.csv", table.to_csv(index=False))


def scored(bench: Bench, row: Row, left_in: Row) -> dict[str, float | str]:
    """
    Scores of a finished row over the test chips, its threshold, and what it ran on.

    With them, what its pooled IoU gains on the same labels with the displacement left in, and the 95 % interval of that
    over the test chips.
    """
    table, before = (pd.read_csv(bench.folder(each) / "scores.csv") for each in (row, left_in))
    values, gain = pixel_scores(table), paired_difference(before, table)
    scores = {name: values[key] for name, key in SHOWN.items()}
    scores |= {"IoU gained": gain.value, "low": gain.low, "high": gain.high}
    return scores | table[["threshold", "device"]].iloc[0].to_dict()


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("data_dir", type=Path, help="where massachusetts-roads-tiles and epfl-cil-roads lie")
    options = parser.parse_args()
    bench = make_bench("real", BUDGET, str(options.data_dir.resolve()), options.work_dir.resolve() / "offset")
    tiles, table = options.data_dir / "massachusetts-roads-tiles", []
    for seed in range(options.seeds):
        for moved, row, left_in, known in rows(bench, tiles, seed, options.finished):
            if not options.finished:
                finish(moved, row)
            if is_finished(moved, row):
                table.append(known | scored(moved, row, left_in))
                write_study("offset_study", table)
    if not table:
        raise InputError("No row is finished: run it without --finished first.")
    shown = pd.DataFrame(table).groupby(["displaced", "metres", "correction"], sort=False)
    print(shown[["certain", "miss, m", "labels' IoU", *SHOWN, "IoU gained"]].mean().round(3).to_string())


if __name__ == "__main__":
    run(main)
