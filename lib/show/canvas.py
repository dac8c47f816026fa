"""
What all pictures share: the palette, and pixels composed over imagery.

Image: uint8 (H, W, 3) RGB. Mask: uint8 (H, W) of 0, 127 (ignore) and 255. Area: uint8 (H, W) of 0 and 1. Only numpy and
OpenCV, and quick enough to follow a slider.
"""

import re

import cv2
import numpy as np

from lib.errors import InputError, ParameterError
from lib.grid import MASK_FOREGROUND, MASK_IGNORE

# What a colour means is the same in every figure, map and widget.
LABEL = "#FFD21F"  # OSM vectors and the pseudo-labels made from them
TRUTH = "#19C8C8"  # clean, hand-made or surveyed
PREDICTION = "#C2189B"  # what the network says: darker than the truth, too
# Errors differ in lightness as well as in hue, so that they also part for a colour-blind reader and in print.
TP = "#5FD38D"  # found: the palest, for it asks for nothing
FP = "#F2541B"  # false alarm
FN = "#2F6BFF"  # missed
ERRORS = {"tp": TP, "fp": FP, "fn": FN}  # by the names of `confusion`
IGNORE = "#8F979E"  # no-data or uncertain: neither trained on nor scored
INK = "#22303C"  # text
FAINT = "#DDE3E7"  # grid lines, frames
SLATE = "#7B8894"  # second-rank text and reference series
TEAL = "#0B7A75"
OCHRE = "#C97B06"
PLUM = "#8E4585"
BLUE = "#3B6FB6"
SERIES = (TEAL, OCHRE, PLUM, BLUE, "#A5493D", SLATE)

JPEG_QUALITY = 88
LABEL_ALPHA = 0.42  # of a mask laid over its image: both stay readable
ERROR_ALPHA = 0.85  # of errors over a muted image
HATCH_PERIOD_PX = 10


def rgb(color: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a colour written as #RRGGBB."""
    if not re.fullmatch("#[0-9a-fA-F]{6}", color):
        raise ParameterError(f"Expected a colour as #RRGGBB; got {color[:40]!r}.")
    return tuple(bytes.fromhex(color[1:]))


def short(text: str, length: int) -> str:
    """A text of at most so many characters; a name that a stranger chose may be a novel."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def check_pair(image: np.ndarray, *masks: np.ndarray) -> None:
    """Raise InputError unless the image is uint8 (H, W, 3) and every mask uint8 or bool (H, W) like it."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(
            f"Expected an RGB image, uint8 (H, W, 3); got {image.dtype} {image.shape}. "
            "Read it with lib.chips.manifest.read_image."
        )
    for mask in masks:
        if mask.shape != image.shape[:2] or mask.dtype not in (np.uint8, np.bool_):
            raise InputError(
                f"Expected a mask, uint8 {image.shape[:2]}, like its image; got {mask.dtype} {mask.shape}. "
                "Resample one of the two to the other's grid."
            )


def foreground(mask: np.ndarray) -> np.ndarray:
    """Foreground of a mask as uint8 0 / 1; a bool mask is all foreground and background."""
    if mask.dtype == np.bool_:
        return mask.view(np.uint8)
    return (mask == MASK_FOREGROUND).view(np.uint8)


def outline(area: np.ndarray, width_px: int = 1) -> np.ndarray:
    """Inner edge of an area, `width_px` wide, as an area; the image's border is none."""
    return area - cv2.erode(area, None, iterations=width_px)


def casing(area: np.ndarray, width_px: int = 1) -> np.ndarray:
    """Outer edge of an area: a dark line there keeps a bright outline readable on bright ground."""
    return cv2.dilate(area, None, iterations=width_px) - area


def tint(canvas: np.ndarray, area: np.ndarray, color: str, alpha: float) -> None:
    """Mix `color` into `canvas` in place wherever `area` is not 0; alpha 1 covers."""
    levels = np.arange(256)[:, None, None]  # every value a channel can have: the table is (256, 1, 3)
    table = np.rint((1 - alpha) * levels + alpha * np.array(rgb(color))).astype(np.uint8)
    cv2.copyTo(cv2.LUT(canvas, table), area, canvas)


def hatch(canvas: np.ndarray, area: np.ndarray) -> None:
    """Grey diagonal hatching on `canvas` in place wherever `area` is not 0: neither yes nor no."""
    if not area.any():
        return
    rows, columns = np.ogrid[: area.shape[0], : area.shape[1]]
    stripes = ((rows + columns) % HATCH_PERIOD_PX < HATCH_PERIOD_PX // 3).astype(np.uint8)
    tint(canvas, area, IGNORE, 0.45)
    tint(canvas, area & stripes, IGNORE, 1)


def overlay_rgb(image: np.ndarray, mask: np.ndarray, color: str = LABEL, outline_px: int = 1) -> np.ndarray:
    """
    Image under a translucent mask with a crisp edge; ignored pixels are hatched grey.

    Returns a new uint8 (H, W, 3) array; `outline_px` is the width of the edge, inside the mask.
    """
    check_pair(image, mask)
    canvas = image.copy()
    area = foreground(mask)
    tint(canvas, area, color, LABEL_ALPHA)
    tint(canvas, casing(area, outline_px), INK, 0.6)
    tint(canvas, outline(area, outline_px), color, 1)
    hatch(canvas, (mask == MASK_IGNORE).view(np.uint8))
    return canvas


def muted(image: np.ndarray, strength: float = 0.75) -> np.ndarray:
    """The image drawn back towards a light grey, so that colour over it speaks; strength 0 to 1."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed = cv2.addWeighted(image, 1 - strength, grey, strength, 0)
    return cv2.addWeighted(mixed, 0.6, np.full_like(mixed, 255), 0.4, 0)


def confusion(truth: np.ndarray, prediction: np.ndarray) -> dict[str, np.ndarray]:
    """Areas of right and wrong predictions: `tp`, `fp`, `fn`; and `ignore`, what either mask ignores."""
    ignore = ((truth == MASK_IGNORE) | (prediction == MASK_IGNORE)).view(np.uint8)
    yes, said = foreground(truth), foreground(prediction)
    scored = 1 - ignore
    return {
        "tp": yes & said & scored,
        "fp": (1 - yes) & said & scored,
        "fn": yes & (1 - said) & scored,
        "ignore": ignore,
    }


def error_rgb(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Muted image with found (TP), false alarm (FP) and missed (FN) pixels tinted, ignored ones hatched."""
    check_pair(image, truth, prediction)
    canvas = muted(image)
    areas = confusion(truth, prediction)
    for name, color in ERRORS.items():
        tint(canvas, areas[name], color, ERROR_ALPHA)
    hatch(canvas, areas["ignore"])
    return canvas


def encode_image(pixels: np.ndarray, suffix: str = ".jpg", quality: int = JPEG_QUALITY) -> bytes:
    """Bytes of a .jpg, .webp (quality 0 to 100, above: lossless) or .png, from uint8 RGB (H, W, 3) or RGBA."""
    options = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        ".webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
        ".png": [cv2.IMWRITE_PNG_COMPRESSION, 6],
    }
    if suffix not in options:
        raise ParameterError(f"Expected one of {', '.join(options)}; got {suffix!r}.")
    code = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    return cv2.imencode(suffix, cv2.cvtColor(pixels, code), options[suffix])[1].tobytes()
