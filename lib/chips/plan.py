"""Which chips there will be: the windows that tile each scene, their splits, and the label sources of each."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import shapely

from lib.chips.cut import Chip
from lib.chips.manifest import SPLITS
from lib.chips.options import ChipOptions
from lib.chips.sources import Scene
from lib.chips.splits import (
    SHARED,
    blocks_of,
    published_split,
    read_splits,
    split_by_hash,
    split_by_place,
    split_by_scene,
    without_shared_ground,
)
from lib.chips.vectors import chosen_area, clean_areas
from lib.errors import InputError, PPLinkNetWarning
from lib.grid import Grid
from lib.masks.rasterize import Window
from lib.osm.layers import OsmLayers, area_of_interest
from lib.paths import resolve

FEWEST_SCENES = 3  # without georeference: fewer can't be dealt out to three splits


def chip_windows(grid: Grid, chip_px: int, area: shapely.Geometry | None = None) -> list[Window]:
    """
    The chips that tile a scene, (col, row, width, height) in reading order; a rest below half a chip is left out.

    Parameters
    ----------
    grid
        Grid of the scene.
    chip_px
        Side of a chip; a shorter side of the scene is one chip's.
    area
        Polygon in degrees: only chips that lie in it wholly.
    """
    columns, rows = _spans(grid.width, chip_px), _spans(grid.height, chip_px)
    windows = [(col, row, width, height) for row, height in rows for col, width in columns]
    return [w for w in windows if area is None or area.covers(area_of_interest(grid.window(*w)))]


def _spans(length: int, chip_px: int) -> list[tuple[int, int]]:
    """(start, length) of the chips along one side; the first is kept however narrow it is."""
    spans = [(start, min(chip_px, length - start)) for start in range(0, length, chip_px)]
    return [(start, span) for start, span in spans if start == 0 or span >= chip_px / 2]


def plan_chips(
    scenes: list[Scene],
    recipes: Mapping[str, dict[str, Any]],
    options: ChipOptions,
    areas: Mapping[str, shapely.Geometry],
) -> list[tuple[Scene, list[Chip]]]:
    """
    Each scene with its chips in reading order.

    Parameters
    ----------
    recipes
        What decides the content of a scene's chips, by scene.
    areas
        From `lib.chips.vectors.clean_areas`.
    """
    scene_of: dict[str, Scene] = {}
    for scene in scenes:
        if (other := scene_of.setdefault(scene.name, scene)) is not scene:
            raise InputError(f"{scene.path} and {other.path} have one name, and so would their chips; rename one")
    windows_of, plan = [], []
    for source in {id(s.source): s.source for s in scenes}.values():
        own = [s for s in scenes if s.source is source]
        windows = [(s.name, *w) for s in own for w in chip_windows(s.grid, options.chip_px, chosen_area(s))]
        if not windows:
            raise InputError(f"no chip of {source['images']!r} lies in its area {source.get('area')}")
        windows_of.append((source, windows))
    frames = [(source, _split(windows, scene_of, options, areas)) for source, windows in windows_of]
    if not set(SPLITS) <= {split for _, frame in frames for split in frame["split"]}:  # few chips: some for each
        frames = [(source, _split(windows, scene_of, options, areas, each=True)) for source, windows in windows_of]
    _part_ground([frame for source, frame in frames if source.get("split") == "hash"], scene_of)
    found = {split for _, frame in frames for split in frame.loc[frame["labelled"], "split"]}
    for source, split in frames:
        _warn_of_empty(split[split["labelled"]], source, options, found)
        frame = _choose(split, source, options)
        for name, rows in frame.groupby("scene", sort=False):
            plan.append((scene_of[name], [_chip(row, recipes[name]) for row in rows.itertuples()]))
    return plan


def _chip(row: Any, recipe: dict[str, Any]) -> Chip:
    """The chip of a row of `_choose`, with the digest of all that decides its files."""
    window = (row.col, row.row, row.width, row.height)
    facts = json.dumps([recipe, window, row.split, row.labels])
    key = hashlib.sha1(facts.encode(), usedforsecurity=False).hexdigest()
    return Chip(f"{row.scene}_r{row.row:05d}_c{row.col:05d}", window, row.split, tuple(row.labels), key)


def _split(
    windows: list[tuple],
    scene_of: Mapping[str, Scene],
    options: ChipOptions,
    areas: Mapping[str, shapely.Geometry],
    each: bool = False,
) -> pd.DataFrame:
    """
    One row a chip with its split, by the key `split` of its source, and whether it lies where clean labels may be.

    Where a `clean_area` bounds them, "place" lays its strips over that, and what lies outside trains.
    """
    frame = pd.DataFrame(windows, columns=["scene", "col", "row", "width", "height"])
    frame["labelled"] = _labelled(frame, scene_of, areas)
    first = scene_of[windows[0][0]].source
    if frame["labelled"].all() or first.get("split", "place") != "place":
        return _assign(frame, scene_of, options, each)
    if not frame["labelled"].any():
        raise InputError(f"no chip of {first['images']!r} lies in its clean_area {first['clean_area']!r}")
    inside = _assign(frame[frame["labelled"]].reset_index(drop=True), scene_of, options, each)
    frame = pd.concat([inside, frame[~frame["labelled"]].assign(split="train")], ignore_index=True)
    _part_ground([frame], scene_of)
    return frame.sort_values(["scene", "row", "col"], kind="stable", ignore_index=True)


def _labelled(frame: pd.DataFrame, scene_of: Mapping[str, Scene], areas: Mapping[str, shapely.Geometry]) -> np.ndarray:
    """Which chips lie in the area of their clean labels, at least in part; all where there is no such area."""
    labelled = np.ones(len(frame), dtype=bool)
    for name, own in frame.groupby("scene"):
        if name in areas:
            ground = _footprints(own, scene_of)
            inside = shapely.area(shapely.intersection(ground, areas[name]))
            labelled[own.index] = inside > SHARED * shapely.area(ground)
    return labelled


def _assign(
    frame: pd.DataFrame, scene_of: Mapping[str, Scene], options: ChipOptions, each: bool = False
) -> pd.DataFrame:
    """
    Chips with their split, by the key `split` of their source; in place.

    "place": by place where all scenes share a CRS, by scene where none has one; each of fewer than FEWEST_SCENES
    without one by place in itself. `each` as of `split_by_place`.
    """
    scenes = [scene_of[name] for name in frame["scene"].unique()]
    by, shares = scenes[0].source.get("split", "place"), (options.val_share, options.test_share)
    systems = {scene.grid.crs for scene in scenes}
    if by == "named":
        split_of = {scene.name: published_split(scene.parts["split"], scene.path) for scene in scenes}
        frame["split"] = frame["scene"].map(split_of)
    elif by.endswith(".csv"):
        own = scenes[0].data_dir / by
        listed = read_splits(own if own.is_file() else resolve(by))
        frame["split"] = frame["scene"].map({scene.name: listed.get(scene.id, "") for scene in scenes})
    elif by == "hash":
        placed = np.array([scene_of[name].grid.crs is not None for name in frame["scene"]])
        names = np.array([scene_of[name].id for name in frame["scene"]], object)
        names[placed] = blocks_of(_footprints(frame[placed], scene_of))
        frame["split"] = split_by_hash(list(names), *shares)
    elif systems == {None} and len(scenes) < FEWEST_SCENES:  # too few to deal out: strips of each
        for _, own in frame.groupby("scene"):
            near = own[["col", "row"]].to_numpy()
            bounds = np.column_stack([near, near + own[["width", "height"]].to_numpy()]).astype(float)
            frame.loc[own.index, "split"] = split_by_place(bounds, *shares, each)
    elif systems == {None}:
        frame["split"] = frame["scene"].map(split_by_scene(list(frame["scene"]), *shares, options.seed))
    elif len(systems) == 1:
        windows = frame[["scene", "col", "row", "width", "height"]].itertuples(index=False)
        bounds = np.array([scene_of[name].grid.window(*window).bounds for name, *window in windows])
        frame["split"] = split_by_place(bounds, *shares, each)
    else:
        raise InputError(
            f"the scenes of one source must share one CRS, got {sorted(map(str, systems))}; use two sources"
        )
    return frame


def _footprints(frame: pd.DataFrame, scene_of: Mapping[str, Scene]) -> np.ndarray:
    """Outlines of chips in longitude and latitude, (n,) polygons."""
    rows = frame[["scene", "col", "row", "width", "height"]].itertuples(index=False)
    wkt = [scene_of[name].grid.window(*window).footprint_wkt() for name, *window in rows]
    return shapely.from_wkt(np.array(wkt, object))


def _part_ground(frames: list[pd.DataFrame], scene_of: Mapping[str, Scene]) -> None:
    """Take chips that are split by hash out of a split where they hold ground of a higher one, in place."""
    placed = [own[[scene_of[name].grid.crs is not None for name in own["scene"]]] for own in frames]
    if any(map(len, placed)):
        chips = pd.concat(placed)
        apart = without_shared_ground(_footprints(chips, scene_of), chips["split"].to_numpy())
        for frame, own in zip(frames, placed, strict=True):
            frame.loc[own.index, "split"], apart = apart[: len(own)], apart[len(own) :]


def _warn_of_empty(frame: pd.DataFrame, source: Mapping[str, Any], options: ChipOptions, found: set[str]) -> None:
    """Warn where a split that was asked for is in none of the sources: there are too few chips to share out."""
    shares = {"train": 1.0, "val": options.val_share, "test": options.test_share}
    asked = shares if source.get("split", "place") in ("place", "hash") else {}  # else somebody has chosen
    empty = [name for name, share in asked.items() if share > 0 and name not in found]
    if empty:
        warnings.warn(
            f"No chip of {source['images']!r} is left for {' and '.join(empty)}: {frame['scene'].nunique()} scenes "
            f"give {len(frame)} chips of {options.chip_px} px, too few to share out. Choose a smaller "
            "chip_px, add scenes, or set val_share and test_share to 0 if other sources validate and test.",
            PPLinkNetWarning,
            stacklevel=2,
        )


def _choose(frame: pd.DataFrame, source: Mapping[str, Any], options: ChipOptions) -> pd.DataFrame:
    """Label sources of each chip: OSM for all that train or validate, clean for the test and for a handful."""
    frame = frame[frame["split"] != ""].reset_index(drop=True)
    split, labelled = frame["split"].to_numpy(), frame["labelled"].to_numpy(bool) & ("clean" in source)
    osm = ("osm" in source) & ((split != "test") | ~labelled)
    clean = labelled & (split == "test")
    if "clean" in source:
        rng = np.random.default_rng(options.seed)
        for name in ("train", "val"):
            own = np.flatnonzero(labelled & (split == name))
            clean[rng.choice(own, min(options.clean_chips or len(own), len(own)), replace=False)] = True
    frame["labels"] = [
        ["osm"] * has_osm + ["clean"] * has_clean
        for has_osm, has_clean in zip(osm.tolist(), clean.tolist(), strict=True)
    ]
    return frame[osm | clean]


def planned(scenes: list[Scene], layers: Mapping[str, OsmLayers], first: Mapping[str, Any]) -> pd.DataFrame:
    """
    One row a chip and label that notebook 1 would cut: chip, label, split, pixels.

    Parameters
    ----------
    scenes, layers
        As `lib.chips.dataset.build_chips` takes them; of the layers only those are read whose hull is a clean_area.
    first
        Parameters of notebook 1.
    """
    options = ChipOptions(**{field.name: first[field.name] for field in fields(ChipOptions)})
    areas = clean_areas(scenes, layers, first["task"])
    plan = plan_chips(scenes, {scene.name: {} for scene in scenes}, options, areas)
    chips = [chip for _, own in plan for chip in own]
    rows = [(c.name, label, c.split, c.window[2] * c.window[3]) for c in chips for label in c.labels]
    return pd.DataFrame(rows, columns=["chip", "label", "split", "px"])
