"""
A map of whole scenes: windows through the network, blended, kept as they are finished, and two rasters of all.

Reading ahead, the network, blending and writing run side by side. Memory goes by the windows that are under way,
not by the scenes. What is finished lies in OUT_DIR/parts until the rasters are whole, so that a killed map goes on.
"""

import hashlib
import json
import math
import platform
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio

from lib.errors import InputError, PPLinkNetError
from lib.mapping.cluster import map_each, wait_for_files
from lib.mapping.cogs import THREADS, Pieces, mask_cog, of_blocks, probability_cog, write_cogs
from lib.mapping.forward import probabilities
from lib.mapping.ground import Ground, open_ground
from lib.mapping.images import ADDRESS
from lib.mapping.memory import BLOCKS_WAITING, views_at_once, windows_together, windows_waiting
from lib.mapping.options import LOCK, MADE_BY, MAP, RASTERS, MapOptions, rasters_of
from lib.mapping.parts import CHECKPOINT, Parts, open_parts, remove_parts
from lib.mapping.progress import Progress
from lib.mapping.scenes import open_scenes
from lib.mapping.windows import Index, Windows
from lib.memory import freed_memory_kept
from lib.networks.backends import backend_for, with_backend
from lib.networks.checkpoint import CheckpointInfo, TrainedModel, save_checkpoint
from lib.networks.devices import device_of
from lib.paths import is_written, locked, made_folder, read_mapping, write_whole

PARTS = "parts"  # folder of what is finished
JOB_WINDOWS = 8  # that a worker of a cluster takes at once
FOR_ADDRESSES = {"GDAL_HTTP_MAX_RETRY": 3, "GDAL_HTTP_RETRY_DELAY": 1, "GDAL_HTTP_CONNECTTIMEOUT": 20}
FOR_ADDRESSES |= {"GDAL_HTTP_TIMEOUT": 120, "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}

_COMPUTING = threading.Lock()  # one job of a worker computes at a time, within its memory

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
    Of several classes each has its own two rasters, see `lib.mapping.options.rasters_of`.

    Called again after it was killed or failed, it goes on; with another model, other options or changed scenes it makes
    again what they change. Each file is there as a whole or not at all, map.json last.

    Parameters
    ----------
    model
        From `lib.networks.checkpoint.load_model`; its thresholds are of one view, those of eight come by
        `lib.networks.calibration.at_views`.
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
        If `out_dir` is a file or holds foreign ones of a map's names, a scene doesn't fit the checkpoint, or can't be
        read; before the first window, but for what only reading shows. Notes of the error say what is kept.
    ParameterError
        If a window doesn't go into the memory.
    BusyError
        If another process maps into the folder.
    DiskFullError
        If the disk has no room.
    """
    options, out_dir = options or MapOptions(), Path(out_dir)
    if options.scheduler:  # workers start elsewhere
        images, out_dir = [one if ADDRESS.match(str(one)) else Path(one).resolve() for one in images], out_dir.resolve()
        options = replace(options, area=str(Path(options.area).resolve()) if options.area else "")
    at_once = views_at_once(options, len(model.info.mean), str(device_of(model.network)), len(model.info.thresholds))
    rasters = rasters_of(model.info.task)
    made_folder(out_dir, "OUT_DIR, the folder of the map, as the last argument")
    skipped: dict[str, str] | None = {} if options.go_on else None
    with (
        locked(out_dir / LOCK),
        rasterio.Env(GDAL_NUM_THREADS=THREADS),  # here, and not on workers, which share their machine's cores
        opened_ground(images, model.info, options, skipped, progress) as ground,
    ):
        _require_own(out_dir)
        windows = Windows(ground.grid.width, ground.grid.height, *_sides(options))
        made_by = _made_by(model, options, ground)
        thresholds = options.thresholds(model.info.thresholds)
        threshold = thresholds if len(thresholds) > 1 else thresholds[model.info.task]
        before = _finished(out_dir, made_by)
        if before.get("threshold") == threshold:
            progress(f"{out_dir} is finished already")
            remove_parts(out_dir / PARTS, made_by)  # of a call that was killed at its very end
            return before
        if before:  # no map.json may state a threshold that the mask is not of
            write_whole(out_dir / MAP, json.dumps(before | {"threshold": None}))
            for kind, (name, mask) in rasters.items():
                probability = Pieces([(out_dir / name, (0, 0, ground.grid.width, ground.grid.height))])
                write_cogs(mask_cog(out_dir / mask, ground.grid, probability, thresholds[kind]))
        else:
            parts = _open(out_dir, made_by, windows, ground)
            with _noting(parts):
                before = _predict(model, parts, options, at_once, skipped, progress, images, made_by)
                if not before["seen_px"]:
                    raise InputError(f"Nothing is seen: all is no-data or outside the area. {skipped or ''}")
                (out_dir / MAP).unlink(missing_ok=True)
                for place, (kind, (name, mask)) in enumerate(rasters.items()):
                    progress(f"writing {out_dir / name} and {mask}")
                    blocks = of_blocks(parts.blocks(), place, len(rasters))
                    write_cogs(
                        probability_cog(out_dir / name, ground.grid, blocks),
                        mask_cog(out_dir / mask, ground.grid, blocks, thresholds[kind]),
                    )
        made = {**before, **made_by, "threshold": threshold, "skipped": skipped or {}, "options": asdict(options)}
        write_whole(out_dir / MAP, json.dumps(made, indent=1))
        remove_parts(out_dir / PARTS, made_by)
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
    before = read_mapping(out_dir / MAP)
    is_same = bool(made_by["checkpoint"]) and all(before.get(name) == value for name, value in made_by.items())
    whole = all(is_written(out_dir / name) for pair in rasters_of(made_by["task"]).values() for name in pair)
    return before if is_same and whole and not before.get("skipped") else {}


def _open(out_dir: Path, made_by: dict[str, Any], windows: Windows, ground: Ground) -> Parts:
    """The parts of an unfinished map."""
    parts = out_dir / PARTS
    open_parts(parts, made_by)
    own = {name for pair in rasters_of(made_by["task"]).values() for name in pair}
    for name in set(RASTERS) - own:  # of a former map of other classes
        (out_dir / name).unlink(missing_ok=True)
    return Parts(parts, windows, ground)


def _require_own(out_dir: Path) -> None:
    """InputError where the folder of a map holds files of its names that no map wrote: they would be written over."""
    facts = out_dir / MAP
    for path in (facts, *(out_dir / name for name in RASTERS)):
        if path.is_dir():
            raise InputError(
                f"{path}: expected a map's file, or nothing, but that is a folder: choose another OUT_DIR."
            )
    if is_written(facts) and "checkpoint" not in read_mapping(facts):  # an empty one is what a power cut leaves
        raise InputError(f"{facts}: expected what a map was made by; no map wrote that file: choose another OUT_DIR.")
    strange = [name for name in RASTERS if (out_dir / name).exists()]
    if strange and not facts.exists() and not (out_dir / PARTS / MADE_BY).is_file():
        raise InputError(f"{out_dir} holds {strange}, written by no map: choose another folder.")


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
    images: Sequence[str | Path],
    made_by: dict[str, Any],
) -> dict[str, Any]:
    """Make all blocks that aren't there; returns what was seen, and how fast."""
    pixels = len(parts.windows) * math.prod(parts.windows.shape) * options.views_a_window
    backend = backend_for(options.backend, pixels)
    told = Progress(parts, progress)
    if options.scheduler:
        for index in in_order(parts.waiting, _by_workers(model, parts, options, backend, skipped, images, made_by)):
            told.add(parts.write(*parts.blend((index, None))))
        return told.summary() | {"device": f"workers of {options.scheduler}"}

    results = _windows(with_backend(model, backend), parts, parts.waiting, options, at_once, skipped)
    with (
        closing(results),
        closing(ahead(parts.blend, results, windows_waiting(options, at_once))) as blended,
        freed_memory_kept(),
    ):
        for seen_px in ahead(lambda block: parts.write(*block), blended, BLOCKS_WAITING):
            told.add(seen_px)
    return told.summary()


def _windows(
    model: TrainedModel,
    parts: Parts,
    indices: Iterable[Index],
    options: MapOptions,
    at_once: int,
    skipped: dict[str, str] | None,
) -> Iterator[tuple[Index, np.ndarray | None]]:
    """Windows through the network, read ahead; None for those without image, and for those that are there."""

    def read(index: Index) -> tuple[Index, np.ndarray | None, np.ndarray | None]:
        if parts.has_window(index):
            return index, None, None
        image, seen = parts.ground.read(parts.windows.window(index), skipped)
        # fewer bands than three are read as three
        return (index, image[..., : len(model.info.mean)], seen) if seen.any() else (index, None, None)

    with closing(ahead(read, indices, windows_waiting(options, at_once))) as windows:
        yield from _forward(model, windows, options.views, at_once, windows_together(options, at_once))


def _by_workers(
    model: TrainedModel,
    parts: Parts,
    options: MapOptions,
    backend: str,
    skipped: dict[str, str] | None,
    images: Sequence[str | Path],
    made_by: dict[str, Any],
) -> Iterator[Index]:
    """Waiting windows as they lie in the parts, predicted by workers of a Dask cluster."""
    there = {index for index in parts.waiting if parts.has_window(index)}
    yield from there
    missing = [index for index in parts.waiting if index not in there]
    jobs = [tuple(missing[first : first + JOB_WINDOWS]) for first in range(0, len(missing), JOB_WINDOWS)]
    checkpoint = save_checkpoint(parts.folder / CHECKPOINT, model.network, model.info)  # all see the same one there
    task = partial(_job, images, parts.folder, options, _stamp(made_by))
    for job, (written, left_out) in map_each(jobs, task, checkpoint, options.scheduler, backend):
        wait_for_files([parts.window_path(index) for index in written])
        if skipped is not None:
            skipped |= left_out
        yield from job


def _job(
    images: Sequence[str | Path],
    folder: Path,
    options: MapOptions,
    stamp: str,
    model: TrainedModel,
    job: Sequence[Index],
) -> tuple[list[Index], dict[str, str]]:
    """Predict windows on a worker: which are in the folder, and which scenes were left out."""
    skipped: dict[str, str] | None = {} if options.go_on else None
    with opened_ground(images, model.info, options, skipped) as ground:
        if _stamp(_made_by(model, options, ground)) != stamp:
            raise InputError(
                f"The worker on {platform.node()} finds other images than the map was started with: {ground.states[:3]}"
                " ... Workers must see the same files under the same paths."
            )
        parts = Parts(folder, Windows(ground.grid.width, ground.grid.height, *_sides(options)), ground)
        classes = len(model.info.thresholds)
        at_once = views_at_once(options, len(model.info.mean), str(device_of(model.network)), classes)
        with _COMPUTING, freed_memory_kept():
            for index, probability in _windows(model, parts, job, options, at_once, skipped):
                if probability is not None:
                    parts.keep(index, probability)
        return [index for index in job if parts.has_window(index)], skipped or {}


def _stamp(made_by: dict[str, Any]) -> str:
    """Digest of what a map is made by, but for the checkpoint: workers read a copy."""
    return hashlib.sha256(json.dumps(made_by | {"checkpoint": ""}).encode()).hexdigest()


def _sides(options: MapOptions) -> tuple[int, int]:
    return options.window_px, options.overlap_px


def in_order(due: Sequence[Item], done: Iterable[Item]) -> Iterator[Item]:
    """What is due, in order, each as soon as it and all before it are done."""
    there, position = set(), 0
    for item in done:
        there.add(item)
        while position < len(due) and due[position] in there:
            yield due[position]
            position += 1


def _forward(
    model: TrainedModel,
    windows: Iterable[tuple[Index, np.ndarray | None, np.ndarray | None]],
    views: str,
    at_once: int,
    together: int,
) -> Iterator[tuple[Index, np.ndarray | None]]:
    """Probability of each window and class, NaN where nothing is seen, in order; None for those without image."""
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
