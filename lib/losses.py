"""Losses on logits, blind to the pixels whose mask says "ignore"."""

from collections.abc import Callable

import segmentation_models_pytorch as smp
import torch
from torch import Tensor
from torch.nn import functional

from lib.errors import ParameterError
from lib.grid import MASK_FOREGROUND, MASK_IGNORE

IGNORE = -1.0  # target value of an ignored pixel, where smp asks for one

Loss = Callable[[Tensor, Tensor], Tensor]  # (logits, mask uint8) of (N, 1, H, W) -> scalar


def focal_loss(logits: Tensor, mask: Tensor, alpha: float = 0.25, gamma: float = 0.5) -> Tensor:
    """
    Focal loss (Lin et al. 2017), the mean over all pixels that are not ignored.

    -alpha (1 - p)^gamma log p on the foreground, -(1 - alpha) p^gamma log(1 - p) on the background, p the
    sigmoid of the logit.

    Parameters
    ----------
    logits
        (N, 1, H, W) float.
    mask
        (N, 1, H, W) uint8: 0, 127 (ignore) or 255.
    alpha
        Weight of the foreground, 0..1; 1 - alpha is that of the background.
    gamma
        How much pixels count less the surer they are right; 0 is plain cross-entropy.
    """
    target, valid = (mask == MASK_FOREGROUND).to(logits.dtype), mask != MASK_IGNORE
    crossentropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    wrong = (-torch.expm1(-crossentropy)).clamp_min(1e-7)  # 1 - p of the truth; its power needs a finite slope
    weight = alpha * target + (1 - alpha) * (1 - target)
    return _mean(weight * wrong**gamma * crossentropy, valid)


def bce_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over all pixels that are not ignored; shapes as `focal_loss`."""
    target = (mask == MASK_FOREGROUND).to(logits.dtype)
    values = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return _mean(values, mask != MASK_IGNORE)


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean over valid pixels; 0, with a gradient of 0, where there is none."""
    return (values * valid).sum() / valid.sum().clamp_min(1)


def _region(criterion: torch.nn.Module) -> Loss:
    """Loss of smp over overlap; it takes targets 0 and 1, and a value for what to ignore."""

    def loss(logits: Tensor, mask: Tensor) -> Tensor:
        target = (mask == MASK_FOREGROUND).to(logits.dtype)
        return criterion(logits, target.masked_fill(mask == MASK_IGNORE, IGNORE))

    return loss


def _sum(*losses: Loss) -> Loss:
    return lambda logits, mask: sum(loss(logits, mask) for loss in losses)


LOSSES = ("focal", "bce", "dice", "bce_dice", "lovasz", "tversky")


def create_loss(name: str, alpha: float = 0.25, gamma: float = 0.5) -> Loss:
    """
    Loss by name: a function of logits and mask, both (N, 1, H, W).

    Parameters
    ----------
    name
        One of `LOSSES`; "bce_dice" is D-LinkNet's.
    alpha, gamma
        Of the focal loss.

    Raises
    ------
    ParameterError
        If the name is unknown.
    """
    settings = {"mode": "binary", "ignore_index": IGNORE}
    known: dict[str, Loss] = {
        "focal": lambda logits, mask: focal_loss(logits, mask, alpha, gamma),
        "bce": bce_loss,
        "dice": _region(smp.losses.DiceLoss(**settings)),
        "lovasz": _region(smp.losses.LovaszLoss(**settings)),
        "tversky": _region(smp.losses.TverskyLoss(**settings)),
    }
    known["bce_dice"] = _sum(bce_loss, known["dice"])
    if name not in known:
        raise ParameterError(f"Unknown loss {name!r}: expected one of {LOSSES}.")
    return known[name]
