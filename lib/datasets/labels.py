"""Labels of a city: GeoJSON of each image, or the challenge's CSV, as one table of vectors and as truth in pixels."""

import json
from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.errors import InputError, reading
from lib.grid import Grid, parse_crs, project
from lib.vectors.buildingio import read_building_csv
from lib.vectors.roadio import read_challenge_lines

DEGREES = "EPSG:4326"  # of GeoJSON that says nothing else, and of all of SpaceNet's images
KINDS = {"roads": "LineString", "buildings": "Polygon"}
OTHER_NAMES = {"lanes": "lane_number", "inferred_speed_mps": "speed_mps"}  # SpaceNet 5's -> SpaceNet 3's
KEPT = ("lane_number", "road_type", "bridge_type", "paved", "one_way_ty", "speed_mph", "speed_mps")


def read_label(path: Path, task: str) -> gpd.GeoDataFrame:
    """
    Lines or polygons of one image's GeoJSON, in degrees; no row where there is nothing on it.

    Multi-geometries are taken apart, heights and features without a geometry left out. Of the properties those of KEPT
    remain, among them the lanes.

    Raises
    ------
    InputError
        If it is no GeoJSON, or holds other geometries than the task's.
    """
    with reading(path, "a GeoJSON file of labels"):
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if text.strip() else {"features": []}  # SpaceNet 1 has empty files for empty chips
        features = [f for f in content["features"] if f.get("geometry") and f["geometry"].get("coordinates")]
        shapes = shapely.force_2d(shapely.from_geojson([json.dumps(feature["geometry"]) for feature in features]))
        stated = content.get("crs", {}).get("properties", {}).get("name", DEGREES)
        rows = [feature.get("properties") or {} for feature in features]
    table = pd.DataFrame(rows, index=range(len(rows))).rename(columns=OTHER_NAMES)
    table = table[[name for name in KEPT if name in table]] if task == "roads" else table[[]]
    frame = gpd.GeoDataFrame(table, geometry=list(shapes), crs=parse_crs(stated).to_wkt() if len(rows) else DEGREES)
    frame = frame.to_crs(DEGREES).explode(index_parts=False, ignore_index=True)
    return _checked(frame, task, path)


def labels_of_csv(path: Path, grids: Mapping[str, Grid], task: str) -> dict[str, gpd.GeoDataFrame]:
    """
    Image -> its labels in degrees, of a CSV of the challenges in pixels: ImageId with WKT_Pix or PolygonWKT_Pix.

    Parameters
    ----------
    grids
        Id -> grid of the image that the pixels are of; rows of other images are left out.

    Raises
    ------
    InputError
        If the file can't be read as such a CSV.
    """
    if task == "roads":
        lines, _ = read_challenge_lines(_two_columns(path))
        shapes = {image: [shapely.LineString(line) for line in own if len(line) > 1] for image, own in lines.items()}
    else:
        shapes, _ = read_building_csv(path)
    found = {}
    for image in shapes.keys() & grids.keys():
        grid = grids[image]

        def in_degrees(xy: np.ndarray, grid: Grid = grid) -> np.ndarray:
            return project(np.asarray(grid.pixel_to_world(xy)), grid.crs, DEGREES)

        moved = shapely.transform(np.array(shapes[image], object), in_degrees)
        found[image] = gpd.GeoDataFrame(geometry=list(moved), crs=DEGREES)
    return found


def _checked(frame: gpd.GeoDataFrame, task: str, path: Path) -> gpd.GeoDataFrame:
    frame = frame[~(frame.geometry.isna() | frame.geometry.is_empty)]
    other = sorted(set(frame.geom_type) - {KINDS[task]} - ({"Point"} if task == "buildings" else set()))
    if other:  # SpaceNet 1 and 2 have a few points where a polygon shrank to nothing
        raise InputError(f"{path}: expected {KINDS[task]}s, got {', '.join(other)}")
    return frame[frame.geom_type == KINDS[task]].reset_index(drop=True)


def _two_columns(path: Path) -> Path:
    """The path of a roads CSV, if it starts as one: the challenge's reader takes the rest of a line for the WKT."""
    with reading(path, "a CSV file of roads"), path.open(encoding="utf-8-sig") as file:
        head = [name.strip().lower() for name in file.readline().split(",")]
    if head != ["imageid", "wkt_pix"]:
        raise InputError(f"{path}: expected the columns ImageId,WKT_Pix alone, got {', '.join(head)}")
    return path
