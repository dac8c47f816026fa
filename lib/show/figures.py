"""
Pictures of chips: labels, errors, the best and the worst, lost routes.

Every function is pure: arrays in, a matplotlib Figure out, no global state. Map-like pictures carry a scale bar where
the GSD is known. One colour has one meaning in all of them (lib.show.canvas).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lib.errors import InputError
from lib.grid import MASK_IGNORE
from lib.scores.evaluate import Case
from lib.show.canvas import (
    ERRORS,
    FP,
    IGNORE,
    INK,
    LABEL,
    LABEL_ALPHA,
    PREDICTION,
    TRUTH,
    check_pair,
    confusion,
    error_rgb,
    muted,
    overlay_rgb,
)
from lib.show.sheet import Sheet, fitted, height_share, patch, picture_axes, show_photo, strip_legend

PANEL_IN = 5.0  # side of one picture of a pair, inches
MADE_UP = "proposal_to_truth"  # direction of a route that only the proposal has
ROUTE_GAP_PT = 1.9  # between routes that share a street, on paper
BADGE_PT = 7.0  # half of a number's badge, on paper
MADE_UP_DASH = (0, (2.2, 1.2))
LOSS_COLORS = {
    "no snap": FP,
    "no route": "#7A1FA2",
    "detour": "#F5C211",
    "one place": "#5A3A1C",
    "shortcut": "#0B7A75",
}
NAME_LENGTH = 22  # letters of a chip's name that fit above a small panel; its end tells it from its neighbours
ERROR_NAMES = {"tp": "found (TP)", "fp": "false alarm (FP)", "fn": "missed (FN)"}


def _legend(sheet: Sheet, handles: list[Patch], masks: Iterable[np.ndarray], ignored: str) -> None:
    """Legend below pictures of masks; the hatching is named only where it occurs."""
    if any((mask == MASK_IGNORE).any() for mask in masks):
        handles = [*handles, patch(IGNORE, ignored, 0.35, hatched=True)]
    strip_legend(sheet, handles)


def _label_legend(sheet: Sheet, label: str, color: str, *masks: np.ndarray) -> None:
    """Legend of masks laid over images."""
    _legend(sheet, [patch(color, label, LABEL_ALPHA)], masks, "ignored: no data or uncertain")


def _error_legend(sheet: Sheet, *masks: np.ndarray, shares: Mapping[str, str] | None = None) -> None:
    """Legend of error pictures; `shares` by the names of ERRORS, text behind each of them."""
    handles = [patch(ERRORS[key], name + (shares or {}).get(key, "")) for key, name in ERROR_NAMES.items()]
    _legend(sheet, handles, masks, "not scored")


def _show_errors(
    ax: Axes,
    panel_in: float,
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    gsd_m: float | None,
    title: str,
) -> None:
    """The errors of a prediction over its muted image, in a panel so many inches wide."""
    pixels, _ = fitted(panel_in, image, truth, prediction)
    show_photo(ax, error_rgb(*pixels), truth.shape, gsd_m, title)


def label_overlay(
    image: np.ndarray,
    mask: np.ndarray,
    *,
    gsd_m: float | None = None,
    title: str = "",
    label: str = "OSM label",
    color: str = LABEL,
) -> Figure:
    """
    A bare image, so that the eye can check the label, and beside it the same under a mask, translucent and outlined.

    Parameters
    ----------
    image
        uint8 (H, W, 3) RGB.
    mask
        uint8 (H, W); 255 is tinted, 127 hatched grey.
    gsd_m
        Metres a pixel, for the scale bar; None draws none.
    title
        Above the picture, for instance the chip's name.
    label
        What the tint stands for, in the legend.
    color
        LABEL, TRUTH or PREDICTION of lib.show.canvas.

    Raises
    ------
    InputError
        If image and mask do not fit.
    """
    check_pair(image, mask)
    height_in = PANEL_IN * height_share(image) + 0.55
    sheet = Sheet(2 * PANEL_IN, height_in, f"{label} over its image. {title}", photo=True)
    left, right = picture_axes(sheet, 2, 2)
    (shown, fitted_mask), edge_px = fitted(PANEL_IN, image, mask)
    show_photo(left, shown, mask.shape, gsd_m, title)
    show_photo(right, overlay_rgb(shown, fitted_mask, color, edge_px), mask.shape, gsd_m, " " if title else "")
    _label_legend(sheet, label, color, mask)
    return sheet


def overlay_grid(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    *,
    titles: Sequence[str] | None = None,
    gsd_m: float | Sequence[float | None] | None = None,
    label: str = "OSM label",
    color: str = LABEL,
    columns: int = 4,
) -> Figure:
    """
    Many labelled chips at a glance, row by row.

    `titles` one a chip; `gsd_m` in metres a pixel, one for all or one a chip; else as `label_overlay`.
    """
    count = len(images)
    titles = [""] * count if titles is None else list(titles)
    gsds = list(gsd_m) if isinstance(gsd_m, Sequence) else [gsd_m] * count
    if not count or not count == len(masks) == len(titles) == len(gsds):
        raise InputError(
            f"Expected as many masks, titles and GSDs as images, at least one; got {count} images, "
            f"{len(masks)} masks, {len(titles)} titles, {len(gsds)} GSDs."
        )
    columns = min(columns, count)
    panel_in = 2 * PANEL_IN / columns
    rows = -(-count // columns)
    ratio = max(map(height_share, images))
    extra_in = 0.28 if any(titles) else 0.05
    height_in = rows * (panel_in * ratio + extra_in) + 0.35
    sheet = Sheet(2 * PANEL_IN, height_in, f"{count} chips under their {label}.", photo=True)
    axes = picture_axes(sheet, count, columns)
    for ax, image, mask, title, gsd in zip(axes, images, masks, titles, gsds, strict=True):
        check_pair(image, mask)
        (shown, fitted_mask), edge_px = fitted(panel_in, image, mask)
        show_photo(ax, overlay_rgb(shown, fitted_mask, color, edge_px), mask.shape, gsd, title)
    _label_legend(sheet, label, color, *masks)
    return sheet


def comparison(
    image: np.ndarray,
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    gsd_m: float | None = None,
    title: str = "",
) -> Figure:
    """
    Image and errors side by side: found (TP), false alarms (FP), missed (FN); ignored pixels are hatched.

    The legend states each class's share of the scored pixels that are road or building in either mask.

    Parameters
    ----------
    image
        uint8 (H, W, 3) RGB.
    truth, prediction
        Masks, uint8 (H, W) of 0, 127 (ignored in either: not scored) and 255.
    gsd_m
        Metres a pixel, for the scale bar.
    title
        Above the image.
    """
    check_pair(image, truth, prediction)
    alt = f"Prediction against truth: found, false alarms, missed. {title}"
    sheet = Sheet(2 * PANEL_IN, PANEL_IN * height_share(image) + 0.55, alt, photo=True)
    left, right = picture_axes(sheet, 2, 2)
    (shown,), _ = fitted(PANEL_IN, image)
    show_photo(left, shown, truth.shape, gsd_m, title)
    _show_errors(right, PANEL_IN, image, truth, prediction, gsd_m, " " if title else "")
    areas = confusion(truth, prediction)
    counts = {key: int(areas[key].sum()) for key in ERRORS}
    union = sum(counts.values())
    shares = {key: f" {count / union:.0%}" for key, count in counts.items()} if union else {}
    _error_legend(sheet, truth, prediction, shares=shares)
    return sheet


def error_panels(
    image: np.ndarray,
    truth: np.ndarray,
    predictions: Sequence[np.ndarray],
    titles: Sequence[str],
    *,
    gsd_m: float | None = None,
) -> Figure:
    """
    The image, and the errors of several predictions of it beside each other.

    Parameters
    ----------
    image
        uint8 (H, W, 3) RGB.
    truth
        Mask, uint8 (H, W) of 0, 127 (not scored) and 255.
    predictions, titles
        Masks of the same size, and what to write above each.
    gsd_m
        Metres a pixel, for the scale bar.
    """
    check_pair(image, truth, *predictions)
    panel_in = 2 * PANEL_IN / max(len(predictions), 2)
    rows = 1 + len(predictions)
    columns = 2 if rows in (1, 2, 4) else 3
    height = -(-rows // columns) * (panel_in * height_share(image) + 0.28) + 0.35
    sheet = Sheet(columns * panel_in, height, f"Errors of {', '.join(titles)}.", photo=True)
    axes = picture_axes(sheet, rows, columns)
    (shown,), _ = fitted(panel_in, image)
    show_photo(axes[0], shown, truth.shape, gsd_m, "image")
    for ax, prediction, title in zip(axes[1:], predictions, titles, strict=True):
        _show_errors(ax, panel_in, image, truth, prediction, gsd_m, title)
    _error_legend(sheet, truth, *predictions)
    return sheet


def best_and_worst(cases: Sequence[Case], *, count: int = 4) -> Figure:
    """
    Errors of the best chips in the first row and of the worst in the second, each with its IoU.

    Parameters
    ----------
    cases
        Scored chips, in any order; with fewer than twice `count`, no chip is shown twice.
    count
        Chips a row.
    """
    if not cases:
        raise InputError("Expected at least one scored chip; got none.")
    ranked = sorted(cases, key=lambda case: (-case.score, case.name))
    best = ranked[: min(count, -(-len(ranked) // 2))]
    worst = ranked[len(best) :][-count:][::-1]
    columns = len(best)
    panel_in = 2 * PANEL_IN / max(columns, 2)
    rows = 2 if worst else 1
    alt = "Errors of the chips with the highest and the lowest IoU."
    sheet = Sheet(columns * panel_in, rows * (panel_in + 0.28) + 0.35, alt, photo=True)
    axes = picture_axes(sheet, len(best) + len(worst), columns)
    ranks = ["best"] * len(best) + ["worst"] * len(worst)
    for ax, rank, case in zip(axes, ranks, best + worst, strict=True):
        name = case.name if len(case.name) <= NAME_LENGTH else f"…{case.name[1 - NAME_LENGTH :]}"
        title = f"{rank} {case.score:.2f}  {name}"
        _show_errors(ax, panel_in, case.image, case.truth, case.prediction, case.gsd_m, title)
        ax.title.set_fontsize(7.5)
    _error_legend(sheet, *(mask for case in cases for mask in (case.truth, case.prediction)))
    return sheet


def lost_routes(
    image: np.ndarray,
    truth_lines: Sequence[np.ndarray],
    proposal_lines: Sequence[np.ndarray],
    routes: pd.DataFrame,
    *,
    gsd_m: float | None = None,
    title: str = "",
) -> Figure:
    """
    Both networks over the muted image; beside them the routes that cost the most APLS, numbered, by their reason.

    Parameters
    ----------
    image
        uint8 (H, W, 3) RGB.
    truth_lines, proposal_lines
        Polylines in pixels, each float (N, 2) x, y.
    routes
        As lib.apls.worst.explain gives them, worst first: `direction`, `reason` and `line`, the route in its own
        network. Routes of the truth that the proposal lost are solid, those that it made up dashed. The legend counts
        all routes of `routes.attrs["reasons"]`, not only those drawn.
    gsd_m
        Metres a pixel, for the scale bar.
    title
        Above the left picture.
    """
    columns = ["direction", "reason", "line"]
    missing = [name for name in columns if name not in routes.columns]
    if missing:
        raise InputError(f"Expected routes with the columns {', '.join(columns)}; missing: {', '.join(missing)}.")
    check_pair(image)
    alt = f"True and proposed roads, and the {len(routes)} routes that cost the most. {title}"
    sheet = Sheet(2 * PANEL_IN, PANEL_IN * height_share(image) + 0.8, alt, photo=True)
    left, right = picture_axes(sheet, 2, 2)
    for ax in (left, right):
        show_photo(ax, muted(image, 0.9), image.shape[:2], gsd_m, title if ax is left else (" " if title else ""))
    left.add_collection(LineCollection(truth_lines, colors=TRUTH, linewidths=4.0, alpha=0.85))
    left.add_collection(LineCollection(proposal_lines, colors=PREDICTION, linewidths=1.6))
    for lines, color in ((truth_lines, TRUTH), (proposal_lines, PREDICTION)):
        right.add_collection(LineCollection(lines, colors=color, linewidths=0.8, alpha=0.7))
    for rank, route in enumerate(routes.itertuples(), start=1):
        _draw_route(right, rank, route, image.shape[1::-1])
    handles = [
        Line2D([], [], color=TRUTH, linewidth=4, label="true roads"),
        Line2D([], [], color=PREDICTION, linewidth=1.6, label="proposed roads"),
        Line2D([], [], color=INK, linewidth=2, label="route lost"),
    ]
    if MADE_UP in set(routes["direction"]):
        handles.append(Line2D([], [], color=INK, linewidth=2, linestyle=MADE_UP_DASH, label="route made up"))
    for reason, count in routes.attrs["reasons"].groupby("reason", sort=False)["routes"].sum().items():
        color = LOSS_COLORS.get(reason, IGNORE)
        handles.append(Line2D([], [], color=color, linewidth=3, label=f"{reason}: {count:,}"))
    strip_legend(sheet, handles, columns=5)
    return sheet


def _draw_route(ax: Axes, rank: int, route: NamedTuple, size_px: tuple[int, int]) -> None:
    """
    One route, moved aside by its rank so that those on the same street lie side by side; its start has the rank.

    `route` is a row of `lost_routes`' table. All of it stays on the picture, `size_px` wide and high.
    """
    color = LOSS_COLORS.get(route.reason, IGNORE)
    point_px = size_px[0] / PANEL_IN / 72  # a point on paper, in pixels of the image
    aside_px = (rank // 2 * (-1) ** rank) * ROUTE_GAP_PT * point_px  # 0, +1, -1, +2, -2, ... gaps
    line = np.clip(np.asarray(route.line, float) + [aside_px, -aside_px], 0, size_px)
    start, end = np.clip(line[[0, -1]], BADGE_PT * point_px, np.array(size_px) - BADGE_PT * point_px)
    ax.plot(*line.T, color="white", linewidth=2.6, zorder=3 + 1 / rank, solid_capstyle="round")
    dash = MADE_UP_DASH if route.direction == MADE_UP else "-"
    ax.plot(*line.T, color=color, linewidth=1.3, linestyle=dash, zorder=4 + 1 / rank, solid_capstyle="round")
    ax.plot(*end, "o", color=color, markeredgecolor="white", markersize=5, zorder=5)
    badge = {"boxstyle": "circle,pad=0.2", "facecolor": color, "edgecolor": "white", "linewidth": 0.8}
    text = {"fontsize": 6.5, "color": "white", "ha": "center", "va": "center", "fontweight": "bold"}
    ax.text(*start, str(rank), bbox=badge, zorder=6 + 1 / rank, **text)
