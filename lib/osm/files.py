"""Roads and buildings from vector files: GeoPackage, GeoParquet, GeoJSON, Shapefile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.errors import InputError
from lib.grid import LONLAT, Grid, crs_text, project
from lib.osm.tags import is_tagged

PARQUET_SUFFIXES = (".parquet", ".geoparquet")
POLYGON_SUFFIXES = (*PARQUET_SUFFIXES, ".gpkg", ".geojson", ".json", ".shp")
EDGE_PARTS = 15  # of the side of a window that is brought into another CRS
LAYER_KEYS = {"roads": "highway", "buildings": "building"}
# what other makers of OSM files call the same tag: Geofabrik's shapefiles, SpaceNet's road lines
COLUMN_NAMES = {"fclass": "highway", "lane_number": "lanes"}


def read_vector_file(
    path: Path, polygon: shapely.Geometry | None
) -> tuple[dict[str, gpd.GeoDataFrame], tuple[float, ...] | None]:
    """
    Roads and buildings of a vector file that touch the area, whatever its layers are called.

    Rows with `highway` are roads and rows with `building` buildings; in a layer that has neither column lines are
    roads and polygons buildings.

    Parameters
    ----------
    path
        The file; of a layer with a spatial index only the area's box is read.
    polygon
        Area in longitude, latitude; None for all.

    Returns
    -------
    layers
        "roads" and "buildings", in the CRS of the file.
    extent
        (left, bottom, right, top) in degrees of all that the file holds; None if nothing.

    Raises
    ------
    InputError
        Names the file if it cannot be read, states no CRS, or holds neither roads nor buildings.
    """
    import pyarrow
    import pyogrio

    area = None if polygon is None else gpd.GeoSeries([polygon], crs=LONLAT)
    found: dict[str, list[gpd.GeoDataFrame]] = {"roads": [], "buildings": []}
    extents = []
    try:
        for name, frame, bounds in _tables(path, area):
            if frame.crs is None:
                raise InputError(f"{path}: layer {name!r} states no CRS; write it with one, or add the .prj file.")
            extents.append(_lonlat_extent(path, frame.crs, bounds))
            frame = frame.rename(columns={k: v for k, v in COLUMN_NAMES.items() if v not in frame.columns})
            if area is not None:
                frame = frame[frame.intersects(area.to_crs(frame.crs).iloc[0])]
            for layer, part in split_layers(frame).items():
                found[layer].append(part)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: expected a vector file (GeoPackage, GeoParquet, GeoJSON): {error}") from error
    if not extents:
        raise InputError(f"{path}: expected roads or buildings, and found no layer with geometries.")
    return {layer: joined(parts) for layer, parts in found.items()}, extent_of(extents)


def split_layers(frame: gpd.GeoDataFrame) -> dict[str, gpd.GeoDataFrame]:
    """
    Rows by what they are: "roads" and "buildings" by their tags, or without such columns by their geometry.

    All tables pass here, of files and of Overpass; `lib.osm.extracts` tells the objects of a stream apart.
    """
    dimension = shapely.get_dimensions(frame.geometry.to_numpy())
    untagged = np.full(len(frame), frame.columns.intersection(list(LAYER_KEYS.values())).empty)
    highway = is_tagged(frame, "highway") if "highway" in frame else untagged & (dimension == 1)
    building = is_tagged(frame, "building", "no") if "building" in frame else untagged
    return {
        "roads": frame.loc[highway & (dimension >= 1)],
        "buildings": frame.loc[building & (dimension == 2)],
    }


def near_windows(
    frame: gpd.GeoDataFrame, grid: Grid, windows: list[tuple[int, int, int, int]], reach_m: float
) -> gpd.GeoDataFrame:
    """
    Rows whose box comes within some metres of a window of a grid, in their order; the frame is indexed once.

    Parameters
    ----------
    frame
        Vectors in any CRS.
    grid
        A grid with a CRS.
    windows
        (col, row, width, height) in pixels of the grid.
    reach_m
        How far outside a window a row is still kept.
    """
    col, row, width, height = np.array(windows, dtype=np.float64).T
    reach_px = reach_m / grid.gsd_m
    boxes_px = shapely.box(col - reach_px, row - reach_px, col + width + reach_px, row + height + reach_px)
    # more points along the sides, which bend from one CRS to the other
    outlines_px = shapely.segmentize(boxes_px, (np.maximum(width, height) + 2 * reach_px) / EDGE_PARTS)
    crs = crs_text(frame.crs)
    outlines = shapely.transform(outlines_px, lambda xy: project(grid.pixel_to_world(xy), grid.crs, crs))
    return frame.iloc[np.unique(frame.sindex.query(outlines)[1])]


def joined(parts: list[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    """All rows in one frame, in the CRS of the first part that has any."""
    filled = [part for part in parts if len(part)] or parts[:1]
    return pd.concat([part.to_crs(filled[0].crs) for part in filled], ignore_index=True)


def extent_of(boxes: Sequence[Sequence[float]]) -> tuple[float, ...] | None:
    """Box (left, bottom, right, top) around all boxes; those of nothing hold NaN. None if there are no others."""
    bounds = np.array(boxes)
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    return (*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)) if len(bounds) else None


def _tables(path: Path, area: gpd.GeoSeries | None) -> Iterator[tuple[str, gpd.GeoDataFrame, np.ndarray]]:
    """
    Each layer of a file that has geometries: its name, its rows, and the bounds of them all in its CRS.

    Of a layer with a spatial index only what touches the area is read; the bounds are those of the whole layer.
    """
    import pyogrio

    if path.suffix.lower() in PARQUET_SUFFIXES:
        try:
            frame = gpd.read_parquet(path)
        except ValueError as error:  # a table without geometry
            raise InputError(f"{path}: expected a GeoParquet file: {error}") from error
        yield path.stem, frame, frame.total_bounds
        return
    for name, geometry_type in pyogrio.list_layers(path):
        if geometry_type is not None:
            about = pyogrio.read_info(path, layer=name, force_total_bounds=True)
            mask = area if about["crs"] else None
            yield name, gpd.read_file(path, layer=name, mask=mask), about["total_bounds"]


def _lonlat_extent(path: Path, crs: Any, bounds: np.ndarray) -> tuple[float, ...]:
    """Extent in degrees of a layer with these bounds in its CRS; NaN where it holds nothing."""
    if not np.isfinite(bounds).all():
        return (np.nan,) * 4
    extent = gpd.GeoSeries([shapely.box(*bounds)], crs=crs).to_crs(LONLAT).total_bounds
    if not np.isfinite(extent).all():
        raise InputError(
            f"{path}: coordinates of {np.round(bounds, 4).tolist()} (left, bottom, right, top) do not exist in its "
            f"CRS, {crs.name}. Are the axes swapped, or is it another CRS?"
        )
    return tuple(extent)
