"""Augmentations: what they do to pixels, and that masks follow images."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.grid import MASK_FOREGROUND, MASK_IGNORE
from lib.training.augment import augment, draw_augmentation, margin_px, shift_colour
from lib.training.recipe import AUGMENTATIONS, AugmentConfig

ALWAYS = AugmentConfig(probability=1.0)


def window(side_px: int, n: int = 1, seed: int = 0) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (n, side_px, side_px, 4), dtype=np.uint8)
    pixels[..., 3] = np.where(pixels[..., 3] > 127, 255, 0)
    return torch.from_numpy(pixels)


def drawn(config: AugmentConfig, n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    augmentation = draw_augmentation(config, n, np.random.default_rng(seed))
    return torch.from_numpy(augmentation.affine), torch.from_numpy(augmentation.colour)


def test_none_is_the_centre_of_the_window():
    pixels = window(48, 3)
    image, mask, _ = augment(pixels, *drawn(AUGMENTATIONS["none"], 3), 32)
    expected = pixels[:, 8:40, 8:40].permute(0, 3, 1, 2)
    torch.testing.assert_close(image, expected[:, :3].float() / 255, atol=1e-4, rtol=0)
    assert torch.equal(mask, expected[:, 3:])


def test_flips_and_turns_are_the_eight_symmetries_and_exact():
    pixels = window(32).expand(200, -1, -1, -1)
    image, mask, _ = augment(pixels, *drawn(AUGMENTATIONS["flips"], 200), 32)
    source = pixels[0].permute(2, 0, 1)
    symmetries = [torch.rot90(view, k, (1, 2)) for view in (source, source.flip(2)) for k in range(4)]
    found = set()
    for one_image, one_mask in zip(image, mask, strict=True):
        both = torch.cat([(one_image * 255).round().to(torch.uint8), one_mask])
        matches = [index for index, view in enumerate(symmetries) if torch.equal(both, view)]
        assert len(matches) == 1
        found.add(matches[0])
    assert found == set(range(8))


def test_mask_follows_image():
    side = 96
    pixels = torch.zeros(64, side, side, 4, dtype=torch.uint8)
    pixels[:, 30:70, 40:60] = 255
    affine, colour = drawn(ALWAYS, 64)
    image, mask, _ = augment(pixels, affine, torch.zeros_like(colour), 64)
    bright = image.mean(dim=1, keepdim=True) > 0.5
    inside = mask != MASK_IGNORE
    assert ((mask == MASK_FOREGROUND) == bright)[inside].float().mean() > 0.995


def test_mask_stays_a_mask_and_the_outside_is_ignored():
    pixels = torch.full((32, 64, 64, 4), 255, dtype=torch.uint8)  # no margin: shifts reach beyond the window
    image, mask, _ = augment(pixels, *drawn(AugmentConfig(probability=1, hue_deg=0, saturation=0, value=0), 32), 64)
    assert set(mask.unique().tolist()) == {MASK_IGNORE, MASK_FOREGROUND}
    assert (image > 0.999).all(), "the image is mirrored there"


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([32, 64, 96]))
def test_margin_is_enough(seed, crop_px):
    margin = margin_px(ALWAYS, crop_px)
    pixels = torch.zeros(8, crop_px + 2 * margin, crop_px + 2 * margin, 4, dtype=torch.uint8)
    _, mask, _ = augment(pixels, *drawn(ALWAYS, 8, seed), crop_px)
    assert not (mask == MASK_IGNORE).any()


def test_margin_without_change_of_shape_is_nothing():
    assert margin_px(AUGMENTATIONS["flips"], 256) == 0
    assert margin_px(AUGMENTATIONS["none"], 256) == 0


def test_ranges_are_the_papers():
    config = AugmentConfig()
    augmentation = draw_augmentation(config, 20_000, np.random.default_rng(0))
    limits = np.array([30 / 180, 5 / 255, 15 / 255])
    assert (np.abs(augmentation.colour) <= limits + 1e-6).all()
    assert (np.abs(augmentation.colour).max(axis=0) > 0.99 * limits).all()
    assert np.mean(augmentation.colour[:, 0] != 0) == pytest.approx(0.5, abs=0.02)
    area = 1 / np.abs(np.linalg.det(augmentation.affine[:, :, :2]))
    assert (area >= 0.9**2 - 1e-5).all()
    assert (area <= 1.1**2 + 1e-5).all()
    assert np.mean(area != 1) == pytest.approx(0.5, abs=0.02)
    assert np.abs(augmentation.affine[:, :, 2]).max() == pytest.approx(0.2, rel=0.01)  # of 2 across the crop
    turned = np.abs(augmentation.affine[:, 0, 1]) > 0.5
    assert turned.mean() == pytest.approx(0.5, abs=0.02)


def test_colour_agrees_with_opencv():
    generator = np.random.default_rng(0)
    rgb = generator.random((1, 40, 50, 3), dtype=np.float32)
    hue_turns, saturation, value = 0.15, -0.02, 0.05
    hsv = cv2.cvtColor(rgb[0], cv2.COLOR_RGB2HSV)  # hue 0..360, the others 0..1
    hsv[..., 0] = (hsv[..., 0] + 360 * hue_turns) % 360
    hsv[..., 1] = np.clip(hsv[..., 1] + saturation, 0, 1)
    hsv[..., 2] = np.clip(hsv[..., 2] + value, 0, 1)
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    shift = torch.tensor([[hue_turns, saturation, value]])
    found = shift_colour(torch.from_numpy(rgb).permute(0, 3, 1, 2), shift)
    np.testing.assert_allclose(found[0].permute(1, 2, 0), expected, atol=2e-3)


def test_no_shift_of_colour_changes_nothing_not_even_grey():
    image = torch.rand(2, 3, 8, 8)
    image[0] = 0.5
    image[1, :, 0] = 0
    torch.testing.assert_close(shift_colour(image, torch.zeros(2, 3)), image, atol=1e-6, rtol=0)


def test_grey_has_no_hue_to_shift():
    image = torch.full((1, 3, 4, 4), 0.4)
    torch.testing.assert_close(shift_colour(image, torch.tensor([[0.3, 0.0, 0.0]])), image, atol=1e-6, rtol=0)


def test_same_generator_same_draw():
    first, second = (draw_augmentation(AugmentConfig(), 9, np.random.default_rng([3, 1])) for _ in range(2))
    np.testing.assert_array_equal(first.affine, second.affine)
    np.testing.assert_array_equal(first.colour, second.colour)
