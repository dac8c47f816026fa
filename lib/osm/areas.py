"""Closed ways: which are lines and which are areas, with one answer for extracts, Overpass and vector files."""

from __future__ import annotations

import re

import geopandas as gpd
import numpy as np
import shapely

from lib.osm.tags import is_not_no, is_tagged, means_no, tag_text, tag_words

# wiki Key:area, "highway": a closed road is a line, though it may go round a car park, unless it says area=yes; these
# classes are areas by themselves (osmnx has two more, lifts and escape lanes, of which no carriageway is drawn here)
AREA_HIGHWAYS = ("rest_area", "services")
ID_COLUMNS = ("osm_id", "id", "@id", "element", "osm_type", "@type")  # of the makers of vector files
WAY_OR_RELATION = re.compile(r"(?:w|way|r|relation)/?-?\d*", re.IGNORECASE)  # "way/12", "w12", "way"


def is_area_highway(highway: str, area: str | None) -> bool:
    """Whether a closed way with these tags is an area, and not a line."""
    return not means_no(area) or highway in AREA_HIGHWAYS


def closed_ways_as_lines(roads: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """
    Roads in which polygons that are closed ways have become lines; areas and multipolygons stay.

    osmnx, osmtogeojson and GDAL make a polygon of a closed `highway=service` around an `amenity=parking`, and
    `osmium export` gives a roundabout as line and as polygon: such a line is kept once.

    Parameters
    ----------
    roads
        Rows with `highway`. Where no id says whether a polygon was a way or a multipolygon, a single ring counts
        as a way if the table has lines too: a table of polygons only holds surfaces.
    """
    geometry = roads.geometry.to_numpy()
    dimension = shapely.get_dimensions(geometry)
    if not (dimension == 2).any() or "highway" not in roads:
        return roads
    kind = _kinds(roads)
    rings = shapely.get_num_interior_rings(shapely.get_geometry(geometry, 0))
    is_ring = (shapely.get_num_geometries(geometry) == 1) & (rings == 0) & (dimension == 2)
    is_way = np.where(kind == "", (dimension == 1).any(), kind == "w")
    is_area = is_not_no(roads, "area", any) | np.isin(tag_words(roads, "highway", len), AREA_HIGHWAYS)
    is_line = is_ring & is_way & ~is_area
    if not is_line.any():
        return roads
    geometry = geometry.copy()
    geometry[is_line] = [shapely.LineString(shapely.get_coordinates(polygon)) for polygon in geometry[is_line]]
    is_closed = (dimension == 1) & (shapely.get_num_geometries(geometry) == 1)
    is_closed &= shapely.is_closed(geometry) & (shapely.get_num_coordinates(geometry) > 3)
    known = set(map(_corners, geometry[is_closed]))
    keep = np.ones(len(roads), dtype=bool)
    keep[is_line] = [_corners(line) not in known for line in geometry[is_line]]
    return roads.set_geometry(gpd.GeoSeries(geometry, index=roads.index, crs=roads.crs))[keep]


def drawn_by_hand(roads: gpd.GeoDataFrame) -> np.ndarray:
    """Which rows are polygons that no tag calls a road, bool (n,): the road's surface, as people digitise labels."""
    return (shapely.get_dimensions(roads.geometry.to_numpy()) == 2) & ~is_tagged(roads, "highway")


def _corners(line: shapely.LineString) -> bytes:
    """What two closed lines have in common that differ in nothing but where they begin, and which way they go."""
    return shapely.to_wkb(shapely.normalize(shapely.Polygon(line)))


def _kinds(roads: gpd.GeoDataFrame) -> np.ndarray:
    """First letter of what each row was in OSM, "w" or "r"; "" where no column says it."""
    kinds = np.full(len(roads), "", dtype=object)
    for column in [name for name in ID_COLUMNS if name in roads]:
        texts = [tag_text(value) for value in roads[column]]
        letters = [text[0].lower() if WAY_OR_RELATION.fullmatch(text) else "" for text in texts]
        kinds = np.where(kinds == "", letters, kinds)
    if "osm_way_id" in roads:  # GDAL's: of multipolygons in `osm_id`, of ways here
        kinds = np.where(is_not_no(roads, "osm_way_id"), "w", kinds)
    return kinds
