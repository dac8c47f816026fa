"""The folder of a run: finished, changed, locked, described."""

import json
import os
from dataclasses import replace

import pytest

from lib.errors import BusyError
from lib.networks.models import ModelConfig
from lib.training.recipe import TrainConfig
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
