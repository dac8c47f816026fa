"""Cutting chips: a block of a scene's chips is read, drawn and written, on this core or on another machine."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from lib.chips.imagery import nodata_area, read_scene
from lib.chips.manifest import CLASS, PATHS, WEIGHT_ONE, write_bands, write_png
from lib.chips.mask_images import mask_reader
from lib.chips.options import ChipOptions
from lib.chips.sources import Scene, by_class
from lib.errors import InputError
from lib.grid import LONLAT, MASK_BACKGROUND, MASK_FOREGROUND, MASK_IGNORE
from lib.limits import classes_of
from lib.masks.rasterize import (
    PolygonIndex,
    RoadIndex,
    Window,
    draw_polygons,
    draw_roads,
    draw_weights,
    index_buildings,
    index_roads,
)
from lib.memory import freed_memory_kept
from lib.osm.lanes import LaneProfile, check_classes, road_weights
from lib.paths import holder, is_written, read_mapping, write_whole
from lib.rasters import opened

WEIGHTS = "weights"  # folder of what each pixel of a road counts, beside those of the masks

Drawers = Mapping[tuple[str, str], Callable[[Window], np.ndarray]]  # class, and label source or WEIGHTS -> its pixels


@dataclass(frozen=True)
class Chip:
    """A chip as planned."""

    name: str
    window: Window  # in the scene's pixels
    split: str
    labels: tuple[str, ...]
    key: str  # digest of all that decides its files


@dataclass(frozen=True)
class Block:
    """
    Some chips of one scene, with all that is needed to make them.

    Attributes
    ----------
    vectors
        Class and label source -> its vectors near the chips, where its masks are drawn from such; moved already.
    clean_area
        Polygon in degrees outside which clean masks are MASK_IGNORE; None: there is no such outside.
    holder
        Process that holds the folder's manifest. Workers outlive one that is killed, and stop when another one cuts.
    """

    scene: Scene
    chips: tuple[Chip, ...]
    vectors: Mapping[tuple[str, str], gpd.GeoDataFrame]
    options: ChipOptions
    profile: LaneProfile
    out_dir: Path
    holder: str
    clean_area: shapely.Geometry | None = None


def cut_block(block: Block) -> dict[str, list[dict[str, Any]]] | InputError:
    """
    Make the chips of a block that are not there yet; chip -> its manifest rows, or the error that stopped it.

    Each chip is kept as soon as it is made, so that a block begun by a worker that died is continued, not repeated.
    """
    rows, draw = {}, {}
    try:
        with freed_memory_kept(), opened(block.scene.path):  # once for all chips: strips of a file are decoded once
            for chip in block.chips:
                found = read_record(block.out_dir, chip)
                if found is None:
                    if holder(block.out_dir / "manifest.csv") != block.holder:
                        break
                    draw = draw or _drawers(block)
                    found = cut_chip(block, chip, draw)
                    write_whole(_record_path(block.out_dir, chip), json.dumps({"key": chip.key, "rows": found}))
                rows[chip.name] = found
    except InputError as error:
        return error
    return rows


def cut_chip(block: Block, chip: Chip, draw: Drawers) -> list[dict[str, Any]]:
    """
    Write the image of a chip and its masks.

    Parameters
    ----------
    draw
        Of `_drawers`.

    Returns
    -------
    rows
        One row of the manifest a label and class, its paths relative to the folder; none where all is no-data.
    """
    scene, grid = block.scene, block.scene.grid.window(*chip.window)
    image, valid = read_scene(scene, chip.window, every_band=True)
    if "nodata" in scene.source:
        valid &= ~nodata_area(image[..., :3], scene.nodata)
    if not valid.any():
        return []
    file = f"{chip.name}.png"
    shared = {
        "chip": chip.name,
        "scene": scene.name,
        "image": f"images/{file if image.shape[2] == 3 else f'{chip.name}.tif'}",
        "split": chip.split,
        "gsd_m": block.options.gsd_m,
        "crs": grid.crs or "",
        "transform": " ".join(f"{v:.12g}" for v in grid.transform) if grid.crs else "",
        "width": grid.width,
        "height": grid.height,
        "footprint": grid.footprint_wkt(),
    }
    (write_png if image.shape[2] == 3 else write_bands)(block.out_dir / shared["image"], image)
    rows, classes = [], classes_of(block.options.task)
    for label, kind in product(chip.labels, classes):
        if (kind, label) not in draw:
            continue  # a label that knows nothing of this class
        mask = draw[kind, label](chip.window)
        mask[~valid] = MASK_IGNORE
        known_as = {"label": label} | ({CLASS: kind} if len(classes) > 1 else {})
        rows.append(shared | known_as | {"mask": f"masks_{'_'.join(known_as.values())}/{file}"})
        rows[-1]["foreground"] = int(np.count_nonzero(mask == MASK_FOREGROUND))  # for `lib.chips.emptiness`
        write_png(block.out_dir / rows[-1]["mask"], mask)
        if label == "osm" and (kind, WEIGHTS) in draw:
            rows[-1]["weight"] = f"{WEIGHTS}/{file}"
            write_png(block.out_dir / rows[-1]["weight"], draw[kind, WEIGHTS](chip.window))
    return rows


def _drawers(block: Block) -> Drawers:
    """Class, and label source or, where its pixels have weights, WEIGHTS -> function from a window to its pixels."""
    options, profile, draw = block.options, block.profile, {}
    labels = {label for chip in block.chips for label in chip.labels}
    for kind, (scene,) in by_class([block.scene], options.task, every_class=False).items():
        for label in labels & scene.label_sources.keys():
            vectors = block.vectors.get((kind, label))
            band_px = options.ignore_band_m / options.gsd_m if label == "osm" else 0.0
            if vectors is None:
                draw[kind, label] = mask_reader(scene, label, band_px)
            elif kind == "roads":
                roads = index_roads(vectors, scene.grid, profile)
                draw[kind, label] = partial(draw_roads, roads, ignore_band_px=band_px)
                if label == "osm" and options.class_weights:
                    check_classes(options.class_weights, profile, "class_weights")
                    weights = road_weights(vectors, options.class_weights)
                    draw[kind, WEIGHTS] = partial(_draw_levels, roads, weights)
            else:
                buildings = index_buildings(vectors, scene.grid, options.gap_m)
                draw[kind, label] = partial(draw_polygons, buildings, ignore_band_px=band_px)
        if block.clean_area is not None and (kind, "clean") in draw:
            known = index_buildings(gpd.GeoDataFrame(geometry=[block.clean_area], crs=LONLAT), scene.grid)
            draw[kind, "clean"] = partial(_draw_within, draw[kind, "clean"], known)
    return draw


def _draw_within(draw: Callable[[Window], np.ndarray], known: PolygonIndex, window: Window) -> np.ndarray:
    """Mask of a window, MASK_IGNORE where the pixels' centres lie outside the known ground."""
    mask = draw(window)
    mask[draw_polygons(known, window) == MASK_BACKGROUND] = MASK_IGNORE
    return mask


def _draw_levels(roads: RoadIndex, weights: np.ndarray, window: Window) -> np.ndarray:
    """What the pixels of a window count, as a chip's file of weights holds it: uint8 (height, width)."""
    return np.rint(draw_weights(roads, weights, window) * WEIGHT_ONE).astype(np.uint8)


def read_record(out_dir: Path, chip: Chip) -> list[dict[str, Any]] | None:
    """Manifest rows of a chip that was made by the same recipe and whose files are there; None: it is to be made."""
    record = read_mapping(_record_path(out_dir, chip))
    if record.get("key") != chip.key:
        return None
    files = (out_dir / row[column] for row in record["rows"] for column in PATHS if row.get(column))
    return record["rows"] if all(map(is_written, files)) else None


def _record_path(out_dir: Path, chip: Chip) -> Path:
    return out_dir / "records" / f"{chip.name}.json"
