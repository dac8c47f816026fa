"""Where augmentation and the release's differ: the hue of red, the border of a chip, the edge of a mask."""

import cv2
import numpy as np
import torch

from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND, MASK_IGNORE
from lib.training.augment import Augmentation, augment, shift_colour

REDDISH = np.array([[[200, 60, 40]]], np.uint8)  # hue 4 of OpenCV's 180


def shifted(hue_of_180):
    image = torch.from_numpy(REDDISH).permute(2, 0, 1)[None].float() / 255
    found = shift_colour(image, torch.tensor([[hue_of_180 / 180, 0.0, 0.0]]))[0].permute(1, 2, 0)
    return (found * 255).round().numpy().astype(np.uint8)


def turned(hue):
    """The colour with another hue of OpenCV's."""
    hsv = cv2.cvtColor(REDDISH, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = hue
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def test_hue_wraps_at_180_and_not_at_256():
    hue = int(cv2.cvtColor(REDDISH, cv2.COLOR_RGB2HSV)[0, 0, 0])
    assert hue < 10
    here, released = turned((hue - 20) % 180), turned(np.uint8((hue - 20) % 256) % 180)
    assert np.abs(shifted(-20).astype(int) - here).max() <= 4  # red turns to pink
    assert np.abs(here.astype(int) - released).max() > 100  # and there to green
    np.testing.assert_allclose(shifted(180).astype(int), REDDISH, atol=1)


def test_a_mask_is_warped_by_its_nearest_pixel_and_what_lies_beyond_is_mirrored_and_ignored():
    pixels = torch.zeros(1, 64, 64, 4, dtype=torch.uint8)
    pixels[:, :, :, :3] = 90
    pixels[:, 20:23, :, 3] = MASK_FOREGROUND
    affine = np.array([[[0.93, 0.0, 0.4], [0.0, 0.93, 0.011]]], np.float32)  # to the right by a fifth, no whole pixels
    moved = Augmentation(affine, np.zeros((1, 3), np.float32))
    image, mask, _ = augment(pixels, torch.from_numpy(moved.affine), torch.from_numpy(moved.colour), 64)
    assert set(mask.unique().tolist()) == {MASK_BACKGROUND, MASK_IGNORE, MASK_FOREGROUND}
    assert (mask[0, 0, :, -8:] == MASK_IGNORE).all() and (mask[0, 0, :, :48] != MASK_IGNORE).all()
    assert torch.allclose(image, torch.full_like(image, 90 / 255), atol=1e-5)  # nothing is black
