"""A mapped area beneath vectors: probabilities and image on one grid, read by windows, whatever their size."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from lib.errors import InputError
from lib.grid import Grid, crs_text, project, utm_zone
from lib.mapping.options import PROBABILITY
from lib.masks.rasterize import Window
from lib.rasters import opened, read_grid

TILE_PX = 1024  # side of the windows that points are looked up in


@dataclass(frozen=True)
class Ground:
    """
    What is known of each pixel of an area.

    Vectors are compared in metres of the grid: pixels times GSD, x right and y down, whatever the CRS.

    Attributes
    ----------
    grid
        Of both readers; it has a CRS.
    probability
        Window (col, row, width, height), within the grid -> (height, width) float32, 0..1, NaN where not seen.
    image
        The same window -> (height, width, 3) uint8 RGB; None where no image is at hand: then no reason is guessed.
    """

    grid: Grid
    probability: Callable[[Window], np.ndarray]
    image: Callable[[Window], np.ndarray] | None = None

    def __post_init__(self) -> None:
        if self.grid.crs is None:
            raise InputError("Expected a grid with a CRS: without one nothing says where OpenStreetMap lies on it.")

    def in_metres(self, frame: gpd.GeoDataFrame) -> np.ndarray:
        """Geometries (n,) of a frame in metres of the grid. Raises InputError where the frame has no CRS."""
        if frame.crs is None:
            raise InputError("The vectors state no CRS, so that they have no place on the grid; set it (set_crs).")
        crs, gsd_m = crs_text(frame.crs), self.grid.gsd_m
        geometry = shapely.force_2d(frame.geometry.to_numpy())
        return shapely.transform(geometry, lambda xy: self.grid.world_to_pixel(project(xy, crs, self.grid.crs)) * gsd_m)

    def to_world(self, geometry: np.ndarray) -> np.ndarray:
        """Geometries (n,) in metres of the grid, back in the grid's CRS."""
        gsd_m = self.grid.gsd_m
        return shapely.transform(geometry, lambda xy: self.grid.pixel_to_world(xy / gsd_m))

    @property
    def outline(self) -> shapely.Polygon:
        """The grid's rectangle, in metres of the grid."""
        return shapely.box(0, 0, self.grid.width * self.grid.gsd_m, self.grid.height * self.grid.gsd_m)

    def probabilities_at(self, xy_m: np.ndarray) -> np.ndarray:
        """Probability of the pixel under each point (..., 2), in metres of the grid; float64, NaN where not seen."""
        return self._at(xy_m, self.probability, 1)[..., 0]

    def colours_at(self, xy_m: np.ndarray) -> np.ndarray:
        """RGB (..., 3) of the pixel under each point, 0..255, NaN beyond the image or where there is none."""
        if self.image is None:
            return np.full((*np.shape(xy_m)[:-1], 3), np.nan)
        return self._at(xy_m, self.image, 3)

    def _at(self, xy_m: np.ndarray, read: Callable[[Window], np.ndarray], bands: int) -> np.ndarray:
        xy_m = np.asarray(xy_m, float)
        column, row = np.floor(xy_m.reshape(-1, 2) / self.grid.gsd_m).astype(np.int64).T
        values = np.full((len(column), bands), np.nan)
        inside = (column >= 0) & (row >= 0) & (column < self.grid.width) & (row < self.grid.height)
        tile = np.where(inside, row // TILE_PX * (1 + self.grid.width // TILE_PX) + column // TILE_PX, -1)
        # points of one window stand together: each window is read once
        order = np.argsort(tile, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(tile[order])) + 1):
            if not len(members) or tile[members[0]] < 0:
                continue
            left, top = (int(n[members[0]]) // TILE_PX * TILE_PX for n in (column, row))
            window = (left, top, min(TILE_PX, self.grid.width - left), min(TILE_PX, self.grid.height - top))
            pixels = np.asarray(read(window), float).reshape(window[3], window[2], bands)
            values[members] = pixels[row[members] - top, column[members] - left]
        return values.reshape(*xy_m.shape[:-1], bands)


def metres_at(places: gpd.GeoSeries) -> str:
    """
    CRS in metres for geometries that lie together: the UTM zone of the first, of which there must be one.

    Their box, which geopandas' estimate_utm_crs goes by, is that of the whole earth across the antimeridian.
    """
    return utm_zone(shapely.get_coordinates(places.to_numpy())[0], crs_text(places.crs))


def ground_of_arrays(grid: Grid, probability: np.ndarray, image: np.ndarray | None = None) -> Ground:
    """Ground of arrays on the grid: probability (H, W), NaN where not seen; image (H, W, 3) uint8 RGB."""

    def reader(pixels: np.ndarray) -> Callable[[Window], np.ndarray]:
        if pixels.shape[:2] != (grid.height, grid.width):
            raise InputError(f"Expected {grid.height} x {grid.width} pixels as the grid has, got {pixels.shape}.")
        return lambda window: pixels[window[1] : window[1] + window[3], window[0] : window[0] + window[2]]

    return Ground(grid, reader(probability), None if image is None else reader(image))


def ground_of_map(
    map_dir: Path, image: Callable[[Window], np.ndarray] | None = None, raster: str = PROBABILITY
) -> Ground:
    """
    Ground of a folder that `python -m lib.mapping` wrote.

    Parameters
    ----------
    map_dir
        Holds the raster.
    image
        Reads windows of the map's grid as (height, width, 3) uint8 RGB.
    raster
        Name of the probabilities: of several classes each has its own, see `lib.mapping.options.rasters_of`.

    Raises
    ------
    InputError
        If the file is missing, damaged, or has no CRS.
    """
    path = Path(map_dir) / raster

    def probability(window: Window) -> np.ndarray:
        col, row, width, height = window
        part = ((row, row + height), (col, col + width))
        with opened(path) as file:
            seen = file.read_masks(1, window=part) > 0
            return np.where(seen, file.read(1, window=part).astype(np.float32) / 255, np.nan)

    return Ground(read_grid(path), probability, image)
