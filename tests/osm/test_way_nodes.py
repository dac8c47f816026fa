"""Ways with their nodes, as files of OSM have them."""

import numpy as np
import pytest

from lib.errors import InputError
from lib.osm.way_nodes import read_way_nodes

XML = """<?xml version='1.0' encoding='UTF-8'?>
<osm version="0.6" generator="by hand">
  <node id="1" version="2" lat="60.0" lon="25.0"/>
  <node id="2" version="1" lat="60.001" lon="25.0"/>
  <node id="3" version="1" lat="60.002" lon="25.001"/>
  <way id="7" version="4"><nd ref="1"/><nd ref="3"/><nd ref="2"/>
    <tag k="highway" v="residential"/><tag k="name" v="A &amp; B"/></way>
  <way id="8" version="1"><nd ref="1"/><nd ref="2"/><tag k="highway" v="service"/></way>
  <way id="9" version="1"><nd ref="1"/><nd ref="99"/><tag k="highway" v="service"/></way>
  <way id="10"><nd ref="1"/><nd ref="2"/><tag k="highway" v="service"/></way>
  <relation id="7" version="1"><member type="way" ref="8" role=""/><tag k="type" v="route"/></relation>
</osm>
"""


def test_ways_come_with_nodes_places_and_all_tags(tmp_path):
    path = tmp_path / "map.osm"
    path.write_text(XML)
    found = read_way_nodes(path, ["way/7", "way/9", "way/10", "way/11", "relation/8", "", "way/-3"])
    assert set(found) == {"way/7"}  # 9 lacks a node, 10 has no version
    way = found["way/7"]
    assert (way.version, way.nodes) == (4, (1, 3, 2))
    np.testing.assert_allclose(way.lonlat, [[25.0, 60.0], [25.001, 60.002], [25.0, 60.001]])
    assert way.tags == {"highway": "residential", "name": "A & B"}
    assert read_way_nodes(path, [""]) == {}


@pytest.mark.parametrize("sign", ['<node id="-1" lat="60.0" lon="25.1"/>', '<node id="4" action="delete"/>'])
def test_an_edit_elsewhere_leaves_ways_their_version(tmp_path, sign):
    path = tmp_path / "josm.osm"
    path.write_text(XML.replace('<way id="7"', f'{sign}<way id="7"').replace('<nd ref="99"/>', '<nd ref="-1"/>'))
    found = read_way_nodes(path, ["way/7", "way/9", "way/10"])
    assert set(found) == {"way/7"} and found["way/7"].version == 4  # 9 goes through a node that is new, or nowhere


def test_ways_with_places_have_the_nodes_and_the_version_that_are_stated(tmp_path):
    path = tmp_path / "out_geom.osm"
    way = '<way id="{}" {}><nd {} lat="60.0" lon="25.0"/><nd {} lat="60.0" lon="25.1"/></way>'
    stated = 'version="4"', 'ref="1"', 'ref="3"'
    ways = way.format(7, *stated), way.format(8, "", *stated[1:]), way.format(9, stated[0], "", "")
    path.write_text(f'<osm version="0.6">{"".join(ways)}</osm>')
    found = read_way_nodes(path, ["way/7", "way/8", "way/9"])
    assert {number: (way.version, way.nodes) for number, way in found.items()} == {"way/7": (4, (1, 3))}


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="only such a file knows the nodes"):
        read_way_nodes(tmp_path / "roads.gpkg", ["way/7"])
    (tmp_path / "map.osm.pbf").write_bytes(b"nothing")
    with pytest.raises(InputError, match="map.osm.pbf"):
        read_way_nodes(tmp_path / "map.osm.pbf", ["way/7"])
