"""Pictures of chips under the masks of their classes: all of them in one picture, each class in a colour of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.figure import Figure

from lib.chips.manifest import CLASS, read_image, read_mask, rows_by_chip
from lib.grid import MASK_IGNORE
from lib.limits import classes_of
from lib.show.canvas import IGNORE, INK, LABEL, LABEL_ALPHA, casing, check_pair, foreground, hatch, outline, tint
from lib.show.figures import PANEL_IN, overlay_grid
from lib.show.sheet import Sheet, fitted, height_share, patch, picture_axes, show_photo, strip_legend

# Okabe and Ito's orange and sky blue, which part for any reader; no other figure gives them a meaning
CLASS_COLORS = {"roads": "#E69F00", "buildings": "#56B4E9"}


def sampled(chips: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """All rows of at most `count` chips, drawn at random."""
    names = chips.drop_duplicates("chip")
    drawn = names.sample(min(count, len(names)), random_state=seed)
    return chips[chips["chip"].isin(drawn["chip"])] if CLASS in chips else drawn


def labels_figure(
    chips: pd.DataFrame, task: str, *, label: str = "OSM label", color: str = LABEL, columns: int = 4
) -> Figure:
    """
    Chips of a manifest under their masks; one whose label knows only one of several classes shows that alone.

    Parameters
    ----------
    chips
        Rows of a manifest.
    task
        One of `lib.limits.TASKS`. A single class is drawn in `color` and called `label`.
    """
    if len(classes_of(task)) == 1:
        masks, gsds_m = [read_mask(path) for path in chips["mask"]], list(chips["gsd_m"])
        images = [read_image(path) for path in chips["image"]]
        return overlay_grid(images, masks, gsd_m=gsds_m, label=label, color=color, columns=columns)
    rows = rows_by_chip(chips, task)
    known = [next(row for row in of_chip if row is not None) for of_chip in rows]
    masks = [
        {kind: read_mask(row.mask) for kind, row in zip(classes_of(task), of_chip, strict=True) if row is not None}
        for of_chip in rows
    ]
    images, gsds_m = [read_image(row.image) for row in known], [row.gsd_m for row in known]
    return classes_figure(images, masks, gsd_m=gsds_m, title=label, columns=columns)


def classes_figure(
    images: Sequence[np.ndarray],
    masks: Sequence[Mapping[str, np.ndarray]],
    *,
    titles: Sequence[str] | None = None,
    gsd_m: Sequence[float | None],
    title: str = "",
    columns: int = 4,
) -> Figure:
    """
    Images under the masks of several classes, row by row.

    Parameters
    ----------
    images
        uint8 (H, W, 3) RGB.
    masks
        Of each image, by class: uint8 (H, W); what no class knows is hatched.
    titles
        One an image.
    gsd_m
        Metres a pixel of each, for the scale bars.
    title
        What the masks are, for those who don't see the picture.
    """
    columns = min(columns, len(images))
    panel_in, titles = 2 * PANEL_IN / columns, titles or [""] * len(images)
    ratio = max(map(height_share, images))
    height_in = -(-len(images) // columns) * (panel_in * ratio + (0.28 if any(titles) else 0.05)) + 0.35
    kinds = list(dict.fromkeys(kind for own in masks for kind in own))
    sheet = Sheet(2 * PANEL_IN, height_in, f"{len(images)} images under {' and '.join(kinds)}. {title}", photo=True)
    panels = zip(picture_axes(sheet, len(images), columns), images, masks, titles, gsd_m, strict=True)
    for ax, image, own, said, own_gsd_m in panels:
        check_pair(image, *own.values())
        (shown, *small), edge_px = fitted(panel_in, image, *own.values())
        pixels = classes_rgb(shown, dict(zip(own, small, strict=True)), edge_px)
        show_photo(ax, pixels, image.shape[:2], own_gsd_m, said)
    handles: list[Any] = [patch(CLASS_COLORS[kind], kind, LABEL_ALPHA) for kind in kinds]
    if any(_nowhere_known(own).any() for own in masks):
        handles.append(patch(IGNORE, "ignored: no data or uncertain", 0.35, hatched=True))
    strip_legend(sheet, handles)
    return sheet


def classes_rgb(image: np.ndarray, masks: Mapping[str, np.ndarray], outline_px: int = 1) -> np.ndarray:
    """Image under translucent masks by class, each with a crisp edge; pixels that no class knows are hatched grey."""
    canvas = image.copy()
    for kind, mask in masks.items():
        area = foreground(mask)
        tint(canvas, area, CLASS_COLORS[kind], LABEL_ALPHA)
        tint(canvas, casing(area, outline_px), INK, 0.6)
        tint(canvas, outline(area, outline_px), CLASS_COLORS[kind], 1)
    hatch(canvas, _nowhere_known(masks).view(np.uint8))
    return canvas


def _nowhere_known(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pixels that all masks ignore, bool (H, W)."""
    return np.all([mask == MASK_IGNORE for mask in masks.values()], axis=0)


def display_each(figures: Mapping[str, Any]) -> None:
    """Show a figure for each class in a notebook, among several under the name of its class."""
    for kind, figure in figures.items():
        if len(figures) > 1:
            print(f"{kind}:")
        display(figure)
