"""Whatever a name is, every figure draws it as it is written, and nothing warns."""

import inspect
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from matplotlib.figure import Figure
from matplotlib.text import Text

from lib.chips.manifest import write_png
from lib.chips.sources import Scene
from lib.grid import Grid
from lib.mapping.predict import write_probability
from lib.osm.lanes import METRIC
from lib.osm.layers import OsmLayers
from lib.scores.evaluate import Case
from lib.show import charts, class_figures, figures, label_figures, splits, storyboard
from lib.trust.lane_fit import LaneFit
from lib.trust.noise_study import Pair

ROOMS = (charts, class_figures, figures, label_figures, splits, storyboard)
SIDE = 64
LINE = np.array([[4.0, 4.0], [60.0, 60.0]])
GRID = Grid((0.5, 0, 500_000.0, 0, -0.5, 6_700_000.0), "EPSG:32635", SIDE, SIDE)

pytestmark = pytest.mark.filterwarnings("error")


def lanes(text):
    return pd.DataFrame({"highway": [text], "road_m": 10.0, "before_m": 3.0, "after_m": 4.0, "own": True})


def routes(text):
    table = pd.DataFrame({"direction": ["truth_to_proposal"], "reason": [text], "line": [LINE]})
    table.attrs["reasons"] = pd.DataFrame({"reason": [text], "routes": [3]})
    return table


def scene(text, image, folder):
    path = write_png(folder / "scene.png", image)
    return Scene(text, path, (SIDE, SIDE), GRID, folder, {"images": "*.png", "osm": text})


def layers(text):
    line = shapely.LineString(GRID.pixel_to_world(np.array([[0.0, 32], [64, 32]])))
    roads = gpd.GeoDataFrame({"highway": ["residential"], "name": [text]}, geometry=[line], crs=GRID.crs)
    return {text: OsmLayers(roads.to_crs(4326), roads.iloc[:0], None, text)}


def chip(text, image, truth, folder):
    paths = write_png(folder / "image.png", image), write_png(folder / "mask.png", truth)
    return SimpleNamespace(chip=text, image=paths[0], mask=paths[1], gsd_m=0.5)


def walk(text, image, quarters, folder):
    """(Function of lib.show, its figure with `text` in every place that takes one, whether the text is shown there)."""
    truth, prediction = quarters
    history = {"epoch": [1, 2], "train_loss": [2, 1], "val_iou": [0.1, 0.2], "learning_rate": [1e-4, 0]}
    board = pd.DataFrame({"run": [text, "b"], "metric": [text] * 2, "value": [0.1, 0.2], "low": 0.1, "high": 0.3})
    sweep = pd.DataFrame({"threshold": [0.5], "precision": 0.5, "recall": 0.5, "f1": 0.5, "iou": 0.5})
    footprint = shapely.box(25, 60, 25.001, 60.001).wkt
    manifest = pd.DataFrame({"footprint": [footprint], "split": [text], "label": [text], "scene": [text]})
    case = Case(image, truth, prediction, text, 0.5)
    pair = Pair(text, truth, truth, prediction, {"offset_m": 1.0, "iou": 0.5, "iou_moved": 0.6})
    place = scene(text, image, folder)
    path = write_probability(folder / "probability.png", (prediction / 255).astype(np.float32))
    one = chip(text, image, truth, folder)
    said = pd.DataFrame({"said": [0.2, 0.8], "right": [0.3, 0.7], "weight": [1.0, 2.0]})
    fit = LaneFit({text: 3.0}, lanes(text), (0.1, 0.2), (0.1, 0.2))
    yield charts.training_curves(history, best_epoch=2, title=text), True
    yield charts.plot_scoreboard(board, title=text, note=text), True
    yield charts.widths_histogram([3.0, 4.0], [text, "b"]), True
    yield charts.lane_dumbbells(lanes(text), title=text), True
    yield charts.reliability_diagram({text: said}, title=text, note=text), True
    yield charts.precision_recall(sweep, chosen=0.5), False
    yield figures.label_overlay(image, truth, title=text, label=text), True
    yield figures.overlay_grid([image] * 2, [truth] * 2, titles=[text] * 2, label=text), True
    yield figures.comparison(image, truth, prediction, title=text), True
    yield figures.error_panels(image, truth, [prediction], [text]), True
    yield figures.best_and_worst([case]), True
    yield figures.lost_routes(image, [LINE], [LINE], routes(text), title=text), True
    yield splits.split_map(manifest, title=text), True
    yield label_figures.offset_figure(place, layers(text), "roads", METRIC, {text: (1.0, 1.0)}), True
    yield label_figures.suggestion_figure(fit), True
    yield label_figures.widths_figure([place], layers(text), METRIC), False
    yield label_figures.study_figure([pair]), True
    yield storyboard.trainings(one, {text: (path, 0.5)}), True
    yield storyboard.shapes(one, path, 0.5, "buildings"), True
    row = {"chip": text, "image": one.image, "mask": one.mask, "class": "roads", "gsd_m": 0.5}
    yield storyboard.both_masks(pd.DataFrame([row]), pd.Series([path]), {"roads": 0.5}), True
    yield class_figures.labels_figure(pd.DataFrame([row]), "roads", label=text), True
    yield class_figures.classes_figure([image], [{"roads": truth}], titles=[text], gsd_m=[0.5], title=text), True


def test_every_figure_shows_a_name_as_it_is_written(text, image, quarters, tmp_path):
    start = text.rsplit("_", 1)[-1][-12:]  # of a long chip name the end is shown
    for figure, shown in walk(text, image, quarters, tmp_path):
        _, content = figure.encoded()
        written = [part.get_text() for part in figure.findobj(Text)]
        assert not shown or any(start in line or text[:30] in line for line in written), (figure.alt, written)
        assert max(map(len, written)) <= 140 and len(figure.alt) <= 300 and len(content) < 10**6


def test_the_walk_leaves_no_figure_out():
    makers = {
        f"{room.__name__.split('.')[-1]}.{name}"
        for room in ROOMS
        for name, function in inspect.getmembers(room, inspect.isfunction)
        if not name.startswith("_") and function.__module__ == room.__name__
        if function.__annotations__.get("return") in (Figure, Figure | None)
    }
    source = inspect.getsource(walk)
    assert [name for name in makers if f"yield {name}(" not in source] == []
    assert source.count("yield ") == len(makers)


def test_many_lines_become_one(image, quarters):
    figure = figures.comparison(image, *quarters, title="a\nb\n" * 1000)
    figure.encoded()
    assert figure.axes[0].get_title(loc="left").startswith("a b a b")
