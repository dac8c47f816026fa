"""Roads and buildings from vector files: GeoPackage, GeoParquet, GeoJSON, Shapefile."""

from __future__ import annotations

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
EDGE_POINTS = 16  # on each side of a window that is brought into another CRS
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

    found: dict[str, list[gpd.GeoDataFrame]] = {"roads": [], "buildings": []}
    extents = []
    try:
        for name in _layer_names(path):
            frame = _read_layer(path, name, polygon)
            if frame.crs is None:
                raise InputError(f"{path}: layer {name!r} states no CRS; write it with one, or add the .prj file.")
            extents.append(_extent(path, name, frame))
            frame = frame.rename(columns={k: v for k, v in COLUMN_NAMES.items() if v not in frame.columns})
            if polygon is not None:
                frame = frame[frame.intersects(_in_crs(polygon, frame.crs))]
            for layer, part in split_layers(frame).items():
                found[layer] += [part]
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: expected a vector file (GeoPackage, GeoParquet, GeoJSON): {error}") from error
    if not extents:
        raise InputError(f"{path}: expected roads or buildings, and found no layer with geometries.")
    bounds = np.array(extents)
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    extent = (*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)) if len(bounds) else None
    return {layer: _joined(parts) for layer, parts in found.items()}, extent


def read_polygons(path: Path) -> gpd.GeoDataFrame:
    """Polygons of all layers of a file, in the CRS of the first; InputError where it holds none."""
    layers, _ = read_vector_file(path, None)
    polygons = layers["buildings"]
    if polygons.empty:
        raise InputError(f"{path}: expected the polygons of an area of interest, and found none.")
    return polygons


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
    reach_px = reach_m / grid.gsd_m
    col, row, width, height = np.array(windows, dtype=np.float64).T[..., None]
    along = np.linspace(0, 1, EDGE_POINTS)  # the outline bends from one CRS to the other
    x = np.concatenate([along, along * 0, along, along * 0 + 1]) * (width + 2 * reach_px) + col - reach_px
    y = np.concatenate([along * 0, along, along * 0 + 1, along]) * (height + 2 * reach_px) + row - reach_px
    world = grid.pixel_to_world(np.stack([x, y], axis=-1).reshape(-1, 2))
    outlines = project(world, grid.crs, crs_text(frame.crs)).reshape(*x.shape, 2)
    boxes = shapely.box(*outlines.min(axis=1).T, *outlines.max(axis=1).T)
    return frame.iloc[np.unique(frame.sindex.query(boxes)[1])]


def _layer_names(path: Path) -> list[str | None]:
    import pyogrio

    if path.suffix.lower() in PARQUET_SUFFIXES:
        return [None]
    return [name for name, kind in pyogrio.list_layers(path) if kind is not None]


def _read_layer(path: Path, name: str | None, polygon: shapely.Geometry | None) -> gpd.GeoDataFrame:
    import pyogrio

    if name is None:
        try:
            return gpd.read_parquet(path)
        except ValueError as error:  # a table without geometry
            raise InputError(f"{path}: expected a GeoParquet file: {error}") from error
    crs = pyogrio.read_info(path, layer=name)["crs"]
    mask = None if polygon is None or crs is None else _in_crs(polygon, crs)
    return gpd.read_file(path, layer=name, mask=mask)


def _joined(parts: list[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    filled = [part for part in parts if len(part)] or parts[:1]
    return pd.concat([part.to_crs(filled[0].crs) for part in filled], ignore_index=True)


def _in_crs(polygon: shapely.Geometry, crs: Any) -> shapely.Geometry:
    return gpd.GeoSeries([polygon], crs=LONLAT).to_crs(crs).iloc[0]


def _extent(path: Path, layer: str | None, frame: gpd.GeoDataFrame) -> tuple[float, ...]:
    """Extent in degrees of a whole layer, also of the part that was not read."""
    import pyogrio

    bounds = frame.total_bounds
    if layer is not None:
        bounds = pyogrio.read_info(path, layer=layer, force_total_bounds=True)["total_bounds"]
    if not np.isfinite(bounds).all():
        return (np.nan,) * 4
    extent = gpd.GeoSeries([shapely.box(*bounds)], crs=frame.crs).to_crs(LONLAT).total_bounds
    if not np.isfinite(extent).all():
        raise InputError(
            f"{path}: coordinates of {np.round(bounds, 4).tolist()} (left, bottom, right, top) do not exist in its "
            f"CRS, {frame.crs.name}. Are the axes swapped, or is it another CRS?"
        )
    return tuple(extent)


def split_layers(frame: gpd.GeoDataFrame) -> dict[str, gpd.GeoDataFrame]:
    """Rows by what they are: "roads" and "buildings" by their tags, or without such columns by their geometry."""
    dimension = shapely.get_dimensions(frame.geometry.to_numpy())
    untagged = np.full(len(frame), not {"highway", "building"} & set(frame.columns))
    highway = is_tagged(frame, "highway") if "highway" in frame else untagged & (dimension == 1)
    building = is_tagged(frame, "building") & _is_not_no(frame) if "building" in frame else untagged
    return {
        "roads": frame.loc[highway & (dimension >= 1)],
        "buildings": frame.loc[building & (dimension == 2)],
    }


def _is_not_no(frame: gpd.GeoDataFrame) -> np.ndarray:
    return (frame["building"] != "no").to_numpy(dtype=bool)
