"""
Vector files by who made them: what each maker calls a road, a building and their tags -> columns named as in OSM.

A table passes `as_osm`, which says whether it is tagged at all, and then `split_layers`, which tells its rows apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely

from lib.grid import LONLAT
from lib.osm import overture
from lib.osm.areas import closed_ways_as_lines
from lib.osm.tags import is_not_no, is_tagged, tag_texts, tags_of_nested

LAYER_KEYS = {"roads": "highway", "buildings": "building"}
# tags that decide how wide a road is drawn, or whether it is drawn at all; see lib.osm.lanes
ROAD_TAGS = (
    *("highway", "service", "lanes", "lanes:forward", "lanes:backward", "lanes:both_ways", "oneway", "junction"),
    *("width", "width:carriageway", "est_width", "tunnel", "covered", "bridge", "layer", "area", "surface", "name"),
)
BUILDING_TAGS = ("building", "building:levels", "layer", "location", "name")
TAGS = tuple(dict.fromkeys((*ROAD_TAGS, *BUILDING_TAGS)))
# a table with one of these columns is OSM's, so that its lines need not be roads, nor its polygons buildings
OTHER_KEYS = ("aeroway", "amenity", "barrier", "landuse", "leisure", "man_made", "natural", "railway", "waterway")
NESTED = ("tags", "other_tags", "all_tags")  # osmtogeojson, osm2pgsql; GDAL's OSM driver
ID_COLUMNS = ("osm_id", "@id", "full_id", "id", "osm_way_id")  # osmium, overpass turbo, QuickOSM, GDAL
# closed ways with one of these are polygons to GDAL (closed_ways_are_polygons in its osmconf.ini)
GDAL_AREA_KEYS = (
    *("aeroway", "amenity", "boundary", "building", "craft", "geological", "historic", "landuse", "leisure"),
    *("military", "natural", "office", "place", "shop", "sport", "tourism"),
)
SPACENET_NAMES = {"lane_number": "lanes"}
SHAPEFILE_NAME = 10  # characters that the name of a column has at most in a shapefile
# Geofabrik's layers all have `fclass`; its roads, https://download.geofabrik.de/osm-data-in-gis-formats-free.pdf
# fmt: off
GEOFABRIK_ROADS = {
    **{name: name for name in (
        "motorway", "trunk", "primary", "secondary", "tertiary", "unclassified", "residential", "living_street",
        "pedestrian", "busway", "motorway_link", "trunk_link", "primary_link", "secondary_link", "tertiary_link",
        "service", "track", "bridleway", "cycleway", "footway", "path", "steps",
    )},
    **{f"track_grade{grade}": "track" for grade in range(1, 6)},
    "unknown": "road",
}
# fmt: on
# what people call a layer of which no column says what it holds
LAYER_NAMES = {"roads": ("road", "street", "highway"), "buildings": ("building", "footprint", "house")}
# a polygon without tags that is wider on average outlines an area, such as that of a study, and no road
WIDEST_SURFACE_M = 100.0
ELLIPSOID = pyproj.Geod(ellps="WGS84")
OSM, GEOFABRIK, OVERTURE, UNTAGGED = "tags of OSM", "Geofabrik's classes", "Overture's schema", "no tags"


def as_osm(frame: gpd.GeoDataFrame) -> tuple[gpd.GeoDataFrame, str]:
    """
    A table with its tags as columns named as in OSM, and whose table it is.

    Parameters
    ----------
    frame
        A layer of a vector file, or features of Overpass; left as it is.

    Returns
    -------
    frame
        The same rows (Overture's segments in the pieces along which nothing changes), with the columns of TAGS that
        there are.
    maker
        OSM, GEOFABRIK, OVERTURE or UNTAGGED; only of the last the geometry may say what its rows are.
    """
    if overture.is_overture(frame):
        return overture.with_osm_tags(frame), OVERTURE
    frame = frame.rename(columns=_usual_names(frame.columns))
    nested = [key for key in NESTED if key in frame]
    for key in nested:
        tags = tags_of_nested(frame[key], (*TAGS, "type"))
        known = tags.columns[tags.notna().any()]
        frame = frame.assign(**{tag: tags[tag].where(tags[tag].notna(), frame.get(tag)) for tag in known})
    if {"osm_id", "osm_way_id"} <= set(frame.columns):
        frame = _gdal_polygons(frame)
    if "fclass" in frame and "highway" not in frame:
        return _geofabrik(frame), GEOFABRIK
    is_osm = bool(nested) or not frame.columns.intersection([*LAYER_KEYS.values(), *OTHER_KEYS]).empty
    return frame, OSM if is_osm else UNTAGGED


def can_tell(table: gpd.GeoDataFrame, maker: str, name: str) -> bool:
    """Whether a layer would say of a row that it is a road or a building, so that none of them means: there is none."""
    if maker == GEOFABRIK:
        return any(word in name.lower() for words in LAYER_NAMES.values() for word in words)
    telling = overture.TELLING_COLUMNS if maker == OVERTURE else {*LAYER_KEYS.values(), *NESTED}
    return bool(telling & {column.lower() for column in table.columns})


def split_layers(frame: gpd.GeoDataFrame) -> dict[str, gpd.GeoDataFrame]:
    """
    Rows of a table with tags, by what they are: "roads" and "buildings".

    All tables pass here, of files and of Overpass; `lib.osm.extracts` tells the objects of a stream apart. Relations
    that are routes are no roads, and closed ways are lines or areas as `lib.osm.areas` says.
    """
    dimension = shapely.get_dimensions(frame.geometry.to_numpy())
    roads = is_tagged(frame, "highway") & (dimension >= 1) & ~_says(frame, "type", "route")
    buildings = is_not_no(frame, "building", any) & (dimension == 2)
    return {"roads": closed_ways_as_lines(frame.loc[roads]), "buildings": frame.loc[buildings]}


def draws_again(roads: gpd.GeoDataFrame) -> np.ndarray:
    """
    Which rows draw a row before them again, bool (n,): the same points, in either direction, under the same tags.

    The edges of an osmnx graph do so: a two-way street is there from u to v and from v to u.
    """
    geometry = roads.geometry.to_numpy()
    again = np.array(pd.DataFrame(shapely.bounds(geometry)).duplicated(keep=False))  # mostly few, and soon found
    rows = roads[again]
    keys = {tag: tag_texts(rows, tag) for tag in ROAD_TAGS if tag in rows}
    again[again] = pd.DataFrame({**keys, "line": shapely.to_wkb(shapely.normalize(geometry[again]))}).duplicated()
    return again


def split_untagged(
    frame: gpd.GeoDataFrame, layers: tuple[str, ...], has_surfaces: bool = False
) -> dict[str, gpd.GeoDataFrame]:
    """
    Rows of a table without tags by their geometry: lines are roads, polygons buildings; of `layers` only.

    With `has_surfaces` polygons are roads, too, and none is a building, but for those wider than WIDEST_SURFACE_M.
    """
    dimension = shapely.get_dimensions(frame.geometry.to_numpy())
    is_line, is_polygon = dimension == 1, dimension == 2
    if has_surfaces:
        is_polygon[is_polygon] = [
            not _mean_width_m(p) > WIDEST_SURFACE_M for p in frame.geometry[is_polygon].to_crs(LONLAT)
        ]
        is_line, is_polygon = is_line | is_polygon, is_polygon & False
    return {
        "roads": frame.loc[is_line & ("roads" in layers)],
        "buildings": frame.loc[is_polygon & ("buildings" in layers)],
    }


def may_have_surfaces(name: str) -> bool:
    """Whether polygons of a layer without tags may be road surface: it is not called after buildings."""
    return not any(word in name.lower() for word in LAYER_NAMES["buildings"])


def _mean_width_m(polygon: shapely.Geometry) -> float:
    """Width of a long shape, in degrees, from its area and perimeter on the ellipsoid; half its side of a square."""
    area_m2, perimeter_m = ELLIPSOID.geometry_area_perimeter(shapely.force_2d(polygon))
    return 2 * abs(area_m2) / perimeter_m if perimeter_m else 0.0


def guessed_layers(names: Sequence[str], makers: Sequence[str]) -> dict[int, tuple[str, ...]]:
    """
    What the rows of each layer without tags may be taken for: number of the layer -> "roads", "buildings", or both.

    Beside tagged layers nothing is guessed at, such as the outline of a study area. A layer that is called after what
    it holds is believed, and then no other one holds that.

    Parameters
    ----------
    names, makers
        Name of each layer of a file, and its maker as `as_osm` says.
    """
    untagged = [number for number, maker in enumerate(makers) if maker == UNTAGGED]
    called = {
        layer: [number for number in untagged if any(word in names[number].lower() for word in words)]
        for layer, words in LAYER_NAMES.items()
    }
    all_called = [number for own in called.values() for number in own]

    def may_hold(number: int, layer: str) -> bool:
        by_geometry = len(untagged) == len(makers) and not called[layer] and number not in all_called
        return number in called[layer] or by_geometry

    return {number: tuple(layer for layer in LAYER_KEYS if may_hold(number, layer)) for number in untagged}


def _usual_names(columns: pd.Index) -> dict[str, str]:
    """Column -> tag, for tags in capitals, cut to what a shapefile holds, or under a maker's own name."""
    free = [tag for tag in ("osm_id", "type", "fclass", *TAGS) if tag not in columns]
    spelt = {tag: tag for tag in free} | {tag.replace(":", "_"): tag for tag in free}  # GDAL's shapefiles: width_carr
    spelt |= {name[:SHAPEFILE_NAME]: tag for name, tag in spelt.items()}
    names: dict[str, str] = {}
    for column in columns:
        if (tag := spelt.get(column.lower())) and tag not in names.values():  # two of one name would be no column
            names[column] = tag
    names |= {column: tag for column, tag in SPACENET_NAMES.items() if column in columns and tag in free}
    if "osm_id" in free:
        names |= {column: "osm_id" for column in [key for key in ID_COLUMNS if key in columns][:1]}
    return names


def _geofabrik(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Lines of the roads' classes and polygons of buildings; the other layers have classes of other things."""
    dimension = shapely.get_dimensions(frame.geometry.to_numpy())
    highway = frame["fclass"].map(GEOFABRIK_ROADS).where(dimension == 1, None)
    kind = frame["type"].where(is_tagged(frame, "type"), "yes") if "type" in frame else "yes"
    is_building = frame["fclass"].isin(["building"]) & (dimension == 2)
    building = pd.Series(kind, frame.index, dtype=object).where(is_building, None)
    return frame.drop(columns="type", errors="ignore").assign(highway=highway, building=building)


def _gdal_polygons(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """
    The ids of GDAL's layer `multipolygons`, of relations and ways, in one column; and `area`, which GDAL leaves out.

    A closed highway is there either for its `area=yes` or, a line in truth, for a key of GDAL_AREA_KEYS.
    """
    of_way = ~is_tagged(frame, "osm_id")
    for_its_key = np.any([is_tagged(frame, key) for key in GDAL_AREA_KEYS], axis=0)
    return frame.assign(
        osm_id=frame["osm_id"].where(~of_way, frame["osm_way_id"]),
        type=np.where(of_way, None, "multipolygon"),
        area=np.where(of_way & for_its_key, None, "yes"),
    )


def _says(frame: pd.DataFrame, column: str, value: str) -> np.ndarray:
    return frame[column].isin([value]).to_numpy(dtype=bool) if column in frame else np.zeros(len(frame), dtype=bool)
