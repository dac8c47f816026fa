"""Pictures and charts: what they show is where and what it should be, and nothing warns."""

import json
import subprocess
import sys
from io import BytesIO

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from lib.apls.worst import explain
from lib.errors import InputError, ParameterError
from lib.paths import ROOT
from lib.scores.evaluate import Case
from lib.show import canvas, charts, figures, sheet
from lib.show.splits import split_map

pytestmark = pytest.mark.filterwarnings("error")

SIDE = 64


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 190, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def quarters() -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction: upper left found, upper right missed, lower left false, lower right background."""
    truth, prediction = np.zeros((2, SIDE, SIDE), np.uint8)
    half = SIDE // 2
    truth[:half] = 255
    prediction[:, :half] = 255
    return truth, prediction


def shown(figure: Figure) -> np.ndarray:
    """Pixels of a figure as a notebook shows it."""
    return np.asarray(Image.open(BytesIO(figure.encoded()[1])).convert("RGB"))


def near(pixel: np.ndarray, color: str, tolerance: int = 60) -> bool:
    return int(np.abs(pixel.astype(int) - canvas.rgb(color)).max()) <= tolerance


def texts(figure: Figure) -> list[str]:
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return legends + [text.get_text() for ax in figure.axes for text in ax.texts]


def test_overlay_tints_mask_and_leaves_the_rest(image):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:40, 20:40] = 255
    composed = canvas.overlay_rgb(image, mask, "#FF0000", alpha=0.5, outline_px=1)
    assert (composed[20, 20:40] == (255, 0, 0)).all()  # outline, inside the mask
    inside = (image[22:38, 22:38] * 0.5 + np.array([255, 0, 0]) * 0.5).round()
    assert np.abs(composed[22:38, 22:38] - inside).max() <= 1
    outside = np.ones((SIDE, SIDE), bool)
    outside[19:41, 19:41] = False  # a dark edge, one pixel wide, lies around the mask
    assert (composed[outside] == image[outside]).all()
    assert composed is not image


def test_ignored_pixels_turn_grey_and_are_neither_right_nor_wrong(image, quarters):
    truth, prediction = quarters
    truth[:, -8:] = 127
    areas = canvas.confusion(truth, prediction)
    assert areas["ignore"][:, -8:].all() and not areas["fn"][:, -8:].any()
    assert sum(int(areas[name].sum()) for name in ("tp", "fp", "fn")) == 3 * SIDE * SIDE // 4 - 8 * SIDE // 2
    changed = canvas.overlay_rgb(image, truth)[:, -8:].astype(float)
    assert (
        np.abs(changed - canvas.rgb(canvas.IGNORE)).mean()
        < np.abs(image[:, -8:] - np.array(canvas.rgb(canvas.IGNORE))).mean()
    )


def test_errors_have_their_colours(image, quarters):
    composed = canvas.error_rgb(image, *quarters)
    half, quarter = SIDE // 2, SIDE // 4
    assert near(composed[quarter, quarter], canvas.TP)
    assert near(composed[quarter, half + quarter], canvas.FN)
    assert near(composed[half + quarter, quarter], canvas.FP)
    background = composed[half + quarter, half + quarter].astype(int)
    assert background.max() - background.min() < 60  # muted


def test_comparison_shows_the_errors_in_place_and_states_their_shares(image, quarters):
    figure = figures.comparison(image, *quarters, gsd_m=0.5, title="chip 7")
    assert isinstance(figure, Figure) and len(figure.axes) == 2
    assert {"found (TP) 33%", "false alarm (FP) 33%", "missed (FN) 33%"} <= set(texts(figure))
    pixels = shown(figure)
    ax = figure.axes[1]
    for column, row, color in ((16, 16, canvas.TP), (48, 16, canvas.FN), (16, 44, canvas.FP)):
        x, y = ax.transData.transform((column, row))
        assert near(pixels[pixels.shape[0] - int(y), int(x)], color), color


def test_comparison_names_the_hatching_only_where_there_is_some(image, quarters):
    truth, prediction = quarters
    assert "not scored" not in texts(figures.comparison(image, truth, prediction))
    truth[:4] = 127
    assert "not scored" in texts(figures.comparison(image, truth, prediction))


def test_an_empty_pair_states_no_shares(image):
    empty = np.zeros((SIDE, SIDE), np.uint8)
    assert "found (TP)" in texts(figures.comparison(image, empty, empty))


def test_label_overlay_with_and_without_the_bare_image(image, quarters):
    truth, _ = quarters
    assert len(figures.label_overlay(image, truth).axes) == 2
    alone = figures.label_overlay(image, truth, beside=False, gsd_m=0.25, title="a", label="clean mask")
    assert len(alone.axes) == 1
    assert "5 m" not in texts(alone) and "2 m" in texts(alone)  # at most a quarter of 16 m
    assert alone.axes[0].get_title(loc="left") == "a"


def test_overlay_grid_has_one_axes_a_chip(image, quarters):
    figure = figures.overlay_grid([image] * 5, [quarters[0]] * 5, titles=list("abcde"), gsd_m=[0.5] * 4 + [None])
    assert len(figure.axes) == 5
    assert [ax.get_title(loc="left") for ax in figure.axes] == list("abcde")


def test_best_and_worst_ranks_and_repeats_no_chip(image, quarters):
    cases = [Case(image, *quarters, name=f"c{place}", score=place / 10) for place in range(7)]
    figure = figures.best_and_worst(cases, count=3)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert [title.split()[-1] for title in titles] == ["c6", "c5", "c4", "c0", "c1", "c2"]
    assert titles[0].startswith("best") and titles[-1].startswith("worst")
    few = [ax.get_title(loc="left").split()[-1] for ax in figures.best_and_worst(cases[:3], count=4).axes]
    assert few == ["c2", "c1", "c0"]
    assert len(figures.best_and_worst(cases[:1]).axes) == 1


def test_error_panels_show_each_prediction_beside_the_image(image, quarters):
    truth, prediction = quarters
    figure = figures.error_panels(image, truth, [prediction, truth, truth], ["one", "two", "three"], gsd_m=0.5)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["image", "one", "two", "three"]
    with pytest.raises(InputError):
        figures.error_panels(image, truth, [prediction[:10]], ["one"])


def test_lost_routes_draws_the_worst_and_counts_all(image):
    line = np.array([[4.0, 4.0], [60.0, 4.0], [60.0, 60.0]])
    routes = pd.DataFrame({"direction": ["truth_to_proposal", "proposal_to_truth"], "reason": ["no snap", "detour"]})
    routes["line"] = [line, line[::-1]]
    figure = figures.lost_routes(image, [line], [line + 2], routes, gsd_m=0.5, worst=1)
    assert {"detour: 1", "no snap: 1", "true roads"} <= set(texts(figure)) and "route made up" not in texts(figure)
    routes.attrs["reasons"] = pd.DataFrame({"reason": ["no snap", "detour", "detour"], "routes": [1200, 3, 4]})
    figure = figures.lost_routes(image, [line], [line + 2], routes, gsd_m=0.5)
    assert {"detour: 7", "no snap: 1,200", "route made up"} <= set(texts(figure))
    assert [text for text in texts(figure) if text.isdigit()] == ["1", "2"]
    with pytest.raises(InputError, match="missing: line"):
        figures.lost_routes(image, [line], [line], routes.drop(columns="line"))


def test_lost_routes_reads_what_apls_explains(image):
    truth = [np.array([[4.0, 10.0], [60.0, 10.0]]), np.array([[4.0, 50.0], [60.0, 50.0]])]
    routes = explain(truth, [truth[0] + (0, 1)], gsd_m=1.0)
    figure = figures.lost_routes(image, truth, [truth[0] + (0, 1)], routes, gsd_m=1.0)
    assert any(text.startswith("no snap: ") for text in texts(figure))
    nothing = explain(truth, truth, gsd_m=1.0)
    assert isinstance(figures.lost_routes(image, truth, truth, nothing), Figure)


def test_training_curves_mark_the_best_epoch():
    history = {
        "epoch": [1, 2, 3],
        "train_loss": [3.0, 2, 1],
        "val_loss": [3.0, 2, 2],
        "val_iou": [0.1, 0.6, 0.5],
        "learning_rate": [2e-4, 1e-4, 0],
    }
    figure = charts.training_curves(history)
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "validation IoU", "learning rate"]
    assert "best: epoch 2, IoU 0.600" in texts(figure)
    assert "best: epoch 3, IoU 0.500" in texts(charts.training_curves(history, best_epoch=3))
    with pytest.raises(InputError, match="best_epoch"):
        charts.training_curves(history, best_epoch=9)
    with pytest.raises(InputError, match="learning_rate"):
        charts.training_curves(pd.DataFrame(history).drop(columns="learning_rate"))


def test_training_curves_of_one_epoch_are_visible():
    history = {"epoch": [1], "train_loss": [0.3], "val_iou": [0.2], "learning_rate": [2e-4]}
    assert charts.training_curves(history).axes[0].lines[0].get_marker() == "o"


def test_scoreboard_draws_values_and_intervals():
    rows = [
        {"run": run, "metric": metric, "value": value, "low": value - 0.1, "high": value + 0.1}
        for metric, values in (("IoU", (0.3, 0.5)), ("APLS", (0.2, 0.6)))
        for run, value in zip(("scratch", "two stages"), values, strict=True)
    ]
    figure = charts.scoreboard(pd.DataFrame(rows), note="10 chips")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["IoU", "APLS"]
    assert [bar.get_width() for bar in figure.axes[1].patches] == [0.2, 0.6]
    assert figure.axes[0].lines[0].get_xdata() == pytest.approx([0.2, 0.4])
    assert "0.600" in texts(figure)


def test_scoreboard_of_seeds_shows_each_and_the_mean():
    table = pd.DataFrame({"run": "a", "metric": "IoU", "value": [0.2, 0.3, 0.4]})
    figure = charts.scoreboard(table)
    assert len(figure.axes[0].lines[0].get_xdata()) == 3
    assert "0.300" in texts(figure)


def test_scoreboard_without_intervals_and_without_a_score():
    table = pd.DataFrame({"run": ["a", "b"], "metric": ["IoU", "IoU"], "value": [0.0, np.nan]})
    assert isinstance(charts.scoreboard(table), Figure)
    with pytest.raises(InputError, match="run, metric, value"):
        charts.scoreboard(table.drop(columns="run"))


def footprint(west: float, south: float, size: float = 0.001) -> str:
    east, north = west + size, south + size
    return f"POLYGON (({west} {south}, {east} {south}, {east} {north}, {west} {north}, {west} {south}))"


def test_split_map_is_in_metres_and_counts():
    places = [footprint(25.0, 60.0), footprint(25.002, 60.0), ""]
    manifest = pd.DataFrame(
        {"footprint": places, "split": ["train", "test", "train"], "label": ["osm", "clean", "osm"]}
    )
    figure = split_map(manifest)
    ring = figure.axes[0].patches[0].get_xy()
    # 0.001 degree is 111.2 m to the north and, at 60 degrees, half of it to the east
    assert np.ptp(ring[:, 1]) == pytest.approx(111.2, abs=0.2)
    assert np.ptp(ring[:, 0]) == pytest.approx(55.6, abs=0.2)
    assert {"train, OSM labels: 1", "test, clean labels: 1", "without a place: 1"} <= set(texts(figure))
    with pytest.raises(InputError, match="no CRS"):
        split_map(manifest.assign(footprint=""))


def test_split_map_parts_towns_that_lie_far_apart():
    places = [footprint(25.0, 60.0), footprint(25.001, 60.0), footprint(10.0, 48.0)]
    manifest = pd.DataFrame(
        {"footprint": places, "split": "train", "label": "osm", "scene": ["helsinki", "helsinki", "town"]}
    )
    figure = split_map(manifest, title="two towns")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["helsinki", "town"]
    assert [len(ax.patches) for ax in figure.axes] == [2, 1]
    scattered = [footprint(degrees, 60.0) for degrees in range(10, 20)]
    country = pd.DataFrame({"footprint": scattered, "split": "train", "label": "osm"})
    assert len(split_map(country).axes) == 1


def test_widths_histogram_sums_to_the_road_length():
    figure = charts.widths_histogram(
        [3.25, 6.5, 6.5, 0.0], lengths_m=[1000, 500, 500, 9000], classes=["service", "primary", "primary", "footway"]
    )
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == pytest.approx(2.0)
    with pytest.raises(InputError, match="wider than 0"):
        charts.widths_histogram([0.0])


def test_precision_recall_marks_the_threshold():
    sweep = pd.DataFrame(
        {
            "threshold": [0.25, 0.5, 0.75],
            "precision": [0.5, 0.7, 0.9],
            "recall": [0.9, 0.7, 0.3],
            "iou": [0.4, 0.5, 0.3],
        }
    )
    figure = charts.precision_recall(sweep.assign(f1=0.6), chosen=0.5)
    assert "threshold 0.5: IoU 0.500" in texts(figure)
    assert len(charts.precision_recall(sweep).axes) == 2


@pytest.mark.parametrize(
    "bad", [np.zeros((SIDE, SIDE - 1), np.uint8), np.zeros((SIDE, SIDE), np.float32)], ids=["shape", "dtype"]
)
def test_a_mask_that_does_not_fit_is_refused(image, bad):
    with pytest.raises(InputError, match="Expected a mask"):
        figures.label_overlay(image, bad)
    with pytest.raises(InputError, match="Expected a mask"):
        figures.comparison(image, np.zeros((SIDE, SIDE), np.uint8), bad)


def test_an_image_that_is_not_rgb_bytes_is_refused(image):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for bad in (image[..., 0], image.astype(np.float32), np.dstack([image, mask])):
        with pytest.raises(InputError, match="RGB"):
            figures.label_overlay(bad, mask)


def test_one_pixel_and_odd_shapes_are_drawn():
    for height, width in ((1, 1), (1, 300), (301, 7)):
        image = np.full((height, width, 3), 90, np.uint8)
        mask = np.full((height, width), 255, np.uint8)
        assert shown(figures.label_overlay(image, mask, gsd_m=0.5)).size


@given(st.floats(1e-3, 1e7))
def test_scale_bar_length_is_round_and_as_long_as_fits(limit_m):
    length_m = sheet.round_length_m(limit_m)
    assert limit_m / 2.5 <= length_m * 1.000001 and length_m <= limit_m * 1.000001
    digit = length_m / 10.0 ** np.floor(np.log10(length_m) + 1e-9)
    assert round(digit, 6) in (1, 2, 5)


def test_scale_bar_has_its_length(image, quarters):
    figure = figures.label_overlay(image, quarters[0], gsd_m=2.0, beside=False)
    figure.encoded()
    ax = figure.axes[0]
    bar = ax.lines[-1]
    ends_px = ax.transData.inverted().transform(bar.get_transform().transform(bar.get_xydata()))[:, 0]
    assert (ends_px[1] - ends_px[0]) * 2.0 == pytest.approx(20)  # a quarter of 128 m, rounded down
    assert "20 m" in texts(figure)
    with pytest.raises(ParameterError, match="gsd_m"):
        figures.label_overlay(image, quarters[0], gsd_m=0.0)


def test_error_colours_part_for_colour_blind_readers():
    # Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB
    simulations = {
        "normal": np.eye(3),
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    }
    colors = np.array([canvas.rgb(color) for color in (canvas.TP, canvas.FP, canvas.FN)]) / 255
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    for name, matrix in simulations.items():
        seen = np.clip(linear @ np.transpose(matrix), 0, 1)
        seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
        lab = cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
        distances = [np.linalg.norm(lab[one] - lab[other]) for one, other in ((0, 1), (0, 2), (1, 2))]
        assert min(distances) > 30, name  # 2.3 is just noticeable


def test_sheets_stay_small_and_say_what_they_show(image, quarters):
    figure = figures.comparison(image, *quarters, title="chip")
    mime, content = figure.encoded()
    assert mime == "image/jpeg" and len(content) < 400_000
    assert "chip" in figure.alt
    chart = charts.widths_histogram([3.0, 6.0])
    assert chart.encoded()[0] == "image/png"


def test_save_figure_leaves_one_whole_file(tmp_path, image, quarters):
    path = sheet.save_figure(figures.comparison(image, *quarters), tmp_path / "deep" / "errors")
    with Image.open(path) as written:
        assert written.width > 800
    assert [entry.name for entry in path.parent.iterdir()] == ["errors.jpg"]


@pytest.mark.parametrize("suffix, tolerance", [(".png", 0), (".jpg", 12), (".webp", 12)])
def test_encoded_images_read_back(suffix, tolerance):
    smooth = np.dstack(
        [np.tile(np.linspace(0, 255, 32, dtype=np.uint8), (32, 1))] * 2 + [np.full((32, 32), 80, np.uint8)]
    )
    content = np.frombuffer(canvas.encode_image(smooth, suffix, 95), np.uint8)
    back = cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(back.astype(int) - smooth).max() <= tolerance
    with pytest.raises(ParameterError, match=".png"):
        canvas.encode_image(smooth, ".bmp")


def test_figures_touch_no_pyplot_state():
    code = "import lib.show.figures, sys, json; print(json.dumps('matplotlib.pyplot' in sys.modules))"
    root = ROOT
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) is False
