"""Roads and buildings from vector files: whatever GDAL opens, and GeoParquet."""

from __future__ import annotations

import gzip
import json
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.errors import InputError, PPLinkNetWarning, reading
from lib.grid import LONLAT, Grid, crs_text, project
from lib.osm.counts import LISTED, LayerCount
from lib.osm.makers import (
    LAYER_KEYS,
    UNTAGGED,
    WIDEST_SURFACE_M,
    as_osm,
    can_tell,
    draws_again,
    guessed_layers,
    may_have_surfaces,
    split_layers,
    split_untagged,
)

PARQUET_SUFFIXES = (".parquet", ".geoparquet")
POLYGON_SUFFIXES = (*PARQUET_SUFFIXES, ".gpkg", ".geojson", ".json", ".shp", ".fgb", ".zip")
TEXT_SUFFIXES = (".csv", ".tsv", ".geojsonl", ".geojsonseq", ".geojsons", ".jsonl", ".ndjson", ".txt")
EXPECTED = "a vector file (GeoPackage, GeoParquet, GeoJSON, Shapefile, FlatGeobuf, CSV with WKT)"
WKT_COLUMNS = "geometry,WKT,wkt_geom,the_geom,geom,PolygonWKT_Geo"  # of Google, QGIS, PostGIS, SpaceNet
PARTS = {".shp": (".dbf", ".shx", ".prj", ".cpg"), ".tab": (".dat", ".map", ".id"), ".mif": (".mid",)}
EDGE_PARTS = 15  # of the side of a window that is brought into another CRS
SPARSE = 0.05  # an area that fills less of its box is read part by part, where the file has a spatial index
DEFLATE_RATIO = 1032  # zip and gzip make nothing smaller than this


@dataclass(frozen=True)
class _Table:
    """A layer: what lies in the area's box and is whole, the bounds of all its rows, and the broken ones' names."""

    name: str
    frame: gpd.GeoDataFrame
    bounds: Sequence[float]
    broken: tuple[str, ...]


def read_vector_file(
    path: Path, polygon: shapely.Geometry | None, has_surfaces: bool = False
) -> tuple[dict[str, gpd.GeoDataFrame], tuple[float, ...] | None, tuple[LayerCount, ...]]:
    """
    Roads and buildings of a vector file that touch the area, whoever made it and whatever its layers are called.

    `lib.osm.makers` tells them by their tags. Where no layer has any, lines are roads and polygons buildings.

    Parameters
    ----------
    path
        The file; a folder or zip of shapefiles. Of a layer with a spatial index only the area's box is read.
    polygon
        Area in longitude, latitude; None for all.
    has_surfaces
        Polygons without tags are road surface, where their layer is not called after buildings.

    Returns
    -------
    layers
        "roads" and "buildings", in the CRS of the file.
    extent
        (left, bottom, right, top) in degrees of all that the file holds; None if nothing.
    counts
        What each layer gave, and what was left out.

    Raises
    ------
    InputError
        Names the file if it cannot be read, states no CRS, or has no layer with lines or polygons.
    """
    area = None if polygon is None else gpd.GeoSeries([polygon], crs=LONLAT)
    parts: list[dict[str, gpd.GeoDataFrame]] = []
    untagged: dict[int, gpd.GeoDataFrame] = {}
    counts: list[LayerCount] = []
    extents = []
    for number, table in enumerate(_tables(path, area)):
        if table.frame.crs is None:
            raise InputError(f"{path}: layer {table.name!r} states no CRS; write it with one, or add the .prj file.")
        extents.append(_lonlat_extent(path, table, required=area is None or table.frame.empty))
        frame, maker = as_osm(table.frame)
        rows = len(_touching(table.frame, area)) + len(table.broken)
        tells = can_tell(table.frame, maker, table.name)
        counts.append(LayerCount(table.name, maker, rows, 0, 0, len(table.broken), table.broken[:LISTED], tells))
        if maker == UNTAGGED:
            untagged[number] = frame = _touching(frame, area)
        # closed ways are told from areas before the area decides, which may touch only one of the two
        parts.append({layer: _touching(part, area) for layer, part in split_layers(frame).items()})
    if not parts:
        raise InputError(f"{path}: expected roads or buildings, and found no layer with lines or polygons.")
    for number, layers in guessed_layers([c.layer for c in counts], [c.maker for c in counts]).items():
        frame, name = untagged[number], counts[number].layer
        parts[number] = split_untagged(frame, layers, has_surfaces and may_have_surfaces(name))
        if has_surfaces and "roads" in layers and (left := len(frame) - sum(map(len, parts[number].values()))):
            warnings.warn(
                f"{path}: {left} of {len(frame)} rows of layer {name!r} are no road: neither lines nor polygons, or "
                f"polygons wider than {WIDEST_SURFACE_M:g} m on average, which outline an area",
                PPLinkNetWarning,
                stacklevel=2,
            )
    for number, part in enumerate(parts):
        again = draws_again(part["roads"])
        part["roads"] = part["roads"][~again]
        counts[number] = replace(counts[number], repeated=int(again.sum()), **{k: len(v) for k, v in part.items()})
    return {layer: joined([part[layer] for part in parts]) for layer in LAYER_KEYS}, extent_of(extents), tuple(counts)


def read_polygons(path: Path) -> gpd.GeoDataFrame:
    """
    All polygons of a file, of whatever they are, in the CRS of its first layer.

    Raises
    ------
    InputError
        As `read_vector_file`, and where there are none.
    """
    frames = []
    for table in _tables(path, None):
        if table.frame.crs is None:
            raise InputError(f"{path}: layer {table.name!r} states no CRS; write it with one, or add the .prj file.")
        frames.append(table.frame[shapely.get_dimensions(table.frame.geometry.to_numpy()) == 2][["geometry"]])
    if not sum(map(len, frames)):
        raise InputError(f"{path}: expected the polygons of an area of interest, and found none.")
    return joined(frames)


def vector_files(path: Path) -> list[Path]:
    """
    A file of vectors, and those that are read with it: all in a folder; what QGIS has not yet put into a GeoPackage.

    Those that need not be there are named, too.
    """
    if path.is_dir():
        return sorted(path.iterdir())
    endings = [written for ending in PARTS.get(path.suffix.lower(), ()) for written in (ending, ending.upper())]
    return [path, *map(path.with_suffix, endings), path.with_name(f"{path.name}-wal")]


def near_windows(
    frame: gpd.GeoDataFrame, grid: Grid, windows: list[tuple[int, int, int, int]], reach_m: float
) -> gpd.GeoDataFrame:
    """Rows whose box comes within some metres of a window of a grid, in their order; see `numbers_near_windows`."""
    return frame.iloc[numbers_near_windows(frame, grid, windows, reach_m)]


def numbers_near_windows(
    frame: gpd.GeoDataFrame, grid: Grid, windows: list[tuple[int, int, int, int]], reach_m: float
) -> np.ndarray:
    """
    (n,) numbers of the rows whose box comes within some metres of a window of a grid; the frame is indexed once.

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
    if grid.is_over_antimeridian:
        return np.arange(len(frame))  # a box around both sides of the world keeps all
    col, row, width, height = np.array(windows, dtype=np.float64).T
    reach_px = reach_m / grid.gsd_m
    boxes_px = shapely.box(col - reach_px, row - reach_px, col + width + reach_px, row + height + reach_px)
    # more points along the sides, which bend from one CRS to the other
    outlines_px = shapely.segmentize(boxes_px, (np.maximum(width, height) + 2 * reach_px) / EDGE_PARTS)
    crs = crs_text(frame.crs)
    outlines = shapely.transform(outlines_px, lambda xy: project(grid.pixel_to_world(xy), grid.crs, crs))
    return np.unique(frame.sindex.query(outlines)[1])


def joined(parts: list[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    """All rows in one frame, in the CRS of the first part that has any."""
    filled = [part for part in parts if len(part)] or parts[:1]
    return pd.concat([part.to_crs(filled[0].crs) for part in filled], ignore_index=True)


def extent_of(boxes: Sequence[Sequence[float]]) -> tuple[float, ...] | None:
    """Box (left, bottom, right, top) around all boxes; those of nothing hold NaN. None if there are no others."""
    bounds = np.array(boxes)
    bounds = bounds[np.isfinite(bounds).all(axis=1)]
    return (*bounds[:, :2].min(axis=0), *bounds[:, 2:].max(axis=0)) if len(bounds) else None


def _touching(frame: gpd.GeoDataFrame, area: gpd.GeoSeries | None) -> gpd.GeoDataFrame:
    return frame if area is None else frame[frame.intersects(area.to_crs(frame.crs).iloc[0])]


def _tables(path: Path, area: gpd.GeoSeries | None) -> Iterator[_Table]:
    """Each layer of a file that has lines or polygons; only what touches the area's box where that is given."""
    if path.suffix.lower() in PARQUET_SUFFIXES:
        with reading(path, EXPECTED):
            frame, bounds = _read_parquet(path, area)
        yield _whole(path.stem, frame, bounds)
        return
    with reading(path, EXPECTED):
        found = [(dataset, name) for dataset in _datasets(path) for name in _layer_names(dataset)]
    for dataset, name in found:
        with reading(path, EXPECTED):
            frame, bounds = _read_layer(path, dataset, name, area)
        if frame is not None:
            yield _whole(name, frame, bounds)


def _datasets(path: Path) -> list[str]:
    """What GDAL is to open: the file, the shapefiles' folders and other files in a zip, GeoJSON of one line a row."""
    import pyogrio

    suffix = path.suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
        inner = {
            name.parent if name.suffix.lower() == ".shp" else name
            for name in names
            if name.suffix.lower() in (".shp", ".gpkg", ".geojson", ".json", ".fgb")
        }
        return [f"/vsizip/{path.resolve()}/{name}".removesuffix("/.") for name in sorted(inner)]
    gzipped = suffix == ".gz"
    if gzipped:  # else GDAL leaves a file of properties beside it
        pyogrio.set_gdal_config_options({"CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO"})
    dataset = f"/vsigzip/{path.resolve()}" if gzipped else str(path)
    if path.name.lower().removesuffix(".gz").endswith(TEXT_SUFFIXES):
        with (gzip.open if gzipped else open)(path, "rb") as file:
            is_json = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t\x1e").startswith(b"{")
        return [f"GeoJSONSeq:{dataset}" if is_json else dataset]
    return [dataset]


def _layer_names(dataset: str) -> list[str]:
    import pyogrio

    # of a CSV only the option of `_options` says that it has geometries
    layers = pyogrio.list_layers(dataset)
    return [name for name, kind in layers if kind is not None or _options(dataset)]


def _options(dataset: str) -> dict[str, str]:
    is_csv = PurePosixPath(dataset.removesuffix(".gz")).suffix.lower() in (".csv", ".tsv", ".txt")
    is_csv &= not dataset.startswith("GeoJSONSeq:")
    return {"GEOM_POSSIBLE_NAMES": WKT_COLUMNS, "KEEP_GEOM_COLUMNS": "NO"} if is_csv else {}


def _read_layer(
    path: Path, dataset: str, name: str, area: gpd.GeoSeries | None
) -> tuple[gpd.GeoDataFrame | None, Sequence[float]]:
    """Rows in the area's box, under their number in the file, and the bounds of all; None for points and tables."""
    import pyogrio

    options = _options(dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # GDAL's, of rings that are closed or counted here
        about = pyogrio.read_info(dataset, layer=name, force_feature_count=True, force_total_bounds=True, **options)
        if about["geometry_type"] in (None, "Point", "MultiPoint", "Point Z", "MultiPoint Z"):
            return None, ()
        _check_rows(path, about["features"])
        bounds, crs = about["total_bounds"], about["crs"]
        if options and crs is None and bounds is not None and np.abs(bounds).max() <= 180:
            crs = LONLAT  # a CSV has no place to say so
        boxes = [None] if area is None or crs is None else _boxes(area, crs, about["capabilities"])
        read = [
            pyogrio.read_dataframe(dataset, layer=name, bbox=box, fid_as_index=True, on_invalid="fix", **options)
            for box in boxes
        ]
    frame = pd.concat(read)
    frame = frame[~frame.index.duplicated()]
    return frame.set_crs(crs) if crs else frame, (np.nan,) * 4 if bounds is None else bounds


def _boxes(area: gpd.GeoSeries, crs: Any, capabilities: dict[str, bool]) -> list[tuple[float, ...]]:
    """Boxes in a layer's CRS that hold the area: one, or one a part where most of it would be ground between them."""
    whole = area.to_crs(crs)
    box = whole.total_bounds
    parts = shapely.get_parts(whole.iloc[0])
    sparse = shapely.area(parts).sum() < SPARSE * shapely.box(*box).area
    if capabilities.get("fast_spatial_filter") and sparse:
        return [tuple(part) for part in shapely.bounds(parts)]
    return [tuple(box)]


def _read_parquet(path: Path, area: gpd.GeoSeries | None) -> tuple[gpd.GeoDataFrame, Sequence[float]]:
    """Rows of a GeoParquet file and the bounds of all; of one that keeps each row's box only what the area needs."""
    import pyarrow.parquet

    about = pyarrow.parquet.read_metadata(path)
    _check_rows(path, about.num_rows)
    if b"geo" not in (about.metadata or {}):
        raise InputError(f"{path}: expected a GeoParquet file, but its metadata name no column of geometries.")
    geo = json.loads(about.metadata[b"geo"])
    column = geo["columns"][geo["primary_column"]]
    bounds = column.get("bbox")
    can_filter = "bbox" in column.get("covering", {}) and bounds is not None and len(bounds) == 4
    crs = column.get("crs", LONLAT)
    box = tuple(area.to_crs(crs).total_bounds) if area is not None and can_filter and crs is not None else None
    try:
        frame = gpd.read_parquet(path, bbox=box)
    except shapely.errors.GEOSException:  # one row is broken: the others are read without it
        table = pd.read_parquet(path)
        geometry = shapely.from_wkb(table.pop(geo["primary_column"]), on_invalid="fix")
        frame = gpd.GeoDataFrame(table, geometry=geometry, crs=crs)
    frame = frame if frame.active_geometry_name == "geometry" else frame.rename_geometry("geometry")
    return frame, frame.total_bounds if box is None else bounds


def _check_rows(path: Path, rows: int) -> None:
    """Refuse a header that declares more rows than the file has bytes, before memory is taken for them."""
    if path.is_dir():
        return
    most = path.stat().st_size * (DEFLATE_RATIO if path.suffix.lower() in (".zip", ".gz") else 1)
    if rows > most:
        raise InputError(f"{path}: declares {rows} rows, which {path.stat().st_size} bytes can't hold: it is damaged.")


def _whole(name: str, frame: gpd.GeoDataFrame, bounds: Sequence[float]) -> _Table:
    """A layer without the rows whose geometry is missing, not finite, or covers nothing."""
    geometry = frame.geometry.to_numpy()
    dimension = shapely.get_dimensions(geometry)
    size = np.select(
        [dimension == 2, dimension == 1, dimension == 0], [shapely.area(geometry), shapely.length(geometry), 1.0]
    )
    crossing = (dimension == 2) & (size == 0)  # the two halves of a bow tie cancel out
    size[crossing] = shapely.area(shapely.make_valid(geometry[crossing]))
    whole = np.isfinite(size) & (size > 0)
    return _Table(name, frame[whole].reset_index(drop=True), bounds, tuple(f"row {k}" for k in frame.index[~whole]))


def _lonlat_extent(path: Path, table: _Table, required: bool) -> tuple[float, ...]:
    """Extent in degrees of all rows of a layer; NaN where it holds nothing, or is not required and does not exist."""
    if not np.isfinite(table.bounds).all():
        return (np.nan,) * 4
    extent = gpd.GeoSeries([shapely.box(*table.bounds)], crs=table.frame.crs).to_crs(LONLAT).total_bounds
    if np.isfinite(extent).all():
        return tuple(extent)
    if not required:
        return (np.nan,) * 4
    raise InputError(
        f"{path}: coordinates of {np.round(table.bounds, 4).tolist()} (left, bottom, right, top) do not exist in its "
        f"CRS, {table.frame.crs.name}. Are the axes swapped, or is it another CRS?"
    )
