"""A server that answers as Overpass does, with its failures too: what is read, kept, asked again, given up."""

import contextlib
import json
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path

import osmnx
import pytest
import requests
import shapely
from hypothesis import given
from hypothesis import strategies as st
from osmnx import settings

from lib.errors import DownloadError, ParameterError
from lib.osm.layers import ROAD_TAGS
from lib.osm.overpass import OverpassOptions, _checked
from tests.osm.conftest import ANSWER, EMPTY, PATIENCE_S, TOWN

TIMED_OUT = {**ANSWER, "remark": 'runtime error: Query timed out in "query" at line 1 after 180 seconds.'}
LATER = "Rate limit: 2\nSlot available after: 2024-02-03T04:05:06Z, in {} seconds.\nCurrently running queries:\n"


def test_overpass_answer_is_read_and_cached(overpass):
    osm = overpass.read(ANSWER)
    assert osm.roads[["osm_id", "highway"]].to_numpy().tolist() == [["way/1", "residential"]]
    assert len(osm.buildings) == 1
    assert osm.date == "2024-02-03T04:05:06Z"
    assert len(overpass.questions) == 1  # roads and buildings in one question
    again = overpass.read(500)
    assert len(overpass.questions) == 0
    assert again.date == osm.date and again.roads.equals(osm.roads)


NODE, WAY = ANSWER["elements"][0], ANSWER["elements"][6]
NO_DATA = [
    "<html>Welcome</html>",
    "",
    "null",
    "[]",
    "[" * 5000,
    "{}",
    '{"elements": null}',
    '{"elements": [{"a": 1}]}',
    '{"elements": [17]}',
    json.dumps({"elements": [NODE | {"lat": "60"}]}),
    json.dumps({"elements": [NODE | {"lon": float("nan")}]}),
    json.dumps({"elements": [NODE | {"type": "note"}]}),
    json.dumps({"elements": [WAY | {"nodes": []}]}),
    json.dumps({"elements": [WAY | {"tags": "highway"}]}),
    json.dumps({"elements": [{"type": "relation", "id": 1, "members": [1]}]}),
    json.dumps(ANSWER | {"osm3s": "now"}),
]


@pytest.mark.parametrize("answer", NO_DATA, ids=range(len(NO_DATA)))
def test_what_is_no_overpass_data_is_never_kept(overpass, answer):
    with pytest.raises(DownloadError, match="is no Overpass JSON"):
        overpass.read(answer)
    folder = Path(overpass.options.cache_dir)
    assert not folder.exists() or not list(folder.iterdir())
    overpass.read(ANSWER)
    (cached,) = folder.glob("*.json")
    cached.write_text(answer)  # by other software, or an earlier version
    assert len(overpass.read(ANSWER).roads) == 1 and len(overpass.questions) == 1
    assert len(overpass.read(500).roads) == 1 and not overpass.questions


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})


@given(st.data())
def test_whatever_is_wrong_in_an_answer_it_is_refused_or_read(data):
    content = json.loads(json.dumps(ANSWER))
    place = data.draw(st.sampled_from([content, *content["elements"], content["elements"][6]["tags"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(VALUES)
    with contextlib.suppress(DownloadError):
        elements = _checked(json.dumps(content).encode())["elements"]
        with contextlib.suppress(osmnx._errors.InsufficientResponseError):
            osmnx.features._create_gdf([{"elements": elements}], shapely.box(*TOWN), {"highway": True})


@pytest.mark.parametrize("date", ["soon", "", 17, None, "2024-02-30T00:00:00Z", ["2024"]])
def test_a_date_that_is_none_is_not_believed(overpass, date):
    assert overpass.read(ANSWER | {"osm3s": {"timestamp_osm_base": date}}).date is None
    assert overpass.read(500).date is None and not overpass.questions


@pytest.fixture
def sockets(overpass, monkeypatch):
    """Sockets that soon give up a silent server, and no other; which timeouts they were given for its answer."""
    request, given = requests.Session.request, []

    def ask(session, method, url, timeout, **options):
        silent = method == "POST" and overpass.next_answer == "silence"
        given.append(timeout)
        return request(session, method, url, timeout=0.2 if silent else PATIENCE_S, **options)

    monkeypatch.setattr(requests.Session, "request", ask)
    return given


@pytest.mark.parametrize("failure", ["drip", "dripping header"])
def test_an_answer_that_drips_has_a_deadline(overpass, sockets, failure):
    overpass.options = replace(overpass.options, timeout_s=0.5, rate_limit=False)
    start = time.monotonic()
    with pytest.raises(DownloadError, match="No whole answer within 1 s"):
        overpass.read(failure)
    assert time.monotonic() - start >= 3  # three tries of an answer that never ends
    assert {timeout for _, timeout in sockets} == {0.5}


@pytest.mark.parametrize("wait", ["86400", "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_nobody_waits_for_days(overpass, wait):
    with pytest.raises(DownloadError, match=r"asks to come back in \d+ s; no more than 300 s"):
        overpass.read((429, wait), ANSWER)
    assert len(overpass.questions) == 1
    overpass.status = LATER.format(3000)
    with pytest.raises(DownloadError, match="asks to come back in 3001 s"):
        overpass.read(ANSWER)


@pytest.mark.parametrize("wait", ["0", "Fri, 31 Dec 1999 23:59:59 GMT", "soon", "-3", "1e9"])
def test_a_pause_that_is_short_or_makes_no_sense_is_no_hindrance(overpass, wait):
    assert len(overpass.read((503, wait), ANSWER).roads) == 1
    shutil.rmtree(overpass.options.cache_dir)
    overpass.status = LATER.format(-1)
    assert len(overpass.read(ANSWER).roads) == 1


def test_dates_are_of_iso_8601_and_asked_for_in_utc():
    for date, asked in (
        ("2019-10-28", "2019-10-28T00:00:00Z"),
        ("2019-10-28T19:20:00Z", "2019-10-28T19:20:00Z"),
        ("2019-10-28T19:20:00+02:00", "2019-10-28T17:20:00Z"),
    ):
        assert OverpassOptions(date=date).date == asked
    for date in ("28.10.2019", "yesterday", "2019-13-01", "", '2019-10-28"];'):
        with pytest.raises(ParameterError, match="ISO 8601"):
            OverpassOptions(date=date)


@pytest.mark.parametrize("failure", [429, 504, "silence", "cut", "cut line", TIMED_OUT])
def test_overpass_is_asked_again_and_then_given_up(overpass, sockets, failure):
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
    overpass.options = replace(overpass.options, max_area_km2=0.7, tries=2)
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


def test_roads_around_car_parks_are_lines_and_routes_are_no_roads(overpass):
    ring = {"type": "way", "id": 3, "nodes": [4, 5, 6, 4], "tags": {"highway": "service", "amenity": "parking"}}
    route = {"type": "relation", "id": 9, "members": [{"type": "way", "ref": 1, "role": ""}]}
    route["tags"] = {"type": "route", "highway": "residential"}
    roads = overpass.read({**ANSWER, "elements": [*ANSWER["elements"], ring, route]}).roads
    assert dict(zip(roads["osm_id"], roads.geom_type, strict=True)) == {"way/1": "LineString", "way/3": "LineString"}
