"""Downloading OSM features from an Overpass server through osmnx: cached, polite, and whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from lib.errors import DownloadError, ParameterError
from lib.paths import resolve, write_whole

if TYPE_CHECKING:
    import geopandas as gpd
    import requests
    import shapely

LOG = logging.getLogger(__name__)
BUSY = (429, 502, 503, 504)  # too many requests; the server or the gateway before it is overloaded: ask again
REACH_TIMEOUT_S = 15.0
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
        How long the server may compute and the client waits for it.
    tries
        Questions in all before a busy or silent server is given up.
    pause_s
        Pause before the second try, doubled before each further one; a server's Retry-After wins.
    max_area_km2
        A larger area is split into queries of about this size, each cached for itself.
    rate_limit
        Ask the server's status page first when a slot will be free (public servers want it).
    date
        Ask for OSM as it was at this time (ISO 8601, "2019-10-28T19:20:00Z"); None for today.
    """

    url: str = "https://overpass-api.de/api"
    cache_dir: str | Path = "data/cache/overpass"
    timeout_s: float = 180.0
    tries: int = 5
    pause_s: float = 10.0
    max_area_km2: float = 400.0
    rate_limit: bool = True
    date: str | None = None

    def __post_init__(self) -> None:
        if self.tries < 1 or self.timeout_s <= 0 or self.pause_s < 0 or self.max_area_km2 <= 0:
            raise ParameterError(f"Expected tries >= 1, timeout_s > 0, pause_s >= 0, max_area_km2 > 0; got {self}.")
        object.__setattr__(self, "cache_dir", resolve(self.cache_dir))


def overpass_options(options: Mapping[str, Any]) -> OverpassOptions:
    """OverpassOptions from the mapping of a YAML file; ParameterError for a name that is none of its fields."""
    known = [item.name for item in fields(OverpassOptions)]
    if unknown := sorted(set(options) - set(known)):
        raise ParameterError(f"Overpass has no option {', '.join(map(repr, unknown))}; there are {', '.join(known)}.")
    return OverpassOptions(**options)


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
    question = json.dumps([polygon.wkt, sorted(keys), options.url, options.date])
    date_file = Path(options.cache_dir) / f"{hashlib.sha1(question.encode(), usedforsecurity=False).hexdigest()}.date"
    dates: list[str] = date_file.read_text().split() if date_file.is_file() else []
    for attempt in range(options.tries):
        try:
            features = _ask(polygon, keys, options, dates)
            break
        except _AskAgainError as error:
            if attempt + 1 == options.tries:
                raise DownloadError(
                    f"{options.url}: gave up after {options.tries} tries. {error} Nothing was kept of the failed "
                    "answers; try later, another server, or read an .osm.pbf extract."
                ) from error
            pause_s = options.pause_s * 2**attempt if error.pause_s is None else error.pause_s
            LOG.warning("%s Asking again in %.0f s (%d of %d).", error, pause_s, attempt + 2, options.tries)
            time.sleep(pause_s)
    if dates:
        write_whole(date_file, min(dates))
    return features, min(dates, default=None)


def _ask(
    polygon: shapely.Geometry, keys: tuple[str, ...], options: OverpassOptions, dates: list[str]
) -> gpd.GeoDataFrame:
    """One try; answers that came whole are in the cache afterwards, so that the next try asks for the rest."""
    import geopandas as gpd
    import osmnx
    import pandas as pd
    import requests

    found = [gpd.GeoDataFrame(geometry=[], crs="EPSG:4326")]
    with _settings(options, dates), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This area is", category=UserWarning)
        try:
            for part in _neighbourhoods(polygon, options.max_area_km2):
                # broken answers never come so far (`_check_answer`): such an error says that there is nothing
                with suppress(osmnx._errors.InsufficientResponseError):
                    found.append(osmnx.features_from_polygon(part, dict.fromkeys(keys, True)))
        except json.JSONDecodeError as error:
            _drop_damaged(Path(options.cache_dir))
            raise _AskAgainError("A cached answer was damaged and has been removed.", pause_s=0.0) from error
        except requests.Timeout as error:
            raise _AskAgainError(f"No answer within {options.timeout_s:g} s.") from error
        except requests.RequestException as error:
            raise _AskAgainError(f"The connection failed: {error}.") from error
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
    """The settings of osmnx, which are global, changed for one question and put back."""
    from osmnx import settings

    query = "[out:json][timeout:{timeout}]{maxsize}" + (f'[date:"{options.date}"]' if options.date else "")
    changes = {
        "overpass_url": options.url,
        "use_cache": True,
        "cache_folder": Path(options.cache_dir),
        "requests_timeout": options.timeout_s,
        "overpass_rate_limit": options.rate_limit,
        "max_query_area_size": options.max_area_km2 * 1e6,
        "overpass_settings": query,
        # osmnx waits 55 s at a busy server for ever, and takes an answer that ran out of time for a whole one;
        # requests' own hook sees each answer first
        "requests_kwargs": {
            "auth": _check_reachable,
            "hooks": {"response": lambda answer, **_: _check_answer(answer, dates)},
        },
        "doh_url_template": None,  # a name that does not resolve is not asked of a third party
    }
    before = {key: getattr(settings, key) for key in changes}
    resolve = socket.getaddrinfo  # osmnx replaces it to stay with one machine of the server
    try:
        vars(settings).update(changes)
        yield
    finally:
        socket.getaddrinfo = resolve
        vars(settings).update(before)


def _check_reachable(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Called before each question: without it osmnx would wait a minute for a server that is not there."""
    import requests

    address = urlsplit(request.url)
    if not requests.utils.get_environ_proxies(request.url):
        port = address.port or (443 if address.scheme == "https" else 80)
        try:
            socket.create_connection((address.hostname, port), timeout=REACH_TIMEOUT_S).close()
        except OSError as error:
            raise _AskAgainError(f"The connection failed: {error}.") from error
    return request


def _check_answer(answer: requests.Response, dates: list[str]) -> None:
    """Refuse an answer that is not the whole data: busy, failed, cut short, or given up by the server."""
    if not answer.url.split("?")[0].endswith("/interpreter"):
        return
    if answer.status_code in BUSY:
        wait = answer.headers.get("Retry-After", "")
        raise _AskAgainError(
            f"The server is busy ({answer.status_code} {answer.reason}).", float(wait) if wait.isdigit() else None
        )
    if not answer.ok:
        raise DownloadError(f"{answer.url}: the server refused, {answer.status_code} {answer.reason}.")
    try:
        content: Any = answer.json()
        elements = content["elements"]
    except (ValueError, KeyError, TypeError) as error:
        raise _AskAgainError(f"The answer was cut short or is no Overpass JSON ({len(answer.content)} B).") from error
    if "remark" in content:
        # Overpass reports "runtime error: Query timed out" so, with status 200 and what it had by then
        raise _AskAgainError(f"The server gave up after {len(elements)} elements: {content['remark']}.")
    if date := content.get("osm3s", {}).get("timestamp_osm_base"):
        dates.append(date)


def _drop_damaged(cache_dir: Path) -> None:
    """Remove answers that were half written when a run was killed."""
    for path in cache_dir.glob("*.json"):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            path.unlink()
