"""map.osm: what JOSM and other readers find in it."""

from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import osmium
import pytest
import shapely

from lib.errors import InputError, PPLinkNetWarning
from lib.mapping import josm
from lib.mapping.josm import write_osm
from lib.osm import read_osm

LON, LAT = 32.58, 0.31  # Kampala
STEP = 1e-4  # degrees, 11 m


def here(*steps: tuple[float, float]) -> list[tuple[float, float]]:
    return [(LON + x * STEP, LAT + y * STEP) for x, y in steps]


def frame(*shapes: shapely.Geometry) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=list(shapes), crs="EPSG:4326")


def parsed(path):
    """Root, node ids, ways (id, refs, tags) and relations (members, tags)."""
    root = ElementTree.parse(path).getroot()
    tags = lambda item: {tag.get("k"): tag.get("v") for tag in item.findall("tag")}  # noqa: E731
    ways = [
        (int(way.get("id")), [int(nd.get("ref")) for nd in way.findall("nd")], tags(way)) for way in root.iter("way")
    ]
    relations = [
        ([(int(m.get("ref")), m.get("role")) for m in item.findall("member")], tags(item))
        for item in root.iter("relation")
    ]
    return root, [int(node.get("id")) for node in root.iter("node")], ways, relations


def test_roads_share_nodes_at_junctions_and_all_is_new(tmp_path):
    middle = (1, 1)
    lines = [shapely.LineString(here(end, middle)) for end in ((0, 1), (2, 1), (1, 0), (1, 2))]
    path = tmp_path / "map.osm"
    assert write_osm(path, frame(*lines), {"highway": "road", "source": "test"}) == 5
    root, nodes, ways, relations = parsed(path)
    assert root.attrib == {"version": "0.6", "generator": "PP-LinkNet", "upload": "never"}
    ids = nodes + [way[0] for way in ways]
    assert max(ids) < 0 and len(set(ids)) == len(ids) == 9
    assert len(set.intersection(*(set(refs) for _, refs, _ in ways))) == 1 and not relations
    assert all(tags == {"highway": "road", "source": "test"} for *_, tags in ways)
    write_osm(path, frame(*lines), {"highway": "road"}, upload=True)
    assert "upload" not in parsed(path)[0].attrib


def test_positions_are_exact_to_osms_own_digits_on_every_side_of_the_world(tmp_path):
    for lon, lat in ((-70.1234567, -33.0000001), (-0.0000001, 0.0000009), (179.9999999, 60.5)):
        line = shapely.LineString([(lon, lat), (lon, lat + 0.001)])
        path = tmp_path / "map.osm"
        write_osm(path, frame(line), {"highway": "road"})
        found = [(n.location.x, n.location.y) for n in osmium.FileProcessor(path) if n.is_node()]
        assert (round(lon * 1e7), round(lat * 1e7)) in found
    write_osm(path, frame(shapely.LineString([(180.25, 10), (180.5, 10)])), {"highway": "road"})
    assert sorted(n.location.lon for n in osmium.FileProcessor(path) if n.is_node()) == [-179.75, -179.5]


def test_what_lies_across_the_antimeridian_is_cut_there_and_keeps_its_tags(tmp_path):
    path, east, west = tmp_path / "map.osm", 179.999, 180.001
    road = shapely.LineString([(east, 10), (west, 10.001), (west, 10.002)])
    beside = shapely.LineString([(east, 10), (east, 10.001)])
    for crs in ("EPSG:4326", "EPSG:3857", "EPSG:32660"):
        shapes = frame(road, beside, shapely.box(east, 11, west, 11.001)).to_crs(crs)
        write_osm(path, shapes, [{"name": "road"}, {"name": "beside"}, {"building": "yes"}])
        root, _, found, _ = parsed(path)
        lon_of, ways = {int(node.get("id")): float(node.get("lon")) for node in root.iter("node")}, {}
        for _, refs, tags in found:
            lon = [lon_of[ref] for ref in refs]
            assert max(lon) - min(lon) < 0.002
            ways.setdefault(*tags.values(), []).append(sum(lon) > 0)
        assert {name: sorted(sides) for name, sides in ways.items()} == {
            "road": [False, True],
            "beside": [True],
            "yes": [False, True],
        }


def test_text_of_strangers_stays_text(tmp_path):
    path, said = tmp_path / "map.osm", "a <b> & \"c\" 'd' \x00\x1f ü\n"
    write_osm(path, frame(shapely.LineString(here((0, 0), (1, 1)))), {"source": said + "x" * 400})
    ((*_, tags),) = parsed(path)[2]
    assert tags["source"].startswith("a <b> & \"c\" 'd'  ü") and len(tags["source"]) == 255


def test_long_roads_become_ways_of_at_most_2000_nodes_that_hang_together(tmp_path):
    steps = [(k / 10, np.sin(k / 50)) for k in range(4500)]
    path = tmp_path / "map.osm"
    write_osm(path, frame(shapely.LineString(here(*steps))), {"highway": "road"})
    _, nodes, ways, _ = parsed(path)
    assert [len(refs) for _, refs, _ in ways] == [2000, 2000, 502] and len(nodes) == 4500
    assert all(one[1][-1] == other[1][0] for one, other in zip(ways[:-1], ways[1:], strict=True))
    assert all(tags == {"highway": "road"} for *_, tags in ways)


def test_buildings_are_closed_ways_and_multipolygons_with_their_courtyards(tmp_path):
    house = shapely.Polygon(here((0, 0), (4, 0), (4, 3), (0, 3)))
    court = shapely.Polygon(here((10, 0), (20, 0), (20, 9), (10, 9)), [here((13, 3), (13, 6), (16, 6), (16, 3))])
    ring = [(40 + 20 * np.cos(t), 20 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 2600, endpoint=False)]
    path = tmp_path / "map.osm"
    write_osm(path, frame(house, court, shapely.Polygon(here(*ring))), {"building": "yes"})
    _, _, ways, relations = parsed(path)
    (_, refs, tags), *parts = ways
    assert refs[0] == refs[-1] and len(refs) == 5 and tags == {"building": "yes"}
    assert all(not tags for *_, tags in parts)  # the relation has them
    assert [[role for _, role in members] for members, _ in relations] == [["outer", "inner"], ["outer", "outer"]]
    assert all(tags == {"type": "multipolygon", "building": "yes"} for _, tags in relations)
    found = read_osm(path).buildings
    expected = frame(house, court, shapely.Polygon(here(*ring)))
    assert sorted(found.to_crs(32636).area) == pytest.approx(sorted(expected.to_crs(32636).area), rel=1e-3)


def test_what_is_smaller_than_osm_can_tell_is_left_out(tmp_path):
    path, tiny = tmp_path / "map.osm", 1e-5
    assert write_osm(path, frame(shapely.LineString(here((0, 0), (tiny, 0)))), {"highway": "road"}) == 0
    assert write_osm(path, frame(shapely.Polygon(here((0, 0), (tiny, 0), (0, tiny)))), {"building": "yes"}) == 0
    assert write_osm(path, frame(), {"highway": "road"}) == 0
    assert not parsed(path)[2]


def test_a_file_too_large_for_josm_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(josm, "SLOW_NODES", 2)
    with pytest.warns(PPLinkNetWarning, match="holds 3 nodes; JOSM is slow beyond 2"):
        write_osm(tmp_path / "map.osm", frame(shapely.LineString(here((0, 0), (1, 1), (2, 0)))), {"highway": "road"})


def test_pixels_and_mixed_shapes_are_refused(tmp_path):
    line = shapely.LineString([(0, 0), (5, 5)])
    with pytest.raises(InputError, match="expected features with a CRS"):
        write_osm(tmp_path / "map.osm", gpd.GeoDataFrame(geometry=[line]), {})
    with pytest.raises(InputError, match=r"take it apart first \(explode\)"):
        write_osm(tmp_path / "map.osm", frame(shapely.MultiLineString([line])), {})
    assert not (tmp_path / "map.osm").exists()
