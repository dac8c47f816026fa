"""Lane widths: fitted to clean masks, and drawn as sliders ask for them."""

import geopandas as gpd
import numpy as np
import pytest
from shapely import LineString

from lib.chips.manifest import load_manifest, select
from lib.errors import ParameterError
from lib.grid import Grid
from lib.osm.lanes import METRIC, PAPER, lane_profile
from lib.trust.lane_fit import drawn_widths, fit_lane_widths, road_drawer

SIDE, GSD_M = 64, 0.5


def test_lane_widths_are_fitted_to_the_clean_masks(built):
    path, scenes, layers = built
    manifest = load_manifest(path)
    clean = [select(manifest, "clean", split) for split in ("train", "val")]
    found = fit_lane_widths(*clean, scenes, layers, lane_profile("metric"))
    assert found.lane_widths_m["residential"] == pytest.approx(5.0, abs=0.3)  # two lanes, 10 m
    assert found.helps and found.held_out_iou[0] == pytest.approx(0.65, abs=0.06) and found.held_out_iou[1] > 0.93
    assert found.record()["held_out_iou"][1] == found.held_out_iou[1]
    alone = fit_lane_widths(clean[0], clean[1].iloc[:0], scenes, layers, METRIC)
    assert not alone.helps and alone.record()["held_out_iou"] is None
    assert fit_lane_widths(clean[0].iloc[:0], clean[1], scenes, layers, METRIC) is None
    with pytest.raises(ParameterError, match="in pixels"):
        fit_lane_widths(*clean, scenes, layers, PAPER)


@pytest.mark.parametrize(
    "crs, unit, origin",
    [("EPSG:32635", 1.0, (500_000, 6_652_000)), ("EPSG:3857", 2.0, (3e6, 8_399_738))],
    ids=["utm", "mercator"],  # at 60 degrees north a metre is two web-mercator units
)
def test_roads_are_drawn_where_the_sliders_put_them(crs, unit, origin):
    pixel = GSD_M * unit
    grid = Grid((pixel, 0, origin[0], 0, -pixel, origin[1]), crs, SIDE, SIDE)
    world = grid.pixel_to_world(np.array([[-20.0, 32], [90, 32]]))
    far = grid.pixel_to_world(np.array([[-2e4, -2e4], [-2e4, -3e4]]))
    roads = gpd.GeoDataFrame(
        {"highway": ["residential", "residential"]}, geometry=[LineString(world), LineString(far)], crs=crs
    ).to_crs("EPSG:4326")
    draw = road_drawer(roads, grid, METRIC, 15.0)
    rows = np.nonzero(draw(2.0, ("residential",), 0.0, 0.0)[:, 32])[0]
    assert len(rows) == pytest.approx(8, abs=1) and rows.mean() == pytest.approx(31.5, abs=0.6)  # two lanes of 2 m
    moved = np.nonzero(draw(2.0, ("residential",), 3.0, 5.0)[:, 32])[0]
    assert moved.mean() == pytest.approx(rows.mean() - 10, abs=0.6)  # 5 m north
    assert not draw(2.0, ("primary",), 0.0, 0.0).any() and not draw(2.0, (), 0.0, 0.0).any()
    with pytest.raises(ParameterError, match="CRS"):
        road_drawer(roads, Grid((1, 0, 0, 0, 1, 0), None, SIDE, SIDE), METRIC, 15.0)


def test_widths_of_the_roads_that_are_drawn(built):
    _, scenes, layers = built
    widths = drawn_widths(scenes, layers, METRIC).set_index("highway")["width_m"]
    assert widths.to_dict() == {"residential": 6.5, "track": 2.75}
    assert drawn_widths(scenes, {}, METRIC).empty
