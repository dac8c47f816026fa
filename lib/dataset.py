"""From an area's scenes to chips: draw or read their masks, cut, split, write."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.chips import LABELS, split_by_place, split_by_scene, write_manifest, write_png
from lib.errors import InputError, ParameterError
from lib.grid import MASK_IGNORE, Grid
from lib.lanes import LaneProfile, profile_options
from lib.offset import shift
from lib.osm import OsmLayers
from lib.paths import write_whole
from lib.rasterize import draw_polygons, draw_roads, index_buildings, index_roads
from lib.sources import Scene, half_brightness, nodata_area, read_mask_image, read_scene, source_name


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
    """

    task: str = "roads"
    gsd_m: float = 0.5
    chip_px: int = 512
    val_share: float = 0.15
    test_share: float = 0.2
    clean_chips: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in ("roads", "buildings"):
            raise ParameterError(f"task is 'roads' or 'buildings', got {self.task!r}")
        if self.gsd_m <= 0 or self.chip_px < 32 or self.clean_chips < 0:
            raise ParameterError(f"gsd_m must be positive, chip_px at least 32, clean_chips not negative: {self}")


def build_chips(
    scenes: list[Scene],
    layers: Mapping[str, OsmLayers],
    out_dir: Path,
    options: ChipOptions,
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]] | None = None,
) -> Path:
    """
    Cut scenes into chips with masks, under `out_dir`; returns the manifest's path.

    Chips that are there already, made from the same files in the same way, are kept. About ten lines of progress are
    printed.

    Parameters
    ----------
    scenes, layers
        From `lib.sources.find_scenes` and `lib.sources.read_vectors`. Splits are drawn within each source.
    out_dir
        Where the chips are written.
    options
        Task, GSD, size, splits.
    profile
        How wide roads are drawn.
    shifts_m
        Scene -> metres to the east and to the north by which its OSM vectors are moved before they are drawn.

    Raises
    ------
    InputError
        If a scene or one of its masks can't be read, or the scenes of one source don't share one CRS.
    """
    shifts_m = dict(shifts_m or {})
    manifest_path, recipe_path = out_dir / "manifest.csv", out_dir / "recipe.json"
    recipe = _recipe(scenes, options, profile, shifts_m)
    if manifest_path.is_file() and recipe_path.is_file() and recipe_path.read_text() == recipe:
        return manifest_path
    manifest_path.unlink(missing_ok=True)
    frames = []
    for source in {id(s.source): s.source for s in scenes}.values():
        own = [s for s in scenes if s.source is source]
        windows = [(scene, *w) for scene in own for w in chip_windows(scene.grid, options.chip_px)]
        frames.append(_choose(_split(windows, options), options))
    plan = pd.concat(frames, ignore_index=True)
    rows = []
    parts = [part for _, part in plan.groupby("scene_index", sort=False)]
    for number, part in enumerate(parts, 1):
        rows += _write_scene(part["scene_object"].iloc[0], part, layers, out_dir, options, profile, shifts_m)
        if number % max(1, len(parts) // 10) == 0 or number == len(parts):
            print(f"{number} of {len(parts)} scenes cut: {len(rows)} image/mask pairs", flush=True)
    write_whole(recipe_path, recipe)
    return write_manifest(pd.DataFrame(rows), manifest_path)


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


def _split(windows: list[tuple], options: ChipOptions) -> pd.DataFrame:
    """One row a chip with its split; by place where all scenes share a CRS, by scene where none has one."""
    frame = pd.DataFrame(windows, columns=["scene_object", "col", "row", "width", "height"])
    frame["scene_index"] = [str(s.path) for s in frame["scene_object"]]
    systems = {s.grid.crs for s in frame["scene_object"]}
    if systems == {None}:
        split_of = split_by_scene(list(frame["scene_index"]), options.val_share, options.test_share, options.seed)
        frame["split"] = frame["scene_index"].map(split_of)
    elif len(systems) == 1:
        bounds = np.array([_bounds(r) for r in frame.itertuples()])
        frame["split"] = split_by_place(bounds, options.val_share, options.test_share)
    else:
        raise InputError(
            f"the scenes of one source must share one CRS, got {sorted(map(str, systems))}; use two sources"
        )
    return frame


def _bounds(row: Any) -> tuple[float, float, float, float]:
    return row.scene_object.grid.window(row.col, row.row, row.width, row.height).bounds


def _choose(frame: pd.DataFrame, options: ChipOptions) -> pd.DataFrame:
    """Label sources of each chip: OSM for all that train or validate, clean for the test and for a handful."""
    source = frame["scene_object"].iloc[0].source
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


def _write_scene(
    scene: Scene,
    part: pd.DataFrame,
    layers: Mapping[str, OsmLayers],
    out_dir: Path,
    options: ChipOptions,
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]],
) -> list[dict[str, Any]]:
    """Write the chips of one scene with their masks; returns their manifest rows."""
    shift_m = {"osm": shifts_m.get(scene.name, (0.0, 0.0)), "clean": (0.0, 0.0)}
    draw = {n: _mask_drawer(scene, n, layers, options.task, profile, shift_m[n]) for n in LABELS if n in scene.source}
    rows = []
    for chip in part.itertuples():
        window = (chip.col, chip.row, chip.width, chip.height)
        image, valid = read_scene(scene.path, scene.in_file(window), (chip.height, chip.width))
        if "nodata" in scene.source:
            valid &= ~nodata_area(image, scene.source["nodata"])
        if not valid.any():
            continue
        grid = scene.grid.window(*window)
        name = f"{scene.name}_r{chip.row:05d}_c{chip.col:05d}"
        shared = {
            "chip": name,
            "scene": scene.name,
            "image": write_png(out_dir / "images" / f"{name}.png", image),
            "split": chip.split,
            "gsd_m": options.gsd_m,
            "crs": grid.crs or "",
            "transform": " ".join(f"{v:.12g}" for v in grid.transform) if grid.crs else "",
            "width": chip.width,
            "height": chip.height,
            "footprint": grid.footprint_wkt(),
        }
        for label in chip.labels:
            mask = draw[label](window)
            mask[~valid] = MASK_IGNORE
            rows.append(shared | {"label": label, "mask": write_png(out_dir / f"masks_{label}" / f"{name}.png", mask)})
    return rows


def _mask_drawer(
    scene: Scene,
    label: str,
    layers: Mapping[str, OsmLayers],
    task: str,
    profile: LaneProfile,
    shift_m: tuple[float, float],
) -> Callable[[tuple[int, int, int, int]], np.ndarray]:
    """Function from a chip's window, in the scene's pixels, to its mask."""
    name = source_name(scene, label)
    if name not in layers:
        half = half_brightness(scene, name)
        return lambda window: read_mask_image(scene, name, half, window)
    vectors = layers[name].roads if task == "roads" else layers[name].buildings
    if any(shift_m):
        vectors = shift(vectors, *shift_m)
    if task == "roads":
        roads = index_roads(vectors, scene.grid, profile)
        return lambda window: draw_roads(roads, window)
    buildings = index_buildings(vectors, scene.grid)
    return lambda window: draw_polygons(buildings, window)


def _recipe(
    scenes: list[Scene],
    options: ChipOptions,
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]],
) -> str:
    """Text that changes when a chip would: sources, options, profile, shifts, and size and time of each file read."""
    files = {s.path for s in scenes}
    for scene in scenes:
        files |= {scene.data_dir / source_name(scene, label) for label in LABELS if label in scene.source}
    stats = {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(files) if p.is_file()}
    parts = {
        "sources": [dict(s.source) for s in scenes],
        "options": asdict(options),
        "profile": profile_options(profile),
    }
    return json.dumps(parts | {"shifts_m": shifts_m, "files": stats}, indent=1)
