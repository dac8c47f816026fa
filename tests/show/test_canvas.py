"""Pixels composed over imagery, and colours that can be told apart."""

from itertools import combinations

import cv2
import numpy as np
import pytest

from lib.errors import ParameterError
from lib.show import canvas
from lib.show.figures import LOSS_COLORS

SIDE = 64

pytestmark = pytest.mark.filterwarnings("error")


def near(pixel: np.ndarray, color: str, tolerance: int = 60) -> bool:
    return int(np.abs(pixel.astype(int) - canvas.rgb(color)).max()) <= tolerance


def test_overlay_tints_mask_and_leaves_the_rest(image):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:40, 20:40] = 255
    composed = canvas.overlay_rgb(image, mask, "#FF0000", outline_px=1)
    assert (composed[20, 20:40] == (255, 0, 0)).all()  # outline, inside the mask
    tint = canvas.LABEL_ALPHA * np.array([255, 0, 0])
    inside = (image[22:38, 22:38] * (1 - canvas.LABEL_ALPHA) + tint).round()
    assert np.abs(composed[22:38, 22:38] - inside).max() <= 1
    outside = np.ones((SIDE, SIDE), bool)
    outside[19:41, 19:41] = False  # a dark edge, one pixel wide, lies around the mask
    assert (composed[outside] == image[outside]).all()
    assert composed is not image


def test_ignored_pixels_turn_grey_and_are_neither_right_nor_wrong(image, quarters):
    truth, prediction = quarters
    truth[:, -8:] = 127
    areas = canvas.confusion(truth, prediction)
    assert areas["ignore"][:, -8:].all() and not areas["fn"][:, -8:].any()
    assert sum(int(areas[name].sum()) for name in ("tp", "fp", "fn")) == 3 * SIDE * SIDE // 4 - 8 * SIDE // 2
    changed = canvas.overlay_rgb(image, truth)[:, -8:].astype(float)
    assert (
        np.abs(changed - canvas.rgb(canvas.IGNORE)).mean()
        < np.abs(image[:, -8:] - np.array(canvas.rgb(canvas.IGNORE))).mean()
    )


def test_errors_have_their_colours(image, quarters):
    composed = canvas.error_rgb(image, *quarters)
    half, quarter = SIDE // 2, SIDE // 4
    assert near(composed[quarter, quarter], canvas.TP)
    assert near(composed[quarter, half + quarter], canvas.FN)
    assert near(composed[half + quarter, quarter], canvas.FP)
    background = composed[half + quarter, half + quarter].astype(int)
    assert background.max() - background.min() < 60  # muted


@pytest.mark.parametrize(("meanings", "least"), [(canvas.ERRORS, 30), (LOSS_COLORS, 15)], ids=["errors", "routes lost"])
def test_colours_part_for_colour_blind_readers(meanings, least):
    # Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB
    simulations = {
        "normal": np.eye(3),
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    }
    colors = np.array([canvas.rgb(color) for color in meanings.values()]) / 255
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    for name, matrix in simulations.items():
        seen = np.clip(linear @ np.transpose(matrix), 0, 1)
        seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
        lab = cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
        distances = [np.linalg.norm(one - other) for one, other in combinations(lab, 2)]
        assert min(distances) > least, name  # 2.3 is just noticeable


@pytest.mark.parametrize("suffix, tolerance", [(".png", 0), (".jpg", 12), (".webp", 12)])
def test_encoded_images_read_back(suffix, tolerance):
    smooth = np.dstack(
        [np.tile(np.linspace(0, 255, 32, dtype=np.uint8), (32, 1))] * 2 + [np.full((32, 32), 80, np.uint8)]
    )
    content = np.frombuffer(canvas.encode_image(smooth, suffix, 95), np.uint8)
    back = cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(back.astype(int) - smooth).max() <= tolerance
    with pytest.raises(ParameterError, match=".png"):
        canvas.encode_image(smooth, ".bmp")
