"""Schedules, parameter groups, and the score that chooses an epoch."""

import pytest
import torch

from lib.networks.models import create_model
from lib.training.engine import IoUCurve, learning_rate_factor, parameter_groups


def test_poly_schedule():
    values = [2e-4 * learning_rate_factor("poly", epoch / 90) for epoch in (0, 1, 45, 89)]
    assert values == pytest.approx([2e-4, 2e-4 * (89 / 90) ** 0.9, 2e-4 * 0.5**0.9, 2e-4 * (1 / 90) ** 0.9])


def test_other_schedules():
    assert [learning_rate_factor("constant", p) for p in (0, 0.5, 1)] == [1, 1, 1]
    assert [learning_rate_factor("cosine", p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    one = [learning_rate_factor("onecycle", p) for p in (0, 0.15, 0.3, 0.65, 1)]
    assert one == pytest.approx([0.04, 0.52, 1, 0.50005, 1e-4])


def test_parameter_groups_by_part_and_kind():
    network = create_model("pp_linknet", "tu-mobilenetv3_small_050")
    network.encoder.model.conv_stem.requires_grad_(False)
    groups = parameter_groups(network, 1e-3, encoder_lr_factor=0.1, weight_decay=0.01)
    assert {(g["lr"], g["weight_decay"]) for g in groups} == {(1e-4, 0.01), (1e-4, 0), (1e-3, 0.01), (1e-3, 0)}
    assert sum(len(g["params"]) for g in groups) == len(list(network.parameters())) - 1
    assert all((p.ndim > 1) == (g["weight_decay"] > 0) for g in groups for p in g["params"])


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
