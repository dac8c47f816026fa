"""
The ground of a map: one grid for all scenes, and what they show in any window of it.

Pixels come from `lib.chips.imagery`, as those of the chips that the network learned from.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import rasterio.features
import shapely

from lib.chips.imagery import read_pixels, read_scene
from lib.chips.sources import Scene
from lib.errors import InputError, or_skip
from lib.grid import LONLAT, Grid, in_one_turn, project, transformer
from lib.mapping.images import ADDRESS
from lib.mapping.windows import Box
from lib.osm.files import read_polygons
from lib.osm.layers import area_of_interest
from lib.paths import file_states
from lib.rasters import MOST_PIXELS, image_files

SNAP_PX = 1e-3  # of a pixel: what rounding makes of a whole number
LATTICE_PX = 32  # coordinates are brought into another CRS at such steps, and interpolated between them
MARGIN_DEGREES = 0.1  # around the images: the edges along which an area is cut in degrees lie well outside


def common_grid(scenes: Sequence[Scene]) -> Grid:
    """
    The first scene's grid, grown to all.

    Raises
    ------
    InputError
        If it has more pixels than are mapped at once: a scene lies far from the others.
    """
    first = scenes[0].grid
    around = np.array([[np.inf, np.inf], [-np.inf, -np.inf]])  # least and greatest column, row
    for scene in scenes:
        corners = _to_grid(scene.grid, first, _edge(scene.grid))
        if not np.isfinite(corners).all():
            raise InputError(f"{scene.name} lies where the CRS of {scenes[0].name} ends: map it into another folder.")
        around = np.stack([np.minimum(around[0], corners.min(axis=0)), np.maximum(around[1], corners.max(axis=0))])
    (left, top), (right, bottom) = np.floor(around[0] + SNAP_PX), np.ceil(around[1] - SNAP_PX)
    width, height = int(right - left), int(bottom - top)
    if width * height > MOST_PIXELS:
        raise InputError(
            f"All scenes lie in {width} x {height} px; {math.isqrt(MOST_PIXELS)} squared are mapped at most. Map them "
            "into several folders."
        )
    return first.window(int(left), int(top), width, height)


def _edge(grid: Grid) -> np.ndarray:
    """(n, 2) x, y of points along the border of a grid, pixels: in another CRS its sides are curves."""
    steps = np.linspace(0, 1, 33)
    sides = [(steps, 0 * steps), (steps, 0 * steps + 1), (0 * steps, steps), (0 * steps + 1, steps)]
    return np.concatenate([np.column_stack(side) for side in sides]) * (grid.width, grid.height)


def _box_in_degrees(grid: Grid) -> shapely.Geometry:
    """Longitudes and latitudes in which a grid lies, with a margin, of two parts across the antimeridian."""
    left, bottom, right, top = transformer(grid.crs, LONLAT).transform_bounds(*grid.bounds, densify_pts=32)
    right += 360 * (right < left)
    return in_one_turn(shapely.box(left, bottom, right, top).buffer(MARGIN_DEGREES, join_style="mitre"))


def _to_grid(grid: Grid, other: Grid, xy_px: np.ndarray) -> np.ndarray:
    """Pixel coordinates (n, 2) of a grid in pixels of another one; infinite where its CRS is not defined."""
    if grid.crs is None or grid.crs == other.crs:
        return other.world_to_pixel(grid.pixel_to_world(xy_px))
    return other.world_to_pixel(project(grid.pixel_to_world(xy_px), grid.crs, other.crs))


@dataclass(frozen=True)
class Placed:
    """
    A scene on the map's grid.

    Attributes
    ----------
    scene
        From `open_scenes`.
    grid
        The map's.
    box
        (left, top, right, bottom) of the map's pixels in which the scene lies.
    to_file
        ((x scale, x offset), (y scale, y offset)): column and row of the file for those of the map, continuous; None
        where the scene is turned, mirrored or in another CRS.
    """

    scene: Scene
    grid: Grid
    box: tuple[float, float, float, float]
    to_file: tuple[tuple[float, float], tuple[float, float]] | None

    @property
    def bands(self) -> int:
        """How many bands are read of it, 3 or more."""
        return max(3, len(self.scene.bands))

    def touches(self, window: Box) -> bool:
        """Whether the scene may show a part of a window of the map."""
        left, top, right, bottom = self.box
        col, row, width, height = window
        return left < col + width and col < right and top < row + height and row < bottom

    def read(self, window: Box) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (height, width, bands) of a window of the map, and bool (height, width): where there is any."""
        return self._read_straight(window) if self.to_file else self._read_turned(window)

    def _read_straight(self, window: Box) -> tuple[np.ndarray, np.ndarray]:
        image, seen = _nothing(window, self.bands)
        spans = []
        for axis in (0, 1):
            scale, offset = self.to_file[axis]
            edges = (np.arange(window[axis], window[axis] + window[2 + axis] + 1) * scale) + offset  # of pixels
            whole = np.rint(edges)
            edges = np.where(np.abs(edges - whole) < SNAP_PX, whole, edges)
            size = self.scene.size_px[axis]
            middles = (edges[1:] + edges[:-1]) / 2
            outer = np.flatnonzero((middles > 0) & (middles < size))  # shown by the scene
            inner = np.flatnonzero((edges[:-1] >= 0) & (edges[1:] <= size))  # and entirely so
            if not inner.size:
                return image, seen
            start, count = edges[inner[0]], edges[inner[-1] + 1] - edges[inner[0]]
            spans.append((inner, inner[0] - outer[0], outer[-1] - inner[-1], float(start), float(count)))
        (xs, left, right, col, width), (ys, above, below, row, height) = spans
        part, valid = read_pixels(
            self.scene.path, (col, row, width, height), (len(ys), len(xs)), tuple(self.scene.bands)
        )
        place = np.s_[ys[0] - above : ys[-1] + below + 1, xs[0] - left : xs[-1] + right + 1]
        rim = [(above, below), (left, right)]  # pixels that lie half in the scene continue it
        image[place] = np.pad(part, [*rim, (0, 0)], "edge")
        seen[place] = np.pad(valid, rim, "edge")
        return image, seen

    def _read_turned(self, window: Box) -> tuple[np.ndarray, np.ndarray]:
        image, seen = _nothing(window, self.bands)
        x, y = (_knots(window[axis], window[2 + axis]) for axis in (0, 1))
        lattice = np.stack(np.meshgrid(x[0], y[0]), axis=-1)  # (rows, columns, 2) pixels of the map
        own = _to_grid(self.grid, self.scene.grid, lattice.reshape(-1, 2)).reshape(lattice.shape)
        if not np.isfinite(own).all():
            return image, seen
        size = np.array([self.scene.grid.width, self.scene.grid.height])
        low = np.maximum(np.floor(own.min(axis=(0, 1))) - 2, 0).astype(int)
        high = np.minimum(np.ceil(own.max(axis=(0, 1))) + 2, size).astype(int)
        if (high <= low).any():
            return image, seen
        part, valid = read_scene(self.scene, (*low.tolist(), *(high - low).tolist()), every_band=True)
        # (height, width, 2) float32 pixels of `part`, whose first pixel's centre OpenCV calls (0, 0)
        at = np.einsum("hk,klc,wl->hwc", y[1], own - low - 0.5, x[1], optimize=True).astype(np.float32)
        image = cv2.remap(part, at, None, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
        shown = cv2.remap(valid.view(np.uint8), at, None, cv2.INTER_NEAREST, None, cv2.BORDER_CONSTANT, 0)
        return image, shown.astype(bool)


def _nothing(window: Box, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """A window that shows nothing: image (height, width, bands) and seen (height, width)."""
    return np.zeros((window[3], window[2], bands), np.uint8), np.zeros((window[3], window[2]), bool)


def _knots(start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (k,) along one axis, and the weights (count, k) by which each pixel's centre lies between them."""
    places = np.linspace(start + 0.5, start + count - 0.5, math.ceil(count / LATTICE_PX) + 1)
    centres = np.arange(count) + start + 0.5
    return places, np.column_stack([np.interp(centres, places, one) for one in np.eye(len(places))])


def place(scene: Scene, grid: Grid) -> Placed:
    """A scene on the map's grid."""
    around = _to_grid(scene.grid, grid, _edge(scene.grid))
    box = (*around.min(axis=0).tolist(), *around.max(axis=0).tolist())
    if scene.grid.crs != grid.crs:
        return Placed(scene, grid, box, None)
    # where the map's first pixel begins, and one step along each side, in the file
    far = np.array([[0, 0], [grid.width, 0], [0, grid.height]], dtype=np.float64)
    zoom = np.array(scene.size_px) / (scene.grid.width, scene.grid.height)
    origin, across, along = _to_grid(grid, scene.grid, far) * zoom
    (x_scale, y_turn), (x_turn, y_scale) = (across - origin) / grid.width, (along - origin) / grid.height
    turned_px = max(abs(y_turn) * grid.width, abs(x_turn) * grid.height)
    if x_scale <= 0 or y_scale <= 0 or turned_px > SNAP_PX:
        return Placed(scene, grid, box, None)
    return Placed(scene, grid, box, ((float(x_scale), float(origin[0])), (float(y_scale), float(origin[1]))))


@dataclass(frozen=True)
class Ground:
    """
    What is mapped.

    Attributes
    ----------
    grid
        Of the map.
    scenes
        On it; where they overlap, the first one is shown.
    area
        Polygon in pixels of the map to which it keeps; None: all that the scenes show.
    """

    grid: Grid
    scenes: Sequence[Placed]
    area: shapely.Geometry | None = None

    @property
    def paths(self) -> list[Path]:
        """Files of the scenes; the first lies on top."""
        return [placed.scene.path for placed in self.scenes]

    def read(self, window: Box, skipped: dict[str, str] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """
        A window of the map.

        Returns
        -------
        image
            uint8 (height, width, bands), black where no scene shows anything; beyond the area, too, it is image.
        seen
            bool (height, width): where there is image in the area.

        Raises
        ------
        InputError
            If a scene can't be read there, unless `skipped` may hold it: then the others are shown.
        """
        col, row, width, height = window
        image, seen = _nothing(window, max((placed.bands for placed in self.scenes), default=3))
        inside = self._inside(window)
        if not inside.any():
            return image, seen
        for placed in self.scenes:
            if seen.all() or not placed.touches(window):
                continue
            with or_skip(skipped, placed.scene.name):
                own, shown = placed.read(window)
                if seen.any():
                    image[~seen & shown] = own[~seen & shown]
                else:  # under no-data, too: chips show what the file holds there
                    image[:] = own
                seen |= shown
        return image, seen & inside

    def _inside(self, window: Box) -> np.ndarray:
        """Where the centre of a pixel lies in the area, bool (height, width)."""
        col, row, width, height = window
        if self.area is None:
            return np.ones((height, width), bool)
        box = shapely.box(col, row, col + width, row + height)
        if not self._area.intersects(box):
            return np.zeros((height, width), bool)
        if self._area.contains(box):
            return np.ones((height, width), bool)
        part = shapely.clip_by_rect(self.area, *box.buffer(1, join_style="mitre").bounds)
        if part.is_empty:
            return np.zeros((height, width), bool)
        shift = rasterio.Affine.translation(col, row)
        return rasterio.features.geometry_mask([part], (height, width), shift, invert=True)

    @cached_property
    def _area(self) -> shapely.Geometry:
        shapely.prepare(self.area)
        return self.area

    def state(self, windows: Iterable[Box]) -> str:
        """Digest of the files that show in some windows: another one where one of them has changed."""
        windows = list(windows)
        states = [
            state
            for placed, state in zip(self.scenes, self.states, strict=True)
            if any(placed.touches(window) for window in windows)
        ]
        return hashlib.sha256(repr(states).encode()).hexdigest()[:16]

    @cached_property
    def states(self) -> list[str]:
        """Text of each scene that changes with its file and those beside it; of an address, the address alone."""
        return [f"{placed.scene.name} {placed.scene.bands} {_file_state(placed.scene)}" for placed in self.scenes]


def _file_state(scene: Scene) -> str:
    if ADDRESS.match(scene.name):
        return ""
    own, *others = image_files(scene.path)
    if own.suffix.lower() == ".vrt":  # that of a folder of tiles is written with each call
        state = hashlib.sha256(own.read_bytes()).hexdigest()
    else:
        state = f"{own.stat().st_size} {own.stat().st_mtime_ns}"
    beside = file_states(others)
    return f"{state} {hashlib.sha256(repr(beside).encode()).hexdigest()}" if beside else state


def open_ground(scenes: Sequence[Scene], area: str = "") -> Ground:
    """
    Scenes on one grid, cut to the box around an area.

    Parameters
    ----------
    scenes
        From `lib.mapping.scenes.open_scenes`.
    area
        File of polygons; "": all that the scenes show.

    Raises
    ------
    InputError
        If the scenes lie too far apart, the area holds no polygon, or no scene lies in it.
    """
    grid, polygon = common_grid(scenes), None
    if area:
        if grid.crs is None:
            raise InputError(f"{scenes[0].name} is not georeferenced: it has no place in the area {area}.")
        # in degrees first: of an area much larger than the images, the far parts have no place in the CRS of these
        near = shapely.intersection(area_of_interest(read_polygons(Path(area))), _box_in_degrees(grid))
        degrees = shapely.segmentize(near, 0.01)
        polygon = shapely.transform(degrees, lambda xy: grid.world_to_pixel(project(xy, LONLAT, grid.crs)))
        polygon = shapely.clip_by_rect(shapely.make_valid(polygon), 0, 0, grid.width, grid.height)
        if polygon.is_empty or polygon.area == 0:
            raise InputError(f"{area} lies elsewhere than the images: expected polygons that overlap them.")
        left, top, right, bottom = polygon.bounds
        left, top = math.floor(left), math.floor(top)
        grid = grid.window(left, top, math.ceil(right) - left, math.ceil(bottom) - top)
        polygon = shapely.transform(polygon, lambda xy: xy - (left, top))
    placed = [place(scene, grid) for scene in scenes]
    return Ground(grid, [one for one in placed if one.touches((0, 0, grid.width, grid.height))], polygon)
