"""
What was reviewed as clean labels of the next training: roads or buildings, and the ground on which they are all.

A mask says of each pixel whether there is a road, so that labels are clean only where nothing is in doubt: where every
candidate was accepted or rejected, and the network saw every road of OSM.
"""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.conflation.ground import metres_at
from lib.conflation.review import ACCEPTED, OPEN, SKIPPED, read_candidates
from lib.errors import InputError, ParameterError
from lib.grid import LONLAT, in_degrees
from lib.limits import CLASSES
from lib.mapping.geopackage import read_layer
from lib.osm.files import joined
from lib.osm.layers import LAYER_TAGS, area_of_interest
from lib.paths import whole_file

CANDIDATES = {"roads": ("missing_roads",), "buildings": ("missing_buildings", "changed_buildings")}
DOUBTS = {"roads": "unseen_roads", "buildings": "vanished_buildings"}  # OSM says so, and the network does not
MARGIN_M = 15.0  # no ground so near to what is in doubt: half of a broad road, and an offset
EDGE_M = 1.0  # the ground reaches so far beyond the map's: chips along its border are not lost to rounding


def export_reviewed(gpkg: Path, path: Path, osm: gpd.GeoDataFrame, area: Any, task: str = "roads") -> float:
    """
    Write the reviewed ground of a map as a vector file that `clean` of notebook 1 reads, whole or not at all.

    Its layer `roads` or `buildings` holds what OSM has and what was accepted, with OSM's tags; its layer `area` the
    ground on which that is all there is. Name the file as `clean` and as `area` of a source, so that chips are cut from
    that ground alone.

    Parameters
    ----------
    gpkg
        The map, after its comparison with OSM.
    path
        The file, a GeoPackage in degrees, cut at the antimeridian.
    osm
        Roads or buildings as `lib.osm.layers` reads them, with `osm_id`, moved onto the image if they lay beside it.
    area
        The ground that was mapped: anything that `lib.osm.layers.area_of_interest` understands, such as the map's
        mask.tif or its grid.
    task
        "roads" or "buildings".

    Returns
    -------
    km2
        Size of the ground.

    Raises
    ------
    ParameterError
        If the task is unknown.
    InputError
        If the map lacks its candidates, or no ground is free of doubt.
    """
    if task not in CLASSES:
        raise ParameterError(f"Expected a task of {', '.join(CLASSES)}; got {task!r}.")
    outline = area_of_interest(area, EDGE_M)
    metres = metres_at(gpd.GeoSeries([outline], crs=LONLAT))
    candidates = joined([read_candidates(gpkg, layer) for layer in CANDIDATES[task]]).to_crs(metres)
    doubt = candidates.geometry[candidates["status"].isin([OPEN, SKIPPED])]
    unseen = read_layer(gpkg, DOUBTS[task])
    if unseen is not None:
        doubt = pd.concat([doubt, unseen.geometry.to_crs(metres)])
    near_doubt = in_degrees(np.array([shapely.union_all(doubt.buffer(MARGIN_M).to_numpy())]), metres)[0]
    parts = gpd.GeoDataFrame(geometry=shapely.get_parts(outline.difference(near_doubt)), crs=LONLAT)
    ground = parts.to_crs(metres).union_all()
    if ground.is_empty:
        raise InputError(f"{gpkg}: expected ground on which every candidate is decided, found none; review some first.")
    accepted = candidates[candidates["status"] == ACCEPTED]
    if task == "roads":
        truth = joined([osm, _roads(accepted, read_layer(gpkg, "roads"))]).to_crs(metres)
    else:
        replaced = accepted.get("osm_id", pd.Series(dtype=object)).dropna()
        others = osm[~osm["osm_id"].isin(replaced)]
        truth = joined([others, accepted[["geometry"]].assign(building="yes")]).to_crs(metres)
        truth["geometry"] = truth.geometry.intersection(ground)  # or houses would add to the ground: all are polygons
        truth = truth[shapely.get_dimensions(truth.geometry.to_numpy()) == 2]
    truth = truth[truth.intersects(ground) & ~truth.geometry.is_empty]
    columns = ["osm_id", *(tag for tag in LAYER_TAGS[task] if tag in truth), "geometry"]
    degrees = gpd.GeoSeries(in_degrees(truth.geometry.to_numpy(), metres), truth.index, LONLAT)
    with whole_file(path) as part:
        truth.reindex(columns=columns).set_geometry(degrees).to_file(part, layer=task, driver="GPKG")
        parts.to_file(part, layer="area", driver="GPKG")
    return float(ground.area / 1e6)


def _roads(accepted: gpd.GeoDataFrame, mapped: gpd.GeoDataFrame | None) -> gpd.GeoDataFrame:
    """Accepted candidates as OSM has roads: the class of the road that they join, the width that the map measured."""
    joined = accepted.get("joins_highway", pd.Series("", accepted.index)).fillna("").astype(str)
    roads = accepted[["geometry"]].assign(highway=joined.where(joined != "", "road"))
    if mapped is not None and len(mapped) and len(roads) and "width_m" in mapped:
        middles = shapely.line_interpolate_point(roads.geometry.to_numpy(), 0.5, normalized=True)
        nearest = shapely.STRtree(mapped.geometry.to_crs(accepted.crs).to_numpy()).nearest(middles)
        width_m = mapped["width_m"].to_numpy(dtype=float)[nearest]
        roads["width"] = [f"{width:.1f}" if np.isfinite(width) and width > 0 else None for width in width_m]
    return roads
