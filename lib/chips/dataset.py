"""From an area's scenes to chips: plan them, split them, cut them on all cores, list them in a manifest."""

import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.chips.cut import Block, Chip, cut_block, read_record
from lib.chips.emptiness import check_drawn
from lib.chips.imagery import missing_share
from lib.chips.jobs import run_jobs
from lib.chips.manifest import PATHS, write_manifest
from lib.chips.options import ChipOptions
from lib.chips.sources import Scene, chosen_area, usable
from lib.chips.splits import (
    blocks_of,
    published_split,
    read_splits,
    split_by_hash,
    split_by_place,
    split_by_scene,
    without_shared_ground,
)
from lib.errors import InputError, PPLinkNetWarning, or_skip
from lib.grid import Grid
from lib.limits import REACH_M
from lib.masks.offset import shift
from lib.masks.rasterize import Window
from lib.osm.files import near_windows
from lib.osm.lanes import LaneProfile, profile_options
from lib.osm.layers import OsmLayers, area_of_interest
from lib.paths import locked, resolve, write_whole

FEWEST_SCENES = 3  # without georeference: fewer can't be dealt out to three splits
BLOCK_CHIPS = 64  # of one scene, in reading order, so that a file in strips is decoded once
SPLITTING = {"val_share", "test_share", "clean_chips", "seed"}  # these say which split and labels a chip has, no more
CHOOSING = {"images", "area", "split"}  # and these keys of a source, which chips there are


def build_chips(
    scenes: list[Scene],
    layers: Mapping[str, OsmLayers],
    out_dir: Path,
    options: ChipOptions,
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]] | None = None,
    scheduler: str = "",
    skipped: dict[str, str] | None = None,
    name: str = "manifest.csv",
) -> Path:
    """
    Cut scenes into chips with masks, under `out_dir`; returns the manifest's path.

    Chips that are there already, made from the same files in the same way, are kept: a run that was killed goes on
    where it was. About ten lines of progress are printed.

    Parameters
    ----------
    scenes, layers
        From `lib.chips.sources.find_scenes` and `lib.chips.sources.read_vectors`. Splits are drawn within each source.
    out_dir
        Where the chips are written.
    options
        Task, GSD, size, splits.
    profile
        How wide roads are drawn.
    shifts_m
        Scene -> metres to the east and to the north by which its OSM vectors are moved before they are drawn.
    scheduler
        Address of a Dask scheduler, see `lib.chips.jobs.run_jobs`; "" for the cores of this machine.
    skipped
        Where bad files are named, each with its reason, while the others go on; None: the first one stops the run.
        They are listed in `skipped.csv` beside the manifest, too.
    name
        Of the manifest. Another one than manifest.csv is a draft, of which `lib.trust.quality.drop_chips` makes
        manifest.csv: until then nobody trains on chips that a rule drops.

    Raises
    ------
    InputError
        If a scene or one of its masks can't be read, the scenes of one source don't share one CRS, two scenes have
        one name, no chip is left, or all masks of a source are empty without a reason (`lib.chips.emptiness`).
    BusyError
        If another process cuts chips into `out_dir`.
    DiskFullError
        If a file can't be written; run again, it goes on from there.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    with locked(out_dir / "manifest.csv"):
        return _build(scenes, layers, out_dir / name, options, profile, shifts_m or {}, scheduler, skipped)


def _build(
    scenes: list[Scene],
    layers: Mapping[str, OsmLayers],
    manifest: Path,
    options: ChipOptions,
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]],
    scheduler: str,
    skipped: dict[str, str] | None,
) -> Path:
    """`build_chips`, by one process at a time."""
    out_dir, bad = manifest.parent, {} if skipped is None else skipped
    scenes = usable(scenes, bad)
    if not scenes:
        raise InputError("there is no scene to cut" + "".join(f"\n  {reason}" for reason in bad.values()))
    recipes = {s.name: _recipe(s, layers, options, profile, shifts_m.get(s.name)) for s in scenes}
    plan = _plan(scenes, recipes, options)
    rows = {c.name: found for _, chips in plan for c in chips if (found := read_record(out_dir, c)) is not None}
    to_do = [(scene, [c for c in chips if c.name not in rows]) for scene, chips in plan]
    total = sum(len(chips) for _, chips in to_do)
    if total:
        for path in (manifest, out_dir / "manifest.csv"):  # until the last chip stands, there is none
            path.unlink(missing_ok=True)
        print(f"{total} chips to cut, {len(rows)} are there already", flush=True)
    blocks = (
        Block(scene, chips, near, options, profile, out_dir, str(os.getpid()))
        for scene, chips, near in _parts(to_do, layers, options.task, shifts_m, bad)
    )
    count = sum(-(-len(chips) // BLOCK_CHIPS) for _, chips in to_do)
    done = 0
    for block, result in run_jobs(cut_block, blocks, count, scheduler):
        with or_skip(skipped, block.scene.path):
            if isinstance(result, InputError):
                raise result
            rows |= result
        before, done = done, done + len(block.chips)
        if 10 * done // total > 10 * before // total:
            print(f"{done} of {total} chips cut", flush=True)
    masks = [
        (scene, row["label"], chip.window, row["foreground"])
        for scene, chips in plan
        for chip in chips
        for row in rows.get(chip.name, ())
        if "foreground" in row  # chips of an earlier version do not say
    ]
    check_drawn(masks, layers, options.task, shifts_m, skipped)
    good = {scene.name for scene in usable(scenes, bad)}
    return _list_all([c for scene, chips in plan if scene.name in good for c in chips], rows, manifest, bad)


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


def _plan(
    scenes: list[Scene], recipes: Mapping[str, dict[str, Any]], options: ChipOptions
) -> list[tuple[Scene, list[Chip]]]:
    """Each scene with its chips in reading order; `recipes` say by scene what decides the content of its chips."""
    scene_of: dict[str, Scene] = {}
    for scene in scenes:
        if (other := scene_of.setdefault(scene.name, scene)) is not scene:
            raise InputError(f"{scene.path} and {other.path} have one name, and so would their chips; rename one")
    frames, plan = [], []
    for source in {id(s.source): s.source for s in scenes}.values():
        own = [s for s in scenes if s.source is source]
        windows = [(s.name, *w) for s in own for w in chip_windows(s.grid, options.chip_px, chosen_area(s))]
        if not windows:
            raise InputError(f"no chip of {source['images']!r} lies in its area {source.get('area')}")
        frames.append((source, _split(windows, scene_of, options)))
    _part_ground([frame for source, frame in frames if source.get("split") == "hash"], scene_of)
    for source, split in frames:
        _warn_of_empty(split, source, options)
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


def _split(windows: list[tuple], scene_of: Mapping[str, Scene], options: ChipOptions) -> pd.DataFrame:
    """
    One row a chip with its split, by the key `split` of its source.

    "place": by place where all scenes share a CRS, by scene where none has one; each of fewer than FEWEST_SCENES
    without one by place in itself.
    """
    frame = pd.DataFrame(windows, columns=["scene", "col", "row", "width", "height"])
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
            frame.loc[own.index, "split"] = split_by_place(bounds, *shares)
    elif systems == {None}:
        frame["split"] = frame["scene"].map(split_by_scene(list(frame["scene"]), *shares, options.seed))
    elif len(systems) == 1:
        bounds = np.array([scene_of[name].grid.window(*window).bounds for name, *window in windows])
        frame["split"] = split_by_place(bounds, *shares)
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


def _warn_of_empty(frame: pd.DataFrame, source: Mapping[str, Any], options: ChipOptions) -> None:
    """Warn where a split that was asked for got no chip: there are too few to share out."""
    shares = {"train": 1.0, "val": options.val_share, "test": options.test_share}
    asked = shares if source.get("split", "place") in ("place", "hash") else {}  # else somebody has chosen
    empty = [name for name, share in asked.items() if share > 0 and name not in set(frame["split"])]
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
    split = frame["split"].to_numpy()
    osm = ("osm" in source) & ((split != "test") | ("clean" not in source))
    clean = ("clean" in source) & (split == "test")
    if "clean" in source:
        rng = np.random.default_rng(options.seed)
        for name in ("train", "val"):
            own = np.flatnonzero(split == name)
            clean[rng.choice(own, min(options.clean_chips or len(own), len(own)), replace=False)] = True
    frame["labels"] = [
        ["osm"] * has_osm + ["clean"] * has_clean
        for has_osm, has_clean in zip(osm.tolist(), clean.tolist(), strict=True)
    ]
    return frame[osm | clean]


def _recipe(
    scene: Scene,
    layers: Mapping[str, OsmLayers],
    options: ChipOptions,
    profile: LaneProfile,
    shift_m: tuple[float, float] | None,
) -> dict[str, Any]:
    """What decides the content of a scene's chips: source, options, profile, shift, size and time of each file."""
    files = [path for path in (scene.path, *scene.label_files) if path.is_file()]
    names = sorted(set(scene.label_sources.values()) & layers.keys())
    return {
        "source": {k: v for k, v in scene.source.items() if k not in CHOOSING},
        "options": {k: v for k, v in asdict(options).items() if k not in SPLITTING},
        "profile": profile_options(profile),
        "shift_m": shift_m,
        "files": [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files],
        "dates": {name: layers[name].date for name in names},
    }


def _parts(
    to_do: list[tuple[Scene, list[Chip]]],
    layers: Mapping[str, OsmLayers],
    task: str,
    shifts_m: Mapping[str, tuple[float, float]],
    skipped: Mapping[str, str],
) -> Iterator[tuple[Scene, tuple[Chip, ...], dict[str, gpd.GeoDataFrame]]]:
    """
    BLOCK_CHIPS chips of a scene at a time, with the vectors near them by label; none of scenes skipped by then.

    A vector travels with the blocks that it touches: a worker holds those in its hands, whatever the area's size.
    """
    for scene, chips in to_do:
        if not chips or str(scene.path) in skipped:
            continue
        _say_what_is_missing(scene)
        vectors, whole = {}, (0, 0, scene.grid.width, scene.grid.height)
        for label, name in scene.label_sources.items():
            if name in layers:
                vectors[label] = near_windows(getattr(layers[name], task), scene.grid, [whole], REACH_M)
        if "osm" in vectors:  # moved as a whole, so that a road has one place in all the blocks that it touches
            vectors["osm"] = shift(vectors["osm"], *shifts_m.get(scene.name, (0.0, 0.0)))
        for start in range(0, len(chips), BLOCK_CHIPS):
            if str(scene.path) in skipped:  # since its first block came back
                break
            own = tuple(chips[start : start + BLOCK_CHIPS])
            windows = [chip.window for chip in own]
            yield scene, own, {k: near_windows(frame, scene.grid, windows, REACH_M) for k, frame in vectors.items()}


def _say_what_is_missing(scene: Scene) -> None:
    with suppress(InputError):  # its first chip says what is wrong
        if share := missing_share(scene):
            print(f"{scene.path}: {100 * share:.2g} % of its pixels are no numbers (NaN, inf): ignored", flush=True)


def _list_all(
    chips: list[Chip], rows: Mapping[str, list[dict[str, Any]]], path: Path, skipped: Mapping[str, str]
) -> Path:
    """Write the manifest in the plan's order, and the list of what was skipped."""
    out_dir = path.parent
    if skipped:
        table = pd.DataFrame(sorted(skipped.items()), columns=["file", "reason"])
        write_whole(out_dir / "skipped.csv", table.to_csv(index=False))
        print(f"{len(skipped)} files skipped:", *(f"  {reason}" for reason in table["reason"]), sep="\n", flush=True)
    else:
        (out_dir / "skipped.csv").unlink(missing_ok=True)
    manifest = pd.DataFrame(
        row | {column: str(out_dir / row[column]) for column in PATHS if column in row}
        for chip in chips
        for row in rows[chip.name]
    )
    if manifest.empty:
        raise InputError(f"no chip is left for {out_dir}: all {len(chips)} are no-data, or all files were skipped")
    return write_manifest(manifest, path)
