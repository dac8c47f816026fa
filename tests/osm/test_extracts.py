import bz2
import gzip
import struct

import numpy as np
import osmium
import pytest

from lib.errors import InputError, PPLinkNetWarning
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


@pytest.mark.parametrize("ending", [".osm", ".osm.gz", ".osm.bz2", ".osm.pbf"])
def test_damage_gives_a_result_or_a_named_error(tmp_path, small_town, damages, ending):
    pack = {".osm.gz": gzip.compress, ".osm.bz2": bz2.compress}.get(ending, bytes)
    whole = pack(small_town.read_bytes())
    if ending == ".osm.pbf":
        with osmium.SimpleWriter(str(tmp_path / "whole.osm.pbf")) as writer:
            for item in osmium.FileProcessor(str(small_town)):
                writer.add(item)
        whole = (tmp_path / "whole.osm.pbf").read_bytes()
    path = tmp_path / f"damaged{ending}"
    errors = 0
    for what, damaged in damages(whole, 30):
        path.write_bytes(damaged)
        try:
            osm = read_osm(path)
        except InputError as error:
            assert path.name in str(error), what
            errors += 1
        else:
            assert len(osm.roads) <= 6, what
    assert errors > 10


def test_a_block_that_declares_a_size_beyond_the_formats_limit_is_refused(tmp_path):
    # the header of a block of 1 GiB; the format allows 32 MiB
    header = b"\x0a\x09OSMHeader\x18" + b"\x80\x80\x80\x80\x04"
    (tmp_path / "large.osm.pbf").write_bytes(struct.pack(">I", len(header)) + header + b"x" * 100)
    with pytest.raises(InputError, match="large.osm.pbf"):
        read_osm(tmp_path / "large.osm.pbf")


@pytest.mark.parametrize("batch", [1, 2, 4, 5, 6])
def test_a_batch_that_is_just_full_loses_nothing(small_town, monkeypatch, batch):
    monkeypatch.setattr("lib.osm.extracts.OBJECTS_A_BATCH", batch)
    assert len(read_osm(small_town).roads) == 5
    assert len(read_osm(small_town).buildings) == 1


def test_an_extract_without_the_objects_asked_for_is_empty(tmp_path):
    path = tmp_path / "nothing.osm"
    path.write_text('<osm version="0.6"><node id="1" version="1" lon="24.0" lat="60.0"/></osm>')
    osm = read_osm(path, (23.0, 59.0, 25.0, 61.0))
    assert osm.roads.empty
    assert osm.buildings.empty
    assert osm.extent is None


def test_ways_without_any_node_are_an_error_and_broken_ones_are_counted(tmp_path):
    way = '<way id="{}" version="1"><nd ref="{}"/><nd ref="{}"/><tag k="highway" v="residential"/></way>'
    nodes = '<node id="1" version="1" lat="60" lon="24"/><node id="2" version="1" lat="60" lon="24.001"/>'
    (tmp_path / "bare.osm").write_text(f'<osm version="0.6">{way.format(5, 3, 4)}</osm>')
    with pytest.raises(InputError, match=r"bare\.osm: .* 1 ways and areas lack nodes.*out geom"):
        read_osm(tmp_path / "bare.osm")
    (tmp_path / "one.osm").write_text(f'<osm version="0.6">{nodes}{way.format(5, 1, 2)}{way.format(6, 3, 4)}</osm>')
    with pytest.warns(PPLinkNetWarning, match="0 are drawn in part, 1 not at all"):
        osm = read_osm(tmp_path / "one.osm")
    assert len(osm.roads) == 1 and [str(count) for count in osm.counts] == [
        "extract (tags of OSM): 1 roads of 2 rows, 1 left out without a whole geometry"
    ]
