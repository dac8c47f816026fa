"""
Losses on logits, blind to the pixels whose mask says "ignore".

Weights say how often a pixel counts: losses that are a mean over pixels (focal, bce) take the weighted mean, so that
twice the weight is as if the pixel were there twice, and a common factor changes nothing. Losses of overlap (dice,
jaccard, lovasz, tversky, mcc) measure regions and know no shares of a pixel: they ignore weight 0, and take any other
as 1. "bce_dice" is the sum of one of each.
"""

from collections.abc import Callable

import segmentation_models_pytorch as smp
import torch
from torch import Tensor
from torch.nn import functional

from lib.errors import ParameterError
from lib.grid import MASK_FOREGROUND, MASK_IGNORE

IGNORE = -1.0  # target value of an ignored pixel, where smp asks for one

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # (logits, mask, weight or None), all (N, 1, H, W) -> scalar


def focal_loss(
    logits: Tensor, mask: Tensor, weight: Tensor | None = None, alpha: float = 0.25, gamma: float = 0.5
) -> Tensor:
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
    weight
        (N, 1, H, W) of any type, 0 or more: how often each pixel counts, up to a common factor; None is once each.
    alpha
        Weight of the foreground, 0..1; 1 - alpha is that of the background.
    gamma
        How much pixels count less the surer they are right; 0 is plain cross-entropy.
    """
    target = (mask == MASK_FOREGROUND).to(logits.dtype)
    crossentropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    wrong = (-torch.expm1(-crossentropy)).clamp_min(1e-7)  # 1 - p of the truth; its power needs a finite slope
    balance = alpha * target + (1 - alpha) * (1 - target)
    return _mean(balance * wrong**gamma * crossentropy, mask, weight)


def bce_loss(logits: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, the mean over all pixels that are not ignored; shapes as `focal_loss`."""
    target = (mask == MASK_FOREGROUND).to(logits.dtype)
    values = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return _mean(values, mask, weight)


def _mean(values: Tensor, mask: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean over the pixels that are not ignored; 0, with a gradient of 0, where there is none."""
    valid = mask != MASK_IGNORE
    counts = valid if weight is None else valid * weight.to(values.dtype)
    return (values * counts).sum() / counts.sum().clamp_min(1)


def _valid(mask: Tensor, weight: Tensor | None) -> Tensor:
    valid = mask != MASK_IGNORE
    return valid if weight is None else valid & (weight > 0)


def _region(criterion: torch.nn.Module) -> Loss:
    """Loss of smp over overlap; it takes targets 0 and 1, and a value for what to ignore."""

    def loss(logits: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
        target = (mask == MASK_FOREGROUND).to(logits.dtype)
        return criterion(logits, target.masked_fill(~_valid(mask, weight), IGNORE))

    return loss


def mcc_loss(logits: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """1 - Matthews' correlation of probability and mask, as smp has it; shapes as `focal_loss`."""
    valid = _valid(mask, weight)
    target = (mask == MASK_FOREGROUND).to(logits.dtype)
    return smp.losses.MCCLoss()(logits.sigmoid()[valid][None], target[valid][None])


def _sum(*losses: Loss) -> Loss:
    return lambda logits, mask, weight=None: sum(loss(logits, mask, weight) for loss in losses)


LOSSES = ("focal", "bce", "dice", "bce_dice", "jaccard", "lovasz", "tversky", "mcc")


def create_loss(name: str, alpha: float = 0.25, gamma: float = 0.5) -> Loss:
    """
    Loss by name: a function of logits, mask and perhaps weight, all (N, 1, H, W).

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
        "focal": lambda logits, mask, weight=None: focal_loss(logits, mask, weight, alpha, gamma),
        "bce": bce_loss,
        "dice": _region(smp.losses.DiceLoss(**settings)),
        "jaccard": _region(smp.losses.JaccardLoss(**settings)),
        "lovasz": _region(smp.losses.LovaszLoss(**settings)),
        "tversky": _region(smp.losses.TverskyLoss(**settings)),
        "mcc": mcc_loss,
    }
    known["bce_dice"] = _sum(bce_loss, known["dice"])
    if name not in known:
        raise ParameterError(f"Unknown loss {name!r}: expected one of {LOSSES}.")
    return known[name]
