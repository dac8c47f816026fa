"""A map's folder against OpenStreetMap: candidates into its GeoPackage, and what was rejected out of its files."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from lib.conflation.buildings import BuildingComparison, compare_buildings
from lib.conflation.ground import Ground, ground_of_map
from lib.conflation.review import LAYERS, REJECTED, carry_over, kept, read_candidates
from lib.conflation.roads import RoadComparison, compare_roads
from lib.limits import Limits, check_value
from lib.mapping.geopackage import add_layers, layer_names
from lib.mapping.options import GEOPACKAGE, rasters_of
from lib.mapping.rewriting import read_traced, rewrite_layers
from lib.masks.rasterize import Window
from lib.networks.calibration import Curve, curves_of_pixels
from lib.osm.lanes import METRIC, LaneProfile
from lib.osm.layers import OsmLayers
from lib.progress import now_and_then


def compare_map(
    map_dir: Path,
    osm: OsmLayers,
    image: Callable[[Window], np.ndarray] | None = None,
    curves: Mapping[str, Curve] | None = None,
    profile: LaneProfile = METRIC,
    kind: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> RoadComparison | BuildingComparison:
    """
    Compare a map with OpenStreetMap, and put what came out into its map.gpkg, with styles.

    Candidates that an earlier comparison had keep their numbers and what was decided of them; rejected ones stay
    although they are not found any more, so that they do not come back.

    Parameters
    ----------
    map_dir
        Folder that `lib.mapping.layers.write_layers` has written.
    osm
        Of the same ground.
    image
        Reads windows of the map's grid as (height, width, 3) uint8 RGB; None: no reasons are guessed.
    curves
        Of the checkpoint, by kind, see `lib.networks.calibration.read_curves`: that of the class, or of pixels; where
        there is neither, confidence is the mean probability.
    profile
        What of OSM is a road.
    kind
        Which class of a map of several is compared; None: the map's only one.
    progress
        Called with a line of text every few seconds.

    Raises
    ------
    InputError
        If the folder holds no map, or one without a CRS.
    ParameterError
        If the map doesn't show that class, or shows several and none is named.
    """
    layers, gpkg = _kept_layers(map_dir), map_dir / GEOPACKAGE
    task = "+".join(layers)
    check_value("kind", kind or task, str, Limits(choices=layers))
    kind = kind or task
    found, (raster, _) = layers[kind], rasters_of(task)[kind]
    ground, curves = ground_of_map(map_dir, image, raster), curves or {}
    if progress:
        ground = _speaking(ground, now_and_then(progress))
    curve = curves.get(kind) or curves_of_pixels(curves, kind).get(kind)
    if kind == "roads":
        roads = compare_roads(found, osm.roads, ground, curve=curve, profile=profile)
        roads = replace(roads, missing=_with_decisions(roads.missing, gpkg, "missing_roads"))
        add_layers(gpkg, {"missing_roads": roads.missing, "unseen_roads": roads.unseen})
        return roads
    houses = compare_buildings(found, osm.buildings, ground, curve=curve)
    missing = _with_decisions(houses.missing, gpkg, "missing_buildings")
    changed = _with_decisions(houses.changed, gpkg, "changed_buildings")
    add_layers(
        gpkg, {"missing_buildings": missing, "vanished_buildings": houses.vanished, "changed_buildings": changed}
    )
    return replace(houses, missing=missing, changed=changed)


def _speaking(ground: Ground, say: Callable[[str], None]) -> Ground:
    """The ground, which says where it is looked at: what takes long reads its windows."""

    def heard(read: Callable[[Window], np.ndarray], what: str) -> Callable[[Window], np.ndarray]:
        def look(window: Window) -> np.ndarray:
            say(f"comparing: {what} at row {window[1]} of {ground.grid.height}, column {window[0]}")
            return read(window)

        return look

    image = ground.image and heard(ground.image, "image")
    return replace(ground, probability=heard(ground.probability, "probability"), image=image)


def write_reviewed(map_dir: Path) -> dict[str, Any]:
    """
    Write the files of a map anew without what is rejected now, and with what no longer is.

    Those are its layers in map.gpkg, map.osm and other formats, by the options that they were last written with.

    Returns
    -------
    summary
        Of what is left, as in layers.json; see `lib.mapping.layers.write_layers`.

    Raises
    ------
    InputError
        If the folder holds no map with its layers.
    BusyError
        If another process writes them.
    """
    return rewrite_layers(map_dir, _kept_layers(map_dir))


def _kept_layers(map_dir: Path) -> dict[str, gpd.GeoDataFrame]:
    """By class what was traced, without what is rejected now: a rejection that is taken back leaves no trace."""
    found, gpkg = read_traced(map_dir), map_dir / GEOPACKAGE
    there = layer_names(gpkg)
    for layer in LAYERS:
        kind = layer.split("_")[-1]
        if kind in found and layer in there:
            found[kind] = kept(found[kind], read_candidates(gpkg, layer))
    return found


def _with_decisions(found: gpd.GeoDataFrame, gpkg: Path, layer: str) -> gpd.GeoDataFrame:
    """Candidates with earlier numbers and decisions, and behind them those that were rejected and not found again."""
    earlier = read_candidates(gpkg, layer) if layer in layer_names(gpkg) else None
    candidates = carry_over(found, earlier)
    if earlier is None:
        return candidates
    gone = earlier[(earlier["status"] == REJECTED) & ~earlier["candidate"].isin(candidates["candidate"])]
    return candidates if gone.empty else pd.concat([candidates, gone.to_crs(found.crs)], ignore_index=True)
