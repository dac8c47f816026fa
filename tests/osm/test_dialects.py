import gzip
import warnings

import osmium
import pytest

from lib.errors import InputError, PPLinkNetWarning
from lib.osm.layers import read_osm
from lib.paths import ROOT

NODES = {1: (24.0, 60.0), 2: (24.001, 60.0), 3: (24.001, 60.001), 4: (24.0, 60.001), 5: (24.002, 60.0)}
CASES = ROOT.parent / "shared/cases/labels"


def node(number, more=""):
    lon, lat = NODES[abs(number)]
    return f'<node id="{number}" version="1" {more} lon="{lon}" lat="{lat}"/>'


def way(number, refs, more="", tags=None, with_places=False):
    places = {ref: ' lon="{}" lat="{}"'.format(*NODES[abs(ref)]) if with_places else "" for ref in refs}
    given = "".join(f'<tag k="{k}" v="{v}"/>' for k, v in (tags or {"highway": "residential"}).items())
    return f'<way id="{number}" {more}>' + "".join(f'<nd ref="{ref}"{places[ref]}/>' for ref in refs) + given + "</way>"


def relation(number, members, **tags):
    tags = "".join(f'<tag k="{k}" v="{v}"/>' for k, v in {"type": "multipolygon", **tags}.items())
    return f'<relation id="{number}" version="1">{"".join(members)}{tags}</relation>'


STREET, HOUSE = (1, 2, 5), (1, 2, 3, 4, 1)
YES = {"building": "yes"}
IN_ORDER = [*map(node, NODES), way(10, STREET), way(20, HOUSE, tags=YES)]
# what is written, and what of it is drawn
FILES = {
    "in order": (IN_ORDER, ["way/10", "way/20"]),
    "ways before nodes": (IN_ORDER[::-1], ["way/10", "way/20"]),
    "a second answer behind the first": (
        [*IN_ORDER[:2], IN_ORDER[5], *IN_ORDER[2:5], IN_ORDER[6]],
        ["way/10", "way/20"],
    ),
    "ways not in the order of ids": ([*IN_ORDER[:5], IN_ORDER[6], IN_ORDER[5]], ["way/10", "way/20"]),
    "new objects": (
        [*(node(-i) for i in NODES), way(-10, [-i for i in STREET]), way(-20, [-i for i in HOUSE], tags=YES)],
        ["way/-10", "way/-20"],
    ),
    "a new way between old nodes": (
        [*map(node, NODES), way(-10, STREET), way(20, HOUSE, tags=YES)],
        ["way/-10", "way/20"],
    ),
    "a new multipolygon": (
        [
            *(node(-i) for i in NODES),
            way(10, [-1, -2, -5]),
            way(-20, [-i for i in HOUSE], tags={"note": "x"}),
            relation(-1, ['<member type="way" ref="-20" role="outer"/>'], building="yes"),
        ],
        ["way/10", "relation/-1"],
    ),
    "a new multipolygon beside what was there": (
        [
            *map(node, STREET),
            *(node(-i) for i in HOUSE[:-1]),
            way(10, STREET),
            way(-20, [-i for i in HOUSE], tags={"note": "x"}),
            relation(-1, ['<member type="way" ref="-20" role="outer"/>'], building="yes"),
        ],
        ["way/10", "relation/-1"],
    ),
    "a building that is a square, too": (
        [
            *IN_ORDER[:-1],
            way(20, HOUSE, tags={"note": "x"}),
            relation(1, ['<member type="way" ref="20" role="outer"/>'], building="yes", highway="pedestrian"),
        ],
        ["way/10", "relation/1"],
    ),
    "deleted objects": (
        [
            *IN_ORDER,
            way(11, STREET, "action='delete'"),
            way(21, HOUSE, 'version="2" visible="false"', YES),
            relation(1, ['<member type="way" ref="20" role="outer"/>'], building="yes").replace(
                "version=", 'action="delete" version='
            ),
        ],
        ["way/10", "way/20"],
    ),
    "coordinates on ways": (
        [way(10, STREET, with_places=True), way(20, HOUSE, tags=YES, with_places=True)],
        ["way/10", "way/20"],
    ),
    "coordinates in members": (
        [
            relation(
                1,
                ['<member type="way" ref="20" role="outer">']
                + ['<nd lon="{}" lat="{}"/>'.format(*NODES[i]) for i in HOUSE]
                + ["</member>", '<member type="node" ref="7" role="entrance" lon="24.0" lat="60.0"/>'],
                building="yes",
            ),
            way(10, STREET, with_places=True),
        ],
        ["way/10", "relation/1"],
    ),
    "coordinates in members, and such a member itself": (
        [
            relation(
                1,
                ['<member type="way" ref="10" role="outer">']
                + ['<nd ref="{}" lon="{}" lat="{}"/>'.format(i, *NODES[i]) for i in STREET]
                + ["</member>"],
                building="no",
            ),
            way(10, STREET, with_places=True),
            way(20, HOUSE, tags=YES, with_places=True),
        ],
        ["way/10", "way/20"],
    ),
    "routes": (
        [
            *IN_ORDER,
            relation(1, ['<member type="way" ref="10" role=""/>'], type="route", highway="residential"),
            relation(2, ['<member type="way" ref="20" role=""/>'], type="street", highway="residential"),
        ],
        ["way/10", "way/20"],
    ),
}


def write(path, lines, root="osm"):
    path.write_text(
        f'<?xml version="1.0"?>\n<{root} version="0.6" generator="test">\n' + "\n".join(lines) + f"</{root}>"
    )
    return path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("layers", [("roads", "buildings"), ("roads",), ("buildings",)])
def test_files_of_editors_and_servers_are_read_whole(tmp_path, name, layers):
    lines, expected = FILES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is missing
        osm = read_osm(write(tmp_path / "town.osm", lines), layers=layers)
    road, building = expected
    assert osm.roads["osm_id"].tolist() == ([road] if "roads" in layers else [])
    assert osm.buildings["osm_id"].tolist() == ([building] if "buildings" in layers else [])
    for street in osm.roads.geometry:
        assert list(street.coords) == [NODES[i] for i in STREET]
    for house in osm.buildings.geometry:
        assert set(house.exterior.coords) == {NODES[i] for i in HOUSE}


def test_kinds_of_files_are_told_by_endings_in_any_letters(tmp_path):
    lines, _ = FILES["new objects"]
    packed = tmp_path / "Town.OSM.GZ"
    packed.write_bytes(gzip.compress(write(tmp_path / "town.osm", lines).read_bytes()))
    assert read_osm(packed).roads["osm_id"].tolist() == ["way/-10"]


OF_EDITORS = ("new objects", "a new multipolygon beside what was there")


@pytest.mark.parametrize("name", [*OF_EDITORS, "a second answer behind the first", "ways not in the order of ids"])
def test_what_was_converted_to_pbf_is_read_as_well(tmp_path, name):
    lines, expected = FILES[name]
    with osmium.SimpleWriter(str(tmp_path / "town.osm.pbf")) as writer:
        for item in osmium.FileProcessor(str(write(tmp_path / "town.osm", lines))):
            writer.add(item)
    osm = read_osm(tmp_path / "town.osm.pbf")
    assert [*osm.roads["osm_id"], *osm.buildings["osm_id"]] == expected


def test_pbf_with_locations_on_its_ways(tmp_path):
    path = tmp_path / "town.osm.pbf"
    with osmium.SimpleWriter(osmium.io.File(str(path), "pbf,locations_on_ways=true")) as writer:
        for item in osmium.FileProcessor(str(write(tmp_path / "town.osm", IN_ORDER))).with_locations():
            if item.is_way():
                writer.add(item)
    osm = read_osm(path)
    assert [*osm.roads["osm_id"], *osm.buildings["osm_id"]] == ["way/10", "way/20"]


@pytest.mark.parametrize("holes", [0, 1])
def test_old_multipolygons_have_their_tags_from_an_outer_way(tmp_path, holes):
    square = {6: (24.0002, 60.0002), 7: (24.0004, 60.0002), 8: (24.0004, 60.0004)}
    inner = [f'<node id="{i}" lon="{x}" lat="{y}"/>' for i, (x, y) in square.items()]
    members = ['<member type="way" ref="20" role="outer"/>', '<member type="way" ref="30" role="inner"/>']
    lines = [*IN_ORDER[:5], *inner, *IN_ORDER[5:], way(30, (1, 1), tags={"note": "x"}).replace(
        '<nd ref="1"/><nd ref="1"/>', "".join(f'<nd ref="{i}"/>' for i in (6, 7, 8, 6)))]  # fmt: skip
    # where the multipolygon can't be assembled, the way is drawn as it is
    osm = read_osm(write(tmp_path / "town.osm", [*(lines if holes else lines[:-1]), relation(1, members, source="x")]))
    (house,) = osm.buildings.itertuples()
    assert house.osm_id == ("relation/1" if holes else "way/20")
    assert house.building == "yes"
    assert len(house.geometry.interiors) == holes


def test_missing_nodes_are_counted_and_said(tmp_path):
    lines = [*IN_ORDER[:2], *IN_ORDER[3:], way(11, (3, 3)), way(12, ()), way(13, (1, 3, 4, 5))]
    with pytest.warns(PPLinkNetWarning, match="town.osm: 4 ways and areas lack nodes.*1 are drawn in part, 3 not"):
        osm = read_osm(write(tmp_path / "town.osm", lines))
    assert osm.roads["osm_id"].tolist() == ["way/10", "way/13"]
    assert osm.buildings.empty


@pytest.mark.parametrize("lacking", ["inner", "outer"])
def test_multipolygons_that_lack_ways_are_counted_and_said(tmp_path, lacking):
    members = ['<member type="way" ref="20" role="outer"/>', f'<member type="way" ref="99" role="{lacking}"/>']
    lines = [*IN_ORDER[:-1], way(20, HOUSE, tags={"note": "x"}), relation(1, members, building="yes")]
    with pytest.warns(PPLinkNetWarning, match="1 ways and areas lack nodes or ways .* 0 are drawn in part, 1 not"):
        osm = read_osm(write(tmp_path / "town.osm", lines))
    assert osm.buildings.empty and osm.counts[0].broken == 1


def test_a_ring_that_does_not_close_is_not_said_to_lack_nodes(tmp_path):
    outline = relation(1, ['<member type="way" ref="20" role="outer"/>'], building="yes")
    lines = [*IN_ORDER[:5], way(20, HOUSE[:-1], tags={"note": "x"}), outline]
    with pytest.raises(InputError, match=r"1 ways and areas lack .*, or have rings that do not close\. If they lack"):
        read_osm(write(tmp_path / "town.osm", lines))


def test_changes_and_histories_are_refused(tmp_path):
    lines = ["<create>", *IN_ORDER, "</create>"]
    for name in ("changes.osc", "changes.osm"):
        with pytest.raises(InputError, match=f"{name}: expected the map of one day.*apply-changes"):
            read_osm(write(tmp_path / name, lines, "osmChange"))


def test_a_history_under_another_name_is_refused(tmp_path):
    later = way(10, (), 'version="2" visible="false"', {})
    with pytest.raises(InputError, match=r"town\.osm: .* two versions of way 10, as histories do.*time-filter"):
        read_osm(write(tmp_path / "town.osm", [*IN_ORDER[:5], way(10, STREET, 'version="1"'), later]))


@pytest.mark.parametrize("name", ["in order", "coordinates on ways"])
def test_the_day_of_an_answer_of_overpass_is_the_one_it_states(tmp_path, name):
    lines = ["<note>© OpenStreetMap</note>", '<meta osm_base="2024-01-01T00:00:00Z"/>', *FILES[name][0]]
    assert read_osm(write(tmp_path / "town.osm", lines)).date == "2024-01-01T00:00:00Z"


def test_the_cases_from_the_field():
    if not CASES.is_dir():
        pytest.skip("../shared is absent")
    folder = CASES / "05_overpass_ways_before_nodes/input"
    for name in ("all_ways_first.osm", "second_answer_ways_first.osm", "out_geom.osm"):
        assert read_osm(folder / name).roads["osm_id"].tolist() == ["way/10", "way/11", "way/12"]
    roads = read_osm(CASES / "06_josm_new_and_deleted_objects/input/josm.osm").roads
    assert roads["osm_id"].tolist() == ["way/10", "way/-30"]
    osm = read_osm(CASES / "07_extract_without_the_layer/input/roads_only.osm", layers=("buildings",))
    assert osm.buildings.empty
