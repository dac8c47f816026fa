"""Cutting chips: a block of a scene's chips is read, drawn and written, on this core or on another machine."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.chips import PATHS, write_png
from lib.errors import InputError, ParameterError
from lib.grid import MASK_IGNORE
from lib.lanes import LaneProfile
from lib.osm import OsmLayers
from lib.paths import write_whole
from lib.rasterize import Window, draw_polygons, draw_roads, index_buildings, index_roads
from lib.sources import Scene, half_brightness, nodata_area, opened, read_mask_image, read_scene, source_name


@dataclass(frozen=True)
class ChipOptions:
    """
    How an area is cut into chips.

    Attributes
    ----------
    task
        "roads" or "buildings".
    gsd_m
        Ground sampling distance of the chips, metres; scenes of another one are resampled.
    chip_px
        Side of a chip; a scene smaller than that is one chip of its own size.
    val_share, test_share
        Share of each source's ground (or of its scenes, where nothing says how they lie) that validates and tests.
    clean_chips
        How many training chips, and how many validating ones at most, get a clean mask; 0 means all.
    seed
        Draws the clean chips, and the splits of scenes without georeference.
    gap_m
        Ground kept free between buildings that touch, metres.
    """

    task: str = "roads"
    gsd_m: float = 0.5
    chip_px: int = 512
    val_share: float = 0.15
    test_share: float = 0.2
    clean_chips: int = 0
    seed: int = 0
    gap_m: float = 0.0

    def __post_init__(self) -> None:
        if self.task not in ("roads", "buildings"):
            raise ParameterError(f"task is 'roads' or 'buildings', got {self.task!r}")
        if self.gsd_m <= 0 or self.chip_px < 32 or self.clean_chips < 0 or self.gap_m < 0:
            raise ParameterError(
                f"gsd_m must be positive, chip_px at least 32, clean_chips and gap_m not negative: {self}"
            )


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
    layers
        Label source -> the vectors near the chips, where its masks are drawn; moved by `shift_m` already.
    shift_m
        Metres to the east and north by which the OSM vectors were moved.
    """

    scene: Scene
    chips: tuple[Chip, ...]
    layers: Mapping[str, OsmLayers]
    shift_m: tuple[float, float]
    options: ChipOptions
    profile: LaneProfile
    out_dir: Path


def cut_block(block: Block) -> dict[str, list[dict[str, Any]]] | InputError:
    """
    Make the chips of a block that are not there yet; chip -> its manifest rows, or the error that stopped it.

    Each chip is kept as soon as it is made, so that a block begun by a worker that died is continued, not repeated.
    """
    rows, draw = {}, {}
    try:
        with opened(block.scene.path):  # once for all its chips: strips of a file are decoded once
            for chip in block.chips:
                found = read_record(block.out_dir, chip)
                if found is None:
                    draw = draw or {
                        label: _drawer(block, label) for label in {x for c in block.chips for x in c.labels}
                    }
                    found = cut_chip(block, chip, draw)
                    write_whole(_record_path(block.out_dir, chip), json.dumps({"key": chip.key, "rows": found}))
                rows[chip.name] = found
    except InputError as error:
        return error
    return rows


def cut_chip(block: Block, chip: Chip, draw: Mapping[str, Callable[[Window], np.ndarray]]) -> list[dict[str, Any]]:
    """
    Write the image of a chip and its masks.

    Parameters
    ----------
    draw
        Label source -> function from a window of the scene to its mask.

    Returns
    -------
    rows
        One row of the manifest a label, its paths relative to the folder of chips; none where all is no-data.
    """
    scene, (width, height) = block.scene, chip.window[2:]
    image, valid = read_scene(scene.path, scene.in_file(chip.window), (height, width))
    if "nodata" in scene.source:
        valid &= ~nodata_area(image, scene.source["nodata"])
    if not valid.any():
        return []
    grid = scene.grid.window(*chip.window)
    file = f"{chip.name}.png"
    shared = {
        "chip": chip.name,
        "scene": scene.name,
        "image": f"images/{file}",
        "split": chip.split,
        "gsd_m": block.options.gsd_m,
        "crs": grid.crs or "",
        "transform": " ".join(f"{v:.12g}" for v in grid.transform) if grid.crs else "",
        "width": width,
        "height": height,
        "footprint": grid.footprint_wkt(),
    }
    write_png(block.out_dir / shared["image"], image)
    rows = []
    for label in chip.labels:
        mask = draw[label](chip.window)
        mask[~valid] = MASK_IGNORE
        rows.append(shared | {"label": label, "mask": f"masks_{label}/{file}"})
        write_png(block.out_dir / rows[-1]["mask"], mask)
    return rows


def _drawer(block: Block, label: str) -> Callable[[Window], np.ndarray]:
    """Function from a chip's window, in the scene's pixels, to its mask."""
    scene, options = block.scene, block.options
    if label not in block.layers:
        name = source_name(scene, label)
        half = half_brightness(scene, name)
        return lambda window: read_mask_image(scene, name, half, window)
    if options.task == "roads":
        roads = index_roads(block.layers[label].roads, scene.grid, block.profile)
        return lambda window: draw_roads(roads, window)
    buildings = index_buildings(block.layers[label].buildings, scene.grid, options.gap_m)
    return lambda window: draw_polygons(buildings, window)


def read_record(out_dir: Path, chip: Chip) -> list[dict[str, Any]] | None:
    """Manifest rows of a chip that was made by the same recipe and whose files are there; None: it is to be made."""
    try:
        record = json.loads(_record_path(out_dir, chip).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    rows = record["rows"]
    there = all((out_dir / row[column]).is_file() for row in rows for column in PATHS if row.get(column))
    return rows if record["key"] == chip.key and there else None


def _record_path(out_dir: Path, chip: Chip) -> Path:
    return out_dir / "records" / f"{chip.name}.json"
