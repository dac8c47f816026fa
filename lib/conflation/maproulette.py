"""
Accepted candidates for mappers: a cooperative challenge of MapRoulette.

One line a task, each a GeoJSON FeatureCollection behind a record separator (RFC 7464); its `cooperativeWork` carries
what is to be added as an osmChange, base64 (learn.maproulette.org, "Creating cooperative challenges"). JOSM loads it
over the map of the day, and the mapper checks, mends and uploads it.

Two things are decided by what MapRoulette and JOSM do. A task is called by the `id` of its first feature, and an upload
replaces the tasks of the same names: so they are those of candidates. All tasks of a mapper land in one layer of JOSM,
where a negative id is one object: so ids are not used again within a file.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lib.conflation.ground import metres_at
from lib.conflation.review import ACCEPTED
from lib.errors import InputError, ParameterError
from lib.grid import LONLAT, crs_text, in_degrees
from lib.osm.lanes import HIGHWAYS
from lib.osm.layers import METRES_A_DEGREE
from lib.osm.way_nodes import WayNodes
from lib.paths import write_whole

RECORD_SEPARATOR = "\x1e"
CHANGE_FILE = {"version": 2, "type": 2}  # of `meta`: the second format, of which kind 2 is a change file
DECIMALS = 7  # of degrees, as OSM stores them: a centimetre
MOST_NODES = 2000  # of a way (OSM's API)
TASK_M = 200.0  # candidates of one square of this side are one task
MOST_TOUCHING = 25  # candidates that share nodes are one task, as far as there are no more
JOIN_M = 20.0  # an end so near to the OSM road that its candidate joins is joined to it
SNAP_M = 4.0  # to a node of that road which is so near, else to a new node in it


def write_challenge(
    candidates: gpd.GeoDataFrame,
    path: Path,
    layer: str,
    *,
    highway: str = "road",
    ways: Mapping[str, WayNodes] | None = None,
) -> int:
    """
    Write a cooperative challenge of the accepted candidates, whole or not at all.

    Parameters
    ----------
    candidates
        `missing_roads` (lines) or `missing_buildings` (polygons) with their columns, in any CRS; where OSM was moved
        onto the image, moved back as far (`lib.masks.offset.shift`). Others than the accepted are left out.
    path
        The line-by-line GeoJSON, to be uploaded as it is.
    layer
        Name of the layer, which the names of the tasks begin with.
    highway
        Class of new roads; "road" is OSM's word for one that nobody has classed.
    ways
        The OSM roads that candidates join, by the ids of `joins` (`lib.osm.way_nodes.read_way_nodes`): there the new
        road shares a node. Without them it ends where the candidate does.

    Returns
    -------
    tasks
        How many there are.

    Raises
    ------
    ParameterError
        If the class is none of OSM's.
    InputError
        If no candidate is accepted, they have no CRS, or a geometry is neither a line nor a polygon.
    """
    if highway not in HIGHWAYS:
        raise ParameterError(f"Expected a highway class of OSM; got {highway[:40]!r}.")
    accepted = candidates[candidates["status"] == ACCEPTED].sort_values("candidate", ignore_index=True)
    if accepted.empty:
        raise InputError(f"{layer}: expected accepted candidates, found none; accept some in the review first.")
    if accepted.crs is None:
        raise InputError(f"{layer}: its candidates have no CRS, so that nobody knows where on earth they lie.")
    if unknown := set(accepted.geom_type) - {"LineString", "Polygon"}:
        raise InputError(f"{layer}: expected lines or polygons, found {', '.join(sorted(unknown))}.")
    # across the antimeridian a candidate is of two parts: it would be drawn around the world
    in_parts = in_degrees(accepted.geometry.to_numpy(), crs_text(accepted.crs))
    degrees = accepted.set_geometry(gpd.GeoSeries(in_parts, crs=LONLAT)).explode()
    changes, lines = _Changes(highway, ways or {}), []
    for rows in _tasks(accepted):
        changes.begin()
        features = [_feature(layer, row, changes) for row in degrees.loc[rows].to_dict("records")]
        file = {"type": "xml", "format": "osc", "encoding": "base64", "content": changes.encoded()}
        work = {"meta": CHANGE_FILE, "file": file}
        task = {"type": "FeatureCollection", "features": features, "cooperativeWork": work}
        lines.append(f"{RECORD_SEPARATOR}{json.dumps(task, ensure_ascii=False, allow_nan=False)}\n")
    write_whole(path, "".join(lines))
    return len(lines)


def _tasks(accepted: gpd.GeoDataFrame) -> list[np.ndarray]:
    """Rows of each task: what touches stays together, then what lies in one square; in the order of their first."""
    metres = accepted.geometry.to_crs(metres_at(accepted.geometry)).to_numpy()
    count = len(metres)
    pairs = shapely.STRtree(metres).query(metres, predicate="dwithin", distance=10.0**-2)
    _, group = connected_components(coo_array((np.ones(pairs.shape[1]), pairs), shape=(count, count)), directed=False)
    is_small = np.bincount(group)[group] <= MOST_TOUCHING
    centre = shapely.get_coordinates(shapely.centroid(metres))
    first = np.unique(group, return_index=True)[1][group]  # a group lies where its first candidate does
    square = np.floor(np.where(is_small[:, None], centre[first], centre) / TASK_M)
    _, task = np.unique(square, axis=0, return_inverse=True)
    rows = [np.flatnonzero(task == number) for number in range(task.max() + 1)]
    return sorted(rows, key=lambda own: own[0])


def _feature(layer: str, row: Mapping, changes: "_Changes") -> dict:
    """A candidate as MapRoulette shows it, and its part of the change."""
    facts = {k: row[k] for k in ("length_m", "area_m2", "confidence") if k in row and np.isfinite(row[k])}
    facts = {k: round(float(v), 2) for k, v in facts.items()}
    joins = str(row.get("joins") or "")
    if row["geometry"].geom_type == "LineString":
        lonlat, is_joined = changes.add_road(shapely.get_coordinates(row["geometry"]), joins)
        geometry = {"type": "LineString", "coordinates": lonlat}
        if joins:
            facts |= {"joins": joins, "is_joined": is_joined}
    else:
        geometry = {"type": "Polygon", "coordinates": changes.add_building(row["geometry"])}
    name = f"{layer}-{row['candidate']}"
    return {"type": "Feature", "id": name, "properties": {"candidate": name, **facts}, "geometry": geometry}


@dataclass
class _Changes:
    """The osmChange of one task after the other, with ids that go on below 0."""

    highway: str
    ways: Mapping[str, WayNodes]
    last_id: int = 0
    nodes: dict[tuple[float, float], int] = field(default_factory=dict)  # lon, lat -> id, of this task
    created: list[ElementTree.Element] = field(default_factory=list)  # its ways and relations
    modified: dict[str, WayNodes] = field(default_factory=dict)  # OSM's ways, as it changes them
    changed: set[str] = field(default_factory=set)  # those that a former task changes: two would be in conflict

    def begin(self) -> None:
        """A new task: no node is shared with another one."""
        self.changed |= set(self.modified)
        self.nodes, self.created, self.modified = {}, [], {}

    def encoded(self) -> str:
        """The osmChange, base64."""
        root = ElementTree.Element("osmChange", version="0.6", generator="PP-LinkNet")
        create = ElementTree.SubElement(root, "create")
        for (lon, lat), number in self.nodes.items():
            if number < 0:
                place = {"lat": f"{lat:.{DECIMALS}f}", "lon": f"{lon:.{DECIMALS}f}"}
                ElementTree.SubElement(create, "node", id=str(number), version="0", **place)
        create.extend(self.created)
        if self.modified:
            modify = ElementTree.SubElement(root, "modify")
            modify.extend(
                _element("way", int(osm_id.removeprefix("way/")), way.version, way.nodes, way.tags)
                for osm_id, way in self.modified.items()
            )
        return base64.b64encode(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)).decode()

    def add_road(self, lonlat: np.ndarray, joins: str) -> tuple[list[list[float]], bool]:
        """Add a line (n, 2), joined to an OSM road where that is known and near; its points, and whether it is."""
        scale = _metres_a_degree(lonlat[0])
        line = shapely.LineString((lonlat - lonlat[0]) * scale)  # metres from its start
        steps_m = np.hypot(*np.diff(shapely.get_coordinates(line), axis=0).T)
        along_m = [0.0, *steps_m.cumsum().tolist()]
        stations = list(zip(along_m, map(tuple, np.round(lonlat, DECIMALS).tolist()), strict=True))
        is_joined = False
        for at_m, gap_m in self._joints(joins, lonlat, line) if joins in self.ways else ():
            foot = shapely.get_coordinates(shapely.line_interpolate_point(line, at_m))[0]
            place = self._place_on(joins, tuple(foot / scale + lonlat[0]))
            is_joined |= place in self.nodes
            if gap_m <= SNAP_M:  # what stands there is moved; over a wider gap the road is drawn on
                stations = [(m, point) for m, point in stations if abs(m - at_m) > SNAP_M]
            beyond_m = JOIN_M * ((at_m >= along_m[-1] - SNAP_M) - (at_m <= SNAP_M))  # of an end: the outermost station
            stations = sorted([*stations, (at_m + beyond_m, place)], key=lambda station: station[0])
        points = [point for _, point in stations]
        points = [point for i, point in enumerate(points) if i == 0 or point != points[i - 1]]
        for start in range(0, max(len(points) - 1, 1), MOST_NODES - 1):
            self._way(points[start : start + MOST_NODES], {"highway": self.highway})
        return [list(point) for point in points], is_joined

    def add_building(self, polygon: shapely.Polygon) -> list[list[list[float]]]:
        """Add an outline, of a multipolygon where it has holes; its rings, the outer one turning left (RFC 7946)."""
        polygon = shapely.transform(polygon, lambda xy: np.round(xy, DECIMALS))
        lines = shapely.get_rings(shapely.orient_polygons(shapely.remove_repeated_points(polygon)))
        rings = [[tuple(xy) for xy in shapely.get_coordinates(line).tolist()] for line in lines]
        is_plain = len(rings) == 1
        ids = [self._way(ring, {"building": "yes"} if is_plain else {}) for ring in rings]
        if not is_plain:
            relation = _element("relation", self._new_id(), 0, (), {"type": "multipolygon", "building": "yes"})
            for place, number in enumerate(ids):
                member = {"type": "way", "ref": str(number), "role": "inner" if place else "outer"}
                relation.insert(place, ElementTree.Element("member", member))
            self.created.append(relation)
        return [[list(point) for point in ring] for ring in rings]

    def _way(self, points: list[tuple[float, float]], tags: Mapping[str, str]) -> int:
        number = self._new_id()
        self.created.append(_element("way", number, 0, [self._node(point) for point in points], tags))
        return number

    def _node(self, point: tuple[float, float]) -> int:
        if point not in self.nodes:
            self.nodes[point] = self._new_id()
        return self.nodes[point]

    def _new_id(self) -> int:
        self.last_id -= 1
        return self.last_id

    def _joints(self, osm_id: str, lonlat: np.ndarray, line: shapely.LineString) -> list[tuple[float, float]]:
        """
        Where a new road meets an OSM road: metres along it, and the gap to that road.

        Where it crosses it; else at the nearer end, and at the other one if it leaves and comes back.
        """
        way, scale = self.ways[osm_id], _metres_a_degree(lonlat[0])
        if len(way.nodes) < 2:
            return []
        road = shapely.LineString((way.lonlat - lonlat[0]) * scale)
        crossings = shapely.get_coordinates(shapely.intersection(line, road))
        if len(crossings):
            return [(m, 0.0) for m in np.unique(shapely.line_locate_point(line, shapely.points(crossings))).tolist()]
        ends = [(m, shapely.Point(line.coords[i]).distance(road)) for m, i in ((0.0, 0), (line.length, -1))]
        near = sorted((end for end in ends if end[1] <= JOIN_M), key=lambda end: end[1])
        return near[: 1 + (line.length > 2 * JOIN_M)]

    def _place_on(self, osm_id: str, end: tuple[float, float]) -> tuple[float, float]:
        """
        Where an end meets an OSM road: at one of its nodes, at a new one, or, where another task changes that road
        already, on it without a node.
        """
        way, scale = self.modified.get(osm_id, self.ways[osm_id]), _metres_a_degree(end)
        xy = (way.lonlat - end) * scale  # metres from the end, (n, 2)
        line = shapely.LineString(xy)
        foot_m = line.project(shapely.Point(0, 0))  # along the road
        foot = np.array(line.interpolate(foot_m).coords[0])
        gaps_m = np.hypot(*(xy - foot).T)
        nearest = int(gaps_m.argmin())
        if gaps_m[nearest] <= SNAP_M:
            place = tuple(np.round(way.lonlat[nearest], DECIMALS).tolist())
            self.nodes[place] = way.nodes[nearest]
            return place
        place = tuple(np.round(foot / scale + end, DECIMALS).tolist())
        if osm_id in self.changed:
            return place
        along_m = np.concatenate([[0.0], np.hypot(*np.diff(xy, axis=0).T).cumsum()])
        at = int(np.searchsorted(along_m, foot_m))
        nodes = (*way.nodes[:at], self._node(place), *way.nodes[at:])
        self.modified[osm_id] = WayNodes(way.version, nodes, np.insert(way.lonlat, at, place, axis=0), way.tags)
        return place


def _metres_a_degree(lonlat: np.ndarray | tuple[float, float]) -> np.ndarray:
    """Metres that a degree of longitude and one of latitude are at a place, (2,): near it, as on a sphere."""
    return np.array([np.cos(np.radians(lonlat[1])), 1.0]) * METRES_A_DEGREE


def _element(
    kind: str, number: int, version: int, nodes: Iterable[int], tags: Mapping[str, str]
) -> ElementTree.Element:
    """A way or relation as OSM's XML has it."""
    element = ElementTree.Element(kind, id=str(number), version=str(version))
    for node in nodes:
        ElementTree.SubElement(element, "nd", ref=str(node))
    for key, value in tags.items():
        ElementTree.SubElement(element, "tag", k=key, v=value)
    return element
