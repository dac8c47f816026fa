"""
What the values of a mask mean: one rule for mask images, chips' masks and arrays.

- 127, and the value that a file states as no-data, are ignored.
- Of the other values two are left: the higher is foreground, the other background. A value that stands alone is what it
  is in masks of 0 and 1 or of 0 and 255.
- Grey edges count by half of 255 (`has_grey_edges`): masks that were drawn smoothly, made smaller, or kept as JPEG.
- A file of one colour that is more transparent in places is refused: nobody knows whether that is its label
  (`label_in_alpha`). Else transparency says nothing.
- All else is refused, unless the caller says which values are foreground.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from lib.errors import InputError
from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND, MASK_IGNORE

HALF = MASK_FOREGROUND / 2  # grey edges are foreground from here on
ENDS = 1 / 8  # of the range of greys at either end are dark and light; edges lie between such pixels
EDGE_REACH_PX, NOISE_REACH_PX = 2, 8  # how near: an edge is a pixel or two wide; JPEG's noise fills its blocks of 8 px
FEW_VALUES = 8  # more are noise or blur
VALUES_NAMED = 8  # in an error


@dataclass(frozen=True)
class MaskValues:
    """
    What each value of a mask means; those not named are background.

    Attributes
    ----------
    foreground, ignored
        Values.
    is_grey
        Whether the values are levels of grey instead, foreground where lighter than half of 255.
    """

    foreground: frozenset = frozenset()
    ignored: frozenset = frozenset()
    is_grey: bool = False

    def levels(self, pixels: np.ndarray) -> np.ndarray:
        """How much of each pixel is foreground: uint8 of its shape, 0 to 255."""
        return pixels if self.is_grey else _is_in(pixels, self.foreground).view(np.uint8) * np.uint8(MASK_FOREGROUND)

    def is_ignored(self, pixels: np.ndarray) -> np.ndarray:
        """Where pixels are no-data or not known: bool of their shape; NaN always is."""
        ignored = _is_in(pixels, self.ignored)
        return ignored | np.isnan(pixels) if pixels.dtype.kind == "f" else ignored


def decide(
    values: Iterable[float],
    what: str,
    nodata: float | None = None,
    foreground: Collection[float] = (),
    advice: str = "compare first, such as mask == 3",
    background: float | None = None,
    name: Callable[[float], str] = "{:g}".format,
) -> MaskValues:
    """
    Meaning of a mask's values, unless they are grey.

    Parameters
    ----------
    values
        All that the mask holds, each once.
    what
        What holds them, for an error.
    nodata
        The value that the file states as no-data. It counts as a class where there are not two others: many writers
        state the background so, some the class itself.
    foreground
        The values that are foreground, where somebody said so.
    advice
        What to do where the values don't tell.
    background
        The only value that may be background; None: any.
    name
        Text of a value, for an error.

    Raises
    ------
    InputError
        If more than two values are left, or one or two that don't tell; lists them.
    """
    found, chosen = {value for value in values if value == value}, frozenset(foreground)
    ignored = {MASK_IGNORE, nodata} - chosen - {None}
    classes = found - ignored
    is_alone = classes <= chosen if chosen else len(classes) == 1
    if nodata in found and (is_alone if classes else nodata == MASK_BACKGROUND):
        classes, ignored = classes | {nodata}, ignored - {nodata}
    if not chosen:
        if len(classes) == 2 and background in {None, min(classes)}:
            chosen = frozenset({max(classes)})
        elif len(classes) == 1 and classes <= {1, MASK_FOREGROUND}:
            chosen = frozenset(classes)
        elif not classes <= {MASK_BACKGROUND}:
            more = f" and {len(found) - VALUES_NAMED} more" if len(found) > VALUES_NAMED else ""
            listed = ", ".join(map(name, sorted(found)[:VALUES_NAMED])) + more
            raise InputError(f"{what} holds the values {listed}; expected background and one class: {advice}")
    return MaskValues(chosen, frozenset(ignored & found))


def has_grey_edges(parts: Iterable[np.ndarray], values: Collection[float]) -> bool:
    """
    Whether the values of a mask between dark and light are edges: most of their pixels lie near a dark and a light one.

    Codes of classes fill areas, and where they are thin they don't lie between black and white.

    Parameters
    ----------
    parts
        The mask, or strips of it: (H, W) uint8.
    values
        All that it holds, each once.
    """
    top = max(values)
    if top <= HALF:
        return False
    dark, light, is_noisy = ENDS * top, (1 - ENDS) * top, len(values) > FEW_VALUES
    side = 1 + 2 * (NOISE_REACH_PX if is_noisy else EDGE_REACH_PX)
    around = np.ones((side, side), np.uint8)
    edges_less_others = 0
    for pixels in parts:
        between = (pixels > MASK_BACKGROUND) & (pixels < (light if is_noisy else top))
        is_edge = between & (cv2.erode(pixels, around) <= dark) & (cv2.dilate(pixels, around) >= light)
        edges_less_others += 2 * np.count_nonzero(is_edge) - np.count_nonzero(between)
    return edges_less_others > 0


def values_of(pixels: np.ndarray) -> list[float]:
    """The different values of an array of numbers."""
    if pixels.dtype == np.uint8 and pixels.size:
        return np.flatnonzero(cv2.calcHist([pixels], [0], None, [256], [0, 256])).tolist()
    return pd.unique(pixels.ravel()).tolist()


def read_values(mask: np.ndarray, what: str) -> MaskValues:
    """
    Meaning of the values of a mask in memory; its background is 0.

    Raises
    ------
    InputError
        If it is no array (H, W) of bool or whole numbers, or holds other values than a mask.
    """
    if mask.ndim != 2 or mask.dtype.kind not in "bui":
        raise InputError(
            f"Expected a bool or uint8 mask (H, W) as {what}, got {mask.dtype} of shape {mask.shape}: apply a "
            "threshold to probabilities first."
        )
    values = values_of(mask)
    if len(set(values) - {MASK_IGNORE}) > 2 and mask.dtype == np.uint8 and has_grey_edges([mask], values):
        return MaskValues(is_grey=True)
    return decide(values, f"The {what}", background=MASK_BACKGROUND)


def foreground(mask: np.ndarray, what: str = "mask") -> tuple[np.ndarray, np.ndarray | None]:
    """
    Foreground of a mask as uint8 of 0 and 1 (H, W), and which pixels are known, likewise; None where all are.

    Raises
    ------
    InputError
        As `read_values`.
    """
    if mask.dtype == bool and mask.ndim == 2:
        return mask.view(np.uint8), None
    meaning = read_values(mask, what)
    if meaning.is_grey:
        return (mask > HALF).view(np.uint8), None
    said = _is_in(mask, meaning.foreground).view(np.uint8)
    return said, (mask != MASK_IGNORE).view(np.uint8) if meaning.ignored else None


def as_mask(mask: np.ndarray, what: str) -> np.ndarray:
    """
    The mask with this project's values: uint8 (H, W) of 0 background, 127 ignored, 255 foreground.

    Raises
    ------
    InputError
        As `read_values`.
    """
    said, known = foreground(mask, what)
    mask = said * np.uint8(MASK_FOREGROUND)
    if known is not None:
        mask[known == 0] = MASK_IGNORE
    return mask


def label_in_alpha(path: str | Path, band: int) -> InputError:
    """The error of a mask that has one colour, and a band of transparency that is not the same everywhere."""
    return InputError(
        f"{path} has one colour everywhere, and its label, if any, in band {band}, alpha: expected background and one "
        "class in its colours. Write that band as a mask of its own."
    )


def _is_in(pixels: np.ndarray, values: Collection[float]) -> np.ndarray:
    """Where pixels have one of a few values: bool of their shape."""
    return reduce(np.logical_or, (pixels == value for value in values)) if values else np.zeros(pixels.shape, bool)
