"""Training: runs that are repeated, killed, resumed and refused."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lib.chips.manifest import WEIGHT_ONE, write_png
from lib.errors import CheckpointError, InputError, ParameterError
from lib.networks.checkpoint import load_model, read_info
from lib.networks.models import ModelConfig, build_model
from lib.paths import ROOT
from lib.training.engine import SegmentationTask, TrainingDivergedError
from lib.training.recipe import TrainConfig
from lib.training.trainer import FitResult, fit

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
QUICK = TrainConfig(epochs=3, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true")

pytestmark = pytest.mark.usefixtures("one_thread")


def silent(_line: str) -> None:
    pass


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_model(path).network.state_dict()


def same_weights(first: Path, second: Path) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))


def same_history(first: FitResult, second: FitResult) -> bool:
    return first.history.drop(columns="seconds").equals(second.history.drop(columns="seconds"))


@pytest.fixture(scope="module")
def finished(chips, tmp_path_factory):
    torch.set_num_threads(1)
    lines = []
    result = fit(*chips, tmp_path_factory.mktemp("run"), QUICK, SMALL, progress=lines.append)
    return result, lines


def test_what_a_run_leaves(finished, chips):
    result, lines = finished
    assert len(lines) == 3
    assert lines[0].startswith("epoch   1/3  loss ")
    history = result.history
    assert list(history.columns) == [
        "epoch",
        "train_loss",
        "val_loss",
        "val_iou",
        "threshold",
        "learning_rate",
        "seconds",
    ]
    assert history["learning_rate"].tolist() == pytest.approx([2e-4 * (1 - e / 3) ** 0.9 for e in range(3)])
    assert result.best_epoch == history.loc[history["val_iou"].idxmax(), "epoch"]
    info = read_info(result.checkpoint)
    assert (info.task, info.gsd_m, info.training["epochs"]) == ("roads", 0.5, 3)
    assert info.provenance["best"]["epoch"] == result.best_epoch
    assert info.threshold == pytest.approx(history["threshold"][result.best_epoch - 1])
    left = {p.name for p in result.checkpoint.parent.iterdir()}
    assert left == {"best.safetensors", "history.csv", "tensorboard", "run.json", "done.json", "run.lock"}


def test_same_seed_same_weights(finished, chips, tmp_path):
    again = fit(*chips, tmp_path, QUICK, SMALL, progress=silent)
    assert same_weights(again.checkpoint, finished[0].checkpoint)
    assert same_history(again, finished[0])


def test_other_seed_other_weights(finished, chips, tmp_path):
    other = fit(*chips, tmp_path, replace(QUICK, seed=1, epochs=1), SMALL, progress=silent)
    assert not same_weights(other.checkpoint, finished[0].checkpoint)


def test_finished_run_is_returned_at_once_and_a_changed_one_starts_anew(chips, tmp_path):
    config = replace(QUICK, epochs=1)
    first = fit(*chips, tmp_path, config, SMALL, progress=silent)
    digest, lines = first.checkpoint.read_bytes(), []
    second = fit(*chips, tmp_path, config, SMALL, progress=lines.append)
    assert lines == []
    assert second.history.equals(first.history)
    fit(*chips, tmp_path, replace(config, learning_rate=1e-3), SMALL, progress=lines.append)
    assert "learning_rate 0.0002 -> 0.001" in lines[0]
    assert (tmp_path / "previous" / "best.safetensors").read_bytes() == digest


def test_weights_change_what_is_learned(finished, chips, tmp_path):
    train, val = chips
    ones = write_png(tmp_path / "w.png", np.full((48, 48), WEIGHT_ONE, np.uint8))
    once = fit(train.assign(weight=str(ones)), val, tmp_path / "once", QUICK, SMALL, progress=silent)
    for ours, theirs in zip(weights(once.checkpoint).values(), weights(finished[0].checkpoint).values(), strict=True):
        torch.testing.assert_close(ours, theirs)
    left = np.zeros((48, 48), np.uint8)
    left[:, :24] = 255
    half = write_png(tmp_path / "half.png", left)
    other = fit(train.assign(weight=str(half)), val, tmp_path / "half", QUICK, SMALL, progress=silent)
    assert not same_weights(other.checkpoint, once.checkpoint)


def test_learns_a_trivial_pattern(chips, tmp_path):
    config = replace(
        QUICK, epochs=4, samples_per_epoch=96, batch_size=8, learning_rate=3e-3, augmentation="flips", loss="bce_dice"
    )
    result = fit(*chips, tmp_path, config, SMALL, progress=silent)
    assert result.history["val_iou"].max() > 0.8


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


def test_killed_and_resumed_is_as_never_killed(finished, chips, tmp_path):
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


def test_resumed_with_averaged_weights_schedule_by_step_and_patience(chips, tmp_path, monkeypatch):
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


def test_stage_two_starts_from_stage_one(finished, chips, tmp_path):
    config = replace(QUICK, epochs=1, learning_rate=1e-12, augmentation="none")
    second = fit(*chips, tmp_path, config, SMALL, init_from=finished[0].checkpoint, progress=silent)
    for (name, before), after in zip(
        weights(finished[0].checkpoint).items(), weights(second.checkpoint).values(), strict=True
    ):
        if "running_" not in name and "num_batches" not in name:
            torch.testing.assert_close(before, after, atol=1e-6, rtol=0, msg=name)
    facts = read_info(second.checkpoint).provenance
    assert facts["init_sha256"] == load_model(finished[0].checkpoint).digest


def test_stage_two_refuses_what_does_not_fit(finished, chips, tmp_path):
    path = finished[0].checkpoint
    with pytest.raises(CheckpointError, match="context is '64', expected '128'"):
        fit(*chips, tmp_path / "a", QUICK, replace(SMALL, context="128"), init_from=path, progress=silent)
    with pytest.raises(CheckpointError, match="task is 'roads', expected 'buildings'"):
        fit(*chips, tmp_path / "b", QUICK, SMALL, "buildings", init_from=path, progress=silent)
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        fit(*chips, tmp_path / "c", QUICK, SMALL, init_from=tmp_path / "absent", progress=silent)


def test_stage_two_keeps_the_first_weights_where_no_epoch_is_better(finished, chips, tmp_path):
    """With a rate that wrecks the network; killed after an epoch, it still knows the score of the first weights."""
    config = replace(QUICK, learning_rate=0.3, schedule="constant", normalisation="init")
    lines = []

    def die_after_the_first_epoch(line: str) -> None:
        lines.append(line)
        if line.startswith("epoch   1/3"):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        fit(*chips, tmp_path, config, SMALL, init_from=finished[0].checkpoint, progress=die_after_the_first_epoch)
    assert lines[0].startswith("epoch   0/3  as it came") and lines[0].endswith("best")
    second = fit(*chips, tmp_path, config, SMALL, init_from=finished[0].checkpoint, progress=silent)
    assert (second.best_epoch, second.history["epoch"].tolist()) == (0, [0, 1, 2, 3])
    assert same_weights(second.checkpoint, finished[0].checkpoint)
    best = finished[0].history["val_iou"].max()
    assert second.history["val_iou"][0] == best == read_info(second.checkpoint).provenance["best"]["val_iou"]


def test_frozen_encoder_stays(chips, tmp_path):
    result = fit(*chips, tmp_path, replace(QUICK, epochs=1, freeze_encoder=True), SMALL, progress=silent)
    torch.manual_seed(QUICK.seed)
    before, after = build_model(SMALL).state_dict(), weights(result.checkpoint)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"decoder", "segmentation_head"}


def test_compiled_network_learns_the_same_and_leaves_the_same_file(finished, chips, tmp_path, monkeypatch):
    """Traced and differentiated as for a GPU, but not turned into machine code, which takes minutes on a CPU."""
    compile_by = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_by(self, backend="aot_eager"))
    result = fit(*chips, tmp_path, replace(QUICK, compile=True), SMALL, progress=silent)
    for ours, theirs in zip(weights(result.checkpoint).values(), weights(finished[0].checkpoint).values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_early_stopping(chips, tmp_path):
    config = replace(QUICK, epochs=6, patience=2, learning_rate=1e-12, augmentation="none", samples_per_epoch=4)
    frozen = replace(config, freeze_encoder=True)
    result = fit(*chips, tmp_path, frozen, SMALL, progress=silent)
    assert len(result.history) < 6
    assert result.best_epoch == len(result.history) - 2


def test_loss_that_is_no_number_names_the_chips(chips, tmp_path, monkeypatch):
    def explode(logits, _mask, _weight):
        return logits.sum() * float("nan")

    monkeypatch.setattr("lib.training.trainer.create_loss", lambda *_: explode)
    with pytest.raises(
        TrainingDivergedError, match=r"loss is nan in epoch 1, on the chips \['chip\d', .*learning_rate"
    ):
        fit(*chips, tmp_path, QUICK, SMALL, progress=silent)
    assert not (tmp_path / "done.json").exists()


def test_weights_that_the_last_step_ruined_are_found_in_validation(finished, chips, tmp_path):
    config = replace(QUICK, learning_rate=1e30, samples_per_epoch=4)
    with pytest.raises(TrainingDivergedError, match=r"on a validation chip after epoch 1.*Lower learning_rate"):
        fit(*chips, tmp_path, config, SMALL, init_from=finished[0].checkpoint, progress=silent)
    assert same_weights(tmp_path / "best.safetensors", finished[0].checkpoint)


def test_two_runs_in_one_folder_are_refused(chips, tmp_path):
    def meddle(_line):
        fit(*chips, tmp_path, QUICK, SMALL, progress=silent)

    with pytest.raises(CheckpointError, match=f"process {os.getpid()}.*choose another folder"):
        fit(*chips, tmp_path, replace(QUICK, epochs=1), SMALL, progress=meddle)


def test_lock_of_a_dead_process_is_no_lock(chips, tmp_path):
    (tmp_path / "run.lock").write_text("1")
    fit(*chips, tmp_path, replace(QUICK, epochs=1), SMALL, progress=silent)


def test_interrupt_keeps_what_is_finished_and_the_handler(chips, tmp_path):
    def interrupt(line):
        if line.startswith("epoch   2"):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

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
    with pytest.raises(OSError, match="No space"):
        fit(*chips, tmp_path, QUICK, SMALL, progress=silent)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.glob("*tmp")] == []
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0
    lines = []
    fit(*chips, tmp_path, QUICK, SMALL, progress=lines.append)
    assert lines[1].startswith("epoch   2/3")


def test_two_processes_learn_as_one(make_chips, tmp_path, monkeypatch):
    """Batch statistics are each process's own on a CPU: here without them, and with an odd number of chips."""

    def without_batch_norm(config):
        network = build_model(config)
        for name, module in list(network.named_modules()):
            if isinstance(module, torch.nn.BatchNorm2d):
                network.set_submodule(name, torch.nn.GroupNorm(1, module.num_features))
        return network

    monkeypatch.setattr("lib.training.trainer.build_model", without_batch_norm)
    chips = make_chips(tmp_path, 5), make_chips(tmp_path, 5, seed=1)
    for rows in chips:
        for path in rows["mask"]:
            write_png(Path(path), np.where(cv2.imread(path, cv2.IMREAD_GRAYSCALE) > 127, 255, 0).astype(np.uint8))
    config = replace(QUICK, epochs=2, batch_size=2, augmentation="flips", learning_rate=1e-3, patience=5)
    model = ModelConfig(encoder_name="resnet18")
    one = fit(*chips, tmp_path / "one", config, model, progress=silent)
    two = fit(*chips, tmp_path / "two", replace(config, devices=2, strategy="ddp_fork"), model, progress=silent)
    for name in ("train_loss", "val_loss", "val_iou"):
        np.testing.assert_allclose(one.history[name], two.history[name], atol=1e-4, err_msg=name)


def test_arguments_are_checked(chips, tmp_path):
    train, val = chips
    with pytest.raises(ParameterError, match="task is 'rivers'"):
        fit(train, val, tmp_path, QUICK, SMALL, "rivers")
    with pytest.raises(InputError, match="got 5 and 0"):
        fit(train, val[:0], tmp_path, QUICK, SMALL)
    with pytest.raises(ParameterError, match="3 bands"):
        fit(train, val, tmp_path, QUICK, replace(SMALL, in_channels=4))
    with pytest.raises(ParameterError, match="needs init_from"):
        fit(train, val, tmp_path, replace(QUICK, normalisation="init"), SMALL)


def test_run_is_described_in_plain_json(finished):
    run = json.loads((finished[0].checkpoint.parent / "run.json").read_text())
    assert run["facts"]["train_chips"] == 5
    assert run["config"]["crop_px"] == 32
