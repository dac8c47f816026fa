"""The folder of a run: finished, changed, locked, described."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib.chips.manifest import write_png
from lib.errors import BusyError, InputError
from lib.networks.checkpoint import read_info
from lib.networks.models import ModelConfig
from lib.training.recipe import TrainConfig
from lib.training.runs import describe_run
from lib.training.trainer import fit

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
QUICK = TrainConfig(epochs=3, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true")

pytestmark = pytest.mark.usefixtures("one_thread")


def silent(_line: str) -> None:
    pass


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


def test_two_runs_in_one_folder_are_refused(chips, tmp_path):
    def meddle(_line):
        fit(*chips, tmp_path, QUICK, SMALL, progress=silent)

    with pytest.raises(BusyError, match=f"process {os.getpid()}.*choose another folder"):
        fit(*chips, tmp_path, replace(QUICK, epochs=1), SMALL, progress=meddle)


def test_lock_of_a_dead_process_is_no_lock(chips, tmp_path):
    (tmp_path / "run.lock").write_text("1")
    fit(*chips, tmp_path, replace(QUICK, epochs=1), SMALL, progress=silent)


def test_run_is_described_in_plain_json(finished):
    run = json.loads((finished[0].checkpoint.parent / "run.json").read_text())
    assert run["facts"]["train_chips"] == 5
    assert run["config"]["crop_px"] == 32


def test_other_first_weights_under_one_name_are_another_run(chips, tmp_path):
    described = []
    for content in (b"one", b"two"):
        (tmp_path / "w.safetensors").write_bytes(content)
        model = {"encoder_weights": str(tmp_path / "w.safetensors")}
        described.append(describe_run({"task": "roads", "model": model}, *chips, None)["facts"])
    assert described[0] != described[1]
    named = describe_run({"task": "roads", "model": {"encoder_weights": "imagenet"}}, *chips, None)["facts"]
    assert "encoder_weights_sha256" not in named  # runs of before stay done


def test_chips_without_road_can_not_choose_an_epoch(chips, make_chips, tmp_path):
    """Every epoch would have an IoU of 0, and the first one be kept."""
    val = make_chips(tmp_path, 2, seed=3)
    for mask in val["mask"]:
        write_png(Path(mask), np.zeros((48, 48), np.uint8))
    with pytest.raises(InputError, match="No validation chip shows any roads"):
        fit(chips[0], val, tmp_path / "run", QUICK, SMALL, progress=silent)
    by_loss = replace(QUICK, epochs=1, keep_by="train_loss", threshold=0.25)
    assert fit(chips[0], val, tmp_path / "run", by_loss, SMALL, progress=silent).best_epoch == 1


def test_chips_of_which_one_has_no_gsd(chips, tmp_path):
    some = chips[0].assign(gsd_m=[0.5, 0.5, float("nan"), 0.5, 0.5])
    run = fit(some, chips[1], tmp_path, replace(QUICK, epochs=1), SMALL, progress=silent)
    assert read_info(run.checkpoint).gsd_m is None
