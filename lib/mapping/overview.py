"""A map's folder reduced to what fits a page: imagery, probability and layers on one small grid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import InputError
from lib.grid import Grid
from lib.mapping.geopackage import read_layers
from lib.mapping.options import GEOPACKAGE, PROBABILITY

if TYPE_CHECKING:
    import geopandas as gpd

SIDE_PX = 1600  # of the longer side, at most


@dataclass(frozen=True)
class Overview:
    """
    A map on one page.

    Attributes
    ----------
    grid
        Of the pictures: the map's ground in larger pixels, turned by quarters and mirrored to where north is up.
    image
        (H, W, 3) uint8 RGB; white where there is no image.
    probability
        (H, W) float32, 0 to 1, of one class; NaN where nothing was seen.
    layers
        The map's layers by name, in the order of its GeoPackage, each with its place on the ground.
    """

    grid: Grid
    image: np.ndarray
    probability: np.ndarray
    layers: dict[str, "gpd.GeoDataFrame"]


def read_overview(out_dir: Path, images: Sequence[Path], side_px: int = SIDE_PX, raster: str = PROBABILITY) -> Overview:
    """
    Read a map's folder, and the images that it was made of, at most `side_px` pixels wide and high.

    Earlier images lie over later ones, as in the map. Without a CRS there is one image, and its pixels are the map's.
    `raster` names the probabilities that are shown: of several classes each has its own, see
    `lib.mapping.options.rasters_of`.

    Raises
    ------
    InputError
        Names the file if one of them can't be read, or lies elsewhere: it has a CRS and the map has none, or the other
        way round.
    """
    from lib.rasters import opened, read_grid

    whole = read_grid(out_dir / raster, require_crs=False, by_name=False)
    scale = min(1.0, side_px / max(whole.width, whole.height))
    grid = whole.resampled(*(max(1, round(length * scale)) for length in (whole.width, whole.height)))
    with opened(out_dir / raster) as file:
        shape = (grid.height, grid.width)
        probability = file.read(1, out_shape=shape).astype(np.float32) / 255
        probability[file.read_masks(1, out_shape=shape) == 0] = np.nan
    grid, probability = _north_up(grid, probability)
    image = np.full((*probability.shape, 3), 255, np.uint8)
    for path in reversed(images):
        _lay(image, path, grid)
    return Overview(grid, image, probability, read_layers(out_dir / GEOPACKAGE))


def _north_up(grid: Grid, values: np.ndarray) -> tuple[Grid, np.ndarray]:
    """A grid and its values (H, W), turned by quarters and mirrored to where north is up and east to the right."""
    if grid.crs is None:
        return grid, values
    up, right = grid.bearings
    is_mirrored = math.sin(math.radians(right - up)) < 0

    def turned(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(array[:, ::-1] if is_mirrored else array, -round(up / 90)))

    values = turned(values)
    height, width = values.shape
    corners = turned(np.stack(np.meshgrid([0, grid.width], [0, grid.height]), axis=-1))  # (2, 2) x, y
    origin, across, down = grid.pixel_to_world(np.stack([corners[0, 0], corners[0, 1], corners[1, 0]]))
    (a, d), (b, e) = (across - origin) / width, (down - origin) / height
    return Grid((a, b, origin[0], d, e, origin[1]), grid.crs, width, height), values


def _lay(canvas: np.ndarray, path: Path, grid: Grid) -> None:
    """Lay an image file over the canvas (H, W, 3) of a grid, in place, where it has image."""
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    from lib.chips.imagery import read_pixels
    from lib.rasters import read_grid

    own = read_grid(path, require_crs=False)
    if (own.crs is None) != (grid.crs is None):
        lacks = "the image has no CRS, the map has one" if own.crs is None else "the image has a CRS, the map has none"
        raise InputError(f"{path}: expected an image that the map was made of, but {lacks}.")
    # first to about the grid's resolution, in its own frame, then to the grid
    scale = max(grid.width / own.width, grid.height / own.height) if own.crs is None else own.gsd_m / grid.gsd_m
    small = own.resampled(*(max(1, round(length * min(1.0, scale))) for length in (own.width, own.height)))
    pixels, seen = read_pixels(path, (0, 0, own.width, own.height), (small.height, small.width))
    source = np.moveaxis(np.dstack([pixels, np.where(seen, 255, 0).astype(np.uint8)]), 2, 0)
    if own.crs is None:
        small = Grid(grid.resampled(small.width, small.height).transform, None, small.width, small.height)
    placed = np.zeros((4, grid.height, grid.width), np.uint8)  # bands first, as rasterio has them
    place = "EPSG:3857"  # without a CRS: any one, as both have the same
    reproject(
        np.ascontiguousarray(source),
        placed,
        src_transform=Affine(*small.transform),
        src_crs=small.crs or place,
        dst_transform=Affine(*grid.transform),
        dst_crs=grid.crs or place,
        resampling=Resampling.bilinear,
    )
    covers = placed[3] > 127
    canvas[covers] = np.moveaxis(placed[:3], 0, 2)[covers]
