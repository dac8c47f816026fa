import geopandas as gpd
import pytest
import shapely

from lib.grid import LONLAT
from lib.osm.areas import closed_ways_as_lines, is_area_highway
from lib.osm.layers import read_osm

RING = [(24.0, 60.0), (24.001, 60.0), (24.001, 60.001), (24.0, 60.001), (24.0, 60.0)]
COURT = [(24.0004, 60.0004), (24.0006, 60.0004), (24.0006, 60.0006), (24.0004, 60.0004)]
PARKING = {"highway": "service", "amenity": "parking"}


def roads(*rows):
    return gpd.GeoDataFrame(list(rows), geometry="geometry", crs=LONLAT)


def polygon(holes=(), **tags):
    return {**tags, "geometry": shapely.Polygon(RING, holes)}


@pytest.mark.parametrize(
    ("tags", "is_area"),
    [
        ({"highway": "pedestrian", "area": "yes"}, True),
        ({"highway": "pedestrian", "area": "True"}, True),
        ({"highway": "rest_area", "area": None}, True),
        ({"highway": "service", "area": None}, False),
        ({"highway": "pedestrian", "area": "no"}, False),
        ({"highway": "pedestrian", "area": False}, False),
    ],
)
def test_a_closed_way_is_a_line_unless_it_says_area(tags, is_area):
    assert is_area_highway(tags["highway"], tags["area"]) == is_area
    for osm_id in ("way/1", "w1"):
        (geometry,) = closed_ways_as_lines(roads(polygon(osm_id=osm_id, **tags))).geometry
        assert geometry.geom_type == ("Polygon" if is_area else "LineString")
        assert list(geometry.exterior.coords if is_area else geometry.coords) == RING


def test_multipolygons_and_surfaces_stay():
    table = roads(polygon(osm_id="relation/1", highway="pedestrian"), polygon(osm_id="way/2", highway="service"))
    assert closed_ways_as_lines(table).geom_type.tolist() == ["Polygon", "LineString"]
    surfaces = roads(polygon(highway="residential"), polygon([COURT], highway="residential"))
    assert closed_ways_as_lines(surfaces).geom_type.tolist() == ["Polygon", "Polygon"]


def test_of_a_ring_that_comes_twice_one_line_stays():
    turned = {"highway": "residential", "geometry": shapely.LineString(RING[2:] + RING[1:3])}
    surface = {"highway": "residential", "geometry": shapely.MultiPolygon([shapely.Polygon(RING)])}
    other = {"highway": "service", "geometry": shapely.Polygon(COURT)}
    with_hole = polygon([COURT], highway="pedestrian")
    kinds = closed_ways_as_lines(roads(turned, surface, other, with_hole)).geom_type.tolist()
    assert kinds == ["LineString", "LineString", "Polygon"]


def test_gdal_says_in_which_column_a_way_is():
    table = roads(
        {"highway": "service", "osm_id": None, "osm_way_id": "7", "geometry": shapely.Polygon(RING)},
        {"highway": "pedestrian", "osm_id": "8", "osm_way_id": None, "geometry": shapely.Polygon(RING)},
    )
    assert closed_ways_as_lines(table).geom_type.tolist() == ["LineString", "Polygon"]


def test_a_road_around_a_car_park_is_one_line_on_every_route(tmp_path):
    extract = tmp_path / "parking.osm"
    nodes = "".join(f'<node id="{i}" version="1" lon="{x}" lat="{y}"/>' for i, (x, y) in enumerate(RING[:4], 1))
    refs = "".join(f'<nd ref="{i}"/>' for i in (1, 2, 3, 4, 1))
    tags = "".join(f'<tag k="{key}" v="{value}"/>' for key, value in PARKING.items())
    extract.write_text(f'<osm version="0.6">{nodes}<way id="1" version="1">{refs}{tags}</way></osm>')
    exported = tmp_path / "parking.geojson"  # as osmtogeojson and osmnx write it
    roads(polygon(id="way/1", **PARKING)).to_file(exported)
    for path in (extract, exported):
        (geometry,) = read_osm(path).roads.geometry
        assert geometry.geom_type == "LineString"
        assert list(geometry.coords) == RING
