"""Figures of labels: what they are given is what they show."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

from lib.chips.sources import find_scenes
from lib.chips.vectors import read_vectors
from lib.osm.lanes import METRIC
from lib.show import label_figures
from lib.trust.alignment import OFFSET_COLUMNS
from lib.trust.lane_fit import LaneFit
from lib.trust.noise_study import Pair

SIDE_PX, GSD_M = 300, 0.5
CLASSES = {"highway": ["residential"], "road_m": [900.0], "before_m": [3.25], "after_m": [4.0], "own": [True]}

NOTHING = pd.DataFrame(columns=["scene", "by", *OFFSET_COLUMNS])


@pytest.fixture
def scenes(tmp_path):
    """One scene of 150 m with a street across."""
    left, top = 500_000.0, 6_700_000.0
    options = {"width": SIDE_PX, "height": SIDE_PX, "count": 3, "dtype": "uint8", "crs": "EPSG:32635"}
    transform = rasterio.Affine(GSD_M, 0, left, 0, -GSD_M, top)
    with rasterio.open(tmp_path / "scene.tif", "w", transform=transform, **options) as file:
        file.write(np.full((3, SIDE_PX, SIDE_PX), 90, np.uint8))
    line = shapely.LineString([(left - 20, top - 75), (left + 170, top - 75)])
    roads = gpd.GeoDataFrame({"highway": ["residential"]}, geometry=[line], crs="EPSG:32635")
    roads.to_file(tmp_path / "osm.gpkg", layer="roads")
    return find_scenes({"images": "*.tif", "osm": "osm.gpkg"}, tmp_path, GSD_M)


def texts(figure) -> str:
    return " ".join(ax.get_title(loc) for ax in figure.axes for loc in ("left", "center"))


def test_an_offset_is_shown_before_and_after(scenes):
    layers = read_vectors(scenes, "roads")
    figure = label_figures.offset_figure(scenes[0], layers, "roads", METRIC, {"scene": (1.0, -2.0)})
    assert figure.encoded()[0] == "image/jpeg"
    assert "scene: as OpenStreetMap has it" in texts(figure) and "moved +1.0 m east, -2.0 m north" in texts(figure)


def test_widths_are_shown_where_there_are_roads(scenes):
    layers = read_vectors(scenes, "roads")
    assert label_figures.widths_figure(scenes, layers, METRIC).encoded()[0] == "image/png"
    assert label_figures.widths_figure(scenes, {}, METRIC) is None


@pytest.mark.parametrize(
    ("held_out", "verdict"),
    [((0.6, 0.65), "on others 0.600 to 0.650"), ((np.nan, np.nan), "no other chips to test it on")],
)
def test_a_suggestion_says_how_well_it_holds(held_out, verdict):
    found = LaneFit({"residential": 4.0}, pd.DataFrame(CLASSES), (0.5, 0.7), held_out)
    assert f"0.500 to 0.700 on the chips of the fit, {verdict}" in texts(label_figures.suggestion_figure(found))


def test_a_study_shows_each_place():
    mask = np.zeros((40, 60), np.uint8)
    mask[18:22] = 255
    pairs = [
        Pair(f"AOI_{name}", mask, mask, mask, {"offset_m": 1.5, "iou": 0.4, "iou_moved": 0.6}) for name in ("a", "b")
    ]
    figure = label_figures.study_figure(pairs)
    assert figure.encoded()[0] == "image/jpeg" and "b: moved 1.5 m, IoU 0.40 → 0.60" in texts(figure)


def test_the_panel_offers_the_fitted_widths_and_reads_the_scene_at_its_own_pixels(scenes, area):
    layers = read_vectors(scenes, "roads")
    found = LaneFit({"residential": 6.5}, pd.DataFrame(CLASSES), (0.5, 0.7), (0.6, 0.65))
    measured = pd.DataFrame([("scene", "image", 1.0, -2.0, 0.9, 0.1)], columns=NOTHING.columns)
    _, settled = area("gsd_m: 1.0\n", "01_rasterize_osm")
    coarse = find_scenes({"images": "*.tif", "osm": "osm.gpkg"}, scenes[0].data_dir, 1.0)
    panel = label_figures.lane_panel(settled, coarse, layers, measured, found)
    assert [*panel.boxes] == ["residential"] and panel.ground.size_px == (SIDE_PX, SIDE_PX)
    assert "4.4%" in panel.status.value and "150 m across" in panel.status.value  # 2 x 3.25 m of 150 m: 45 of 1024 rows
    assert "+1.0 m east, -2.0 m north" in panel.offset.value and "confidence 0.90" in panel.offset.value
    panel.widths.value = "by class: fitted"
    assert "8.7%" in panel.status.value
    panel.point("in", 0.5, 0.5)
    assert "8.7%" in panel.status.value, "nothing smaller than FINEST_PX is looked at"
    unsure = measured.assign(confidence=0.3)
    said = [
        label_figures.lane_panel(settled, coarse, layers, offsets).offset.value for offsets in (unsure, measured[:0])
    ]
    assert "not certain (confidence 0.30" in said[0] and "too small or too coarse" in said[1]


def test_a_profile_in_pixels_is_drawn_as_wide_on_any_picture(scenes, area):
    _, settled = area("profile: paper\ngsd_m: 0.5\n", "01_rasterize_osm")
    panel = label_figures.lane_panel(settled, scenes, read_vectors(scenes, "roads"), NOTHING)
    assert panel.widths.disabled and panel.lane_width.disabled and "draws lanes in pixels" in panel.offset.value
    assert "2.8%" in panel.status.value  # 8 px of 300, and what OpenCV rounds on 1024 rows
