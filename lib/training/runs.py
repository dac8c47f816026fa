"""The folder of one training: who works in it, and what its result depends on."""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from lib.chips.manifest import CLASS, rows_by_chip
from lib.errors import CheckpointError
from lib.networks.checkpoint import file_digest, read_info
from lib.networks.published import weights_of
from lib.paths import flush, is_written, locked, read_mapping, write_whole
from lib.training.cache import optional_text

PATIENCE_S = 120  # how long the processes of a run wait for the first one
LEFT = (
    "done.json",
    "best.safetensors",
    "history.csv",
    "last.ckpt",
    "tensorboard",
    "run.json",
)  # by a run, in its folder


def describe_run(
    settings: dict[str, Any], train: pd.DataFrame, val: pd.DataFrame, init_from: Path | None
) -> dict[str, Any]:
    """
    All that decides the result, as plain JSON values: two runs with one description give the same weights.

    Parameters
    ----------
    settings
        What was chosen: task, model and config, by name.
    train, val
        Chips; their files are read.
    init_from
        Checkpoint to start from.

    Raises
    ------
    CheckpointError
        If `init_from` is not a checkpoint.
    """
    if init_from is not None:
        read_info(init_from)
    facts = {
        "train_chips": len(rows_by_chip(train, settings["task"])),
        "val_chips": len(rows_by_chip(val, settings["task"])),
        "train_sha256": _chips_digest(train),
        "val_sha256": _chips_digest(val),
        "manifest_sha256": train.attrs.get("sha256", ""),
        "init_sha256": init_from and file_digest(init_from),
        "init_file": init_from and Path(init_from).name,
    }
    if (weights := weights_of(settings["model"]["encoder_weights"] or "")).is_file():
        facts["encoder_weights_sha256"] = file_digest(weights)
    return json.loads(json.dumps({**settings, "facts": facts}))


def _chips_digest(chips: pd.DataFrame) -> str:
    """SHA-256 over the files of all chips, in order."""
    total = hashlib.sha256()
    for path in [*chips["image"], *chips["mask"], *filter(None, optional_text(chips, "weight"))]:
        total.update(file_digest(path).encode())
    total.update("".join(optional_text(chips, CLASS)).encode())  # nothing where the chips are of one class
    return total.hexdigest()


def keep_previous(out_dir: Path, run: dict[str, Any], progress: Callable[[str], None]) -> None:
    """
    Move what a run with another description left to previous/; leave this one's in place.

    The first of several processes does so, the others wait for it. Raises CheckpointError where it never comes.
    """
    path = out_dir / "run.json"
    if is_helper():
        deadline_s = time.monotonic() + PATIENCE_S
        while read_mapping(path) != run:
            if time.monotonic() > deadline_s:
                raise CheckpointError(
                    f"The first process did not prepare {out_dir} within {PATIENCE_S} s: see its log."
                )
            time.sleep(0.1)
        return
    earlier = read_mapping(path)
    if earlier == run:
        if (leaving := out_dir / "leaving").exists():  # another run was killed as it set this one aside
            for moved in leaving.iterdir():
                moved.replace(out_dir / moved.name)
            leaving.rmdir()
        return
    if earlier:
        changed = [
            f"{name} {earlier[part].get(name)!r} -> {value!r}"
            for part in ("config", "model", "facts")
            for name, value in run[part].items()
            if earlier[part].get(name) != value
        ]
        progress(f"starting anew, the earlier run is in {out_dir / 'previous'}; changed: {', '.join(changed)[:400]}")
    _set_aside(out_dir)
    write_whole(path, json.dumps(run, indent=1))


def _set_aside(out_dir: Path) -> None:
    """Make all that a run left the content of previous/, as one: the next start completes what was killed."""
    leaving, previous = out_dir / "leaving", out_dir / "previous"
    left = [out_dir / name for name in LEFT if (out_dir / name).exists()]
    if left or leaving.exists():
        leaving.mkdir(exist_ok=True)
        for path in left:
            path.replace(leaving / path.name)
        shutil.rmtree(previous, ignore_errors=True)
        leaving.replace(previous)


def is_done(out_dir: Path, run: dict[str, Any]) -> bool:
    """Whether the folder holds the result of the run that is so described."""
    results = out_dir / "best.safetensors", out_dir / "history.csv"
    return read_mapping(out_dir / "done.json") == run and all(map(is_written, results))


def finish(out_dir: Path, run: dict[str, Any]) -> None:
    """State that a run is done, and remove what served to go on; again, where it was killed in doing so."""
    if is_helper():
        return
    if not is_done(out_dir, run):
        write_whole(out_dir / "done.json", json.dumps(run))
        flush(out_dir / "best.safetensors", out_dir / "history.csv", out_dir / "done.json")
    (out_dir / "last.ckpt").unlink(missing_ok=True)
    shutil.rmtree(out_dir / "cache", ignore_errors=True)


def is_helper() -> bool:
    """Whether this process helps another, which holds the lock; torchrun sets RANK, Lightning LOCAL_RANK alone."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) != "0"


def one_run_at_a_time(out_dir: Path) -> contextlib.AbstractContextManager[None]:
    """Hold a training's folder; its helpers work there, too. Raises BusyError where another run holds it."""
    return contextlib.nullcontext() if is_helper() else locked(out_dir / "run")
