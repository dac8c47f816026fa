"""OpenStreetMap roads and buildings as GeoDataFrames, from extracts, vector files, or the Overpass API."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from lib.errors import InputError, ParameterError
from lib.grid import LONLAT, Grid, in_one_turn
from lib.osm.areas import drawn_by_hand
from lib.osm.counts import LayerCount
from lib.osm.dialects import CHANGE_SUFFIXES, OSM_SUFFIXES
from lib.osm.extracts import read_extract
from lib.osm.files import POLYGON_SUFFIXES, read_polygons, read_vector_file, vector_files
from lib.osm.makers import BUILDING_TAGS, LAYER_KEYS, OSM, ROAD_TAGS, as_osm, split_layers
from lib.osm.overpass import OverpassOptions, download_features
from lib.osm.tags import is_tagged
from lib.paths import file_states
from lib.rasters import read_grid

LAYER_TAGS = {"roads": ROAD_TAGS, "buildings": BUILDING_TAGS}
LAYERS = tuple(LAYER_TAGS)
ANTIMERIDIAN_DEG = 0.1  # an area so near to 180 degrees may reach over it with its margin
METRES_A_DEGREE = 111_195.0  # of latitude, on the mean sphere
ATTRIBUTION = "© OpenStreetMap contributors, ODbL"
IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".vrt")


@dataclass(frozen=True)
class OsmLayers:
    """
    What OpenStreetMap knows of an area.

    Parameters
    ----------
    roads
        Lines (and polygons, for `area=yes` and for surface that was digitised) in EPSG:4326 or the file's CRS, with the
        columns of ROAD_TAGS.
    buildings
        Polygons and multipolygons with the columns of BUILDING_TAGS.
    date
        Day or time at which OSM looked like this, ISO 8601; None where the source does not say.
    source
        Name of the file or server.
    extent
        (left, bottom, right, top) in degrees of all that the source holds, also outside the area; None where it
        holds nothing, or does not say.
    counts
        What each layer of the source gave in the area, and what was left out.
    """

    roads: gpd.GeoDataFrame
    buildings: gpd.GeoDataFrame
    date: str | None
    source: str
    extent: tuple[float, ...] | None = None
    counts: tuple[LayerCount, ...] = ()


def read_osm(
    source: str | Path,
    area: Any = None,
    layers: tuple[str, ...] = LAYERS,
    overpass: OverpassOptions | None = None,
) -> OsmLayers:
    """
    Read roads and buildings, and keep those that touch the area.

    Parameters
    ----------
    source
        An OSM file (.osm.pbf, .osm, .osm.bz2), a vector file (GeoPackage, GeoParquet, GeoJSON, Shapefile, ...; a
        folder or zip of shapefiles), or "overpass" for the Overpass API.
    area
        Anything that `area_of_interest` understands; None keeps all (not for Overpass).
    layers
        "roads", "buildings", or both; the other comes back empty. Where roads alone are asked for, polygons of a vector
        file that no tag calls anything are road surface, as people digitise it.
    overpass
        Server, cache and patience, where the source is "overpass".

    Raises
    ------
    InputError
        Names the file if it is missing, damaged, has neither layer, or lies elsewhere than the area.
    DownloadError
        If the Overpass API fails or answers in part; an empty answer is no failure.
    """
    if unknown := set(layers) - set(LAYERS):
        raise ParameterError(f"Layers are {', '.join(LAYERS)}; got {', '.join(sorted(unknown))}.")
    polygon = None if area is None else area_of_interest(area)
    path = Path(source)
    name, extent, date = path.name, None, None
    if str(source) == "overpass":
        if polygon is None:
            raise ParameterError("Overpass needs an area: a box, a polygon, or a folder of images.")
        overpass = overpass or OverpassOptions()
        features, date = download_features(polygon, tuple(LAYER_KEYS[layer] for layer in layers), overpass)
        found, name = split_layers(as_osm(features)[0]), overpass.url
        counts = (_count("answer", found, len(features)),)
    elif not path.exists():
        raise InputError(f"{path}: no such file with OSM data.")
    elif path.name.lower().endswith((*OSM_SUFFIXES, *CHANGE_SUFFIXES)):
        found, extent, date, broken = read_extract(path, polygon, {layer: LAYER_TAGS[layer] for layer in layers})
        counts = (_count("extract", found, sum(map(len, found.values())) + broken, broken),)
    else:
        found, extent, counts = read_vector_file(path, polygon, has_surfaces=tuple(layers) == ("roads",))
    empty = gpd.GeoDataFrame(geometry=[], crs=LONLAT)
    roads, buildings = (_tidy(found[key] if key in layers else empty, tags) for key, tags in LAYER_TAGS.items())
    if polygon is not None and roads.empty and buildings.empty:
        require_overlap(extent, polygon.bounds, str(path))
    # crossing rings are common in footprints drawn by hand
    invalid = ~buildings.is_valid
    buildings.loc[invalid, "geometry"] = buildings.geometry[invalid].make_valid()
    invalid = drawn_by_hand(roads) & ~roads.is_valid  # and so they are in surfaces; what has no area is no part of one
    whole = roads.geometry[invalid].make_valid(method="structure", keep_collapsed=False)
    roads.loc[invalid, "geometry"] = whole
    return OsmLayers(roads, buildings, date, name, extent, counts)


def area_of_interest(area: Any, margin_m: float = 0.0) -> shapely.Geometry:
    """
    Area of interest as a polygon in longitude, latitude.

    Parameters
    ----------
    area
        A box (left, bottom, right, top) in degrees; a shapely polygon in degrees; a Grid; a GeoDataFrame; a
        georeferenced image; a folder of such images; a file of polygons (.geojson, .gpkg, .shp, .parquet).
    margin_m
        Grow the area by this many metres, so that roads just outside still lend it their width.

    Raises
    ------
    InputError
        If it is empty, lies outside the world, or an image in it has no georeference.
    """
    if isinstance(area, shapely.Geometry):
        polygon = _mended(area)
    elif isinstance(area, Grid):
        polygon = shapely.from_wkt(area.footprint_wkt() or "POLYGON EMPTY")
    elif isinstance(area, gpd.GeoDataFrame):
        polygon = shapely.union_all(_mended(area.to_crs(LONLAT).geometry.to_numpy()))
    elif isinstance(area, str | Path):
        path = Path(area)
        if path.suffix.lower() in POLYGON_SUFFIXES:
            return area_of_interest(read_polygons(path), margin_m)
        images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES) if path.is_dir() else [path]
        if not images:
            raise InputError(f"{path}: no image in this folder ({', '.join(IMAGE_SUFFIXES)}).")
        polygon = shapely.union_all([shapely.from_wkt(read_grid(image).footprint_wkt()) for image in images])
    else:
        left, bottom, right, top = area
        polygon = shapely.box(*area) if left < right and bottom < top else shapely.Polygon()
    left, bottom, right, top = polygon.bounds
    if polygon.is_empty or not (-180 <= left < right <= 180 and -90 <= bottom < top <= 90):
        raise InputError(
            "An area of interest is (left, bottom, right, top) in degrees of longitude and latitude, or a polygon; "
            f"got {area!r:.200} with bounds {polygon.bounds}."
        )
    return _grown(polygon, margin_m) if margin_m else polygon


def _mended(area: Any) -> Any:
    """Geometries, the invalid ones made valid, such as rings drawn by hand that cross: nothing can be cut by those."""
    is_valid = shapely.is_valid(area)
    if np.all(is_valid):
        return area
    mended = np.where(is_valid, area, shapely.make_valid(area, method="structure", keep_collapsed=False))
    return mended[()]  # of one geometry, one


def stated_area(area: Path | tuple[float, ...]) -> shapely.Geometry:
    """`area_of_interest` of a file or a box, for many scenes: a file is read again only where it has changed."""
    return _read_area(area, tuple(file_states(vector_files(area))) if isinstance(area, Path) else ())


_read_area = lru_cache(maxsize=16)(lambda area, _changed: area_of_interest(area))


def _grown(polygon: shapely.Geometry, margin_m: float) -> shapely.Geometry:
    """The area grown by a margin, in metres as they are at its centre: looking up the zone of UTM takes 80 ms."""
    scale = METRES_A_DEGREE * np.array([np.cos(np.radians(polygon.centroid.y)), 1.0])
    left, _, right, _ = polygon.bounds
    over = max(-left, right) > 180 - ANTIMERIDIAN_DEG
    # in metres east of Greenwich, where the area reaches 180 degrees on beyond it
    parts = [
        shapely.transform(part, lambda xy, turns=over and part.bounds[0] < 0: (xy + (360.0 * turns, 0.0)) * scale)
        for part in shapely.get_parts(polygon)
    ]
    grown = shapely.union_all(parts).buffer(margin_m, join_style="mitre")
    return in_one_turn(shapely.transform(grown, lambda xy: xy / scale))


def require_overlap(
    extent: tuple[float, ...] | None, area_bounds: tuple[float, ...], name: str, slack_deg: float = 0.0
) -> None:
    """
    Refuse vectors that lie elsewhere than the area: a wrong file is an error, an empty street is none.

    Parameters
    ----------
    extent
        (left, bottom, right, top) of all vectors in degrees; None where it is not known.
    area_bounds
        The same of the area.
    name
        Of the file.
    slack_deg
        How far from the area the vectors may lie, degrees.

    Raises
    ------
    InputError
        Names the file; says so where its axes seem to be swapped.
    """
    area = shapely.box(*area_bounds)
    if extent is None or shapely.box(*extent).distance(area) <= slack_deg:
        return
    left, bottom, right, top = extent
    swapped = shapely.box(bottom, left, top, right).distance(area) <= slack_deg
    advice = (
        "The axes of one of them seem to be swapped (longitude comes first)."
        if swapped
        else "Is it the extract of this place?"
    )
    raise InputError(f"{name}: covers {_box_text(extent)} and not the area {_box_text(area_bounds)}. {advice}")


def _box_text(bounds: tuple[float, ...]) -> str:
    left, bottom, right, top = bounds
    return f"{left:.4f} to {right:.4f} E, {bottom:.4f} to {top:.4f} N"


def _count(layer: str, found: dict[str, gpd.GeoDataFrame], rows: int, broken: int = 0) -> LayerCount:
    """The count of a source that is one table, of which only roads and buildings were asked for."""
    return LayerCount(layer, OSM, rows, *(len(found.get(key, ())) for key in LAYERS), broken)


def _tidy(frame: gpd.GeoDataFrame, tags: tuple[str, ...]) -> gpd.GeoDataFrame:
    """`osm_id` and all tag columns, None where a tag is missing; no empty geometries, single parts as such."""
    frame = frame[~(frame.geometry.is_empty | frame.geometry.isna())]
    data = frame.reindex(columns=["osm_id", *tags]).astype(object)
    data = data.where(np.column_stack([is_tagged(frame, tag) for tag in data]), None)
    geometry = frame.geometry.to_numpy()
    is_single = shapely.get_num_geometries(geometry) == 1
    geometry = np.where(is_single, shapely.get_geometry(geometry, 0), geometry)
    return gpd.GeoDataFrame(data, geometry=geometry, crs=frame.crs).reset_index(drop=True)
