"""Pictures of chips: what they show is where and what it should be, and nothing warns."""

import json
import subprocess
import sys
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lib.apls.worst import explain
from lib.errors import InputError
from lib.paths import ROOT
from lib.scores.evaluate import Case
from lib.show import canvas, figures

SIDE = 64

pytestmark = pytest.mark.filterwarnings("error")


def shown(figure: Figure) -> np.ndarray:
    """Pixels of a figure as a notebook shows it."""
    return np.asarray(Image.open(BytesIO(figure.encoded()[1])).convert("RGB"))


def near(pixel: np.ndarray, color: str, tolerance: int = 60) -> bool:
    return int(np.abs(pixel.astype(int) - canvas.rgb(color)).max()) <= tolerance


def test_comparison_shows_the_errors_in_place_and_states_their_shares(image, quarters, texts):
    figure = figures.comparison(image, *quarters, gsd_m=0.5, title="chip 7")
    assert isinstance(figure, Figure) and len(figure.axes) == 2
    assert {"found (TP) 33%", "false alarm (FP) 33%", "missed (FN) 33%"} <= set(texts(figure))
    pixels = shown(figure)
    ax = figure.axes[1]
    for column, row, color in ((16, 16, canvas.TP), (48, 16, canvas.FN), (16, 44, canvas.FP)):
        x, y = ax.transData.transform((column, row))
        assert near(pixels[pixels.shape[0] - int(y), int(x)], color), color


def test_comparison_names_the_hatching_only_where_there_is_some(image, quarters, texts):
    truth, prediction = quarters
    assert "not scored" not in texts(figures.comparison(image, truth, prediction))
    truth[:4] = 127
    assert "not scored" in texts(figures.comparison(image, truth, prediction))


def test_an_empty_pair_states_no_shares(image, texts):
    empty = np.zeros((SIDE, SIDE), np.uint8)
    assert "found (TP)" in texts(figures.comparison(image, empty, empty))


def test_label_overlay_stands_beside_the_bare_image(image, quarters, texts):
    truth, _ = quarters
    figure = figures.label_overlay(image, truth, gsd_m=0.25, title="a", label="clean mask")
    assert len(figure.axes) == 2
    assert "5 m" not in texts(figure) and "2 m" in texts(figure)  # at most a quarter of 16 m
    assert figure.axes[0].get_title(loc="left") == "a" and "clean mask" in texts(figure)


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


def test_lost_routes_draws_the_worst_and_counts_all(image, texts):
    line = np.array([[4.0, 4.0], [60.0, 4.0], [60.0, 60.0]])
    routes = pd.DataFrame({"direction": ["truth_to_proposal", "proposal_to_truth"], "reason": ["no snap", "detour"]})
    routes["line"] = [line, line[::-1]]
    routes.attrs["reasons"] = pd.DataFrame({"reason": ["no snap", "detour", "detour"], "routes": [1200, 3, 4]})
    figure = figures.lost_routes(image, [line], [line + 2], routes.head(1), gsd_m=0.5)
    assert {"detour: 7", "no snap: 1,200", "true roads"} <= set(texts(figure)) and "route made up" not in texts(figure)
    figure = figures.lost_routes(image, [line], [line + 2], routes, gsd_m=0.5)
    assert {"detour: 7", "no snap: 1,200", "route made up"} <= set(texts(figure))
    assert [text for text in texts(figure) if text.isdigit()] == ["1", "2"]
    with pytest.raises(InputError, match="missing: line"):
        figures.lost_routes(image, [line], [line], routes.drop(columns="line"))


def test_lost_routes_reads_what_apls_explains(image, texts):
    truth = [np.array([[4.0, 10.0], [60.0, 10.0]]), np.array([[4.0, 50.0], [60.0, 50.0]])]
    routes = explain(truth, [truth[0] + (0, 1)], gsd_m=1.0)
    figure = figures.lost_routes(image, truth, [truth[0] + (0, 1)], routes, gsd_m=1.0)
    assert any(text.startswith("no snap: ") for text in texts(figure))
    nothing = explain(truth, truth, gsd_m=1.0)
    assert isinstance(figures.lost_routes(image, truth, truth, nothing), Figure)


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


def test_figures_touch_no_pyplot_state():
    code = "import lib.show.figures, sys, json; print(json.dumps('matplotlib.pyplot' in sys.modules))"
    root = ROOT
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) is False
