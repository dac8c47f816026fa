"""The cooperative challenge, parsed back as MapRoulette and JOSM read it."""

import base64
import json
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import osmium
import pytest
import shapely

from lib.conflation.maproulette import MOST_NODES, write_challenge
from lib.errors import InputError, ParameterError
from lib.grid import project
from lib.osm.way_nodes import WayNodes

OSM_WAY = [(-50, 100), (60, 100), (150, 100), (250, 100)]  # metres east and south of the corner; nodes 11 to 14
NAME = 'Rue "d\'Été" & <Söhne> ]]>'


def lonlat(*xy: tuple[float, float]) -> np.ndarray:
    return project(np.array([(500_000 + x, 6_700_000 - y) for x, y in xy]), "EPSG:32635", "EPSG:4326")


@pytest.fixture
def ways() -> dict[str, WayNodes]:
    tags = {"highway": "residential", "name": NAME}
    return {"way/7": WayNodes(5, (11, 12, 13, 14), lonlat(*OSM_WAY), tags)}


def parsed(path) -> list[tuple[dict, ElementTree.Element]]:
    """Tasks of a file with their change, checked against what the documentation of both formats asks for."""
    content = path.read_text(encoding="utf-8")
    records = content.split("\n")
    assert records.pop() == ""
    tasks = []
    for record in records:
        assert record[0] == "\x1e" and "\x1e" not in record[1:]
        task = json.loads(record[1:])
        assert set(task) == {"type", "features", "cooperativeWork"} and task["type"] == "FeatureCollection"
        work = task["cooperativeWork"]
        assert work["meta"] == {"version": 2, "type": 2} and set(work) == {"meta", "file"}
        assert {k: v for k, v in work["file"].items() if k != "content"} == {
            "type": "xml", "format": "osc", "encoding": "base64",
        }  # fmt: skip
        for feature in task["features"]:
            assert feature["type"] == "Feature" and isinstance(feature["properties"], dict)
            geometry = shapely.from_geojson(json.dumps(feature["geometry"]))
            assert geometry.is_valid and shapely.box(-180, -90, 180, 90).covers(geometry)
            if geometry.geom_type == "Polygon":
                assert geometry.exterior.is_ccw and not any(ring.is_ccw for ring in geometry.interiors)
        change = ElementTree.fromstring(base64.b64decode(work["file"]["content"], validate=True))
        assert change.tag == "osmChange" and change.get("version") == "0.6"
        assert [block.tag for block in change] in (["create"], ["create", "modify"])
        tasks.append((task, change))
    return tasks


def refs(way: ElementTree.Element) -> list[int]:
    return [int(node.get("ref")) for node in way.findall("nd")]


def tags(element: ElementTree.Element) -> dict[str, str]:
    return {tag.get("k"): tag.get("v") for tag in element.findall("tag")}


def coordinates(change: ElementTree.Element) -> dict[int, list[float]]:
    return {int(node.get("id")): [float(node.get("lon")), float(node.get("lat"))] for node in change.iter("node")}


def test_accepted_candidates_alone_become_tasks_with_their_change(tmp_path, place):
    accepted = place.candidates.assign(status=["rejected", "accepted", "accepted", "skipped"])
    assert write_challenge(accepted, tmp_path / "tasks.geojsonl", "missing_roads") == 1
    [(task, change)] = parsed(tmp_path / "tasks.geojsonl")
    assert [feature["id"] for feature in task["features"]] == ["missing_roads-2", "missing_roads-3"]
    assert task["features"][0]["properties"] == {
        "candidate": "missing_roads-2", "length_m": 140.0, "confidence": 0.6,
    }  # fmt: skip
    first, second = change.findall("create/way")
    assert tags(first) == tags(second) == {"highway": "road"}
    for way, feature in zip((first, second), task["features"], strict=True):
        places = [coordinates(change)[ref] for ref in refs(way)]
        assert places == feature["geometry"]["coordinates"]
    ids = [int(element.get("id")) for element in change.find("create")]
    assert max(ids) < 0 and len(set(ids)) == len(ids)
    truth = place.candidates.to_crs("EPSG:4326").geometry[1]
    assert shapely.LineString(task["features"][0]["geometry"]["coordinates"]).hausdorff_distance(truth) < 1e-7


@pytest.mark.parametrize("shape", [shapely.LineString([(40, 20), (240, 20)]), shapely.box(40, 20, 240, 80)])
def test_what_lies_across_the_antimeridian_is_cut_there(tmp_path, shape):
    moved = shapely.transform(shape, lambda xy: xy + (180_398, 8_117_900))  # metres in Fiji
    one = gpd.GeoDataFrame({"candidate": [1], "status": "accepted"}, geometry=[moved], crs="EPSG:32701")
    assert write_challenge(one, tmp_path / "tasks", "missing") == 1
    [(task, change)] = parsed(tmp_path / "tasks")
    assert len(change.findall("create/way")) == 2
    sides = [shapely.from_geojson(json.dumps(feature["geometry"])).bounds[0::2] for feature in task["features"]]
    assert sorted(sides) == [(-180, pytest.approx(-179.9986, abs=1e-3)), (pytest.approx(179.9986, abs=1e-3), 180)]


def test_osmium_reads_the_change(tmp_path, place):
    write_challenge(place.candidates.assign(status="accepted"), tmp_path / "tasks.geojsonl", "missing_roads")
    for task, change in parsed(tmp_path / "tasks.geojsonl"):
        (tmp_path / "one.osc").write_bytes(base64.b64decode(task["cooperativeWork"]["file"]["content"]))
        found = list(osmium.FileProcessor(str(tmp_path / "one.osc")))
        assert len(found) == len(change.find("create")) and sum(item.is_way() for item in found)


def test_tasks_are_small_and_what_touches_stays_together(tmp_path, place):
    chain = [place.at((0, 10), (90, 10)), place.at((90, 10), (600, 10)), place.at((600, 10), (600, 90))]
    others = [place.at((x, 40), (x + 50, 40)) for x in (2000, 2100, 5000)]
    six = place.frame([*chain, *others], candidate=range(9, 3, -1), confidence=0.5, status="accepted", joins=None)
    assert write_challenge(six, tmp_path / "tasks", "missing_roads") == 3
    tasks = parsed(tmp_path / "tasks")
    numbers = [[int(f["id"].split("-")[1]) for f in task["features"]] for task, _ in tasks]
    assert numbers == [[4], [5, 6], [7, 8, 9]]
    chain = [refs(way) for way in tasks[2][1].findall("create/way")]
    assert len({ref for way in chain for ref in way}) == 4  # two nodes are shared
    ids = [int(e.get("id")) for _, change in tasks for e in change.find("create")]
    assert len(set(ids)) == len(ids)  # all tasks may lie in one layer of JOSM


def test_a_road_shares_a_node_with_the_osm_road_that_it_joins(tmp_path, place, ways):
    one = place.candidates.assign(status=["accepted", *["open"] * 3])
    write_challenge(one, tmp_path / "tasks", "missing_roads", ways=ways, highway="residential")
    [(task, change)] = parsed(tmp_path / "tasks")
    [new], [old] = change.findall("create/way"), change.findall("modify/way")
    assert tags(new) == {"highway": "residential"}
    shared = refs(new)[-1]
    assert shared < 0 and refs(old) == [11, 12, shared, 13, 14]  # at 100 m: between 60 and 150
    assert old.get("id") == "7" and old.get("version") == "5" and tags(old) == ways["way/7"].tags
    assert coordinates(change)[shared] == pytest.approx(lonlat((100, 100))[0].tolist(), abs=2e-7)
    assert task["features"][0]["properties"]["is_joined"] and task["features"][0]["properties"]["joins"] == "way/7"


@pytest.mark.parametrize(("end_x", "end_y"), [(61, 98), (62, 112), (60, 100)])
def test_a_node_of_osm_that_is_near_is_taken(tmp_path, ways, end_x, end_y, place):
    line = place.at((end_x, 190), (end_x, end_y))
    one = place.frame([line], candidate=[1], confidence=[1.0], status="accepted", joins="way/7")
    write_challenge(one, tmp_path / "tasks", "missing_roads", ways=ways)
    [(task, change)] = parsed(tmp_path / "tasks")
    assert refs(change.find("create/way"))[-1] == 12 and change.find("modify") is None
    assert 12 not in coordinates(change)
    assert len(task["features"][0]["geometry"]["coordinates"]) == (3 if end_y == 112 else 2)  # bridged, or moved
    assert task["features"][0]["geometry"]["coordinates"][-1] == pytest.approx(lonlat((60, 100))[0].tolist(), abs=1e-7)


def test_what_is_far_or_joins_on_both_sides(tmp_path, ways, place):
    loop = place.at((70, 98), (70, 60), (130, 60), (130, 98))
    far, short = place.at((180, 190), (180, 150)), place.at((190, 90), (190, 99))
    three = place.frame([loop, far, short], candidate=[1, 2, 3], confidence=1.0, status="accepted", joins="way/7")
    write_challenge(three, tmp_path / "tasks", "missing_roads", ways=ways)
    [(task, change)] = parsed(tmp_path / "tasks")
    both, none, one = map(refs, change.findall("create/way"))
    assert refs(change.find("modify/way")) == [11, 12, both[0], both[-1], 13, one[-1], 14]
    assert [f["properties"]["is_joined"] for f in task["features"]] == [True, False, True] and len(none) == 2


def test_a_road_that_crosses_shares_the_node_between_and_one_that_overshoots_ends_there(tmp_path, place, ways):
    lines = [place.at((80, 60), (80, 140)), place.at((120, 60), (120, 103))]
    two = place.frame(lines, candidate=[1, 2], confidence=1.0, status="accepted", joins="way/7")
    write_challenge(two, tmp_path / "tasks", "missing_roads", ways=ways)
    [(task, change)] = parsed(tmp_path / "tasks")
    crossing, ending = map(refs, change.findall("create/way"))
    assert len(crossing) == 3 and len(ending) == 2
    assert refs(change.find("modify/way")) == [11, 12, crossing[1], ending[1], 13, 14]
    assert coordinates(change)[crossing[1]] == pytest.approx(lonlat((80, 100))[0].tolist(), abs=2e-7)


def test_one_task_alone_changes_a_road_of_osm(tmp_path, ways, place):
    """Two tasks with the same version of it would be in conflict when the second is opened."""
    ways["way/7"] = WayNodes(5, (11, 14), lonlat((-50, 100), (5000, 100)), {})
    lines = [place.at((x, 50), (x, 99)) for x in (30, 3000)]
    two = place.frame(lines, candidate=[1, 2], confidence=1.0, status="accepted", joins="way/7")
    assert write_challenge(two, tmp_path / "tasks", "missing_roads", ways=ways) == 2
    (first, change), (second, later) = parsed(tmp_path / "tasks")
    assert change.find("modify") is not None and later.find("modify") is None
    assert [t["features"][0]["properties"]["is_joined"] for t in (first, second)] == [True, False]
    assert second["features"][0]["geometry"]["coordinates"][-1] == pytest.approx(
        lonlat((3000, 100))[0].tolist(), abs=2e-5
    )


def test_houses_are_closed_ways_and_those_with_courtyards_multipolygons(tmp_path, place):
    x, y = place.west + 10, place.north - 60
    plain, outer = shapely.box(x, y, x + 10, y + 8), shapely.box(x + 30, y, x + 60, y + 30)
    court = shapely.Polygon(outer.exterior.coords[::-1], [shapely.box(x + 40, y + 10, x + 50, y + 20).exterior.coords])
    facts = {"candidate": [1, 2], "area_m2": [80.0, 800.0], "confidence": 0.9, "status": "accepted"}
    houses = place.frame([plain.reverse(), court], **facts)
    write_challenge(houses, tmp_path / "tasks", "missing_buildings")
    [(task, change)] = parsed(tmp_path / "tasks")
    first, *rings = change.findall("create/way")
    assert refs(first)[0] == refs(first)[-1] and len(refs(first)) == 5 and tags(first) == {"building": "yes"}
    [relation] = change.findall("create/relation")
    assert tags(relation) == {"type": "multipolygon", "building": "yes"} and [tags(ring) for ring in rings] == [{}, {}]
    members = [(m.get("type"), m.get("ref"), m.get("role")) for m in relation.findall("member")]
    assert members == [("way", rings[0].get("id"), "outer"), ("way", rings[1].get("id"), "inner")]
    assert len(task["features"][1]["geometry"]["coordinates"]) == 2


def test_ways_keep_to_what_osm_takes(tmp_path, place):
    many = place.at(*[(0.5 * n, n % 2) for n in range(2 * MOST_NODES + 5)])
    one = place.frame([many], candidate=[1], confidence=1.0, status="accepted")
    write_challenge(one, tmp_path / "tasks", "missing_roads")
    [(_, change)] = parsed(tmp_path / "tasks")
    parts = [refs(way) for way in change.findall("create/way")]
    assert max(map(len, parts)) <= MOST_NODES and all(a[-1] == b[0] for a, b in zip(parts, parts[1:], strict=False))
    assert sum(map(len, parts)) == 2 * MOST_NODES + 5 + len(parts) - 1


def test_what_cannot_be_a_challenge_is_refused_and_nothing_is_written(tmp_path, place):
    with pytest.raises(InputError, match="found none; accept some"):
        write_challenge(place.candidates, tmp_path / "out" / "tasks", "missing_roads")
    accepted = place.candidates.assign(status="accepted")
    with pytest.raises(ParameterError, match="highway class"):
        write_challenge(accepted, tmp_path / "out" / "tasks", "missing_roads", highway="<road>")
    with pytest.raises(InputError, match="no CRS"):
        write_challenge(accepted.set_crs(None, allow_override=True), tmp_path / "out" / "tasks", "missing_roads")
    points = gpd.GeoDataFrame(accepted.drop(columns="geometry"), geometry=accepted.centroid)
    with pytest.raises(InputError, match="found Point"):
        write_challenge(points, tmp_path / "out" / "tasks", "missing_roads")
    assert not (tmp_path / "out").exists()
