"""Roads that were digitised as polygons: where roads alone are asked for, they are road surface."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio.features
import shapely

from lib.errors import InputError, PPLinkNetWarning
from lib.grid import Grid
from lib.masks.rasterize import rasterize_roads
from lib.osm.lanes import PROFILES
from lib.osm.layers import read_osm

UTM = "EPSG:32635"
LEFT, TOP = 385_500.0, 6_672_900.0
GRID = Grid((1.0, 0.0, LEFT, 0.0, -1.0, TOP), UTM, 128, 128)
STRIP = shapely.Polygon([(10.2, -20.2), (100.7, -20.2), (100.7, -31.9), (10.2, -31.9)])
BOW = shapely.Polygon([(10.2, -60.2), (60.7, -72.2), (60.7, -60.2), (10.2, -72.2)])  # two ends cross over
LINE = shapely.LineString([(20, -100), (100, -100)])


def save(path, *shapes, layer=None, **columns):
    placed = [shapely.transform(shape, lambda xy: xy + (LEFT, TOP)) for shape in shapes]
    gpd.GeoDataFrame(columns or {"id": range(len(shapes))}, geometry=placed, crs=UTM).to_file(path, layer=layer)
    return path


def burnt(*shapes):
    placed = [shapely.transform(shape, lambda xy: xy + (LEFT, TOP)) for shape in shapes]
    return rasterio.features.rasterize(placed, (128, 128), transform=rasterio.Affine(*GRID.transform)) > 0


@pytest.mark.parametrize("profile", PROFILES)
def test_polygons_and_lines_may_be_mixed(tmp_path, profile):
    roads = read_osm(save(tmp_path / "labels.geojson", STRIP, LINE, BOW), GRID, ("roads",)).roads
    mask = rasterize_roads(roads, GRID, PROFILES[profile]) > 0
    assert np.array_equal(mask[:85], burnt(STRIP, shapely.make_valid(BOW))[:85])
    line = rasterize_roads(roads.iloc[[1]], GRID, PROFILES[profile]) > 0
    assert line.any() and np.array_equal(mask[85:], line[85:])


def test_who_asks_for_buildings_too_gets_buildings(tmp_path):
    path = save(tmp_path / "labels.gpkg", STRIP, LINE)
    for layers, roads, buildings in ((("roads", "buildings"), 1, 1), (("buildings",), 0, 1), (("roads",), 2, 0)):
        osm = read_osm(path, GRID, layers)
        assert (len(osm.roads), len(osm.buildings)) == (roads, buildings)


def test_tags_and_names_of_layers_say_more_than_the_task(tmp_path):
    tagged = save(tmp_path / "tagged.geojson", STRIP, LINE, building=["yes", None], highway=[None, "residential"])
    named = save(tmp_path / "named.gpkg", STRIP, layer="footprints")
    assert read_osm(tagged, GRID, ("roads",)).roads.geom_type.tolist() == ["LineString"]
    assert read_osm(named, GRID, ("roads",)).roads.empty
    save(named, STRIP, LINE, layer="roads drawn")
    assert len(read_osm(named, GRID, ("roads",)).roads) == 2


def test_the_outline_of_an_area_is_no_road(tmp_path):
    outline = shapely.box(-500, -500, 500, 500)  # 2 x its area by its perimeter: 500 m
    path = save(tmp_path / "labels.geojson", STRIP, outline)
    with pytest.warns(PPLinkNetWarning, match="1 of 2 rows of layer 'labels' are no road.* wider than 100 m"):
        assert len(read_osm(path, GRID, ("roads",)).roads) == 1


def test_a_layer_with_neither_is_refused(tmp_path):
    with pytest.raises(InputError, match="no layer with lines or polygons"):
        read_osm(save(tmp_path / "points.gpkg", shapely.Point(5, -5)), GRID, ("roads",))
