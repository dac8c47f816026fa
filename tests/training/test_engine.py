"""The score that chooses an epoch, and losses that are no numbers."""

from dataclasses import replace

import pytest
import torch

from lib.networks.models import ModelConfig
from lib.training.engine import IoUCurve, TrainingDivergedError
from lib.training.recipe import TrainConfig
from lib.training.trainer import fit

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
QUICK = TrainConfig(epochs=3, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true")

pytestmark = pytest.mark.usefixtures("one_thread")


def silent(_line: str) -> None:
    pass


def test_iou_curve_against_counting():
    generator = torch.Generator().manual_seed(0)
    curve, logits, masks = IoUCurve(), [], []
    for _ in range(3):
        logit = torch.randn(2, 1, 9, 9, generator=generator)
        mask = torch.where(logit + torch.randn(2, 1, 9, 9, generator=generator) > 0.7, 255, 0).to(torch.uint8)
        mask[:, :, 0] = 127
        curve.update(logit, mask, torch.tensor(0.5))
        logits.append(logit)
        masks.append(mask)
    probability, mask = torch.cat(logits).sigmoid(), torch.cat(masks)
    found = curve.compute()

    def iou(threshold: float) -> float:
        predicted, truth, valid = probability >= threshold, mask == 255, mask != 127
        return float((predicted & truth & valid).sum() / ((predicted | truth) & valid).sum())

    assert found["loss"] == pytest.approx(0.5)
    assert found["iou"] == pytest.approx(iou(found["threshold"]))
    assert found["iou"] == pytest.approx(max(iou((level + 0.5) / 255) for level in range(255)))


def test_iou_of_masks_without_foreground_is_zero():
    curve = IoUCurve()
    curve.update(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.tensor(0.1))
    assert curve.compute()["iou"] == 0


def test_loss_that_is_no_number_names_the_chips(chips, tmp_path, monkeypatch):
    def explode(logits, _mask, _weight):
        return logits.sum() * float("nan")

    monkeypatch.setattr("lib.training.engine.create_loss", lambda *_: explode)
    with pytest.raises(
        TrainingDivergedError, match=r"loss is nan in epoch 1, on the chips \['chip\d', .*learning_rate"
    ):
        fit(*chips, tmp_path, QUICK, SMALL, progress=silent)
    assert not (tmp_path / "done.json").exists()


def test_weights_that_the_last_step_ruined_are_found_in_validation(finished, chips, tmp_path, same_weights):
    config = replace(QUICK, samples_per_epoch=4)
    object.__setattr__(config, "learning_rate", 1e30)  # more than it takes
    with pytest.raises(TrainingDivergedError, match=r"on a validation chip after epoch 1.*Lower learning_rate"):
        fit(*chips, tmp_path, config, SMALL, init_from=finished[0].checkpoint, progress=silent)
    assert same_weights(tmp_path / "best.safetensors", finished[0].checkpoint)
