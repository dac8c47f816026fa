"""
Why a thing that OpenStreetMap has is not seen: what the pixels over it look like.

A guess from three bands. Leaves are greener than their brightness explains; a shadow is dark, and what little light it
has is the sky's. Neither says that the road is still there.
"""

import numpy as np
import shapely

from lib.conflation.ground import Ground
from lib.conflation.stations import stations

TREE_COVER, SHADOW = "tree cover", "shadow"
LEAST_GREEN = 0.06  # green leaf index from which a pixel is green: grey asphalt and roofs have 0, within noise 0.03
DARK = 0.5  # a pixel in shadow is less than half as bright as the area around it: the sun's light is gone
LEAST_SHARE = 0.5  # of the pixels over a thing: most of it is hidden by one cause
STEP_M = 2.0
AROUND_M = 60.0  # side of the area whose brightness is compared: light and land change from block to block
GRID_STEPS = 9  # points along each side of that area


def green_leaf_index(rgb: np.ndarray) -> np.ndarray:
    """(2 G - R - B) / (2 G + R + B) of colours (..., 3); -1..1 (Louhaichi, Borman and Johnson 2001); 0 for black."""
    red, green, blue = np.moveaxis(np.asarray(rgb, float), -1, 0)
    total = 2 * green + red + blue
    return np.divide(2 * green - red - blue, total, out=np.zeros_like(total), where=total > 0)


def surface_kinds(rgb: np.ndarray, around: np.ndarray) -> np.ndarray:
    """
    What hides the ground at each pixel.

    Parameters
    ----------
    rgb
        (..., 3) colours, 0..255.
    around
        (...) median brightness of the area around each, 0..255.

    Returns
    -------
    kinds
        (...) of TREE_COVER, SHADOW or "": green counts first, as leaves are dark, too.
    """
    with np.errstate(invalid="ignore"):
        brightness = np.asarray(rgb, float).mean(axis=-1)
        is_green = green_leaf_index(rgb) > LEAST_GREEN
        is_dark = brightness < DARK * around
    return np.where(is_green, TREE_COVER, np.where(is_dark, SHADOW, ""))


def guess_reasons(shapes: np.ndarray, half_m: np.ndarray, ground: Ground) -> np.ndarray:
    """
    The cause that hides most of each shape.

    Parameters
    ----------
    shapes
        (n,) LineStrings or Polygons, metres of the grid.
    half_m
        (n,) half the width of each line's surface, metres; not used for polygons.
    ground
        Whose image is looked at.

    Returns
    -------
    reasons
        (n,) TREE_COVER, SHADOW, or "" where the image says neither, or there is none.
    """
    reasons = np.full(len(shapes), "", object)
    for i, shape in enumerate(shapes if ground.image is not None else ()):
        points = points_on(shape, float(half_m[i]))
        rgb = ground.colours_at(points)
        seen = np.isfinite(rgb[:, 0])
        if not seen.any():
            continue
        around = np.nanmedian(ground.colours_at(_points_around(shape)).mean(axis=-1))
        kinds = surface_kinds(rgb[seen], around)
        shares = {kind: np.mean(kinds == kind) for kind in (TREE_COVER, SHADOW)}
        kind = max(shares, key=shares.get)
        reasons[i] = kind if shares[kind] >= LEAST_SHARE else ""
    return reasons


def points_on(shape: shapely.Geometry, half_m: float) -> np.ndarray:
    """Points (n, 2) spread over a line's surface, `half_m` to either side, or within a polygon; at least one."""
    if shape.geom_type == "LineString":
        along = stations(np.array([shape], object), STEP_M)
        across = np.stack([-along.heading[:, 1], along.heading[:, 0]], axis=1)
        return np.concatenate([along.xy + share * half_m * across for share in (-0.6, 0.0, 0.6)])
    left, top, right, bottom = shape.bounds
    counts = [max(2, int(side / STEP_M) + 1) for side in (right - left, bottom - top)]
    x, y = np.meshgrid(*(np.linspace(a, b, n) for a, b, n in zip((left, top), (right, bottom), counts, strict=True)))
    xy = np.stack([x.ravel(), y.ravel()], axis=1)
    inside = shapely.contains_xy(shape, *xy.T)
    return xy[inside] if inside.any() else np.array(shape.representative_point().coords)


def _points_around(shape: shapely.Geometry) -> np.ndarray:
    """Points (n, 2) of a square around the middle of a shape."""
    x, y = shape.centroid.coords[0]
    offsets = np.linspace(-AROUND_M / 2, AROUND_M / 2, GRID_STEPS)
    return np.stack(np.meshgrid(x + offsets, y + offsets), axis=-1).reshape(-1, 2)
