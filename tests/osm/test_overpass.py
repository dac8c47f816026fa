"""A server that answers as Overpass does, with its failures too."""

import json
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import shapely
from osmnx import settings

from lib.errors import DownloadError, ParameterError
from lib.osm.layers import ROAD_TAGS, read_osm
from lib.osm.overpass import OverpassOptions

POINTS = {
    1: (24.0, 60.0),
    2: (24.001, 60.0),
    3: (24.002, 60.001),
    4: (24.003, 60.0),
    5: (24.004, 60.0),
    6: (24.004, 60.001),
}
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
    before = (settings.overpass_url, settings.requests_kwargs, socket.getaddrinfo)
    overpass.read(ANSWER)
    assert (settings.overpass_url, settings.requests_kwargs, socket.getaddrinfo) == before
    with pytest.raises(ParameterError, match="tries"):
        OverpassOptions(tries=0)
