"""A map in a browser: its title, a legend that folds, opacity, and a swipe that draws the layers aside."""

import geopandas as gpd
import numpy as np
import pytest
from shapely import LineString

from lib.show import leaflet, webmap
from lib.show.canvas import PREDICTION, TRUTH

pytestmark = pytest.mark.browser
CLIP = "document.querySelector('.leaflet-overlay-pane').style.clip"
PLACE = "document.querySelector('.place')"
SWIPE = "document.querySelector('.view input[type=checkbox]')"
LEGEND = "document.querySelector('.leaflet-control-layers')"


@pytest.fixture(params=["mercator", "pixels"])
def page(request, grids, tmp_path):
    """A map with every kind of layer, with georeference and without."""
    grid = grids[request.param]
    mask = np.zeros((grid.height, grid.width), np.uint8)
    mask[10:30, 10:40] = 255
    line = np.array([[0.0, 0], [40, 30]])
    made = webmap.scene_map(np.dstack([mask] * 3), grid, title="a <b>town</b>: {{7*7}}")
    webmap.add_mask(made, mask, "prediction", PREDICTION)
    webmap.add_mask(made, mask, "truth", TRUTH, show=False)
    webmap.add_errors(made, mask, mask)
    roads = gpd.GeoDataFrame({"name": ["x"]}, geometry=[LineString(grid.pixel_to_world(line))], crs=grid.crs)
    webmap.add_vectors(made, roads, "OpenStreetMap", columns=["name"], show=False)
    webmap.add_lines(made, [line], "made up", color=PREDICTION, dashed=True)
    return leaflet.save_map(made, tmp_path / "map.html")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_map_fits_a_window_and_folds_its_legend(browser, page, width, dark):
    browser.open(page, width, dark)
    assert browser.complaints == []
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value("document.documentElement.lang") == "en"
    assert browser.value("document.title") == "a <b>town</b>: {{7*7}}"
    assert browser.value("document.querySelector('.view strong').textContent") == "a <b>town</b>: {{7*7}}"
    assert browser.value(f"{LEGEND}.classList.contains('leaflet-control-layers-expanded')") == (width > 600)
    browser.value("document.querySelector('.leaflet-control-layers-toggle').click()")
    box = browser.value(f"{LEGEND}.getBoundingClientRect().toJSON()")
    assert box["left"] >= 0 and box["right"] <= width and box["height"] > 100


def test_errors_are_off_at_first_and_no_two_swatches_are_alike(browser, page):
    browser.open(page)
    rows = "[...document.querySelectorAll('.leaflet-control-layers-overlays label')]"
    shown = browser.value(f"{rows}.map(l => [l.textContent.trim(), l.querySelector('input').checked])")
    assert shown == [
        ["image", True],
        ["prediction", True],
        ["truth", False],
        ["errors: found false missed", False],
        ["OpenStreetMap", False],
        ["made up", True],
    ]
    swatches = browser.value("[...document.querySelectorAll('.swatch')].map(s => s.outerHTML)")
    assert len(swatches) == len(set(swatches)) == 7


def test_swipe_clips_the_layers_and_leaves_the_image(browser, page):
    browser.open(page, 1000)
    assert browser.value(CLIP) == "" and browser.value(f"{PLACE}.hidden")
    browser.value(f"{SWIPE}.click()")
    parts = browser.value(f"{CLIP}.match(/-?[0-9.]+px/g).map(parseFloat)")
    _, right, _, left = parts
    assert right - left == pytest.approx(500, abs=1)
    browser.value(f"{PLACE}.value = 1; {PLACE}.dispatchEvent(new Event('input'))")
    moved = browser.value(f"{CLIP}.match(/-?[0-9.]+px/g).map(parseFloat)")
    assert moved[3] > left + 400 and moved[:3] == parts[:3]
    assert browser.value("document.querySelector('.leaflet-tile-pane img.leaflet-image-layer') !== null")
    browser.value(f"{SWIPE}.click()")
    assert browser.value(CLIP) == ""


def test_opacity_is_of_all_layers(browser, page):
    browser.open(page)
    slider = "document.querySelector('.view input[type=range]')"
    browser.value(f"{slider}.value = 0.25; {slider}.dispatchEvent(new Event('input'))")
    assert browser.value("document.querySelector('.leaflet-overlay-pane').style.opacity") == "0.25"
