"""Losses: against their formulas, blind to what is ignored, finite at the extremes."""

import numpy as np
import pytest
import torch

from lib.chips.manifest import WEIGHT_ONE
from lib.errors import ParameterError
from lib.training.losses import FOCAL_GRADIENTS, LOSSES, create_loss, focal_loss


def test_focal_loss_against_the_formula():
    logits = torch.tensor([0.3, -1.2, 2.0, -4.0]).view(1, 1, 2, 2)
    mask = torch.tensor([255, 0, 0, 255], dtype=torch.uint8).view(1, 1, 2, 2)
    p = 1 / (1 + np.exp(-np.array([0.3, -1.2, 2.0, -4.0])))
    by_hand = [
        -0.25 * (1 - p[0]) ** 0.5 * np.log(p[0]),
        -0.75 * p[1] ** 0.5 * np.log(1 - p[1]),
        -0.75 * p[2] ** 0.5 * np.log(1 - p[2]),
        -0.25 * (1 - p[3]) ** 0.5 * np.log(p[3]),
    ]
    assert float(focal_loss(logits, mask)) == pytest.approx(np.mean(by_hand), rel=1e-5)
    without_focus = float(focal_loss(logits, mask, alpha=0.5, gamma=0.0))
    assert without_focus == pytest.approx(float(create_loss("bce")(logits, mask)) / 2, rel=1e-5)


def test_both_gradients_of_the_focal_loss():
    """The same value; the release's gradient is (1 - p)^gamma times that of cross-entropy, Lin's is larger."""
    mask = torch.tensor([255, 0, 255, 0], dtype=torch.uint8).view(1, 1, 2, 2)
    values, gradients = [], []
    for name in FOCAL_GRADIENTS:
        logits = torch.tensor([0.0, 0.0, 8.0, -8.0]).view(1, 1, 2, 2).requires_grad_()
        value = create_loss("focal", gradient=name)(logits, mask)
        value.backward()
        values.append(value.item())
        gradients.append(logits.grad.flatten())
    assert values[0] == values[1]
    by_hand = [-0.25 * 0.5**1.5, 0.75 * 0.5**1.5]  # at logit 0: alpha (1 - p)^gamma (p - 1), of one pixel of four
    assert (gradients[1][:2] * 4).tolist() == pytest.approx(by_hand, rel=1e-5)
    # at logit 0, 1 + gamma ln 2, so nearly 1.35 as a network starts; 1 + gamma where a pixel is surely right
    assert (gradients[0] / gradients[1]).tolist() == pytest.approx([1.3466, 1.3466, 1.5, 1.5], rel=1e-3)
    with pytest.raises(ParameterError, match="half"):
        create_loss("focal", gradient="half")


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_change_no_loss_and_get_no_gradient(name):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 8, 8, generator=generator).requires_grad_()
    mask = (torch.rand(2, 1, 8, 8, generator=generator) > 0.5).to(torch.uint8) * 255
    mask[:, :, :3] = 127
    loss = create_loss(name)
    value = loss(logits, mask)
    value.backward()
    assert (logits.grad[:, :, :3] == 0).all()
    assert (logits.grad[:, :, 3:] != 0).any()
    changed = logits.detach().clone()
    changed[:, :, :3] = 50.0
    assert float(loss(changed, mask)) == pytest.approx(float(value.detach()), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_say_how_often_a_pixel_counts(name):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 1, 8, 8, generator=generator)
    mask = (torch.rand(1, 1, 8, 8, generator=generator) > 0.5).to(torch.uint8) * 255
    loss, ones = create_loss(name), torch.full_like(mask, WEIGHT_ONE)
    assert float(loss(logits, mask, ones)) == pytest.approx(float(loss(logits, mask, None)), rel=1e-5)
    none, ignored = ones.clone(), mask.clone()
    none[..., :3], ignored[..., :3] = 0, 127
    assert float(loss(logits, mask, none)) == pytest.approx(float(loss(logits, ignored, None)), rel=1e-5)
    if name in ("focal", "bce"):
        twice = ones.clone()
        twice[..., :3] *= 2
        repeated = [torch.cat([values, values[..., :3]], dim=-1) for values in (logits, mask)]
        assert float(loss(logits, mask, twice)) == pytest.approx(float(loss(*repeated, None)), rel=1e-5)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "lovasz"])
@pytest.mark.parametrize("fill", [0, 127, 255])
def test_losses_are_finite_at_the_extremes(name, fill):
    logits = torch.tensor([-200.0, 200.0, 0.0, 1e-8]).view(1, 1, 2, 2).requires_grad_()
    value = create_loss(name)(logits, torch.full((1, 1, 2, 2), fill, dtype=torch.uint8))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
