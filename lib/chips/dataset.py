"""From an area's scenes to chips: plan them, split them, cut them on all cores, list them in a manifest."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from lib.chips.cut import Block, Chip, cut_block, read_record
from lib.chips.emptiness import check_drawn, warn_of_splits
from lib.chips.imagery import missing_share
from lib.chips.jobs import run_jobs
from lib.chips.manifest import CLASS, PATHS, write_manifest
from lib.chips.options import ChipOptions, is_raster
from lib.chips.plan import plan_chips
from lib.chips.sources import Scene, by_class, usable
from lib.chips.vectors import clean_areas, moved_at
from lib.errors import InputError, or_skip
from lib.limits import REACH_M, classes_of
from lib.osm.areas import drawn_by_hand
from lib.osm.files import near_windows, vector_files
from lib.osm.lanes import LaneProfile, is_seen, profile_options
from lib.osm.layers import OsmLayers
from lib.paths import file_states, locked, write_whole
from lib.rasters import image_files

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

    Chips that are there already, made in the same way from the same files and what lies beside these (world files,
    a VRT's sources, a Shapefile's parts), are kept: a run that was killed goes on where it was. About ten lines of
    progress are printed.

    Parameters
    ----------
    scenes, layers
        From `lib.chips.sources.find_scenes` and `lib.chips.vectors.read_vectors`. Splits are drawn within each source.
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
    areas = clean_areas(scenes, layers, options.task)
    recipes = {s.name: _recipe(s, layers, options, profile, shifts_m.get(s.name), areas.get(s.name)) for s in scenes}
    plan = plan_chips(scenes, recipes, options, areas)
    rows = {c.name: found for _, chips in plan for c in chips if (found := read_record(out_dir, c)) is not None}
    to_do = [(scene, [c for c in chips if c.name not in rows]) for scene, chips in plan]
    total = sum(len(chips) for _, chips in to_do)
    if total:
        for path in (manifest, out_dir / "manifest.csv"):  # until the last chip stands, there is none
            path.unlink(missing_ok=True)
        print(f"{total} chips to cut, {len(rows)} are there already", flush=True)
    blocks = (
        Block(scene, chips, near, options, profile, out_dir, str(os.getpid()), areas.get(scene.name))
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
    for kind, views in by_class([scene for scene, _ in plan], options.task).items():
        cut = [
            (view, row["label"], chip, row["foreground"])
            for view, (_, chips) in zip(views, plan, strict=True)
            for chip in chips
            for row in rows.get(chip.name, ())
            if "foreground" in row  # chips of an earlier version do not say
            and row.get(CLASS, kind) == kind
        ]
        masks = [(view, label, chip.window, foreground) for view, label, chip, foreground in cut]
        check_drawn(masks, layers, kind, shifts_m, skipped, of_several=kind != options.task)
        warn_of_splits([(label, chip.split, foreground) for _, label, chip, foreground in cut], kind)
    good = {scene.name for scene in usable(scenes, bad)}
    return _list_all([c for scene, chips in plan if scene.name in good for c in chips], rows, manifest, bad)


def _recipe(
    scene: Scene,
    layers: Mapping[str, OsmLayers],
    options: ChipOptions,
    profile: LaneProfile,
    shift_m: tuple[float, float] | None,
    area: shapely.Geometry | None,
) -> dict[str, Any]:
    """What decides the content of a scene's chips: source, options, profile, shift, areas, size and time of files."""
    files = image_files(scene.path)
    for path in scene.label_files:
        files += image_files(path) if is_raster(path.name) else vector_files(path)
    names, has_roads = sorted(set(scene.label_names) & layers.keys()), "roads" in classes_of(options.task)
    surfaces = [name for name in names if has_roads and drawn_by_hand(layers[name].roads).any()]
    more = {"clean_area": shapely.to_wkt(area)} if area is not None else {}
    more |= {"surfaces": surfaces} if surfaces else {}  # these were not drawn once
    has_buildings = "buildings" in classes_of(options.task)
    underground = [name for name in names if has_buildings and not is_seen(layers[name].buildings).all()]
    more |= {"underground": underground} if underground else {}  # and these were
    more |= {"weights": 2} if options.class_weights else {}  # the lines' won over those of areas
    more |= {"gap": 2} if options.gap_m and has_buildings else {}  # a house mapped twice had one to itself
    # once a named band could be a mask, and a colour that is no image stretched it
    more |= {"look": 2} if {"bands", "nodata"} & scene.source.keys() else {}
    return more | {
        "source": {k: v for k, v in scene.source.items() if k not in CHOOSING},
        "options": {k: v for k, v in asdict(options).items() if k not in SPLITTING},
        "profile": profile_options(profile),
        "shift_m": shift_m,
        "files": file_states(files),
        "dates": {name: layers[name].date for name in names},
    }


def _parts(
    to_do: list[tuple[Scene, list[Chip]]],
    layers: Mapping[str, OsmLayers],
    task: str,
    shifts_m: Mapping[str, tuple[float, float]],
    skipped: Mapping[str, str],
) -> Iterator[tuple[Scene, tuple[Chip, ...], dict[tuple[str, str], gpd.GeoDataFrame]]]:
    """
    BLOCK_CHIPS chips of a scene at a time, with the vectors near them by class and label; none of scenes skipped by
    then.

    A vector travels with the blocks that it touches: a worker holds those in its hands, whatever the area's size.
    """
    for scene, chips in to_do:
        if not chips or str(scene.path) in skipped:
            continue
        _say_what_is_missing(scene)
        vectors = {}
        for kind, (view,) in by_class([scene], task, every_class=False).items():
            for label, name in view.label_sources.items():
                if name in layers:
                    moved_m = shifts_m.get(scene.name) if label == "osm" else None
                    vectors[kind, label] = moved_at(scene, getattr(layers[name], kind), moved_m)
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
