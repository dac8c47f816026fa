"""
What each kind of label noise costs, one at a time: the sample town's true roads, spoilt to a known degree.

    python -m benchmarks.label_noise [--seeds 3] [--finished]

Stage 1 learns from masks drawn from the true roads with one fault; stage 2 goes on with eight clean chips. The faults
are roads missing, roads shifted, roads too narrow or too wide, and roads of a wrong class, each at several levels; the
seed draws which roads, the direction of the shift, the clean chips, and all of the training. Rows go to
results/label_noise.csv, their means over the seeds to the terminal; finished rows are kept.
"""

from collections.abc import Iterator
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd

from benchmarks.comparisons import SCRATCH
from benchmarks.experiments import (
    FEW_STEPS,
    NARROW,
    Bench,
    Budget,
    Row,
    device,
    finish,
    make_bench,
    study_parser,
    write_study,
)
from lib.chips.manifest import grid_of, read_mask, write_png
from lib.masks.rasterize import rasterize_roads
from lib.osm.lanes import METRIC
from lib.sample.degraded import Degradation, drop_roads
from lib.sample.layers import generator
from lib.sample.places import PLACES, place_vectors, truth_layers
from lib.sample.truth import extract_path, is_motor_road, read_whole
from lib.scores.evaluate import scoreboard
from lib.scores.metrics import PixelScores

BUDGET = Budget((6, 160), (6, 64), (160, 160), NARROW, FEW_STEPS)
CLEAN_CHIPS = 8
# fault -> levels; "none" is the truth itself, and the zero level of each
FAULTS = {
    "none": (0.0,),
    "missing": (0.15, 0.3, 0.6),  # share of the roads
    "shifted": (2.0, 4.0, 8.0),  # metres
    "width": (0.5, 1.5, 2.0),  # times the true one
    "class": (0.25, 0.5, 1.0),  # share of the ways that have the class of another, and are drawn by it
}


def spoilt(ways: gpd.GeoDataFrame, fault: str, level: float, seed: int) -> gpd.GeoDataFrame:
    """
    Roads with one fault.

    Parameters
    ----------
    ways
        Motor roads with `width`, true, and paths without; CRS in metres.

    Returns
    -------
    roads
        With `highway` and `width`, to be drawn by the metric profile.
    """
    rng = generator(seed, "label noise", fault)
    if fault == "missing":
        return drop_roads(ways, rng, Degradation(roads_missing=level))
    if fault == "shifted":
        angle = rng.uniform(0, 2 * np.pi)
        return ways.set_geometry(ways.translate(level * np.cos(angle), level * np.sin(angle)))
    if fault == "width":
        width = (pd.to_numeric(ways["width"]) * level).map("{:.2f}".format)
        return ways.assign(width=width.where(ways["width"].notna()))
    if fault == "class":
        kept, other = pd.Series(rng.random(len(ways)) >= level), ways.iloc[rng.permutation(len(ways))]
        highway = ways["highway"].where(kept, other["highway"].to_numpy())
        return ways.assign(highway=highway, **{tag: ways[tag].where(kept) for tag in ("service", "width", "lanes")})
    return ways


def all_ways(place: str) -> gpd.GeoDataFrame:
    """Ways of a place: motor roads with their true `width`, and paths, which the metric profile does not draw."""
    vectors, _ = place_vectors(place, 0, Degradation())
    roads, _ = truth_layers(vectors)
    ways = read_whole(extract_path(PLACES[place].extract)).roads.to_crs(roads.crs)
    paths = ways[~is_motor_road(ways)].reindex(columns=roads.columns).assign(width=None)
    return pd.concat([roads, paths], ignore_index=True)


def spoilt_bench(
    bench: Bench, ways: dict[str, gpd.GeoDataFrame], fault: str, level: float, seed: int
) -> tuple[Bench, float]:
    """A bench whose OSM masks hold one fault, and their pooled IoU with the truth."""
    folder = bench.work_dir / "label_noise" / f"{fault}_{level:g}_seed{seed}"
    ways = {place: spoilt(true, fault, level, seed) for place, true in ways.items()}
    manifest, scores = bench.manifest.copy(), PixelScores()
    truth = manifest[manifest["label"] == "clean"].set_index("chip")["mask"]
    for row in manifest[manifest["label"] == "osm"].itertuples():
        mask = rasterize_roads(ways[row.scene], grid_of(row), METRIC)
        true = read_mask(truth[row.chip])
        mask[true == 127] = 127
        scores.update(mask, true, chip=row.chip)
        path = folder / f"{row.chip}.png"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, mask)
        manifest.loc[row.Index, ["mask", "weight"]] = [str(path), ""]
    return replace(bench, manifest=manifest), float(scores.compute()["iou_pooled"])


def rows(bench: Bench, seeds: int) -> Iterator[tuple[Bench, Row, dict[str, float | str]]]:
    """Each training, with what its table says of it; a bench holds the masks that it learns from."""
    shared, ways = {"budget": BUDGET, "model": BUDGET.model}, {place: all_ways(place) for place in PLACES}
    for seed in range(seeds):
        yield bench, Row(SCRATCH, seed, 2, clean_chips=CLEAN_CHIPS, **shared), {"fault": "", "level": 0.0}
        for fault, levels in FAULTS.items():
            for level in levels:
                noisy, label_iou = spoilt_bench(bench, ways, fault, level, seed)
                first = Row(f"noise {fault} {level:g} stage 1", seed, 1, **shared)
                both = Row(f"noise {fault} {level:g} both", seed, 2, after=first, clean_chips=CLEAN_CHIPS, **shared)
                known = {"fault": fault, "level": level, "labels' IoU": label_iou}
                yield noisy, first, known
                yield noisy, both, known


def scored(bench: Bench, row: Row) -> dict[str, float]:
    """Pooled IoU and APLS of a finished row on the clean test chips."""
    scores = pd.read_csv(bench.folder(row) / "scores.csv")
    values = scoreboard({"run": scores}, "roads").set_index("metric")["value"]
    return {"IoU, pooled": values["IoU, pooled"], "APLS": values["APLS"]}


def main() -> None:
    options = study_parser(__doc__).parse_args()
    bench = make_bench("clean-chips", BUDGET, "", options.work_dir.resolve() / "noise")
    table = []
    for noisy, row, known in rows(bench, options.seeds):
        if not options.finished:
            finish(noisy, row)
        if (noisy.folder(row) / "row.json").is_file():
            learnt = "stage 1" if row.stage == 1 else "stages 1 and 2" if row.after else SCRATCH
            table.append({**known, "training": learnt, "seed": row.seed, **scored(noisy, row), "device": device()})
            write_study("label_noise", table)
    shown = pd.DataFrame(table).groupby(["training", "fault", "level"], sort=False)
    print(shown[["labels' IoU", "IoU, pooled", "APLS"]].mean().round(3).to_string())


if __name__ == "__main__":
    main()
