"""Stage 2: where it starts, what it refuses, and what it keeps."""

from dataclasses import replace

import pytest
import torch

from lib.errors import CheckpointError
from lib.networks.checkpoint import load_model, read_info
from lib.networks.models import ModelConfig
from lib.training.recipe import TrainConfig
from lib.training.trainer import fit

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
QUICK = TrainConfig(epochs=3, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true")

pytestmark = pytest.mark.usefixtures("one_thread")


def silent(_line: str) -> None:
    pass


def test_stage_two_starts_from_stage_one(finished, chips, tmp_path, weights):
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


def test_stage_two_keeps_the_first_weights_where_no_epoch_is_better(finished, chips, tmp_path, same_weights):
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
