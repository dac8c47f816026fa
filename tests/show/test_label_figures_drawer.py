"""The road drawer behind the sliders: roads move by true metres."""

import geopandas as gpd
import numpy as np
import pytest
from shapely import LineString

from lib.errors import ParameterError
from lib.grid import Grid
from lib.osm.lanes import METRIC
from lib.show import label_figures

SIDE = 64
GSD_M = 0.5

pytestmark = pytest.mark.filterwarnings("error")


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
    draw = label_figures.road_drawer(roads, grid, METRIC)
    rows = np.nonzero(draw(2.0, ("residential",), 0.0, 0.0)[:, 32])[0]
    assert len(rows) == pytest.approx(8, abs=1) and rows.mean() == pytest.approx(31.5, abs=0.6)  # two lanes of 2 m
    moved = np.nonzero(draw(2.0, ("residential",), 3.0, 5.0)[:, 32])[0]
    assert moved.mean() == pytest.approx(rows.mean() - 10, abs=0.6)  # 5 m north
    assert not draw(2.0, ("primary",), 0.0, 0.0).any() and not draw(2.0, (), 0.0, 0.0).any()
    with pytest.raises(ParameterError, match="CRS"):
        label_figures.road_drawer(roads, Grid((1, 0, 0, 0, 1, 0), None, SIDE, SIDE), METRIC)
