"""
Outlines of the patches of a mask, all at once: arrays of polygons, in pixels, x right, y down.

Every step takes all polygons of a mask in one call. A call of shapely for each would take longer than its work.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import shapely

LEAST_AGREEMENT = 0.8  # IoU with its outline below which a right-angled polygon is given up
LEAST_ORDER = 0.15  # length of the mean of all walls' directions, times four: 1 for a box, 0 for a circle or an octagon
DIAGONAL_DEG = 12.0  # a wall so near to 45 degrees from the house's direction may stay: smaller turns are raggedness
POLYGON = 3  # shapely's number of that type
PARENT = 3  # column of OpenCV's hierarchy of contours: number of the shell around a hole, -1 for a shell


class Rings(NamedTuple):
    """Corners of rings, (corners, 2) x, y, none twice, and the ring of each, (corners,), rising from 0."""

    xy: np.ndarray
    ring: np.ndarray

    @property
    def following(self) -> np.ndarray:
        """(corners,) number of the corner that comes next on the ring."""
        first = np.flatnonzero(np.diff(self.ring, prepend=-1))
        following = np.arange(1, len(self.ring) + 1)
        following[np.append(first[1:], len(self.ring)) - 1] = first
        return following

    def only(self, kept: np.ndarray) -> Rings:
        """Some of the corners, bool (corners,)."""
        return Rings(self.xy[kept], self.ring[kept])


def outlines(built: np.ndarray, x: int = 0, y: int = 0) -> np.ndarray:
    """
    Polygons along the edges of the pixels of a uint8 mask (H, W) of 0 and 1, x and y added.

    Their corners are whole pixels, float64; patches that touch at a corner are two polygons.
    """
    # OpenCV's contours run through pixels' centres. In the doubled image those of a patch's left and upper pixels are
    # even, the others odd: half of it, rounded up, is the edge
    doubled = (built.astype(np.uint16) * 257).view(np.uint8).repeat(2, axis=0)  # a pixel, twice, is one of 16 bits
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.empty(0, object)
    parent = hierarchy[0, :, PARENT]
    is_hole = parent >= 0
    shell = np.where(is_hole, parent, np.arange(len(contours)))
    order = np.lexsort((is_hole, shell))  # a shell, then its holes
    xy = (np.concatenate([contours[k][:, 0] for k in order]) + 1) // 2 + np.array([x, y])
    rings = Rings(xy, np.repeat(np.arange(len(order)), [len(contours[k]) for k in order]))
    rings = rings.only((rings.xy != rings.xy[rings.following]).any(axis=1))  # both ends of what was a step of half
    step = np.sign(rings.xy[rings.following] - rings.xy)  # along an axis, all of them
    is_corner = np.empty(len(step), bool)
    is_corner[rings.following] = (step != step[rings.following]).any(axis=1)
    polygons = _polygons(rings.only(is_corner), np.unique(shell[order], return_inverse=True)[1])
    touches_itself = ~shapely.is_valid(polygons)
    if not touches_itself.any():
        return polygons
    parts = shapely.get_parts(shapely.make_valid(polygons[touches_itself]))
    return np.concatenate([polygons[~touches_itself], parts[shapely.get_dimensions(parts) == 2]])


def _polygons(rings: Rings, owner: np.ndarray) -> np.ndarray:
    """Polygons of rings; `owner` is the polygon of each ring, rising, its shell first."""
    return shapely.polygons(shapely.linearrings(rings.xy.astype(np.float64), indices=rings.ring), indices=owner)


def without_small_holes(polygons: np.ndarray, least_area: float) -> np.ndarray:
    """Polygons without their holes of a smaller area."""
    rings, owner = shapely.get_rings(polygons, return_index=True)
    is_hole = np.diff(owner, prepend=-1) == 0
    is_small = np.zeros(len(rings), bool)
    is_small[is_hole] = shapely.area(shapely.polygons(rings[is_hole])) < least_area
    return shapely.polygons(rings[~is_small], indices=owner[~is_small]) if is_small.any() else polygons


def simplified(polygons: np.ndarray, tolerance: float) -> np.ndarray:
    """
    Polygons with fewer corners, within `tolerance` of what they were; as they were where nothing valid is left.

    By Douglas and Peucker's rule, which always keeps the first corner: here that farthest from the middle of its ring,
    which is one of the house and not of a pixel. GEOS's way that keeps topology takes ten times as long; it has its
    turn where rings cross or are lost.
    """
    if not len(polygons):
        return polygons
    lines, owner = shapely.get_rings(polygons, return_index=True)
    simple = shapely.simplify(_polygons(_from_farthest(_rings(lines)), owner), tolerance, preserve_topology=False)
    holes, others = (shapely.get_num_interior_rings(shapes) for shapes in (polygons, simple))
    is_bad = ~_is_polygon(simple) | (holes != others)
    simple[is_bad] = shapely.simplify(polygons[is_bad], tolerance)
    return np.where(_is_polygon(simple), simple, polygons)


def _is_polygon(shapes: np.ndarray) -> np.ndarray:
    """Whether each is a valid polygon of some area, bool."""
    return shapely.is_valid(shapes) & ~shapely.is_empty(shapes) & (shapely.get_type_id(shapes) == POLYGON)


def _rings(lines: np.ndarray) -> Rings:
    """Corners of shapely's rings, whose last one repeats the first."""
    rings = Rings(*shapely.get_coordinates(lines, return_index=True))
    return rings.only(np.diff(rings.ring, append=-1) == 0)


def _from_farthest(rings: Rings) -> Rings:
    """The same rings, each from its corner that is farthest from the middle of its box."""
    first = np.flatnonzero(np.diff(rings.ring, prepend=-1))
    lowest, highest = (end.reduceat(rings.xy, first) for end in (np.minimum, np.maximum))
    far = np.square(rings.xy - (0.5 * (lowest + highest))[rings.ring]).sum(axis=1)
    is_farthest = np.flatnonzero(far == np.maximum.reduceat(far, first)[rings.ring])
    _, place = np.unique(rings.ring[is_farthest], return_index=True)  # of several the first
    count, start = np.bincount(rings.ring), is_farthest[place] - first
    turned = np.arange(len(far)) - first[rings.ring] + start[rings.ring]
    return Rings(rings.xy[first[rings.ring] + turned % count[rings.ring]], rings.ring)


def right_angled(polygons: np.ndarray, least_diagonal: float = np.inf) -> np.ndarray:
    """
    Polygons with every wall along or across the house's own direction, or at 45 degrees to it where it is long.

    The direction is the mean of the walls' directions modulo 90 degrees, weighted by length. Walls that follow each
    other in the same class become one, at their mean place. A polygon is returned as it is where its walls have no
    direction in common (LEAST_ORDER): it is round; or where the result agrees with it by less than LEAST_AGREEMENT
    (IoU): its wings have directions of their own.

    Parameters
    ----------
    polygons
        Array of valid polygons.
    least_diagonal
        Length from which a wall near 45 degrees is one; a shorter one is a corner that the mask rounds off.
    """
    lines, owner = shapely.get_rings(polygons, return_index=True)
    if not len(lines):
        return polygons
    rings = _rings(lines)
    is_shell = (np.diff(owner, prepend=-1) != 0)[rings.ring]
    walls = rings.xy[rings.following] - rings.xy
    lengths, angles = np.hypot(*walls.T), np.arctan2(walls[:, 1], walls[:, 0])
    # four times the angle is the same for all four directions of a right-angled house: so they can be averaged
    house, length = owner[rings.ring[is_shell]], lengths[is_shell]
    mean = np.array([np.bincount(house, length * wave(4 * angles[is_shell])) for wave in (np.cos, np.sin)])  # (2, n)
    turn = (np.arctan2(mean[1], mean[0]) / 4)[owner[rings.ring]]
    has_direction = np.hypot(*mean) >= LEAST_ORDER * np.bincount(house, length)
    eighths = (angles - turn) / (np.pi / 4)  # 0, 2, 4, 6: along the axes of the house; odd: diagonal
    is_diagonal = (np.abs(eighths % 2 - 1) <= DIAGONAL_DEG / 45) & (lengths >= least_diagonal)
    kinds = np.where(is_diagonal, 2 * np.floor(eighths / 2) + 1, 2 * np.rint(eighths / 2)).astype(int) % 4
    straight = _straightened(rings, lengths, kinds, turn)
    # a shell of which nothing is left keeps its house as it is, a hole goes
    is_left = np.bincount(straight.ring, minlength=len(lines)) > 0
    is_tried = has_direction & is_left[np.diff(owner, prepend=-1) != 0]  # (polygons,)
    straight = straight.only(is_tried[owner[straight.ring]])
    left, number = np.unique(straight.ring, return_inverse=True)
    tried = np.flatnonzero(is_tried)
    result = _polygons(Rings(straight.xy, number), np.searchsorted(tried, owner[left]))
    is_valid = shapely.is_valid(result)
    result, tried = result[is_valid], tried[is_valid]
    shared = shapely.area(shapely.intersection(result, polygons[tried]))
    both = shapely.area(result) + shapely.area(polygons[tried]) - shared
    agrees = shared >= LEAST_AGREEMENT * both
    polygons = polygons.copy()
    polygons[tried[agrees]] = result[agrees]
    return polygons


def _straightened(rings: Rings, lengths: np.ndarray, kinds: np.ndarray, turn: np.ndarray) -> Rings:
    """
    Rings whose walls of one kind that follow each other are one side; a ring of fewer than three sides has none.

    Parameters
    ----------
    lengths, kinds, turn
        Of the wall that starts at each corner: its length, the direction that it is given, in eighths of a circle from
        that of its house, 0 to 3, and the direction of its house in radians.
    """
    is_change = np.empty(len(kinds), bool)
    is_change[rings.following] = kinds[rings.following] != kinds
    sides = np.bincount(rings.ring, is_change).astype(int)  # (rings,)
    kept = (sides >= 3)[rings.ring]
    middle = (rings.xy + 0.5 * (rings.xy[rings.following] - rings.xy))[kept]
    ring, lengths, is_change = rings.ring[kept], lengths[kept], is_change[kept]
    angle = turn[kept] + kinds[kept] * (np.pi / 4)
    # a side goes on from the end of a ring to its first change
    side, last = np.cumsum(is_change) - 1, np.cumsum(np.where(sides >= 3, sides, 0)) - 1
    side = np.where(side <= last[ring] - sides[ring], last[ring], side)
    # sides run along normal . (x, y) = place: the mean of its walls' middles, weighted by their lengths
    normal = np.column_stack([-np.sin(angle), np.cos(angle)])
    place = np.bincount(side, lengths * (normal * middle).sum(axis=1)) / np.bincount(side, lengths)
    normal, ring = normal[is_change], ring[is_change]
    before = np.arange(len(ring)) - 1
    before[np.diff(ring, prepend=-1) != 0] = last[np.unique(ring)]
    # a side starts where the one before it ends
    (a, b), (c, d), (e, f) = normal[before].T, normal.T, (place[before], place)
    return Rings(np.column_stack([d * e - b * f, a * f - c * e]) / (a * d - b * c)[:, None], ring)
