"""From an area's scenes to chips: plan them, split them, cut them on all cores, list them in a manifest."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.chips.cut import Block, Chip, ChipOptions, cut_block, read_record
from lib.chips.jobs import run_jobs
from lib.chips.manifest import LABELS, PATHS, split_by_place, split_by_scene, write_manifest
from lib.chips.sources import REACH_M, Scene, chosen_area, label_files, source_name, usable
from lib.errors import InputError, or_skip
from lib.grid import Grid
from lib.masks.offset import shift
from lib.masks.rasterize import Window
from lib.osm.files import near_windows
from lib.osm.lanes import LaneProfile, profile_options
from lib.osm.layers import OsmLayers, area_of_interest
from lib.paths import write_whole

BLOCK_CHIPS = 64  # of one scene, in reading order, so that a file in strips is decoded once
SPLITTING = {"val_share", "test_share", "clean_chips", "seed"}  # these say which split and labels a chip has, no more
CHOOSING = {"images", "area"}  # and these keys of a source, which chips there are


def build_chips(
    scenes: list[Scene],
    layers: Mapping[str, OsmLayers],
    out_dir: Path,
    options: ChipOptions,
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]] | None = None,
    scheduler: str = "",
    skipped: dict[str, str] | None = None,
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

    Raises
    ------
    InputError
        If a scene or one of its masks can't be read, the scenes of one source don't share one CRS, two scenes have
        one name, or no chip is left.
    OSError
        If a file can't be written, because the disk is full; run again, it goes on from there.
    """
    shifts_m, bad = dict(shifts_m or {}), {} if skipped is None else skipped
    scenes = usable(scenes, bad)
    if not scenes:
        raise InputError("there is no scene to cut" + "".join(f"\n  {reason}" for reason in bad.values()))
    plan = _plan(scenes, layers, options, profile, shifts_m)
    rows = {chip.name: found for _, chip in plan if (found := read_record(out_dir, chip)) is not None}
    to_do = [(scene, chip) for scene, chip in plan if chip.name not in rows]
    if to_do:
        (out_dir / "manifest.csv").unlink(missing_ok=True)
        print(f"{len(to_do)} chips to cut, {len(rows)} are there already", flush=True)
    groups = _groups(to_do)
    blocks = _blocks(groups, layers, out_dir, options, profile, shifts_m, bad)
    seen = tenth = 0
    for block, result in run_jobs(cut_block, blocks, len(groups), scheduler):
        with or_skip(skipped, block.scene.path):
            if isinstance(result, InputError):
                raise result
            rows |= result
        seen += len(block.chips)
        if 10 * seen // len(to_do) > tenth:
            tenth = 10 * seen // len(to_do)
            print(f"{seen} of {len(to_do)} chips cut", flush=True)
    return _list_all([chip for scene, chip in plan if str(scene.path) not in bad], rows, out_dir, bad)


def chip_windows(grid: Grid, chip_px: int) -> Iterator[tuple[int, int, int, int]]:
    """(col, row, width, height) of the chips that tile a scene; a rest narrower than half a chip is left out."""
    for row, height in _spans(grid.height, chip_px):
        for col, width in _spans(grid.width, chip_px):
            yield col, row, width, height


def _spans(length: int, chip_px: int) -> list[tuple[int, int]]:
    if length <= chip_px:
        return [(0, length)]
    spans = [(start, chip_px) for start in range(0, length - chip_px + 1, chip_px)]
    rest = length - spans[-1][0] - chip_px
    return [*spans, (length - rest, rest)] if rest >= chip_px / 2 else spans


def _plan(
    scenes: list[Scene],
    layers: Mapping[str, OsmLayers],
    options: ChipOptions,
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]],
) -> list[tuple[Scene, Chip]]:
    """All chips, scene by scene in reading order, with what decides their content."""
    owners: dict[str, Scene] = {}
    for scene in scenes:
        if (other := owners.setdefault(scene.name, scene)) is not scene:
            raise InputError(f"{scene.path} and {other.path} have one name, and so would their chips; rename one")
    frames = []
    for source in {id(s.source): s.source for s in scenes}.values():
        own = [s for s in scenes if s.source is source]
        windows = [(scene.name, *w) for scene in own for w in _windows_in_area(scene, options.chip_px)]
        if not windows:
            raise InputError(f"no chip of {source['images']!r} lies in its area {source.get('area')}")
        frames.append(_choose(_split(windows, owners, options), source, options))
    recipes = {s.name: _recipe(s, layers, options, profile, shifts_m) for s in scenes}
    plan = []
    for row in pd.concat(frames, ignore_index=True).itertuples():
        window = (row.col, row.row, row.width, row.height)
        facts = json.dumps([recipes[row.scene], window, row.split, row.labels])
        key = hashlib.sha1(facts.encode(), usedforsecurity=False).hexdigest()
        name = f"{row.scene}_r{row.row:05d}_c{row.col:05d}"
        plan.append((owners[row.scene], Chip(name, window, row.split, tuple(row.labels), key)))
    return plan


def _windows_in_area(scene: Scene, chip_px: int) -> Iterator[Window]:
    area = chosen_area(scene)
    for window in chip_windows(scene.grid, chip_px):
        if area is None or area.covers(area_of_interest(scene.grid.window(*window))):
            yield window


def _split(windows: list[tuple], scene_of: Mapping[str, Scene], options: ChipOptions) -> pd.DataFrame:
    """One row a chip with its split; by place where all scenes share a CRS, by scene where none has one."""
    frame = pd.DataFrame(windows, columns=["scene", "col", "row", "width", "height"])
    systems = {scene_of[name].grid.crs for name in frame["scene"].unique()}
    if systems == {None}:
        split_of = split_by_scene(list(frame["scene"]), options.val_share, options.test_share, options.seed)
        frame["split"] = frame["scene"].map(split_of)
    elif len(systems) == 1:
        bounds = np.array([scene_of[name].grid.window(*window).bounds for name, *window in windows])
        frame["split"] = split_by_place(bounds, options.val_share, options.test_share)
    else:
        raise InputError(
            f"the scenes of one source must share one CRS, got {sorted(map(str, systems))}; use two sources"
        )
    return frame


def _choose(frame: pd.DataFrame, source: Mapping[str, Any], options: ChipOptions) -> pd.DataFrame:
    """Label sources of each chip: OSM for all that train or validate, clean for the test and for a handful."""
    frame = frame[frame["split"] != ""].reset_index(drop=True)
    rng = np.random.default_rng(options.seed)
    clean = frame["split"] == "test" if "clean" in source else pd.Series(False, index=frame.index)
    if "clean" in source:
        for split in ("train", "val"):
            own = frame.index[frame["split"] == split].to_numpy()
            few = min(options.clean_chips, len(own)) if options.clean_chips else len(own)
            clean[rng.choice(own, few, replace=False)] = True
    osm = (frame["split"] != "test") | ("clean" not in source)
    frame["labels"] = [
        [name for name, wanted in (("osm", o and "osm" in source), ("clean", c)) if wanted]
        for o, c in zip(osm, clean, strict=True)
    ]
    return frame[frame["labels"].map(len) > 0]


def _recipe(
    scene: Scene,
    layers: Mapping[str, OsmLayers],
    options: ChipOptions,
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    """What decides the content of a scene's chips: source, options, profile, shift, size and time of each file."""
    names = {source_name(scene, label) for label in LABELS if label in scene.source}
    files = [scene.path, *label_files(scene)]
    stats = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files if p.is_file()]
    return {
        "source": {k: v for k, v in scene.source.items() if k not in CHOOSING},
        "options": {k: v for k, v in asdict(options).items() if k not in SPLITTING},
        "profile": profile_options(profile),
        "shift_m": shifts_m.get(scene.name),
        "files": stats,
        "dates": {name: layers[name].date for name in sorted(names) if name in layers},
    }


def _groups(chips: list[tuple[Scene, Chip]]) -> list[tuple[Scene, tuple[Chip, ...]]]:
    """Chips of one scene each, BLOCK_CHIPS at a time."""
    groups = []
    for _, pairs in groupby(chips, key=lambda pair: pair[0].name):
        scenes, own = zip(*pairs, strict=True)
        groups += [(scenes[0], own[k : k + BLOCK_CHIPS]) for k in range(0, len(own), BLOCK_CHIPS)]
    return groups


def _blocks(
    groups: list[tuple[Scene, tuple[Chip, ...]]],
    layers: Mapping[str, OsmLayers],
    out_dir: Path,
    options: ChipOptions,
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]],
    skipped: Mapping[str, str],
) -> Iterator[Block]:
    """
    The work, drawn a block at a time, each with the vectors near its chips; none of scenes skipped by then.

    A vector travels with the blocks that it touches: a worker holds those in its hands, whatever the area's size.
    """

    def cut_out(layer: OsmLayers, scene: Scene, windows: list[Window], shift_m: tuple[float, float]) -> OsmLayers:
        near = near_windows(getattr(layer, options.task), scene.grid, windows, REACH_M)
        return replace(layer, **{options.task: shift(near, *shift_m) if any(shift_m) else near})

    for _, parts in groupby(groups, key=lambda group: group[0].name):
        own = None
        for scene, chips in parts:
            if str(scene.path) in skipped:
                break
            moved_m = {"osm": shifts_m.get(scene.name, (0.0, 0.0)), "clean": (0.0, 0.0)}
            if own is None:  # moved as a whole, so that a road has one place in all the blocks that it touches
                names = {label: source_name(scene, label) for label in LABELS if label in scene.source}
                whole = [(0, 0, scene.grid.width, scene.grid.height)]
                own = {k: cut_out(layers[n], scene, whole, moved_m[k]) for k, n in names.items() if n in layers}
            windows = [chip.window for chip in chips]
            near = {label: cut_out(layer, scene, windows, (0.0, 0.0)) for label, layer in own.items()}
            yield Block(scene, chips, near, moved_m["osm"], options, profile, out_dir)


def _list_all(
    chips: list[Chip], rows: Mapping[str, list[dict[str, Any]]], out_dir: Path, skipped: Mapping[str, str]
) -> Path:
    """Write the manifest in the plan's order, and the list of what was skipped."""
    if skipped:
        table = pd.DataFrame(sorted(skipped.items()), columns=["file", "reason"])
        write_whole(out_dir / "skipped.csv", table.to_csv(index=False))
        print(f"{len(skipped)} files skipped:", *(f"  {reason}" for reason in table["reason"]), sep="\n", flush=True)
    else:
        (out_dir / "skipped.csv").unlink(missing_ok=True)
    manifest = pd.DataFrame([row for chip in chips for row in rows[chip.name]])
    if manifest.empty:
        raise InputError(f"no chip is left for {out_dir}: all {len(chips)} are no-data, or all files were skipped")
    for column in manifest.columns.intersection(PATHS):
        manifest[column] = manifest[column].fillna("")  # only OSM-labelled chips have weights
        manifest[column] = [str(out_dir / path) if path else "" for path in manifest[column]]
    return write_manifest(manifest, out_dir / "manifest.csv")
