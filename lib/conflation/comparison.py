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
from lib.errors import InputError
from lib.limits import TASKS, Limits, check_value, classes_of
from lib.mapping.geopackage import add_layers, layer_names, read_layer
from lib.mapping.layers import DEFAULTS, LayerOptions, write_files
from lib.mapping.options import GEOPACKAGE, MAP, rasters_of
from lib.masks.rasterize import Window
from lib.networks.calibration import Curve, curves_of_pixels
from lib.osm.lanes import METRIC, LaneProfile
from lib.osm.layers import OsmLayers
from lib.paths import read_mapping
from lib.progress import now_and_then
from lib.rasters import read_grid


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
    task, gpkg, layers = _layers(map_dir)
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


def write_reviewed(map_dir: Path, options: LayerOptions = DEFAULTS) -> dict[str, Any]:
    """
    Write the files of a map anew without what was rejected: its layer in map.gpkg, map.osm, the formats asked for.

    Returns
    -------
    summary
        Of what is left, see `lib.mapping.layers.write_files`.
    """
    task, gpkg, found = _layers(map_dir)
    there = layer_names(gpkg)
    for layer in LAYERS:
        kind = layer.split("_")[-1]
        if kind in found and layer in there:
            found[kind] = kept(found[kind], read_candidates(gpkg, layer))
    add_layers(gpkg, found)
    _, mask = rasters_of(task)[next(iter(found))]
    return write_files(map_dir, found, read_grid(map_dir / mask), options)


def _layers(map_dir: Path) -> tuple[str, Path, dict[str, gpd.GeoDataFrame]]:
    """Task of a map, its GeoPackage, and by class the layer of what was found."""
    task, gpkg = read_mapping(map_dir / MAP).get("task"), map_dir / GEOPACKAGE
    kinds = classes_of(task) if task in TASKS else ()
    found = {kind: read_layer(gpkg, kind) for kind in kinds} if gpkg.is_file() else {}
    if not found or any(layer is None for layer in found.values()):
        raise InputError(f"{map_dir}: expected a map with its layers; write them first (python -m lib.mapping).")
    return task, gpkg, found


def _with_decisions(found: gpd.GeoDataFrame, gpkg: Path, layer: str) -> gpd.GeoDataFrame:
    """Candidates with earlier numbers and decisions, and behind them those that were rejected and not found again."""
    earlier = read_candidates(gpkg, layer) if layer in layer_names(gpkg) else None
    candidates = carry_over(found, earlier)
    if earlier is None:
        return candidates
    gone = earlier[(earlier["status"] == REJECTED) & ~earlier["candidate"].isin(candidates["candidate"])]
    return candidates if gone.empty else pd.concat([candidates, gone.to_crs(found.crs)], ignore_index=True)
