"""Ways of an OSM file with the nodes they are made of, for who changes them: others need their geometry alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.errors import InputError, reading
from lib.osm.dialects import NEW_ID, OSM_SUFFIXES, plain_file
from lib.osm.extracts import EXPECTED


@dataclass(frozen=True)
class WayNodes:
    """
    A way as it stands in OSM.

    Attributes
    ----------
    version
        That a change of it must name.
    nodes
        Ids, in the way's order.
    lonlat
        Their places, degrees, float64 (n, 2).
    tags
        All of them.
    """

    version: int
    nodes: tuple[int, ...]
    lonlat: np.ndarray
    tags: dict[str, str]


def read_way_nodes(path: Path, osm_ids: Iterable[str]) -> dict[str, WayNodes]:
    """
    Ways of an OSM file by their id, such as "way/123".

    Those are left out that the file lacks, or some of whose nodes it lacks or OSM does not know (new in an editor,
    without an id), or that have no version, as in extracts without metadata: nobody could change them without harm.

    Raises
    ------
    InputError
        Names the file if it is no OSM file, or is damaged.
    """
    import osmium

    numbers = {int(osm_id.removeprefix("way/")) for osm_id in osm_ids if osm_id.startswith("way/")}
    numbers = {number for number in numbers if number > 0}
    if not path.name.lower().endswith(OSM_SUFFIXES):
        raise InputError(f"{path}: expected {EXPECTED}; only such a file knows the nodes of ways.")
    found: dict[str, WayNodes] = {}
    if not numbers:
        return found
    with reading(path, EXPECTED), plain_file(path) as (file, _):
        ways = (
            osmium.FileProcessor(file)
            .with_locations()
            .with_filter(osmium.filter.EntityFilter(osmium.osm.WAY))
            .with_filter(osmium.filter.IdFilter(numbers))
        )
        for way in ways:
            if way.version and all(node.location.valid() and 0 < node.ref <= NEW_ID for node in way.nodes):
                lonlat = np.array([(node.lon, node.lat) for node in way.nodes], np.float64).reshape(-1, 2)
                nodes, tags = tuple(node.ref for node in way.nodes), {tag.k: tag.v for tag in way.tags}
                found[f"way/{way.id}"] = WayNodes(way.version, nodes, lonlat, tags)
    return found
