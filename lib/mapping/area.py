"""
A map of whole scenes: windows through the network, blended, kept as they are finished, and two rasters of all.

Reading ahead, the network, and blending with writing run side by side. Memory goes by the windows that are under way,
not by the scenes. What is finished lies in OUT_DIR/parts until the rasters are whole, so that a killed map goes on.
"""

import json
import math
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio

from lib.errors import InputError, ParameterError, PPLinkNetError
from lib.grid import Grid
from lib.mapping.cogs import write_mask_cog, write_probability_cog
from lib.mapping.forward import probabilities
from lib.mapping.ground import Ground, open_ground
from lib.mapping.options import MapOptions
from lib.mapping.parts import Parts, open_parts
from lib.mapping.scenes import open_scenes
from lib.mapping.windows import Index, Windows
from lib.networks.backends import backend_for, with_backend
from lib.networks.checkpoint import CheckpointInfo, TrainedModel
from lib.networks.devices import device_name, freed_memory_kept
from lib.paths import is_written, locked, read_mapping, write_whole

PROBABILITY, MASK, MADE_BY, PARTS = "probability.tif", "mask.tif", "map.json", "parts"
AHEAD = 2  # windows that are read, and that wait to be written, beside those in the network
BASE_GIB = 1.2  # the process with its libraries, a network, and what GDAL keeps of images
HOST_BYTES = 36  # a window takes for each pixel while it is read or blended: probability, weights, masks
BAND_BYTES = 8  # and for each of its bands: float32, twice
VIEW_BYTES = 1000  # a view takes for each pixel: PP-LinkNet with ResNet-34 380 in bfloat16, twice that in float32
MOST_VIEWS = 8  # at once; more are no faster
PATIENCE_S = 10.0  # between lines of progress
FOR_ADDRESSES = {"GDAL_HTTP_MAX_RETRY": 3, "GDAL_HTTP_RETRY_DELAY": 1, "GDAL_HTTP_CONNECTTIMEOUT": 20}
FOR_ADDRESSES |= {"GDAL_HTTP_TIMEOUT": 120, "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}

Item, Result = TypeVar("Item"), TypeVar("Result")


def map_rasters(
    model: TrainedModel,
    images: Sequence[str | Path],
    out_dir: Path,
    options: MapOptions | None = None,
    progress: Callable[[str], None] = print,
) -> dict[str, Any]:
    """
    Probability and mask of scenes: OUT_DIR/probability.tif, mask.tif and map.json, which says what they were made by.

    Called again after it was killed or failed, it goes on; with another model, other options or changed scenes it makes
    again what they change. Each file is there as a whole or not at all, map.json last.

    Parameters
    ----------
    model
        From `lib.networks.checkpoint.load_model`.
    images
        Files, addresses and folders, see `lib.mapping.images.link_images`. Where they overlap, the first one is shown.
    out_dir
        Folder of the map.
    options
        See `MapOptions`.
    progress
        Called with lines of text: what becomes of each scene, and how far the map is.

    Returns
    -------
    made_by
        What map.json holds.

    Raises
    ------
    InputError
        If a scene doesn't fit the checkpoint, or can't be read; before the first window, but for what only reading
        shows. Notes of the error say what is kept.
    ParameterError
        If a window doesn't go into the memory.
    BusyError
        If another process maps into the folder.
    DiskFullError
        If the disk has no room.
    """
    options, out_dir = options or MapOptions(), Path(out_dir)
    at_once = views_at_once(options, len(model.info.mean))
    out_dir.mkdir(parents=True, exist_ok=True)
    skipped: dict[str, str] | None = {} if options.go_on else None
    with locked(out_dir / ".map"), opened_ground(images, model.info, options, skipped, progress) as ground:
        windows = Windows(ground.grid.width, ground.grid.height, options.window_px, options.overlap_px)
        made_by = _made_by(model, options, ground)
        threshold = model.info.threshold if options.threshold is None else options.threshold
        before = _finished(out_dir, made_by)
        if before.get("threshold") == threshold:
            progress(f"{out_dir} is finished already")
            return before
        if before:  # no map.json may state a threshold that the mask is not of
            write_whole(out_dir / MADE_BY, json.dumps(before | {"threshold": None}))
        else:
            parts = _open(out_dir, made_by, windows, ground)
            with _noting(parts):
                before = _predict(model, parts, options, at_once, skipped, progress)
                if not before["seen_px"]:
                    raise InputError(f"Nothing is seen: all is no-data or outside the area. {skipped or ''}")
                progress(f"writing {out_dir / PROBABILITY}")
                (out_dir / MADE_BY).unlink(missing_ok=True)
                write_probability_cog(out_dir / PROBABILITY, ground.grid, parts.blocks())
        write_mask_cog(out_dir / MASK, ground.grid, out_dir / PROBABILITY, threshold)
        made = {**before, **made_by, "threshold": threshold, "skipped": skipped or {}, "options": asdict(options)}
        write_whole(out_dir / MADE_BY, json.dumps(made, indent=1))
        if (out_dir / PARTS).exists():
            Parts(out_dir / PARTS, windows, ground).remove()
        return made


@contextmanager
def opened_ground(
    images: Sequence[str | Path],
    info: CheckpointInfo,
    options: MapOptions,
    skipped: dict[str, str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Iterator[Ground]:
    """
    The grid of a map, and what its scenes show of any window; inside `with` alone.

    Parameters and errors as of `map_rasters`; `skipped` takes the scenes that can't be read, None lets them raise.
    """
    with tempfile.TemporaryDirectory() as links, rasterio.Env(**FOR_ADDRESSES):
        yield open_ground(open_scenes(images, info, options, Path(links), skipped, progress), options.area)


def views_at_once(options: MapOptions, bands: int = 3) -> int:
    """
    How many views go through the network at once, so that all stays within the memory.

    Raises
    ------
    ParameterError
        If not one does.
    """
    pixels, gib = options.window_px**2, 2.0**30
    waiting_gib = pixels * (HOST_BYTES + BAND_BYTES * bands) * (2 * AHEAD + 1) / gib
    views = int((options.memory_gib - BASE_GIB - waiting_gib) * gib / (pixels * VIEW_BYTES))
    if views < 1:
        needed = BASE_GIB + waiting_gib + pixels * VIEW_BYTES / gib
        raise ParameterError(
            f"windows of {options.window_px} px take {needed:.1f} GiB, memory_gib is {options.memory_gib:g}: give more "
            "memory or smaller windows"
        )
    return min(views, MOST_VIEWS)


def _made_by(model: TrainedModel, options: MapOptions, ground: Ground) -> dict[str, Any]:
    """What the probabilities follow from, in values that JSON gives back as they are."""
    grid = ground.grid
    return {
        "checkpoint": model.digest,
        "task": model.info.task,
        "views": options.views,
        "backend": options.backend,
        "window_px": options.window_px,
        "overlap_px": options.overlap_px,
        "area": "" if ground.area is None else ground.area.wkt,
        "grid": {"transform": list(grid.transform), "crs": grid.crs, "width": grid.width, "height": grid.height},
        "inputs": ground.states,
    }


def _finished(out_dir: Path, made_by: dict[str, Any]) -> dict[str, Any]:
    """What map.json says where the map is finished and was made by the same; else {}."""
    before = read_mapping(out_dir / MADE_BY)
    is_same = bool(made_by["checkpoint"]) and all(before.get(name) == value for name, value in made_by.items())
    whole = is_written(out_dir / PROBABILITY) and is_written(out_dir / MASK)
    return before if is_same and whole and not before.get("skipped") else {}


def _open(out_dir: Path, made_by: dict[str, Any], windows: Windows, ground: Ground) -> Parts:
    """The parts of an unfinished map; InputError where the folder holds rasters that no map wrote."""
    parts = out_dir / PARTS
    strange = [name for name in (PROBABILITY, MASK) if (out_dir / name).exists()]
    if strange and not (out_dir / MADE_BY).exists() and not parts.exists():
        raise InputError(f"{out_dir} holds {strange}, written by no map: choose another folder.")
    open_parts(parts, {name: value for name, value in made_by.items() if name != "inputs"})
    return Parts(parts, windows, ground)


@contextmanager
def _noting(parts: Parts) -> Iterator[None]:
    """Add to errors what of the map is kept."""
    try:
        yield
    except PPLinkNetError as error:
        kept = f"{len(parts.blocks())} of {len(parts.windows)} windows are kept: the same call goes on from there"
        error.add_note(f"{kept}, and with go_on without what can't be read." if isinstance(error, InputError) else kept)
        raise


def _predict(
    model: TrainedModel,
    parts: Parts,
    options: MapOptions,
    at_once: int,
    skipped: dict[str, str] | None,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Make all blocks that aren't there; returns what was seen, and how fast."""
    pixels = len(parts.windows) * math.prod(parts.windows.shape) * (8 if options.views == "d4" else 1)
    model = with_backend(model, backend_for(options.backend, pixels))
    told = _Progress(parts, progress)

    def read(index: Index) -> tuple[Index, np.ndarray | None, np.ndarray | None]:
        if parts.has_window(index):
            return index, None, None
        image, seen = parts.ground.read(parts.windows.window(index), skipped)
        return (index, image, seen) if seen.any() else (index, None, None)

    def finish(result: tuple[Index, np.ndarray | None]) -> None:
        told.add(parts.finish(*result))

    together = max(1, at_once // (8 if options.views == "d4" else 1))  # windows
    with closing(ahead(read, parts.waiting, AHEAD)) as windows, freed_memory_kept():
        results = _forward(model, windows, options.views, at_once, together)
        for _ in ahead(finish, results, AHEAD):
            pass
    return told.summary()


def _forward(
    model: TrainedModel,
    windows: Iterable[tuple[Index, np.ndarray | None, np.ndarray | None]],
    views: str,
    at_once: int,
    together: int,
) -> Iterator[tuple[Index, np.ndarray | None]]:
    """Probability of each window, NaN where nothing is seen, in order; None for those without image."""
    group: list[tuple[Index, np.ndarray | None, np.ndarray | None]] = []

    def through() -> Iterator[tuple[Index, np.ndarray | None]]:
        images = [image for _, image, _ in group if image is not None]
        found = iter(probabilities(model, np.stack(images), views, at_once) if images else ())
        for index, image, seen in group:
            yield index, None if image is None else np.where(seen, next(found), np.float32(np.nan))
        group.clear()

    for window in windows:
        group.append(window)
        if sum(image is not None for _, image, _ in group) == together or len(group) > 4 * together:
            yield from through()
    yield from through()


def ahead(work: Callable[[Item], Result], items: Iterable[Item], depth: int) -> Iterator[Result]:
    """
    Results in order, made in another thread, at most `depth` of them waiting.

    Where the caller or the items fail, what waits is still finished.
    """
    waiting: deque = deque()
    with ThreadPoolExecutor(1) as thread:
        for item in items:
            waiting.append(thread.submit(work, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@dataclass
class _Progress:
    """Counts windows and pixels, and says so now and then."""

    parts: Parts
    say: Callable[[str], None]
    started_s: float = field(default_factory=time.monotonic)
    told_s: float = field(default_factory=time.monotonic)
    windows: int = 0
    seen_px: int = 0

    def add(self, seen_px: int) -> None:
        """Count a window whose block shows so many pixels."""
        self.windows += 1
        self.seen_px += seen_px
        now_s, last = time.monotonic(), self.windows == len(self.parts.waiting)
        if last or now_s - self.told_s >= PATIENCE_S:
            self.told_s = now_s
            taken_s = now_s - self.started_s
            left_s = taken_s / self.windows * (len(self.parts.waiting) - self.windows)
            done = len(self.parts.windows) - len(self.parts.waiting) + self.windows
            area, speed = self._area(self.seen_px), self._area(self.seen_px / max(taken_s, 1e-9) * 3600)
            left = f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
            self.say(f"{done} of {len(self.parts.windows)} windows, {area}, {speed}/h, {left} left")

    def _area(self, pixels: float) -> str:
        km2 = _km2(self.parts.ground.grid, pixels)
        return f"{pixels / 1e6:.1f} Mpx" if km2 is None else f"{km2:.3g} km2" if km2 < 100 else f"{km2:.0f} km2"

    def summary(self) -> dict[str, Any]:
        """What was seen in all, and how fast this call was."""
        seconds, grid = time.monotonic() - self.started_s, self.parts.ground.grid
        seen_px = self.seen_px + self.parts.seen_px()
        rate = _km2(grid, self.seen_px / seconds * 3600)
        return {
            "seen_px": seen_px,
            "km2": _km2(grid, seen_px),
            "km2_per_h": rate,
            "seconds": seconds,
            "windows": len(self.parts.windows),
            "device": device_name(),
        }


def _km2(grid: Grid, pixels: float) -> float | None:
    """Ground of so many pixels; None where the grid has no CRS."""
    return None if grid.crs is None else pixels * grid.gsd_m**2 / 1e6
