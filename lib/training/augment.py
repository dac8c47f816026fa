"""
The paper's augmentations, on the device and a batch at a time.

All that is random is drawn by `draw_augmentation`, on the CPU and from a generator that the caller seeds; what
is done with it is arithmetic, the same on every device. torchvision's transforms draw once a batch, scale saturation
and value where the paper shifts them, and know no pixels to ignore.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lib.grid import MASK_IGNORE
from lib.training.recipe import AugmentConfig


@dataclass(frozen=True)
class Augmentation:
    """
    What to do to each of n crops.

    Attributes
    ----------
    affine
        (n, 2, 3) float32: from a crop's coordinates to those of its source, x before y, both -1..1 across
        the crop.
    colour
        (n, 3) float32: shifts of hue (turns), saturation and value (0..1).
    """

    affine: np.ndarray
    colour: np.ndarray


def draw_augmentation(config: AugmentConfig, n: int, generator: np.random.Generator) -> Augmentation:
    """
    Draw what happens to each of `n` crops; always takes the same number of values from `generator`.

    Scale s and aspect a give the sides s sqrt(a) and s / sqrt(a), so that a alone keeps the area.
    """
    # One row a crop. Amounts, -1..1: hue, saturation, value, scale, aspect, shift along x, along y.
    # Chosen: colour, shape, mirror left and right, mirror top and bottom, a quarter turn.
    amount = generator.uniform(-1, 1, (n, 7))
    chosen = generator.random((n, 5)) < config.probability
    with_colour, with_shape, mirrored, turned = np.split(chosen, [1, 2, 4], axis=1)
    colour = amount[:, :3] * [config.hue_deg / 360, config.saturation, config.value] * with_colour

    # coordinates run from -1 to 1: a shift by a share of the side is twice as much
    shape = amount[:, 3:] * [config.scale, config.aspect, 2 * config.shift, 2 * config.shift] * with_shape
    scale, aspect = 1 + shape[:, 0], np.sqrt(1 + shape[:, 1])
    stretch = 1 / np.stack([scale * aspect, scale / aspect], axis=1)  # from the crop to its source, hence 1 /
    flip = np.where(mirrored & config.flips, -1.0, 1.0)
    turn = np.where((turned & config.flips)[:, :, None], [[0.0, -1.0], [1.0, 0.0]], np.eye(2))
    affine = np.concatenate([(stretch * flip)[:, :, None] * turn, shape[:, 2:, None]], axis=2)
    return Augmentation(affine.astype(np.float32), colour.astype(np.float32))


def margin_px(config: AugmentConfig, crop_px: int) -> int:
    """Pixels beyond a crop, on each side, that scale and shift may bring into it."""
    smallest = (1 - config.scale) * min(math.sqrt(1 - config.aspect), 1 / math.sqrt(1 + config.aspect))
    return math.ceil(crop_px / 2 * (1 / smallest + 2 * config.shift - 1) - 1e-9)


def augment(
    pixels: Tensor, affine: Tensor, colour: Tensor, crop_px: int, bands: int = 3, classes: int = 1
) -> tuple[Tensor, Tensor, Tensor | None]:
    """
    Crops as the network sees them, before normalisation.

    Parameters
    ----------
    pixels
        (N, W, W, layers) uint8: red, green, blue, any other bands, masks and perhaps weights of a window centred on
        each crop, W >= crop_px.
    affine, colour
        Of `Augmentation`, on the device of `pixels`.
    crop_px
        Side of the crops.
    bands
        Of the image. Where they are more than red, green and blue, there is no hue to turn and no saturation: all of
        them get brighter or darker alike.
    classes
        How many masks there are, and as many weights where there are any.

    Returns
    -------
    image
        (N, bands, crop_px, crop_px) float32, 0..1.
    mask
        (N, classes, crop_px, crop_px) uint8: 0, 127 or 255; 127 (ignore) where the crop leaves its window.
    weight
        (N, classes, crop_px, crop_px) uint8, moved with the mask; None where `pixels` has none.
    """
    window_px = pixels.shape[1]
    grid = functional.affine_grid(
        affine * (crop_px / window_px), [len(pixels), 1, crop_px, crop_px], align_corners=False
    )
    channels = pixels.permute(0, 3, 1, 2).float()
    image = functional.grid_sample(channels[:, :bands], grid, "bilinear", "reflection", align_corners=False)
    # outside of the window a sample is 0: with the mask shifted so that "ignore" is 0, outside is ignored
    labels = functional.grid_sample(channels[:, bands:] - MASK_IGNORE, grid, "nearest", "zeros", align_corners=False)
    mask, *weight = (labels + MASK_IGNORE).to(torch.uint8).split(classes, dim=1)
    image = shift_colour(image / 255, colour) if bands == 3 else shift_value(image / 255, colour)
    return image, mask, *(weight or [None])


def shift_value(image: Tensor, shift: Tensor) -> Tensor:
    """Shift all bands of (N, bands, H, W), 0..1, by the value of `shift`, (N, 3) as for `shift_colour`; clipped."""
    return (image + shift[:, 2, None, None, None]).clamp(0, 1)


def shift_colour(image: Tensor, shift: Tensor) -> Tensor:
    """
    Shift hue, saturation and value.

    Parameters
    ----------
    image
        (N, 3, H, W) RGB, 0..1.
    shift
        (N, 3): hue in turns, which wraps; saturation and value 0..1, which are clipped.
    """
    value, _ = image.max(dim=1)
    chroma = value - image.min(dim=1).values
    red, green, blue = image.unbind(dim=1)
    safe = chroma.clamp_min(1e-8)
    # hue in sixths of a turn: 0 red, 2 green, 4 blue
    sextant = torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4)
    sextant = torch.where(value == red, (green - blue) / safe, sextant)
    saturation = chroma / value.clamp_min(1e-8)

    hue_shift, saturation_shift, value_shift = shift[:, :, None, None].unbind(dim=1)
    sextant = sextant + 6 * hue_shift
    saturation = (saturation + saturation_shift).clamp(0, 1)
    value = (value + value_shift).clamp(0, 1)
    # Smith's inverse in closed form: channel = v - v s max(0, min(k, 4 - k, 1)), k = (n + hue / 60) mod 6
    shares = [(sextant + n) % 6 for n in (5, 3, 1)]  # k of red, green, blue
    return torch.stack([value - value * saturation * torch.minimum(k, 4 - k).clamp(0, 1) for k in shares], dim=1)
