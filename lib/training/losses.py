"""
Losses on logits, blind to the pixels whose mask says "ignore".

Weights say how often a pixel counts: losses that are a mean over pixels (focal, bce) take the weighted mean, so that
twice the weight is as if the pixel were there twice, and a common factor changes nothing. Losses of overlap (dice,
jaccard, lovasz, tversky, mcc) measure regions and know no shares of a pixel: they ignore weight 0, and take any other
as 1. "bce_dice" is the sum of one of each.

Of several classes, each a mask and a channel of logits, the loss is the mean over those of which the batch knows a
pixel.

Focal loss and cross-entropy are not smp's: those take no weights, smp's cross-entropy divides by the ignored pixels,
too, and the gradient of its focal loss is no number where a pixel is surely right and gamma below 1.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from lib.errors import ParameterError
from lib.grid import MASK_FOREGROUND, MASK_IGNORE
from lib.training.recipe import FOCAL_GRADIENTS, LOSSES

IGNORE = -1.0  # target value of an ignored pixel, where smp asks for one
# name -> class of smp
REGION_LOSSES = {"dice": "DiceLoss", "jaccard": "JaccardLoss", "lovasz": "LovaszLoss", "tversky": "TverskyLoss"}

Loss = Callable[
    [Tensor, Tensor, Tensor | None], Tensor
]  # (logits, mask, weight or None), all (N, classes, H, W) -> scalar


def focal_loss(
    logits: Tensor,
    mask: Tensor,
    weight: Tensor | None = None,
    alpha: float = 0.25,
    gamma: float = 0.5,
    gradient: str = "full",
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
    gradient
        One of `FOCAL_GRADIENTS`: of all of the formula ("full"), or with (1 - p)^gamma held constant, as the paper's
        release does ("detached"). The value is the same; the full gradient of a pixel that is surely right is 1 + gamma
        times as large.
    """
    target = _target(logits, mask)
    crossentropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    wrong = (-torch.expm1(-crossentropy)).clamp_min(1e-7)  # 1 - p of the truth; its power needs a finite slope
    if gradient == "detached":
        wrong = wrong.detach()
    balance = alpha * target + (1 - alpha) * (1 - target)
    return _mean(balance * wrong**gamma * crossentropy, mask, weight)


def bce_loss(logits: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, the mean over all pixels that are not ignored; shapes as `focal_loss`."""
    values = functional.binary_cross_entropy_with_logits(logits, _target(logits, mask), reduction="none")
    return _mean(values, mask, weight)


def _target(logits: Tensor, mask: Tensor) -> Tensor:
    """1 on the foreground, 0 elsewhere, of the logits' type."""
    return (mask == MASK_FOREGROUND).to(logits.dtype)


def _mean(values: Tensor, mask: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean over the pixels that are not ignored; 0, with a gradient of 0, where there is none."""
    valid = mask != MASK_IGNORE
    counts = valid if weight is None else valid * weight.to(values.dtype)
    return (values * counts).sum() / counts.sum().clamp_min(1)


def region_loss(logits: Tensor, mask: Tensor, weight: Tensor | None = None, *, name: str) -> Tensor:
    """Loss of smp over overlap, `name` one of `REGION_LOSSES` or "mcc"; shapes as `focal_loss`."""
    from segmentation_models_pytorch import losses

    valid = mask != MASK_IGNORE if weight is None else (mask != MASK_IGNORE) & (weight > 0)
    target = _target(logits, mask)
    if name == "mcc":  # which takes probabilities, and knows nothing of pixels to ignore
        return losses.MCCLoss()(logits.sigmoid()[valid][None], target[valid][None])
    criterion = getattr(losses, REGION_LOSSES[name])(mode="binary", ignore_index=IGNORE)
    return criterion(logits, target.masked_fill(~valid, IGNORE))


def create_loss(name: str, alpha: float = 0.25, gamma: float = 0.5, gradient: str = "full") -> Loss:
    """
    Loss by name: a function of logits, mask and weight or None, all (N, classes, H, W).

    Parameters
    ----------
    name
        One of `LOSSES`; "bce_dice" is D-LinkNet's.
    alpha, gamma, gradient
        Of the focal loss.

    Raises
    ------
    ParameterError
        If a name is unknown.
    """
    for given, known in ((name, LOSSES), (gradient, FOCAL_GRADIENTS)):
        if given not in known:
            raise ParameterError(f"Unknown loss or gradient {given!r}: expected one of {known}.")
    if name == "focal":
        return partial(_over_classes, partial(focal_loss, alpha=alpha, gamma=gamma, gradient=gradient))
    if name == "bce":
        return partial(_over_classes, bce_loss)
    if name == "bce_dice":
        return partial(_over_classes, lambda *batch: bce_loss(*batch) + region_loss(*batch, name="dice"))
    return partial(_over_classes, partial(region_loss, name=name))


def _over_classes(loss: Loss, logits: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of a loss over the classes of which a pixel is known; 0, with a gradient of 0, where none is."""
    classes = logits.shape[1]
    if classes == 1:
        return loss(logits, mask, weight)
    parts = [
        loss(logits[:, c : c + 1], mask[:, c : c + 1], None if weight is None else weight[:, c : c + 1])
        for c in range(classes)
    ]
    known = (mask != MASK_IGNORE).any(dim=3).any(dim=2).any(dim=0)  # (classes,)
    return torch.where(known, torch.stack(parts), 0.0).sum() / known.sum().clamp_min(1)
