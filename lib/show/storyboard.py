"""The pictures and the map that tell an evaluation, and the sentence that sums it up."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib import apls
from lib.apls.worst import explain
from lib.chips.manifest import CLASS, read_image, read_mask
from lib.chips.merging import find_all_scenes
from lib.chips.options import sources_of
from lib.chips.sources import Scene, by_class, source_name
from lib.chips.vectors import read_vectors
from lib.grid import MASK_IGNORE, Grid
from lib.mapping.predict import read_probability
from lib.networks.checkpoint import TrainedModel
from lib.paths import resolve
from lib.scores.evaluate import densest, mosaic, read_case, road_graph, to_mask
from lib.show import webmap
from lib.show.canvas import LABEL, PREDICTION, TRUTH
from lib.show.charts import score_text
from lib.show.class_figures import classes_figure
from lib.show.figures import MADE_UP, comparison, error_panels, lost_routes
from lib.show.leaflet import Map
from lib.show.sheet import Sheet, save_figure

GRAPH = "#FFFFFF"
ROUTE = "#7A1FA2"
ROAD_COLUMNS = ("highway", "lanes", "width", "surface", "name")


def trainings(chip: Any, found: Mapping[str, tuple[Path, float]]) -> Figure:
    """One chip: the image, and the errors of each training, of its probabilities at its own threshold, side by side."""
    cases = {name: read_case(chip, path, threshold) for name, (path, threshold) in found.items()}
    first = next(iter(cases.values()))
    titles = [f"{name}: IoU {case.score:.2f}" for name, case in cases.items()]
    return error_panels(first.image, first.truth, [c.prediction for c in cases.values()], titles, gsd_m=chip.gsd_m)


def both_masks(rows: pd.DataFrame, probabilities: pd.Series, thresholds: Mapping[str, float]) -> Figure:
    """The rows of one chip with several classes: the truth of all of them, and beside it what is predicted."""
    truth = {kind: read_mask(path) for kind, path in zip(rows[CLASS], rows["mask"], strict=True)}
    said = {kind: read_probability(probabilities[index]) for kind, index in zip(rows[CLASS], rows.index, strict=True)}
    found = {kind: to_mask(one, thresholds[kind], truth[kind]) for kind, one in said.items()}
    image, name, gsd_m = read_image(rows["image"].iloc[0]), rows["chip"].iloc[0], rows["gsd_m"].iloc[0]
    titles = [f"{name}: truth", "predicted"]
    return classes_figure([image] * 2, [truth, found], titles=titles, gsd_m=[gsd_m] * 2, columns=2)


def shapes(chip: Any, probability: Path, threshold: float, task: str) -> Figure:
    """Roads: both graphs and the routes that lose the most APLS. Buildings: the errors of one chip."""
    case = read_case(chip, probability, threshold)
    if task != "roads":
        return comparison(case.image, case.truth, case.prediction, gsd_m=chip.gsd_m, title=chip.chip)
    truth, proposal = road_graph(case.truth, chip.gsd_m), road_graph(case.prediction, chip.gsd_m)
    routes = explain(truth, proposal, mode="strict", gsd_m=chip.gsd_m)
    score = apls.score(truth, proposal, mode="strict", gsd_m=chip.gsd_m).apls
    title = f"{chip.chip}: APLS {score:.2f}"
    return lost_routes(case.image, truth.lines, proposal.lines, routes, gsd_m=chip.gsd_m, title=title)


@dataclass(frozen=True)
class Ground:
    """
    Test chips laid side by side: what a map shows, and what is scored as one network.

    Attributes
    ----------
    scenes
        Names of the scenes that the chips are from.
    labels
        Sources of the truth: "osm", "clean".
    grid
        Where it lies.
    gsd_m
        Metres a pixel, as the chips have it, with georeference or without.
    image
        uint8 (H, W, 3) RGB, white where no chip lies.
    truth, prediction
        Masks, uint8 (H, W); 127 where no chip lies or nothing is known.
    """

    scenes: frozenset[str]
    labels: frozenset[str]
    grid: Grid
    gsd_m: float
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def evaluation_ground(test: pd.DataFrame, probabilities: pd.Series, threshold: float) -> Ground:
    """All test chips that one map can show (`densest`), by the path of each one's probability map."""
    chips = densest(test)
    image, grid = mosaic(chips, [read_image(p) for p in chips["image"]], 255)
    truth, _ = mosaic(chips, [read_mask(p) for p in chips["mask"]], MASK_IGNORE)
    probability, _ = mosaic(chips, [read_probability(probabilities[i]) for i in chips.index], 0.0)
    prediction, gsd_m = to_mask(probability, threshold, truth), float(chips["gsd_m"].iloc[0])
    return Ground(frozenset(chips["scene"]), frozenset(chips["label"]), grid, gsd_m, image, truth, prediction)


def worst_routes(ground: Ground) -> pd.DataFrame:
    """The ten routes of the ground that cost the most APLS, ranked from 1: see `lib.apls.worst.explain`."""
    truth, proposal = (road_graph(mask, ground.gsd_m) for mask in (ground.truth, ground.prediction))
    routes = explain(truth, proposal, mode="strict", gsd_m=ground.gsd_m)
    return routes.set_index(pd.RangeIndex(1, len(routes) + 1, name="rank"))


def evaluation_map(ground: Ground, task: str, sources: Mapping[str, Any], routes: pd.DataFrame | None = None) -> Map:
    """
    Map of the test chips: image, OpenStreetMap, truth, prediction, errors, and the worst routes where they are given.

    Parameters
    ----------
    ground
        Of `evaluation_ground`.
    task
        "roads" or "buildings".
    sources
        Recorded parameters of notebook 1: they lead to the OSM vectors, and say whether the truth was drawn from OSM,
        too; {} leaves both out.
    routes
        Of `worst_routes`.
    """
    scenes = _scenes(ground, task, sources) if ground.grid.crs and sources else []
    used = [scene.source for scene in scenes] or [sources_of(one, task)[task] for one in sources.get("sources", [])]
    from_osm = "osm" in ground.labels or any(map(_drawn_from_osm, used))
    truth = ("truth, from OpenStreetMap", LABEL) if from_osm else ("truth", TRUTH)
    title = ": ".join(filter(None, (sources.get("area"), f"{task} on test chips")))
    drawn = webmap.scene_map(ground.image, ground.grid, title=title)
    webmap.add_mask(drawn, ground.prediction, "prediction", PREDICTION)
    webmap.add_mask(drawn, ground.truth, *truth, show=False, from_osm=from_osm)
    webmap.add_errors(drawn, ground.truth, ground.prediction)
    if scenes:
        _add_osm(drawn, ground.grid, task, [scene for scene in scenes if "osm" in scene.source])
    if task == "roads":
        lines = road_graph(ground.prediction, ground.gsd_m).lines
        webmap.add_lines(drawn, lines, "road graph of the prediction", color=GRAPH, show=False)
    if routes is not None:
        for direction, own in routes.groupby("direction", sort=False):
            made_up = direction == MADE_UP
            name = "worst routes made up" if made_up else "worst routes lost"
            tips = [
                f"{row.Index}: {row.reason}; {_metres(row.truth_m)} in truth, {_metres(row.proposal_m)} in the proposal"
                for row in own.itertuples()
            ]
            style = {"color": ROUTE, "weight_px": 4, "dashed": made_up}
            webmap.add_lines(drawn, list(own["line"]), name, tips=tips, show=False, **style)
    return drawn


def _metres(length_m: float) -> str:
    """Length of a route for people; without a route it is NaN or infinite."""
    return f"{length_m:,.0f} m" if np.isfinite(length_m) else "no route"


def _scenes(ground: Ground, task: str, sources: Mapping[str, Any]) -> list[Scene]:
    """The scenes of the ground, found again, with the labels of one class."""
    data_dir, known_bad = resolve(sources["data_dir"]), {}  # files that notebook 1 skipped, or stopped at
    scenes = find_all_scenes(sources["sources"], data_dir, sources["gsd_m"], known_bad)
    return by_class([scene for scene in scenes if scene.name in ground.scenes], task, every_class=False)[task]


def _drawn_from_osm(source: Mapping[str, Any]) -> bool:
    """Whether the clean labels of a source are OpenStreetMap's, too: its own file or download, or the same as `osm`."""
    clean = source.get("clean", "")
    return clean != "" and (clean in ("overpass", source.get("osm")) or clean.endswith((".osm", ".osm.pbf")))


def _add_osm(drawn: Map, grid: Grid, task: str, scenes: list[Scene]) -> None:
    """The OSM vectors of the scenes as a layer, as they came: neither moved nor dropped."""
    layers = read_vectors(scenes, task)
    names = sorted({source_name(scene, "osm") for scene in scenes} & layers.keys())
    vectors = [getattr(layers[name], task).to_crs(grid.crs).clip(grid.bounds) for name in names]
    vectors = [part for part in vectors if len(part)]
    if vectors:
        columns = ROAD_COLUMNS if task == "roads" else ("building", "name")
        webmap.add_vectors(drawn, pd.concat(vectors), "OpenStreetMap", columns=columns, show=False)


def named(figures: Mapping[str, tuple[Mapping[str, Sheet], str]]) -> dict[str, tuple[Sheet, str]]:
    """Name -> figure and caption, of figures by class: the name and the caption of one among several say its class."""
    return {
        name if len(own) == 1 else f"{name}_{kind}": (figure, caption if len(own) == 1 else f"{kind}: {caption}")
        for name, (own, caption) in figures.items()
        for kind, figure in own.items()
    }


def save_figures(figures: Mapping[str, tuple[Sheet, str]], folder: Path) -> dict[str, str]:
    """Write the figures of a report into its folder; returns file name -> caption."""
    written = {name: save_figure(figure, folder / "figures" / name) for name, (figure, _) in figures.items()}
    return {path.name: figures[name][1] for name, path in written.items()}


def left_out(manifest: pd.DataFrame, label: str) -> pd.DataFrame:
    """Test chips that a person took out, with the reason: `chip`, `dropped`; see `lib.trust.rules`."""
    rows = manifest[(manifest["label"] == label) & (manifest["split"] == "test") & (manifest["dropped"] != "")]
    return rows[["chip", "dropped"]].drop_duplicates("chip").reset_index(drop=True)


def remarks(out: pd.DataFrame, chips: int, origins: Mapping[str, str], models: Mapping[str, TrainedModel]) -> list[str]:
    """
    What a reader of the scores must know of how they came about, a sentence each.

    Parameters
    ----------
    out
        Of `left_out`.
    chips
        How many test chips count.
    origins, models
        Of `lib.scores.evaluate.at_threshold`.
    """
    said = []
    if len(out):
        reasons = ", ".join(f"{row.chip} ({row.dropped.removeprefix('by hand: ')})" for row in out.head(5).itertuples())
        more = f" and {len(out) - 5} more" if len(out) > 5 else ""
        said.append(
            f"Left out by hand: {len(out)} of {len(out) + chips} test chips, {reasons}{more}. The scores are those of "
            "the chips that were kept, not of a sample of the ground."
        )
    by_hand = [run for run, origin in origins.items() if "by hand" in origin]
    said += [f"{run}: threshold {models[run].info.threshold:.3f} from {origins[run]}." for run in by_hand]
    return said


def summary(board: pd.DataFrame, gains: pd.DataFrame, best: str, metrics: list[str], chips: int) -> dict[str, Any]:
    """
    What goes into metrics.json and onto the front page.

    Returns
    -------
    record
        headline (a sentence), notes, scoreboard (one row a run), intervals and differences (one row a run and metric);
        a score that is not defined is NaN or infinite there.
    """
    wide = board.pivot(index="run", columns="metric", values="value")
    order = list(dict.fromkeys(board["run"]))
    columns = list(dict.fromkeys(board["metric"]))
    runs_of = {
        metric: list(board.loc[board["metric"] == metric, "run"]) for metric in metrics
    }  # APLS is of roads alone
    headline = "; ".join(
        f"{metric}: " + ", ".join(f"{score_text(wide.loc[run, metric])} {run}" for run in runs)
        for metric, runs in runs_of.items()
    )
    verdicts = [
        f"{row.difference}, {row.metric}: {score_text(row.value, '+')} "
        f"(95 % interval {score_text(row.low, '+')} to {score_text(row.high, '+')})"
        for row in gains[gains["metric"].isin(metrics)].itertuples()
    ]
    return {
        "headline": headline,
        "notes": [f"{chips} test chips; one training run each, intervals by bootstrap over chips.", *verdicts],
        "best_run": best,
        "test_chips": chips,
        "scoreboard": wide.loc[order, columns].reset_index().to_dict("records"),
        "intervals": board.to_dict("records"),
        "differences": gains.to_dict("records"),
    }
