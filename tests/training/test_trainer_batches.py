"""Batches at the edges: an epoch's last, incomplete step, and one crop at a time."""

from dataclasses import replace

import pytest
import torch

from lib.errors import ParameterError
from lib.networks.models import ModelConfig, build_model
from lib.training.engine import SegmentationTask
from lib.training.recipe import TrainConfig
from lib.training.trainer import fit

SMALL = ModelConfig("linknet", "tu-test_resnet", context="32")
QUICK = TrainConfig(
    epochs=1,
    batch_size=2,
    crop_px=32,
    learning_rate=1e-3,
    optimizer="sgd",
    schedule="constant",
    augmentation="none",
    accelerator="cpu",
    precision="32-true",
)

pytestmark = pytest.mark.usefixtures("one_thread")


def silent(_line: str) -> None:
    pass


@pytest.fixture
def step_of(chips, tmp_path, weights):
    """How far an epoch of so many batches, of which `accumulate` make a step, moves the weights of the head."""
    name = "segmentation_head.0.weight"

    def step(batches: int, accumulate: int, **changes) -> torch.Tensor:
        torch.manual_seed(QUICK.seed)
        before = build_model(SMALL).state_dict()[name]
        config = replace(QUICK, samples_per_epoch=2 * batches, accumulate=accumulate, **changes)
        result = fit(*chips, tmp_path / f"{batches} {accumulate}", config, SMALL, progress=silent)
        return weights(result.checkpoint)[name] - before

    return step


def test_an_incomplete_step_counts_as_the_batches_that_it_has(step_of):
    alone = step_of(1, 1)
    for accumulate in (2, 3, 4, 8):
        torch.testing.assert_close(step_of(1, accumulate), alone, rtol=1e-4, atol=1e-9)


def test_the_last_step_alone_is_incomplete(step_of, monkeypatch):
    shares, share_of = [], SegmentationTask._step_share

    def note(task: SegmentationTask, index: int) -> float:
        shares.append(share_of(task, index))
        return shares[-1]

    monkeypatch.setattr(SegmentationTask, "_step_share", note)
    step_of(5, 3)
    assert shares == [1, 1, 1, 1.5, 1.5]
    shares.clear()
    step_of(4, 2)
    assert shares == [1, 1, 1, 1]


@pytest.mark.parametrize("architecture", ["deeplabv3plus", "pan", "upernet"])
def test_one_crop_a_batch_is_refused_before_anything_is_written(chips, tmp_path, architecture):
    model, config = replace(SMALL, architecture=architecture), replace(QUICK, batch_size=1, crop_px=128)
    with pytest.raises(ParameterError, match=f"{architecture} on tu-test_resnet can't train on 1 crops .*two crops"):
        fit(*chips, tmp_path / "run", config, model, progress=silent)
    with pytest.raises(ParameterError, match="can't train on 1 crops"):  # of two processes with a crop each
        fit(*chips, tmp_path / "run", replace(config, batch_size=2, devices=2), model, progress=silent)
    assert not (tmp_path / "run").exists()


def test_five_chips_in_batches_of_two_leave_none_with_one_crop(chips, tmp_path):
    model = replace(SMALL, architecture="deeplabv3plus")
    assert len(chips[0]) % 2 == 1
    assert len(fit(*chips, tmp_path, replace(QUICK, crop_px=64), model, progress=silent).history) == 1
