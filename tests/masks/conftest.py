"""Roads to draw, and what rasterio burns of the same shapes."""

from collections.abc import Callable

import geopandas as gpd
import numpy as np
import pytest
import shapely
from rasterio.features import rasterize
from rasterio.transform import Affine

from lib.grid import Grid


@pytest.fixture(scope="session")
def lines() -> Callable[..., gpd.GeoDataFrame]:
    """Makes roads of the coordinates of each, residential ones unless tags are given."""

    def make(*coordinates: np.ndarray, crs: str | None = None, **tags: list[str]) -> gpd.GeoDataFrame:
        frame = gpd.GeoDataFrame(tags, geometry=[shapely.LineString(c) for c in coordinates], crs=crs)
        return frame if tags else frame.assign(highway="residential")

    return make


@pytest.fixture(scope="session")
def burned() -> Callable[..., np.ndarray]:
    """The reference: rasterio's rule on the same polygons."""

    def burn(shapes: list[shapely.Geometry], grid: Grid) -> np.ndarray:
        size = (grid.height, grid.width)
        return rasterize([(shape, 255) for shape in shapes], size, transform=Affine(*grid.transform), dtype="uint8")

    return burn
