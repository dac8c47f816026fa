"""Vector files of one layer, of roads or of buildings: which layer is meant, and in which frame it lies."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lib.errors import InputError, reading
from lib.grid import crs_text

if TYPE_CHECKING:
    import geopandas as gpd

    from lib.grid import Grid

PARQUET_SUFFIXES = (".parquet", ".geoparquet")
GEOJSON_SUFFIXES = (".geojson", ".json")


def read_layer(path: Path, shape: Literal["Line", "Polygon"], what: str) -> "gpd.GeoDataFrame":
    """
    The one layer of a vector file that may hold lines or polygons; rows without geometry are left out.

    Raises
    ------
    InputError
        If it can't be read, is a table without geometry, or has several such layers; `what` says of what it should be.
    """
    import geopandas as gpd

    with reading(path, f"a readable vector file of {what}"):
        if path.suffix.lower() in PARQUET_SUFFIXES:
            frame = gpd.read_parquet(path)
        else:
            frame = gpd.read_file(path, layer=_one_layer(path, shape))
    if not isinstance(frame, gpd.GeoDataFrame) or frame.active_geometry_name is None:
        raise InputError(f"{path}: expected a readable vector file of {what}, found a table without geometry.")
    return frame[~(frame.geometry.isna() | frame.geometry.is_empty)]


def crs_of(frame: "gpd.GeoDataFrame", path: Path, grid: "Grid | None") -> str | None:
    """CRS of a file's coordinates; None where it states none. GeoJSON always claims degrees: without a grid, pixels."""
    if frame.crs is None or grid is None and path.suffix.lower() in GEOJSON_SUFFIXES and frame.crs.is_geographic:
        return None
    return crs_text(frame.crs)


def _one_layer(path: Path, shape: str) -> str | int:
    """Name of the layer that may hold such shapes; the first where none does: GDAL takes that without a word."""
    import pyogrio

    layers = pyogrio.list_layers(path)  # rows (name, geometry type or None)
    found = [name for name, kind in layers if kind and (shape in kind or kind in ("Unknown", "GeometryCollection"))]
    found = [name for name in found if pyogrio.read_info(path, layer=name)["features"]]
    if len(found) > 1:
        raise InputError(
            f"{path}: expected one layer of {shape.lower()}s, found {', '.join(map(repr, found))}; merge those that "
            "are meant into one, and remove the others."
        )
    return found[0] if found else 0
