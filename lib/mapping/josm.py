"""OSM's XML for JOSM: lines as ways that share nodes at junctions, polygons as closed ways or multipolygons."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO
from xml.sax.saxutils import quoteattr

import numpy as np

from lib.errors import InputError, PPLinkNetWarning
from lib.grid import crs_text, in_degrees
from lib.paths import whole_file

if TYPE_CHECKING:
    import geopandas as gpd
    import shapely

MOST_NODES_A_WAY = 2000  # OSM wiki, API v0.6: more are refused at upload
MOST_ELEMENTS = 10_000  # of a changeset, the same page
SLOW_NODES = 500_000  # from here on JOSM's editing is slow, and its default memory may not do
KINDS = ("LineString", "LinearRing", "Polygon")
DEGREE_DIGITS = 7  # OSM keeps positions as whole numbers of 1e-7 degrees
TAG_LENGTH = 255  # characters of a value that OSM keeps
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


class _Way(NamedTuple):
    """A way: numbers of its nodes, and of its feature; None where it is but a part of a multipolygon."""

    nodes: np.ndarray
    feature: int | None


class _Relation(NamedTuple):
    """A multipolygon: numbers of its ways among all, with their roles, and of its feature."""

    members: list[tuple[int, str]]
    feature: int


Tags = Mapping[str, str]


def write_osm(path: Path, features: "gpd.GeoDataFrame", tags: Tags | Sequence[Tags], upload: bool = False) -> int:
    """
    Write lines or polygons as an OSM file of new objects, whole or not at all.

    Ids are negative. Vertices at the same place, to 1e-7 degrees, are one node: so roads join at junctions. A way of
    more than 2000 nodes becomes several that share a node; a polygon with holes, or with a longer ring, is a
    multipolygon. What lies across the antimeridian is cut there.

    Parameters
    ----------
    path
        Such as map.osm.
    features
        LineStrings or Polygons in any CRS.
    tags
        Of all features, such as {"highway": "road", "source": "..."}, or a list of those of each; escaped here.
    upload
        Whether JOSM may upload it; otherwise the file says `upload="never"`.

    Returns
    -------
    nodes
        How many the file holds; from SLOW_NODES on there is a warning.

    Raises
    ------
    InputError
        If the features have no CRS, or some have no place on earth.
    """
    if features.crs is None:
        raise InputError(f"{path}: expected features with a CRS, got pixels, which have no place in OSM.")
    tags_of = [tags] * len(features) if isinstance(tags, Mapping) else tags
    places, ways, relations = _built(features)
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        never = "" if upload else ' upload="never"'
        file.write(f"<?xml version='1.0' encoding='UTF-8'?>\n<osm version=\"0.6\" generator=\"PP-LinkNet\"{never}>\n")
        for number, (lon, lat) in enumerate(places.tolist(), 1):
            file.write(f'<node id="-{number}" lat="{_degrees(lat)}" lon="{_degrees(lon)}"/>\n')
        first_way = len(places) + 1
        for number, way in enumerate(ways, first_way):
            refs = "".join(f'<nd ref="-{node + 1}"/>' for node in way.nodes.tolist())
            file.write(
                f'<way id="-{number}">{refs}{"" if way.feature is None else _tags(tags_of[way.feature])}</way>\n'
            )
        for number, relation in enumerate(relations, first_way + len(ways)):
            _write_relation(file, number, relation, first_way, tags_of[relation.feature])
        file.write("</osm>\n")
    if len(places) > SLOW_NODES:
        warnings.warn(
            f"{path} holds {len(places):,} nodes; JOSM is slow beyond {SLOW_NODES:,}, and a changeset takes "
            f"{MOST_ELEMENTS:,} elements. Map a smaller area, or work from map.gpkg.",
            PPLinkNetWarning,
            stacklevel=2,
        )
    return len(places)


def _built(features: "gpd.GeoDataFrame") -> tuple[np.ndarray, list[_Way], list[_Relation]]:
    """Nodes, (n, 2) int64 longitude, latitude in 1e-7 degrees; ways; multipolygons."""
    import shapely

    whole = features.geometry.to_numpy()
    if other := sorted(set(features.geom_type.dropna()) - set(KINDS)):
        raise InputError(f"Expected lines or polygons of one part, got a {other[0]}; take it apart first (explode).")
    # across the antimeridian a feature is of two parts: JOSM would draw it around the world
    parts, feature_of = shapely.get_parts(in_degrees(whole, crs_text(features.crs)), return_index=True)
    # chains: lines and rings; of a polygon its exterior first, then its holes
    chains, owner = [], []
    for number, shape in enumerate(parts):
        own = _chains(shape)
        chains += own
        owner += [number] * len(own)
    if not chains:
        return np.empty((0, 2), np.int64), [], []
    lonlat = np.vstack(chains)
    if not np.isfinite(lonlat).all():
        raise InputError("Expected features on earth; some have no longitude and latitude: is their CRS right?")
    places, numbers = np.unique(np.rint(lonlat * 10**DEGREE_DIGITS).astype(np.int64), axis=0, return_inverse=True)
    pieces = np.split(numbers.ravel(), np.cumsum([len(chain) for chain in chains])[:-1])
    ways, relations, areas = [], [], {}
    is_area = shapely.get_dimensions(parts) == 2
    for nodes, number in zip(pieces, owner, strict=True):
        nodes = nodes[np.diff(nodes, prepend=-1) != 0]  # vertices nearer than a centimetre are one
        if is_area[number]:
            areas.setdefault(number, []).append(nodes)
        elif len(nodes) > 1:
            ways += [_Way(some, int(feature_of[number])) for some in _cut(nodes)]
    for number, rings in areas.items():
        feature = int(feature_of[number])
        large = [len(ring) > 3 for ring in rings]
        if not large[0]:
            continue  # smaller than OSM can tell
        if len(rings) == 1 and len(rings[0]) <= MOST_NODES_A_WAY:
            ways.append(_Way(rings[0], feature))
            continue
        members = []
        for role, ring, is_large in zip(("outer", *["inner"] * len(rings)), rings, large, strict=False):
            for some in _cut(ring) if is_large else ():
                members.append((len(ways), role))
                ways.append(_Way(some, None))
        relations.append(_Relation(members, feature))
    used = np.unique(np.concatenate([np.empty(0, np.int64), *(way.nodes for way in ways)]))
    renumbered = [_Way(np.searchsorted(used, way.nodes), way.feature) for way in ways]
    return places[used], renumbered, relations


def _chains(shape: "shapely.Geometry") -> list[np.ndarray]:
    """Vertices (n, 2) of a line, or of a polygon's rings."""
    if shape.is_empty:
        return []
    rings = (shape.exterior, *shape.interiors) if shape.geom_type == "Polygon" else (shape,)
    return [np.asarray(ring.coords)[:, :2] for ring in rings]


def _cut(nodes: np.ndarray) -> Iterator[np.ndarray]:
    """Pieces of a way of at most MOST_NODES_A_WAY nodes, each from the last node of the one before."""
    step = MOST_NODES_A_WAY - 1
    for start in range(0, len(nodes) - 1, step):
        yield nodes[start : start + step + 1]


def _write_relation(file: TextIO, number: int, relation: _Relation, first_way: int, tags: Tags) -> None:
    members = "".join(f'<member type="way" ref="-{first_way + n}" role="{role}"/>' for n, role in relation.members)
    file.write(f'<relation id="-{number}">{members}{_tags({"type": "multipolygon"} | dict(tags))}</relation>\n')


def _tags(tags: Tags) -> str:
    return "".join(f"<tag k={_quoted(key)} v={_quoted(value)}/>" for key, value in tags.items())


def _quoted(text: str) -> str:
    """An attribute's value: without what XML can't hold, no longer than OSM keeps it, escaped."""
    return quoteattr(_NOT_XML.sub("", text)[:TAG_LENGTH])


def _degrees(ticks: int) -> str:
    """Decimal degrees, without rounding, of a whole number of 1e-7 degrees."""
    whole, rest = divmod(abs(ticks), 10**DEGREE_DIGITS)
    return f"{'-' if ticks < 0 else ''}{whole}.{rest:0{DEGREE_DIGITS}d}"
