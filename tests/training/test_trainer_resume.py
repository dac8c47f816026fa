"""Training that is killed, interrupted or out of disk, and goes on."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lib.errors import InputError
from lib.networks.models import ModelConfig
from lib.paths import ROOT
from lib.training.engine import SegmentationTask
from lib.training.recipe import TrainConfig
from lib.training.trainer import FitResult, fit

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
QUICK = TrainConfig(epochs=3, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true")

pytestmark = pytest.mark.usefixtures("one_thread")


def silent(_line: str) -> None:
    pass


KILLED = """
import os, signal, sys
import pandas as pd, torch
from lib.networks.models import ModelConfig
from lib.training.recipe import TrainConfig
from lib.training.trainer import fit
import lib.training.engine
torch.set_num_threads(1)
train, val, out, config, model, batches = sys.argv[1:]
step, seen = lib.training.engine.SegmentationTask.training_step, 0
def training_step(self, batch, index):
    global seen
    seen += 1
    if seen > int(batches):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, index)
lib.training.engine.SegmentationTask.training_step = training_step
fit(pd.read_csv(train), pd.read_csv(val), out, TrainConfig(**eval(config)), ModelConfig(**eval(model)))
"""


def test_killed_and_resumed_is_as_never_killed(finished, chips, tmp_path, same_weights, same_history):
    for name, rows in zip(("train", "val"), chips, strict=True):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    batches = 5  # two epochs of two batches, and one batch of the third
    arguments = [tmp_path / "train.csv", tmp_path / "val.csv", tmp_path / "run", vars(QUICK), vars(SMALL), batches]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    root = ROOT
    process = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert len(pd.read_csv(tmp_path / "run" / "history.csv")) == 2
    lines = []
    resumed = fit(*chips, tmp_path / "run", QUICK, SMALL, progress=lines.append)
    assert "going on" in lines[0]
    assert lines[1].startswith("epoch   3/3")
    assert same_weights(resumed.checkpoint, finished[0].checkpoint)
    assert same_history(resumed, finished[0])
    assert logged(resumed, "val_iou") == pytest.approx(dict(zip([1, 2, 3], resumed.history["val_iou"], strict=True)))


def logged(result: FitResult, name: str) -> dict[int, float]:
    """Curve that TensorBoard shows: epoch -> value."""
    events = EventAccumulator(str(result.checkpoint.parent / "tensorboard")).Reload().Scalars(name)
    assert len({event.step for event in events}) == len(events)
    return {event.step: event.value for event in events}


def test_resumed_with_averaged_weights_schedule_by_step_and_patience(
    chips, tmp_path, monkeypatch, same_weights, same_history
):
    config = replace(
        QUICK,
        ema_decay=0.5,
        schedule="onecycle",
        schedule_per_step=True,
        patience=2,
        optimizer="adamw",
        weight_decay=0.01,
        accumulate=2,
        clip_norm=1.0,
    )
    step, seen = SegmentationTask.training_step, []

    def fail_once(self, batch, index):
        seen.append(index)
        if len(seen) == 6:
            raise RuntimeError("the machine is gone")
        return step(self, batch, index)

    monkeypatch.setattr(SegmentationTask, "training_step", fail_once)
    with pytest.raises(RuntimeError, match="the machine is gone"):
        fit(*chips, tmp_path / "run", config, SMALL, progress=silent)
    resumed = fit(*chips, tmp_path / "run", config, SMALL, progress=silent)
    assert len(seen) == 6 + 2, "went on with the third epoch"
    whole = fit(*chips, tmp_path / "whole", config, SMALL, progress=silent)
    assert same_weights(resumed.checkpoint, whole.checkpoint)
    assert same_history(resumed, whole)


def test_interrupt_keeps_what_is_finished_and_the_handler(chips, tmp_path):
    def interrupt(line):
        if line.startswith("epoch   2"):
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores interrupts
    try:
        with pytest.raises(KeyboardInterrupt, match="All finished epochs are saved"):
            fit(*chips, tmp_path, QUICK, SMALL, progress=interrupt)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    lines = []
    fit(*chips, tmp_path, QUICK, SMALL, progress=lines.append)
    assert lines[1].startswith("epoch   3/3")


def test_full_disk_leaves_what_was_saved(chips, tmp_path, monkeypatch):
    save, calls = torch.save, []

    def save_once(checkpoint, path):
        calls.append(path)
        if len(calls) > 1:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(checkpoint, path)

    monkeypatch.setattr("lib.training.engine.torch.save", save_once)
    with pytest.raises(OSError, match=r"No space left on the disk of .*last\.ckpt was not written"):
        fit(*chips, tmp_path, QUICK, SMALL, progress=silent)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.glob("*tmp")] == []
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0
    lines = []
    fit(*chips, tmp_path, QUICK, SMALL, progress=lines.append)
    assert lines[1].startswith("epoch   2/3")


def test_a_damaged_state_says_what_to_do(chips, tmp_path):
    def stop(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(*chips, tmp_path, QUICK, SMALL, progress=stop)
    (tmp_path / "last.ckpt").write_bytes(b"")
    with pytest.raises(InputError, match=r"last\.ckpt: expected the state of an unfinished training; delete it"):
        fit(*chips, tmp_path, QUICK, SMALL, progress=silent)
