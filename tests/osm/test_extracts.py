import numpy as np
import pytest

from lib.errors import InputError
from lib.grid import LONLAT
from lib.osm.layers import BUILDING_TAGS, ROAD_TAGS, read_osm

# a two-way street, a pedestrian square (area), a house with a court (relation), a way cut by the extract
XML = """<?xml version="1.0"?>
<osm version="0.6" generator="test">
{nodes}
{ways}
 <relation id="1" version="1" timestamp="2021-05-01T10:00:00Z">
  <member type="way" ref="3" role="outer"/><member type="way" ref="4" role="inner"/>
  <tag k="type" v="multipolygon"/><tag k="building" v="yes"/></relation>
</osm>
"""
WAYS = {  # id: nodes, tags
    1: ((1, 2, 3), {"highway": "residential", "lanes": "2;3", "width": "12'6&quot;"}),
    2: ((4, 5, 6, 4), {"highway": "pedestrian", "area": "yes"}),
    3: ((7, 8, 9, 10, 7), {}),
    4: ((11, 12, 13, 14, 11), {}),
    5: ((1, 2, 99, 5, 6), {"highway": "service"}),  # node 99 is not in the file
    6: ((4, 5, 6, 4), {"highway": "residential", "junction": "roundabout"}),
    7: ((4, 5, 6, 4), {"building": "no"}),
}
POINTS = {
    **{
        1: (24.0, 60.0),
        2: (24.001, 60.0),
        3: (24.002, 60.001),
        4: (24.003, 60.0),
        5: (24.004, 60.0),
        6: (24.004, 60.001),
    },
    **{7: (24.01, 60.0), 8: (24.013, 60.0), 9: (24.013, 60.003), 10: (24.01, 60.003)},
    **{11: (24.011, 60.001), 12: (24.011, 60.002), 13: (24.012, 60.002), 14: (24.012, 60.001)},
}


@pytest.fixture
def small_town(tmp_path):
    nodes = "\n".join(f' <node id="{i}" version="1" lon="{x}" lat="{y}"/>' for i, (x, y) in POINTS.items())
    path = tmp_path / "small.osm"
    ways = "\n".join(
        f' <way id="{i}" version="1" timestamp="2021-0{6 if i == 2 else 5}-02T10:00:00Z">'
        + "".join(f'<nd ref="{ref}"/>' for ref in refs)
        + "".join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())
        + "</way>"
        for i, (refs, tags) in WAYS.items()
    )
    path.write_text(XML.format(nodes=nodes, ways=ways))
    return path


def test_extract_has_its_tags_and_date(helsinki_pbf):
    osm = read_osm(helsinki_pbf)
    assert len(osm.roads) > 2500
    assert len(osm.buildings) > 400
    assert list(osm.roads.columns) == ["osm_id", *ROAD_TAGS, "geometry"]
    assert list(osm.buildings.columns) == ["osm_id", *BUILDING_TAGS, "geometry"]
    assert osm.roads["width"].notna().sum() == 50
    assert osm.date.startswith("20")
    assert osm.source == "Helsinki.osm.pbf"
    assert osm.roads.crs == LONLAT
    assert np.isfinite(osm.roads.total_bounds).all()


def test_ways_areas_and_relations(small_town):
    osm = read_osm(small_town)
    roads = osm.roads.set_index("osm_id")
    assert roads.loc["way/1", "lanes"] == "2;3"
    assert roads.loc["way/2"].geometry.geom_type == "Polygon"
    assert roads.loc["way/6"].geometry.geom_type == "LineString"  # a roundabout is closed and yet no area
    assert len(roads.loc[["way/5"]]) == 2  # a node is missing in its middle
    (house,) = osm.buildings.itertuples()
    assert house.osm_id == "relation/1"
    assert len(house.geometry.interiors) == 1
    assert osm.date == "2021-06-02T10:00:00Z"


def test_damaged_extracts_are_named(tmp_path, helsinki_pbf):
    cut = tmp_path / "cut.osm.pbf"
    cut.write_bytes(helsinki_pbf.read_bytes()[:200_000])
    with pytest.raises(InputError, match="cut.osm.pbf: expected an OSM file"):
        read_osm(cut)
    (tmp_path / "text.osm.pbf").write_text("no protocol buffer")
    with pytest.raises(InputError, match="text.osm.pbf"):
        read_osm(tmp_path / "text.osm.pbf")
