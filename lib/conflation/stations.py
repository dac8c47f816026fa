"""Lines looked at every few metres: where a road runs beside another, and which stretches of a line share an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely

# a line's direction at a place is that from so far before to so far behind it: pixels' stairs are no turns
HEADING_M = 4.0


@dataclass(frozen=True)
class Stations:
    """
    The middles of equal pieces of lines.

    Attributes
    ----------
    line
        (n,) int: number of the line of each, ascending.
    at_m
        (n,) float: its place along the line, metres.
    length_m
        (n,) float: of its piece.
    xy
        (n, 2) float: x, y, metres.
    heading
        (n, 2) float: unit vector along the line.
    """

    line: np.ndarray
    at_m: np.ndarray
    length_m: np.ndarray
    xy: np.ndarray
    heading: np.ndarray

    def sums(self, values: np.ndarray, lines: int) -> np.ndarray:
        """Values (n,) times lengths, summed by line: (lines,)."""
        return np.bincount(self.line, self.length_m * values, lines)

    def means(self, values: np.ndarray, lines: int) -> np.ndarray:
        """Means of values (n,) by line, weighted by length, what is NaN left out: (lines,), NaN where nothing is."""
        known = np.isfinite(values)
        weight = self.sums(known, lines)
        total = self.sums(np.where(known, values, 0.0), lines)
        return np.divide(total, weight, out=np.full(lines, np.nan), where=weight > 0)


def stations(lines: np.ndarray, step_m: float) -> Stations:
    """Stations of LineStrings (n,), in metres, as near to `step_m` apart as equal pieces allow."""
    lengths = shapely.length(lines)
    counts = np.maximum(1, np.round(lengths / step_m)).astype(int) * (lengths > 0)
    line = np.repeat(np.arange(len(lines)), counts)
    number = np.arange(len(line)) - np.repeat(np.cumsum(counts) - counts, counts)
    length_m = np.repeat(np.divide(lengths, counts, out=np.zeros(len(lengths)), where=counts > 0), counts)
    at_m = (number + 0.5) * length_m
    before, xy, behind = (
        shapely.get_coordinates(shapely.line_interpolate_point(lines[line], np.clip(at_m + by, 0, lengths[line])))
        for by in (-HEADING_M, 0.0, HEADING_M)
    )
    heading = behind - before
    norm = np.hypot(*heading.T)[:, None]
    return Stations(line, at_m, length_m, xy, heading / np.where(norm > 0, norm, 1))


def beside(
    points: Stations,
    roads: np.ndarray,
    reach_m: np.ndarray,
    max_angle_deg: float,
    worth: np.ndarray | None = None,
) -> np.ndarray:
    """
    Which roads run along each station: within their reach, and in its direction.

    Parameters
    ----------
    roads
        (n,) LineStrings, and Polygons, in which every direction counts; metres.
    reach_m
        (n,) how far from each road a station may lie.
    max_angle_deg
        Between the two lines.
    worth
        (n,) a number of each road; None: 1 for all.

    Returns
    -------
    best
        float, one a station: the largest worth of the roads along it, NaN where there is none.
    """
    best = np.full(len(points.xy), np.nan)
    if not len(roads) or not len(best):
        return best
    worth = np.ones(len(roads)) if worth is None else np.asarray(worth, float)
    where = shapely.points(points.xy)
    is_line = shapely.get_type_id(roads) == shapely.GeometryType.LINESTRING
    vertices, owner = shapely.get_coordinates(roads[is_line], return_index=True)
    joined = np.flatnonzero(np.diff(owner) == 0)
    road = np.flatnonzero(is_line)[owner[joined]]  # (segments,)
    if len(road):
        ends = np.stack([vertices[joined], vertices[joined + 1]], axis=1)  # (segments, 2 ends, 2)
        tree = shapely.STRtree(shapely.linestrings(ends))
        station, segment = tree.query(where, predicate="dwithin", distance=float(reach_m[road].max()))
        near = shapely.distance(where[station], tree.geometries[segment]) <= reach_m[road[segment]]
        step = ends[segment, 1] - ends[segment, 0]
        cosine = np.abs((points.heading[station] * step).sum(axis=1)) / np.maximum(np.hypot(*step.T), 1e-9)
        chosen = near & (cosine >= np.cos(np.radians(max_angle_deg)))
        np.fmax.at(best, station[chosen], worth[road[segment[chosen]]])
    areas = np.flatnonzero(~is_line)
    if len(areas):
        station, area = shapely.STRtree(roads[areas]).query(where, predicate="within")
        np.fmax.at(best, station, worth[areas[area]])
    return best


def smoothed(points: Stations, values: np.ndarray, window_m: float) -> np.ndarray:
    """Mean of values (n,) over the stations of the same line within half a window; what is NaN is left out."""
    known = np.isfinite(values)
    sums = [np.concatenate([[0.0], np.cumsum(part)]) for part in (np.where(known, values, 0.0), known)]
    # lines follow each other: a place on this axis is unique, and windows end where the next line begins
    axis = points.at_m + points.line * (window_m + points.at_m.max(initial=0.0) + 1.0)
    first = np.searchsorted(axis, axis - window_m / 2, "left")
    last = np.searchsorted(axis, axis + window_m / 2, "right")
    total, count = (part[last] - part[first] for part in sums)
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def stretches(lines: np.ndarray, points: Stations, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    The parts of lines whose stations are chosen.

    Returns
    -------
    parts, line
        LineStrings (k,), and the number of the line that each is cut from.
    """
    found, line = [], []
    changes = np.flatnonzero((np.diff(points.line) != 0) | (np.diff(chosen) != 0)) + 1
    for first, last in pairwise([0, *changes.tolist(), len(chosen)]):
        if last > first and chosen[first]:
            half_m = points.length_m[first] / 2
            found.append(cut(lines[points.line[first]], points.at_m[first] - half_m, points.at_m[last - 1] + half_m))
            line.append(int(points.line[first]))
    return as_array(found), np.array(line, int)


def cut(line: shapely.LineString, from_m: float, to_m: float) -> shapely.LineString:
    """The part of a line between two places on it; shapely.ops.substring walks over all vertices in Python."""
    xy = shapely.get_coordinates(line)
    at_m = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    ends = np.stack([np.interp((from_m, to_m), at_m, axis) for axis in xy.T], axis=1)
    inner = xy[(at_m > from_m) & (at_m < to_m)]
    return shapely.LineString(np.concatenate([ends[:1], inner, ends[1:]]))


def as_array(geometries: Sequence[shapely.Geometry]) -> np.ndarray:
    """Geometries (n,) as an array of objects, also where there is none."""
    array = np.empty(len(geometries), dtype=object)
    array[:] = list(geometries)
    return array
