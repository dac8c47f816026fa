import cv2
import geopandas as gpd
import numpy as np
import pytest
import shapely

from lib.errors import InputError
from lib.grid import LONLAT, Grid
from lib.masks.rasterize import rasterize_buildings, rasterize_roads

SCENE = Grid((0.5, 0.0, 385500.0, 0.0, -0.5, 6672900.0), "EPSG:32635", 1500, 1400)
PLAIN = Grid((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None, 200, 200)  # pixels are metres, y down


def test_a_gap_parts_touching_houses_and_leaves_free_walls():
    row = [shapely.box(20 + 30 * k, 50, 50 + 30 * k, 90) for k in range(4)]
    house = shapely.box(20, 120, 60, 160)
    twice = [house, house, house.difference(shapely.box(30, 130, 40, 140)), shapely.box(20, 120, 40, 140)]  # and a part
    frame = gpd.GeoDataFrame(geometry=[*row, *twice])
    joined, parted = (rasterize_buildings(frame, PLAIN, gap_m=gap_m, gsd_m=1.0) for gap_m in (0.0, 2.0))
    assert cv2.connectedComponents(joined[:110])[0] == 2
    assert cv2.connectedComponents(parted[:110], connectivity=8)[0] == 5
    assert (parted[70] == 0).sum() - (joined[70] == 0).sum() == 3 * 2
    assert np.array_equal(parted[:, :45], joined[:, :45])
    assert np.array_equal(parted[110:], joined[110:])  # a house mapped twice has no neighbour


def test_shapes_that_cannot_be_brought_into_the_grid_are_refused(lines):
    with pytest.raises(InputError, match="state no CRS"):
        rasterize_roads(lines([(0, 0), (1, 1)]), SCENE)
    with pytest.raises(InputError, match="give gsd_m"):
        rasterize_roads(lines([(0, 0), (1, 1)]), PLAIN)
    swapped = lines([(60.17, 124.94), (60.18, 124.95)], crs=LONLAT)
    with pytest.raises(InputError, match="axes swapped"):
        rasterize_roads(swapped, SCENE)
