"""
Downloading OSM features from an Overpass server: cached, polite, and whole or not at all.

osmnx writes the questions and makes geometries of the answers. Between them it would wait for ever for a busy server,
believe whatever JSON comes, and keep it: `_answer` does that part.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.errors import DownloadError, ParameterError
from lib.limits import check_fields, limited, settings_from
from lib.paths import resolve, write_whole

if TYPE_CHECKING:
    import geopandas as gpd
    import requests
    import shapely

LOG = logging.getLogger(__name__)
BUSY = (429, 502, 503, 504)  # too many requests; the server or the gateway before it is overloaded: ask again
REACH_TIMEOUT_S = 15.0
LONGEST_PAUSE_S = 300.0  # a server that wants to be left alone for longer is given up
LARGEST_ANSWER_B = 2**30  # Overpass itself stops at half of that unless it is asked for more
PIECE_B = 2**16
EARTH_RADIUS_KM = 6371.0


@dataclass(frozen=True)
class OverpassOptions:
    """
    How to ask an Overpass server.

    Parameters
    ----------
    url
        Base address of the server's API.
    cache_dir
        Folder of the answers, relative to the project's root; a question asked before is not asked again.
    timeout_s
        How long the server may compute and the client waits for it to say something; its whole answer may take twice
        as long.
    tries
        Questions in all before a busy or silent server is given up.
    pause_s
        Pause before the second try, doubled before each further one, up to LONGEST_PAUSE_S; a server's Retry-After
        wins.
    max_area_km2
        A larger area is split into queries of about this size, each cached for itself.
    rate_limit
        Ask the server's status page first when a slot will be free (public servers want it).
    date
        Ask for OSM as it was at this time (ISO 8601, "2019-10-28T19:20:00Z", UTC unless it says otherwise); None for
        today.
    """

    url: str = limited("https://overpass-api.de/api", pattern=r"https?://[^\s/]\S*", form="an address, 'https://...'")
    cache_dir: str | Path = "data/cache/overpass"
    timeout_s: float = limited(180.0, above=0, maximum=3600)
    tries: int = limited(5, minimum=1, maximum=100)
    pause_s: float = limited(10.0, minimum=0, maximum=LONGEST_PAUSE_S)
    max_area_km2: float = limited(400.0, above=0, maximum=1e5)
    rate_limit: bool = True
    date: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.date is not None:
            object.__setattr__(self, "date", _utc(self.date))
            if self.date is None:
                raise ParameterError("date is no day or time of ISO 8601, such as '2019-10-28T00:00:00Z'.")
        object.__setattr__(self, "cache_dir", resolve(self.cache_dir))


def overpass_options(options: Mapping[str, Any]) -> OverpassOptions:
    """OverpassOptions from the mapping of a YAML file; raises ParameterError as `lib.limits.settings_from`."""
    return settings_from(OverpassOptions, options, "overpass")


def _utc(text: Any) -> str | None:
    """A day or time of ISO 8601 as Overpass writes it, in UTC; None where it is none."""
    try:
        then = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return then.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _AskAgainError(DownloadError):
    """The server is busy or its answer is not whole; carries the pause that it asks for, seconds."""

    def __init__(self, message: str, pause_s: float | None = None) -> None:
        super().__init__(message)
        self.pause_s = pause_s


def download_features(
    polygon: shapely.Geometry, keys: tuple[str, ...], options: OverpassOptions | None = None
) -> tuple[gpd.GeoDataFrame, str | None]:
    """
    Everything with one of the keys that touches an area, in one query (split only where the area is large).

    Parameters
    ----------
    polygon
        Area in longitude, latitude; of parts that lie near each other the hull is asked for.
    keys
        OSM keys, such as ("highway", "building").
    options
        Server, cache, patience.

    Returns
    -------
    features
        EPSG:4326, a column a tag and `osm_id` ("way/123"); no rows where OSM has none there.
    date
        Time of the OSM data as the server states it (the oldest of several answers), ISO 8601.

    Raises
    ------
    DownloadError
        If the server cannot be reached, stays busy, refuses, or its answer is cut short. Never for an empty answer.
    """
    options = options or OverpassOptions()
    for attempt in range(options.tries):
        dates: list[str] = []
        try:
            return _ask(polygon, keys, options, dates), min(dates, default=None)
        except _AskAgainError as error:
            if attempt + 1 == options.tries:
                raise DownloadError(
                    f"{options.url}: gave up after {options.tries} tries. {error} Nothing was kept of the failed "
                    "answers; try later, another server, or read an .osm.pbf extract."
                ) from error
            pause_s = min(options.pause_s * 2**attempt, LONGEST_PAUSE_S) if error.pause_s is None else error.pause_s
            LOG.warning("%s Asking again in %.0f s (%d of %d).", error, pause_s, attempt + 2, options.tries)
            _pause(pause_s, options)
    raise AssertionError("the last try returns or raises")


def _pause(pause_s: float, options: OverpassOptions) -> None:
    """Wait as long as the server wants; not for hours."""
    if pause_s > LONGEST_PAUSE_S:
        raise DownloadError(
            f"{options.url}: the server asks to come back in {pause_s:.0f} s; no more than {LONGEST_PAUSE_S:.0f} s are "
            "waited for. Run again then (answers are kept), ask another server, or read an .osm.pbf extract."
        )
    time.sleep(pause_s)


def _ask(
    polygon: shapely.Geometry, keys: tuple[str, ...], options: OverpassOptions, dates: list[str]
) -> gpd.GeoDataFrame:
    """One try; answers that came whole are in the cache afterwards, so that the next try asks for the rest."""
    import geopandas as gpd
    import osmnx
    import pandas as pd

    found = [gpd.GeoDataFrame(geometry=[], crs="EPSG:4326")]
    with _settings(options, dates), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This area is", category=UserWarning)
        for part in _neighbourhoods(polygon, options.max_area_km2):
            # broken answers never come so far (`_elements`): such an error says that there is nothing
            with suppress(osmnx._errors.InsufficientResponseError):
                found.append(osmnx.features_from_polygon(part, dict.fromkeys(keys, True)))
    features = pd.concat(found[1:] or found)
    features = features[~features.index.duplicated()]  # ways across the border of two queries
    names = ["/".join(map(str, key)) for key in features.index]
    return features.reset_index(drop=True).assign(osm_id=names)


def _neighbourhoods(polygon: shapely.Geometry, max_area_km2: float) -> list[shapely.Geometry]:
    """
    Parts of an area that one question may join: all, or where their hull is too large those of each square.

    The scenes of two towns are two questions, and not one for the country between them.
    """
    import shapely

    parts = shapely.get_parts(polygon)
    middles = shapely.get_coordinates(shapely.centroid(parts))
    km_a_degree = EARTH_RADIUS_KM * np.pi / 180 * np.array([np.cos(np.radians(middles[:, 1].mean())), 1.0])
    if polygon.convex_hull.area * km_a_degree.prod() <= max_area_km2:
        return [polygon]
    squares = np.floor(middles * km_a_degree / np.sqrt(max_area_km2))
    _, square_of = np.unique(squares, axis=0, return_inverse=True)
    return [shapely.union_all(parts[square_of == k]) for k in range(square_of.max() + 1)]


@contextmanager
def _settings(options: OverpassOptions, dates: list[str]) -> Iterator[None]:
    """The settings of osmnx, which are global, and how it gets an answer, changed for one try and put back."""
    import requests
    from osmnx import _overpass, settings

    changes = {
        "requests_timeout": options.timeout_s,  # stands in the question
        "max_query_area_size": options.max_area_km2 * 1e6,
        "overpass_settings": "[out:json][timeout:{timeout}]{maxsize}"
        + (f'[date:"{options.date}"]' if options.date else ""),
    }
    before, request = {key: getattr(settings, key) for key in changes}, _overpass._overpass_request
    with requests.Session() as session:  # one connection, so that the server asked is the one whose slots are free
        session.headers.update({"User-Agent": settings.http_user_agent, "Referer": settings.http_referer})
        try:
            vars(settings).update(changes)
            _overpass._overpass_request = lambda question: _answer(session, question, options, dates)
            yield
        finally:
            vars(settings).update(before)
            _overpass._overpass_request = request


def _answer(
    session: requests.Session, question: Mapping[str, str], options: OverpassOptions, dates: list[str]
) -> dict[str, Any]:
    """Overpass's answer to one question, from the cache or else from the server; its date is added to `dates`."""
    import requests

    url = options.url.rstrip("/") + "/interpreter"
    asked = str(requests.Request("GET", url, params=question).prepare().url)
    path = Path(options.cache_dir) / f"{hashlib.sha1(asked.encode(), usedforsecurity=False).hexdigest()}.json"
    content = None
    if path.is_file():
        try:
            content = _checked(path.read_bytes())
        except _AskAgainError as error:  # damaged, or kept by other software
            LOG.warning("%s: %s It is removed and asked for again.", path, error)
            path.unlink()
    if content is None:
        if options.rate_limit:
            _wait_for_slot(session, options)
        status, reason, wait, body = _fetch(session, "POST", url, options, question)
        if status in BUSY:
            raise _AskAgainError(f"The server is busy ({status} {reason}).", _retry_after_s(wait))
        if not 200 <= status < 300:
            raise DownloadError(f"{url}: the server refused, {status} {reason}.")
        content = _checked(body)
        write_whole(path, body)
    if date := _utc(content.get("osm3s", {}).get("timestamp_osm_base")):
        dates.append(date)
    return content


def _checked(body: bytes) -> dict[str, Any]:
    """An answer that is the whole data: not cut short, not given up by the server, and of Overpass at all."""
    try:
        content = json.loads(body)
        whole = isinstance(content.get("osm3s", {}), dict) and all(map(_is_element, content["elements"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise _AskAgainError(f"The answer was cut short or is no Overpass JSON ({len(body)} B).")
    if "remark" in content:
        # Overpass reports "runtime error: Query timed out" so, with status 200 and what it had by then
        raise _AskAgainError(f"The server gave up after {len(content['elements'])} elements: {content['remark']}.")
    return content


def _is_element(element: Any) -> bool:
    """Whether a node, way or relation has what a geometry is made of."""
    if not (isinstance(element["id"], int) and isinstance(element.get("tags", {}), dict)):
        return False
    match element["type"]:
        case "node":
            return abs(element["lon"]) <= 180 and abs(element["lat"]) <= 90
        case "way":
            return bool(element["nodes"]) and all(isinstance(node, int) for node in element["nodes"])
        case "relation":
            return all(m.keys() >= {"type", "ref", "role"} for m in element["members"])
    return False


def _wait_for_slot(session: requests.Session, options: OverpassOptions) -> None:
    """Wait until a slot is free, as the server's status page has it; one without such a page is asked at once."""
    status, _, _, body = _fetch(session, "GET", options.url.rstrip("/") + "/status", options)
    page = body.decode(errors="replace") if status == 200 else ""
    waits_s = [int(seconds) for seconds in re.findall(r"Slot available after: \S+ in (-?\d+) seconds", page)]
    if waits_s and "available now" not in page:
        _pause(max(min(waits_s), 0) + 1, options)


def _retry_after_s(header: str) -> float | None:
    """Seconds that Retry-After asks for: a number, or a time; None where it is neither."""
    if header.isascii() and header.isdigit():
        return float(header)
    with suppress(ValueError):
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    return None


def _fetch(
    session: requests.Session, method: str, url: str, options: OverpassOptions, data: Mapping[str, str] | None = None
) -> tuple[int, str, str, bytes]:
    """
    Status, reason, Retry-After and body of an answer, whole within twice `timeout_s`.

    Timeouts of sockets begin anew with every byte, so that an answer that drips is waited for on a thread of its own,
    and left there.
    """
    import requests

    late, outcome = threading.Event(), []

    def read() -> None:
        try:
            timeouts = REACH_TIMEOUT_S, options.timeout_s
            with session.request(method, url, data=data, timeout=timeouts, stream=True) as answer:
                body = bytearray()
                for piece in answer.iter_content(PIECE_B):
                    body += piece
                    if late.is_set() or len(body) > LARGEST_ANSWER_B:
                        raise requests.RequestException(f"more than {len(body)} B came")
            outcome.append(
                (answer.status_code, answer.reason or "", answer.headers.get("Retry-After", ""), bytes(body))
            )
        except OSError as error:  # those of requests are
            outcome.append(error)

    deadline_s = 2 * options.timeout_s
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(deadline_s)
    if not outcome:
        late.set()
        raise _AskAgainError(f"No whole answer within {deadline_s:g} s.")
    if isinstance(outcome[0], requests.Timeout):
        raise _AskAgainError(f"No answer within {options.timeout_s:g} s.") from outcome[0]
    if isinstance(outcome[0], OSError):
        raise _AskAgainError(f"The connection failed: {outcome[0]}.") from outcome[0]
    return outcome[0]
