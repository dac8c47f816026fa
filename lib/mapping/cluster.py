"""One task for each scene or block of an area: here, or on a Dask cluster with one copy of the model a worker."""

import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import torch

from lib.chips.jobs import run_jobs
from lib.errors import CheckpointError, InputError
from lib.networks.backends import with_backend
from lib.networks.checkpoint import TrainedModel, file_digest, load_model
from lib.paths import is_written

APPEARS_S = 60.0  # patience with a shared folder: NFS tells of new files up to a minute later
_LOADING = threading.Lock()  # the threads of a worker wait for one copy instead of loading their own

Scene, Result = TypeVar("Scene"), TypeVar("Result")


def map_each(
    scenes: Sequence[Scene],
    task: Callable[[TrainedModel, Scene], Result],
    checkpoint: Path,
    scheduler: str = "",
    backend: str = "auto",
) -> Iterator[tuple[Scene, Result]]:
    """
    Scenes with what a task made of each, as they are done.

    The task of a worker that dies is given to another one, so it must do no harm twice: write its files whole, and
    leave what is there. An error of a task is raised here; the results before it are out already.

    Parameters
    ----------
    scenes
        One item a task, small enough to be sent: names and windows, not pixels.
    task
        Function, importable by name, of the model and a scene.
    checkpoint
        File of `lib.networks.checkpoint.save_checkpoint`. Each worker reads it once, onto its GPU where it has one.
    scheduler
        See `lib.chips.jobs.run_jobs`; "" for one scene after the other, here.
    backend
        See `lib.networks.backends.with_backend`.

    Raises
    ------
    ParameterError
        If no scheduler answers at that address, or it has no workers (any more).
    CheckpointError
        If the checkpoint can't be read, or a worker sees another file at its path.
    """
    work = partial(_with_model, task, str(Path(checkpoint).resolve()), _digest(checkpoint), backend)
    if scheduler:
        yield from run_jobs(work, scenes, len(scenes), scheduler)
    else:
        yield from ((scene, work(scene)) for scene in scenes)


def _digest(checkpoint: Path) -> str:
    if not Path(checkpoint).is_file():
        raise CheckpointError(f"No checkpoint at {checkpoint}: train one first, or correct the path.")
    return file_digest(checkpoint)


def _with_model(
    task: Callable[[TrainedModel, Scene], Result], checkpoint: str, digest: str, backend: str, scene: Scene
) -> Result:
    with _LOADING:
        model = _model(checkpoint, digest, backend)
    return task(model, scene)


@lru_cache(maxsize=1)
def _model(checkpoint: str, digest: str, backend: str) -> TrainedModel:
    if not Path(checkpoint).is_file():
        raise CheckpointError(
            f"The worker on {platform.node()} sees no {checkpoint}: workers must see the same files under the same "
            "paths, the folder of the map among them."
        )
    model = load_model(checkpoint, "cuda" if torch.cuda.is_available() else "cpu")
    if model.digest != digest:
        raise CheckpointError(
            f"{checkpoint} is another file where it is read ({model.digest[:12]}) than where the map was started "
            f"({digest[:12]}): workers must see the same files under the same paths."
        )
    return with_backend(model, backend)


def wait_for_files(paths: Sequence[Path], patience_s: float = APPEARS_S) -> None:
    """Wait until files that workers wrote are seen here; InputError if they never are."""
    deadline_s = time.monotonic() + patience_s
    while missing := [path for path in paths if not is_written(path)]:
        if time.monotonic() > deadline_s:
            raise InputError(
                f"A worker wrote {missing[0]}, and it is not there: workers must see the same folders under the same "
                "paths. Give a folder of the map that all of them share."
            )
        time.sleep(0.2)
