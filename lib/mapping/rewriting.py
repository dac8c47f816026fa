"""The layers of a finished map once more: as they were traced, and others written in their place."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd

from lib.errors import InputError
from lib.limits import TASKS, classes_of, settings_from
from lib.mapping.geopackage import add_layers, read_layer
from lib.mapping.layers import SUMMARY, TRACED, LayerOptions, write_files
from lib.mapping.options import GEOPACKAGE, rasters_of
from lib.paths import locked, read_mapping, write_whole
from lib.rasters import read_grid


def read_traced(out_dir: Path) -> dict[str, gpd.GeoDataFrame]:
    """
    The layers of a map's folder by class, as they were traced, whatever map.gpkg holds now.

    Raises
    ------
    InputError
        If `lib.mapping.layers.write_layers` has not written the folder to its end.
    """
    task = read_mapping(out_dir / SUMMARY).get("task")
    kinds = classes_of(task) if task in TASKS and (out_dir / TRACED).is_file() else ()
    found = {kind: read_layer(out_dir / TRACED, kind) for kind in kinds}
    if not found or any(layer is None for layer in found.values()):
        raise InputError(
            f"{out_dir}: expected a map with its layers, {TRACED} and {SUMMARY}; write them first "
            "(python -m lib.mapping)."
        )
    return found


def rewrite_layers(out_dir: Path, layers: Mapping[str, gpd.GeoDataFrame]) -> dict[str, Any]:
    """
    Write the files of a map anew with other layers, by the options that they were last written with.

    Parameters
    ----------
    out_dir
        Folder that `lib.mapping.layers.write_layers` has written.
    layers
        By class, with the columns of `read_traced`.

    Returns
    -------
    summary
        As in layers.json, which is brought up to date.

    Raises
    ------
    BusyError
        If another process writes these layers.
    DiskFullError
        If there is no room.
    """
    with locked(out_dir / SUMMARY):
        former = read_mapping(out_dir / SUMMARY)
        options = settings_from(LayerOptions, former["made_of"]["writing"], str(out_dir / SUMMARY))
        _, mask = next(iter(rasters_of(former["task"]).values()))
        add_layers(out_dir / GEOPACKAGE, layers)
        summary = former | write_files(out_dir, layers, read_grid(out_dir / mask, require_crs=False), options)
        write_whole(out_dir / SUMMARY, json.dumps(summary, indent=1) + "\n")
        return summary
