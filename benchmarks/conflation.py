"""
What of OpenStreetMap's gaps is found, and whether "0.9" is right nine times of ten, on ground that no training saw.

    python -m benchmarks.conflation sample [--checkpoint FILE] [--seeds 0 1 2 3]   roads; removed ones are known
    python -m benchmarks.conflation kampala DATA_DIR     buildings, a fifth of them hidden by lot
    python -m benchmarks.conflation places DATA_DIR      pixels: calibrated on Massachusetts, tested on EPFL

`sample` takes the demo's network and chips (`make demo` first). Curves are fitted on the validation strip of seed 0 and
nothing else; the test strips of all seeds are measured with them. A seed is another rendering of the town (its light,
its asphalt, its trees, cars) and another lot of removed roads; the network has seen seed 0's training strip alone.
`kampala` and `places` train a small network first, as far as it isn't yet. Results go to results/conflation_*.csv.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from benchmarks.comparisons import NOISY
from benchmarks.experiments import BUDGETS, Row, make_bench, train
from lib.chips.imagery import read_scene
from lib.chips.manifest import grid_of, load_manifest, read_image, read_mask, select, windows_of
from lib.chips.sources import Scene, find_scenes
from lib.conflation.ground import ground_of_arrays
from lib.conflation.trials import SHARE, building_trials, precision_recall, road_trials
from lib.errors import InputError
from lib.grid import Grid
from lib.mapping.predict import predict_image
from lib.masks.rasterize import rasterize_roads
from lib.networks.calibration import (
    Calibration,
    Curve,
    count_levels,
    expected_calibration_error,
    fit_curve,
    of_levels,
    reliability,
    write_calibration,
)
from lib.networks.checkpoint import TrainedModel, load_model
from lib.osm.layers import read_osm
from lib.paths import ROOT, write_whole
from lib.sample.places import PLACES, files, make_sample
from lib.show.charts import reliability_diagram
from lib.show.sheet import save_figure
from lib.vectors.buildings import BuildingOptions, mask_to_polygons
from lib.vectors.roadgraph import GraphOptions, mask_to_graph, to_geodataframe

DRAWS = 10
# Candidates are extracted at this share of the threshold that is best for IoU: confidence sorts out what is false. Of
# 1, 0.75, 0.5 and 0.35 the one that finds most at 90 % precision on the validation strips of the seeds 0 and 1
CANDIDATE_SHARE = 0.75
PRECISION, RECALL = 0.9, 0.8  # what is asked for
SURE = 0.85  # calibrated confidence from which a candidate is one of "0.9"
LOOSE_IOU = 0.2  # from which a building is found, if not as its outline asks
AREA = "demo"


class Strip(NamedTuple):
    """A piece of a scene: its grid, image (H, W, 3) uint8 and probabilities (H, W) float32."""

    grid: Grid
    image: np.ndarray
    probability: np.ndarray


def window_of_split(manifest: pd.DataFrame, scene: Scene, split: str) -> tuple[int, int, int, int]:
    """Box around the chips of a split in a scene: (col, row, width, height) in its pixels."""
    chips = manifest[(manifest["scene"] == scene.name) & (manifest["split"] == split)]
    windows = np.array(windows_of(chips, scene.grid))
    low, high = windows[:, :2].min(axis=0), (windows[:, :2] + windows[:, 2:]).max(axis=0)
    return (*low.tolist(), *(high - low).tolist())


def predicted(model: TrainedModel, scene: Scene, window: tuple[int, int, int, int], kept: Path) -> Strip:
    """A strip of a scene; probabilities that the same network gave before are read from `kept`."""
    image, _ = read_scene(scene, window)
    path = kept / f"{model.digest[:16]}_{'_'.join(map(str, window))}.npy"
    if not path.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        np.save(path, predict_image(model, image))
    return Strip(scene.grid.window(*window), image, np.load(path))


def pixel_row(counts: np.ndarray, curve: Curve, **what: Any) -> dict[str, Any]:
    """How far pixels are calibrated, before and after a curve; counts (LEVELS, 2)."""
    said, right, weight = of_levels(counts)
    return what | calibration(said, right, weight, curve)


def calibration(said: np.ndarray, right: np.ndarray, weight: np.ndarray, curve: Curve) -> dict[str, float]:
    """Expected calibration error before and after a curve, and what is right of what is called SURE or more."""
    after = curve(said)
    sure = after >= SURE
    total = float(weight[sure].sum())
    return {
        "ece_raw": expected_calibration_error(reliability(said, right, weight)),
        "ece": expected_calibration_error(reliability(after, right, weight)),
        "sure_said": float((weight * after)[sure].sum() / total) if total else np.nan,
        "sure_right": float((weight * right)[sure].sum() / total) if total else np.nan,
        "sure_share": total / float(weight.sum()) if len(weight) else np.nan,
    }


def found_row(candidates: pd.DataFrame, lacking: pd.DataFrame, curve: Curve, **what: Any) -> dict[str, Any]:
    """What candidates are worth, and how far their confidence means what it says."""
    table = precision_recall(candidates, lacking)
    enough, right = table[table["recall"] >= RECALL], table[table["precision"] >= PRECISION]
    weights = candidates["weight"].to_numpy()
    return what | {
        "lacking": lacking["weight"].sum(),
        "candidates": weights.sum(),
        "precision": table["precision"].iloc[-1] if len(table) else np.nan,
        "recall": table["recall"].iloc[-1] if len(table) else 0.0,
        "precision_at_recall": enough["precision"].max() if len(enough) else np.nan,
        "recall_at_precision": right["recall"].max() if len(right) else 0.0,
        **calibration(candidates["said"].to_numpy(), candidates["right"].to_numpy(), weights, curve),
    }


def sample_scene(data_dir: Path, place: str, gsd_m: float) -> Scene:
    source = {"images": f"images/{place}.tif", "osm": "vectors/{stem}_osm.gpkg"}
    return find_scenes(source, data_dir, gsd_m)[0]


def sample(checkpoint: Path, seeds: Sequence[int], work_dir: Path) -> None:
    """Roads of the sample: the removed ones, and more that are hidden by lot."""
    model, manifest = load_model(checkpoint, task="roads"), load_manifest(chips_of(checkpoint))
    options = GraphOptions(threshold=CANDIDATE_SHARE * model.info.threshold)

    def strips(seed: int, split: str) -> Iterator[tuple[str, Strip, gpd.GeoDataFrame, gpd.GeoDataFrame]]:
        data_dir = work_dir / f"sample_{seed}"
        make_sample(data_dir, seed)
        for place in PLACES:
            scene = sample_scene(data_dir, place, model.info.gsd_m)
            if not ((manifest["scene"] == scene.name) & (manifest["split"] == split)).any():
                continue  # the city has no ground that validates
            strip = predicted(model, scene, window_of_split(manifest, scene, split), work_dir / f"predicted_{seed}")
            _, osm, truth = files(data_dir, place)
            yield place, strip, *(read_osm(path, strip.grid, ("roads",)).roads for path in (osm, truth))

    def tried(strip: Strip, osm: gpd.GeoDataFrame, truth: gpd.GeoDataFrame, draws: int) -> tuple[pd.DataFrame, ...]:
        roads = to_geodataframe(mask_to_graph(strip.probability, strip.grid.gsd_m, options), strip.grid)
        ground = ground_of_arrays(strip.grid, strip.probability, strip.image)
        return road_trials(roads, osm, truth, ground, **({"draws": draws} if draws else {"share": 0.0, "draws": 1}))

    def counted(strip: Strip, truth: gpd.GeoDataFrame) -> np.ndarray:
        return count_levels(strip.probability, rasterize_roads(truth, strip.grid))

    levels, fitted = 0, []
    for _, strip, osm, truth in strips(0, "val"):
        levels = levels + counted(strip, truth)
        fitted.append(tried(strip, osm, truth, DRAWS)[0])
    candidates = pd.concat(fitted)
    curves = {
        "pixels": fit_curve(*of_levels(levels)),
        # a road that is hidden in a fifth of the draws, and found in each of them, is one observation
        "roads": fit_curve(
            *(candidates[name].to_numpy() for name in ("said", "right", "weight")),
            prior=SHARE * DRAWS * candidates["weight"].mean(),
        ),
    }
    rows, pixels, tables = [], [], {}
    for seed in seeds:
        for place, strip, osm, truth in strips(seed, "test"):
            what, counts = {"place": place, "seed": seed}, counted(strip, truth)
            pixels.append(pixel_row(counts, curves["pixels"], **what))
            for name, draws in (("as they are", 0), ("a fifth hidden", DRAWS)):
                found, lacking = tried(strip, osm, truth, draws)
                rows.append(found_row(found, lacking, curves["roads"], **what, gaps=name))
                tables.setdefault(f"{place}, {name}", []).append(found)
            tables.setdefault(f"{place}, pixels", []).append(counts)
            print(pd.DataFrame(rows[-2:]).round(3).to_string(index=False), flush=True)
    publish("roads", rows)
    publish("pixels", pixels)
    series = {}
    for place in PLACES:
        said, right, weight = of_levels(sum(tables[f"{place}, pixels"]))
        series[f"{place}: pixels"] = reliability(curves["pixels"](said), right, weight)
        hidden = pd.concat(tables[f"{place}, a fifth hidden"])
        series[f"{place}: candidates, by length"] = reliability(
            curves["roads"](hidden["said"].to_numpy()), hidden["right"].to_numpy(), hidden["weight"].to_numpy()
        )
    note = f"Fitted on the town's validation strip, seed 0. Test strips of the seeds {', '.join(map(str, seeds))}."
    save_figure(reliability_diagram(series, note=note), ROOT / "results" / "conflation_reliability")
    kept = work_dir / checkpoint.name  # beside a copy: the demo's own folder is left as it is
    write_whole(kept, checkpoint.read_bytes())
    print(f"curves are in {write_calibration(kept, Calibration(curves, note))}")


def chips_of(checkpoint: Path) -> Path:
    """Folder of the demo's chips: runs/demo/two_stage/best.safetensors -> data/demo/chips."""
    return checkpoint.parents[3] / "data" / AREA / "chips"


def trained_row(experiment: str, data_dir: str, work_dir: Path, epochs: int) -> tuple[TrainedModel, pd.DataFrame]:
    """The network of an experiment's first row (stage 1), and its manifest."""
    small = BUDGETS[experiment]["small"]
    budget = replace(small, stage1=(epochs, small.stage1[1]))
    bench = make_bench(experiment, budget, data_dir, work_dir / experiment)
    return train(bench, Row(NOISY, 0, 1, budget, budget.model)), bench.manifest


def kampala(data_dir: str, work_dir: Path, epochs: int) -> None:
    """Buildings of Kampala: tile by tile, since the tiles are what there is; a fifth of the houses hidden by lot."""
    model, manifest = trained_row("kampala", data_dir, work_dir, epochs)
    osm = gpd.read_file(Path(data_dir) / "labels.geojson")
    options = BuildingOptions(threshold=model.info.threshold)
    tried: dict[tuple[str, float], list[tuple[pd.DataFrame, pd.DataFrame]]] = {}
    levels: dict[str, Any] = {"val": 0, "test": 0}
    for split in levels:
        for chip in select(manifest, "clean", split).itertuples():
            grid, image = grid_of(chip), read_image(chip.image)
            probability = predict_image(model, image)
            levels[split] = levels[split] + count_levels(probability, read_mask(chip.mask))
            polygons = mask_to_polygons(probability, grid.gsd_m, options)
            shapes = shapely.transform(np.array(polygons, object), grid.pixel_to_world)
            found = gpd.GeoDataFrame(geometry=shapes, crs=grid.crs)
            near = osm[osm.to_crs(grid.crs).intersects(shapely.box(*grid.bounds))]
            ground = ground_of_arrays(grid, probability, image)
            for iou in (0.5, LOOSE_IOU):
                tried.setdefault((split, iou), []).append(
                    building_trials(found, near, ground, least_iou=iou, draws=DRAWS)
                )
    pixels = fit_curve(*of_levels(levels["val"]))
    rows = []
    for iou in (0.5, LOOSE_IOU):
        validated, (found, lacking) = (
            [pd.concat(tables) for tables in zip(*tried[split, iou], strict=True)] for split in levels
        )
        curve = fit_curve(*(validated[0][name].to_numpy() for name in ("said", "right", "weight")), prior=SHARE * DRAWS)
        rows.append(found_row(found, lacking, curve, place="kampala", seed=0, gaps="a fifth hidden", iou=iou))
    publish("buildings", rows)
    publish("kampala_pixels", [pixel_row(levels["test"], pixels, place="kampala", seed=0)])


def places(data_dir: str, work_dir: Path, epochs: int) -> None:
    """Pixels: a curve of one place, asked elsewhere."""
    model, manifest = trained_row("real", data_dir, work_dir, epochs)

    def counts(chips: pd.DataFrame) -> np.ndarray:
        views = (predict_image(model, read_image(chip.image), tta="none") for chip in chips.itertuples())
        return sum(count_levels(view, read_mask(mask)) for view, mask in zip(views, chips["mask"], strict=True))

    val, epfl = select(manifest, "osm", "val"), {s: select(manifest, "clean", s) for s in ("val", "test")}
    own = counts(val.iloc[::2])
    curves = {"Massachusetts": fit_curve(*of_levels(own)), "EPFL": fit_curve(*of_levels(counts(epfl["val"])))}
    ground = {"Massachusetts": counts(val.iloc[1::2]), "EPFL": counts(epfl["test"])}
    publish(
        "places",
        [
            pixel_row(seen, curve, network="Massachusetts, stage 1", fitted_on=there, place=place)
            for there, curve in curves.items()
            for place, seen in ground.items()
        ],
    )


def publish(name: str, rows: Sequence[dict[str, Any]]) -> None:
    table = pd.DataFrame(rows)
    write_whole(ROOT / "results" / f"conflation_{name}.csv", table.to_csv(index=False, float_format="%.4f"))
    print(table.round(3).to_string(index=False), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("sample", "kampala", "places"))
    parser.add_argument("data_dir", nargs="?", default="", help="where the imagery lies (kampala, places)")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "runs" / AREA / "two_stage" / "best.safetensors")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--epochs", type=int, default=12, help="of the networks that are trained here")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "runs" / "conflation")
    options = parser.parse_args(arguments)
    work_dir = options.work_dir.resolve()
    if options.what == "sample":
        return sample(options.checkpoint.resolve(), options.seeds, work_dir)
    if not options.data_dir:
        raise InputError(f"{options.what} needs the folder of the imagery: python -m benchmarks.conflation WHAT DIR")
    run = {"kampala": kampala, "places": places}[options.what]
    return run(options.data_dir, work_dir, options.epochs)


if __name__ == "__main__":
    main()
