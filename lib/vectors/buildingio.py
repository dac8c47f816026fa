"""Read and write buildings in pixels: the challenges' CSV, and vector files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely

from lib.errors import InputError, reading
from lib.grid import parse_crs
from lib.masks.pixel_shapes import in_pixels
from lib.paths import write_whole
from lib.vectors.layers import crs_of, read_layer
from lib.vectors.roadframes import FARTHEST_PX, LEAST_PX, check_pixels

if TYPE_CHECKING:
    import geopandas as gpd

    from lib.grid import Grid

Buildings = dict[str, list[shapely.Polygon]]  # polygons by image, in pixels, x right, y down
IMAGE_COLUMN, WKT_COLUMNS, CONFIDENCE = "imageid", ("polygonwkt_pix", "wkt_pix"), "confidence"
POLYGONS = ("Polygon", "MultiPolygon")
LARGEST = 1e9  # pixels, or metres of a map: no place lies beyond


def _reach_beyond(shapes: np.ndarray) -> np.ndarray:
    """(n,) whether a shape has a coordinate that isn't finite, or beyond LARGEST."""
    xy, owner = shapely.get_coordinates(shapes, return_index=True)
    return np.isin(np.arange(len(shapes)), owner[~(np.abs(xy) <= LARGEST).all(axis=1)])


def read_building_csv(path: str | Path) -> tuple[Buildings, dict[str, list[float]] | None]:
    """
    Buildings of every image of a CSV of the challenges: ImageId, BuildingId, PolygonWKT_Pix (or WKT_Pix), Confidence.

    An image whose only polygon is EMPTY has none. Other columns, and the order of columns, do not matter.

    Returns
    -------
    buildings
        Heights left out; multi-polygons taken apart.
    confidence
        By image, one a polygon; None where the file has no such column.

    Raises
    ------
    InputError
        If a column is missing, or a row holds no polygon, or none of finite numbers up to LARGEST; names the row.
    """
    with reading(path, "a CSV file of buildings"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.columns = [str(name).strip().lower() for name in table.columns]
    wkt = next((name for name in WKT_COLUMNS if name in table), None)
    if IMAGE_COLUMN not in table or wkt is None:
        raise InputError(
            f"{path}: expected the columns ImageId and PolygonWKT_Pix or WKT_Pix, got {list(table.columns)}"
        )
    shapes = shapely.from_wkt(table[wkt].to_numpy(object), on_invalid="ignore")
    is_other = shapely.is_missing(shapes) | ~(np.isin(shapely.get_type_id(shapes), (3, 6)) | shapely.is_empty(shapes))
    is_other |= _reach_beyond(shapes)
    if is_other.any():
        row = int(is_other.argmax())
        raise InputError(f"{path}, row {row + 2}: expected a POLYGON in pixels, got {table[wkt].iloc[row][:60]!r}")
    given = CONFIDENCE in table
    try:
        said = table[CONFIDENCE].astype(float) if given else pd.Series(1.0, table.index)
    except ValueError as error:
        raise InputError(f"{path}: expected numbers as Confidence: {error}") from error
    buildings: Buildings = {}
    confidence: dict[str, list[float]] = {}
    for image, shape, sure in zip(table[IMAGE_COLUMN].str.strip(), shapely.force_2d(shapes), said, strict=True):
        parts = [part for part in shapely.get_parts(shape) if not part.is_empty]
        buildings.setdefault(image, []).extend(parts)
        confidence.setdefault(image, []).extend([sure] * len(parts))
    return buildings, confidence if given else None


def write_building_csv(path: str | Path, buildings: Buildings) -> None:
    """Write buildings as ImageId,BuildingId,PolygonWKT_Pix, whole or not at all; -1 and EMPTY for an image without."""
    rows = []
    for image, polygons in buildings.items():
        rows += [(image, number, shapely.to_wkt(polygon)) for number, polygon in enumerate(polygons)]
        rows += [] if polygons else [(image, -1, "POLYGON EMPTY")]
    table = pd.DataFrame(rows, columns=["ImageId", "BuildingId", "PolygonWKT_Pix"])
    write_whole(Path(path), table.to_csv(index=False))


def read_building_vectors(
    path: str | Path, grid: Grid | None = None, rated: bool = True
) -> tuple[list[shapely.Polygon], list[float] | None]:
    """
    Buildings of a vector file of one layer, in the pixels of a grid; without one its coordinates are pixels already.

    Parameters
    ----------
    path
        GeoPackage, GeoJSON, GeoParquet, ...
    grid
        Of the image.
    rated
        Whether its column Confidence counts: a truth's may have gaps.

    Returns
    -------
    buildings
        Heights left out; multi-polygons taken apart.
    confidence
        One a polygon; None where the file has no such column, or it does not count.

    Raises
    ------
    InputError
        If it can't be read, holds other geometries than polygons, several layers of them, or coordinates that are no
        place or no pixels; if it has a CRS and there is no grid to bring it to, or a Confidence that counts is no
        number.
    """
    path = Path(path)
    frame = read_layer(path, "Polygon", "buildings")
    if other := sorted(set(frame.geom_type) - set(POLYGONS)):
        raise InputError(f"{path}: expected polygons, found {', '.join(other)}; keep only the buildings")
    frame = frame.explode(index_parts=False)
    parts, confidence = frame.geometry, _confidence_column(frame, path) if rated else None
    shapes = shapely.force_2d(parts.to_numpy())
    if (far := _reach_beyond(shapes)).any():
        raise InputError(f"{path}, row {parts.index[far.argmax()]}: expected finite coordinates up to {LARGEST:g}")
    crs = crs_of(frame, path, grid)
    if grid is None:
        if crs is not None and len(shapes):
            raise InputError(f"{path}: expected pixels, found coordinates of {parse_crs(crs).name}; give --grid IMAGE")
    else:
        shapes = in_pixels(shapes, crs or grid.crs, grid)  # what states no CRS is in that of the grid
    check_buildings(shapes, path, least_px=LEAST_PX if grid is None else 0)
    return list(shapes), confidence


def check_buildings(shapes: Sequence[shapely.Polygon], path: str | Path, least_px: float = LEAST_PX) -> None:
    """Refuse a file's buildings if together, or one by its size, they can't be in pixels: see `check_pixels`."""
    check_pixels([shapely.get_coordinates(shapes)], str(path), [str(path)], least_px)
    left, top, right, bottom = shapely.bounds(np.asarray(shapes, object)).reshape(-1, 4).T
    widest_px = np.maximum(right - left, bottom - top).max(initial=0)
    if widest_px > FARTHEST_PX:  # pixels of a GeoJSON, which claims that they are degrees
        raise InputError(
            f"{path}: expected buildings, found one of {widest_px:g} pixels across; if the file's coordinates are "
            "pixels already, bring them as CSV, or give no grid"
        )


def _confidence_column(frame: gpd.GeoDataFrame, path: Path) -> list[float] | None:
    """The numbers of a vector file's column Confidence, however it is spelled; None where there is none."""
    name = next((name for name in frame.columns if str(name).strip().lower() == CONFIDENCE), None)
    if name is None:
        return None
    numbers = pd.to_numeric(frame[name], errors="coerce")
    if (bad := numbers.isna().to_numpy()).any():
        row, said = frame.index[bad.argmax()], frame[name].iloc[bad.argmax()]
        raise InputError(f"{path}, row {row}: expected a number as {name}, got {said}; fill it in, or drop the column")
    return numbers.astype(float).tolist()
