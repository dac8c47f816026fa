"""
Candidates of a comparison with OSM one by one over the image: a panel with keys for JupyterLab, and a static sheet.

Both draw the same pixels (`candidate_rgb`). The panel holds no state of its own: `lib.conflation.review.Review` writes
each decision into the map's GeoPackage before the next candidate is shown.
"""

import html
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import geopandas as gpd
import ipywidgets
import numpy as np
import pandas as pd
import shapely
from matplotlib.figure import Figure

from lib.chips.imagery import read_pixels
from lib.conflation.review import ACCEPTED, OPEN, REJECTED, SKIPPED, Review
from lib.errors import InputError, PPLinkNetError
from lib.grid import Grid
from lib.masks.pixel_shapes import in_pixels
from lib.rasters import read_grid
from lib.show.canvas import FAINT, INK, LABEL, PREDICTION, casing, check_pair, short, tint
from lib.show.keys import add_keys
from lib.show.sheet import Sheet, patch, picture_axes, show_photo, strip_legend
from lib.show.widgets import Panel, warning

SIDE_PX = 640  # of a picture
AROUND_M = 40.0  # ground shown around a candidate
LEAST_SIDE_M = 120.0
LINE_PX = 3  # the ground below a line stays visible
PANEL_IN = 4.0  # side of one picture of the sheet, inches
TEXT_LENGTH = 60
KEYS = {"a": "accept", "r": "reject", "s": "skip", "u": "undo", "h": "lines", "ArrowLeft": "back", "ArrowRight": "on"}
ICONS = {
    **{"accept": "check", "reject": "times", "skip": "share", "undo": "undo"},
    **{"back": "arrow-left", "on": "arrow-right"},
}
STYLES = {"accept": "success", "reject": "danger"}
DECISIONS = {"accept": ACCEPTED, "reject": REJECTED, "skip": SKIPPED}


@dataclass(frozen=True)
class View:
    """
    What a picture of a candidate shows.

    Attributes
    ----------
    image
        uint8 (H, W, 3) RGB.
    gsd_m
        Metres a pixel.
    candidate, osm
        Lines, or rings of polygons, each (n, 2) x, y in pixels of the image.
    """

    image: np.ndarray
    gsd_m: float
    candidate: Sequence[np.ndarray]
    osm: Sequence[np.ndarray]


def candidate_rgb(view: View, lines: bool = True) -> np.ndarray:
    """
    The image with OSM and the candidate drawn over it, thinly, so that the ground below can be judged.

    Returns a new uint8 (H, W, 3) array; without `lines` the image alone.
    """
    check_pair(view.image)
    canvas = view.image.copy()
    # a bright line is edged darkly, and a dark one brightly: either is seen on any ground, whoever looks
    for paths, color, edge in ((view.osm, LABEL, INK), (view.candidate, PREDICTION, FAINT)) if lines else ():
        area = np.zeros(canvas.shape[:2], np.uint8)
        # sixteenths of a pixel from the centre of the first one
        points = [np.rint((np.asarray(path) - 0.5) * 16).astype(np.int32) for path in paths]
        cv2.polylines(area, points, False, 1, LINE_PX, cv2.LINE_8, 4)
        tint(canvas, casing(area), edge, 0.7)
        tint(canvas, area, color, 1)
    return canvas


def viewer(scenes: Sequence[Path], candidates: gpd.GeoDataFrame, osm: gpd.GeoDataFrame) -> Callable[[int], View]:
    """
    Function from a candidate's number to what is to be seen of it.

    Parameters
    ----------
    scenes
        Georeferenced images; the first that a candidate's middle lies in is shown.
    candidates
        With `candidate`, in any CRS.
    osm
        Roads or buildings in any CRS, moved onto the images if they lay beside them.

    Returns
    -------
    view
        Raises InputError where no image shows the candidate, or there is no such candidate.
    """
    grids = [read_grid(path) for path in scenes]
    geometry = dict(zip(candidates["candidate"], candidates.geometry, strict=True))
    osm_near = {crs: osm.to_crs(crs) for crs in {grid.crs for grid in grids}}

    def view(number: int) -> View:
        if number not in geometry:
            raise InputError(f"Expected the number of a candidate; {number} is none of the {len(geometry)}.")
        for path, grid in zip(scenes, grids, strict=True):
            own = in_pixels(geometry[number], candidates.crs, grid)
            left, top, right, bottom = shapely.bounds(own)
            if 0 <= left + right <= 2 * grid.width and 0 <= top + bottom <= 2 * grid.height:
                return _view(path, grid, own, osm_near[grid.crs])
        raise InputError(f"Candidate {number} lies on none of the {len(scenes)} images; give the one that shows it.")

    return view


def _view(path: Path, grid: Grid, candidate: shapely.Geometry, osm: gpd.GeoDataFrame) -> View:
    """The square of an image around a candidate, as far as the image goes; `candidate` in pixels, `osm` in its CRS."""
    left, top, right, bottom = shapely.bounds(candidate)
    side = max(max(right - left, bottom - top) + 2 * AROUND_M / grid.gsd_m, LEAST_SIDE_M / grid.gsd_m)
    size = np.minimum([side, side], [grid.width, grid.height])
    corner = np.clip(np.array([left + right, top + bottom]) / 2 - size / 2, 0, [grid.width, grid.height] - size)
    zoom = SIDE_PX / size.max()
    shape = tuple(np.maximum(1, np.rint(size[::-1] * zoom)).astype(int).tolist())
    image, _ = read_pixels(path, (*corner.tolist(), *size.tolist()), shape)
    window = shapely.box(*corner, *(corner + size))
    ground = shapely.transform(window, grid.pixel_to_world)
    near = in_pixels(osm.geometry.iloc[np.sort(osm.sindex.query(ground))].to_numpy(), grid.crs, grid)
    paths = [[(path - corner) * zoom for own in some for path in _paths(own)] for some in ([candidate], near)]
    return View(image, grid.gsd_m / zoom, *paths)


def _paths(geometry: shapely.Geometry) -> list[np.ndarray]:
    """Lines and rings of a geometry, each (n, 2)."""
    parts = shapely.get_parts(geometry)
    is_area = shapely.get_dimensions(parts) == 2
    return [shapely.get_coordinates(line) for line in (*parts[~is_area], *shapely.get_rings(parts[is_area]))]


def review_sheet(review: Review, view: Callable[[int], View], count: int = 6, columns: int = 3) -> Figure:
    """
    The first candidates in the review's order, as its panel shows them; each with its length or area and confidence.

    Parameters
    ----------
    review
        Whose candidates these are; it is left as it is.
    view
        From `viewer`.
    count, columns
        How many, and how many side by side.
    """
    rows = review.candidates.head(count)
    columns = min(columns, len(rows))
    height_in = PANEL_IN * -(-len(rows) // columns) + 0.4
    sheet = Sheet(PANEL_IN * columns, height_in, f"The first {len(rows)} candidates of {review.layer}.", photo=True)
    for ax, (_, row) in zip(picture_axes(sheet, len(rows), columns), rows.iterrows(), strict=True):
        shown = view(row["candidate"])
        show_photo(ax, candidate_rgb(shown), shown.image.shape[:2], shown.gsd_m, f"{facts(row)} · {row['status']}")
    strip_legend(sheet, [patch(PREDICTION, "candidate", 1), patch(LABEL, "OSM", 1)])
    return sheet


def facts(row: pd.Series) -> str:
    """Size and confidence of a candidate, and the road that it joins, in words; a stranger's words cut short."""
    sizes = [f"{row[key]:.0f} {unit}" for key, unit in (("length_m", "m"), ("area_m2", "m²")) if key in row]
    joins = str(row.get("joins_highway") or "")
    texts = [*sizes, f"confidence {row['confidence']:.2f}", *([f"joins {short(joins, TEXT_LENGTH)}"] if joins else [])]
    return " · ".join(texts)


class ReviewPanel(Panel):
    """
    The candidate at hand over the image, with buttons and keys; each decision is in the GeoPackage before the next.

    Keys, once the panel was clicked: a accept, r reject, s skip, u undo, arrows back and on, h hides the lines.

    Parameters
    ----------
    review
        What is decided; in its order.
    view
        From `viewer`.
    """

    def __init__(self, review: Review, view: Callable[[int], View]):
        self.review, self.view = review, view
        actions = {
            **{action: partial(review.decide, status) for action, status in DECISIONS.items()},
            "undo": self._undo,
            "back": partial(review.step, -1),
            "on": partial(review.step, 1),
        }
        self.buttons = {action: _button(action) for action in actions}
        self.lines = ipywidgets.ToggleButton(value=True, description="lines (h)", icon="eye")
        for action, act in actions.items():
            self.buttons[action].on_click(lambda _, act=act: self.act(act))
        self.about = ipywidgets.HTML()
        self.progress = ipywidgets.IntProgress(max=len(review.candidates), layout={"width": "310px"})
        buttons = list(self.buttons.values())
        rows = [ipywidgets.HBox(buttons[:3]), ipywidgets.HBox(buttons[3:])]
        super().__init__([self.about, *rows, self.lines, self.progress])
        self.column.layout.flex, self.picture.layout.min_width = "0 0 330px", "0"  # the picture gives way, not keys
        self.picture.layout.max_height = "75vh"
        add_keys(self, {**self.buttons, "lines": self.lines}, KEYS)

    def redraw(self) -> None:
        """Show the candidate at hand and how far the review is; an error is shown below the buttons."""
        start_s = time.perf_counter()
        row, counts = self.review.current, self.review.counts()
        self.about.value = (
            f"<b>{self.review.place + 1} of {len(self.review.candidates)}</b> · {html.escape(row['status'])}<br>"
            f"{html.escape(facts(row))}<br>"
            f'<span style="color:{PREDICTION}">━</span> candidate · <span style="color:{LABEL}">━</span> OSM'
        )
        self.progress.value = len(self.review.candidates) - counts[OPEN]
        said = " · ".join(f"{count} {status}" for status, count in counts.items())
        try:
            self.show(candidate_rgb(self.view(row["candidate"]), self.lines.value))
            elapsed_ms = 1000 * (time.perf_counter() - start_s)
            self.status.value = f"{said}<br>drawn in {elapsed_ms:.0f} ms{self.message}"
        except (PPLinkNetError, OSError) as error:
            self.status.value = f"{said}<br>{warning(error)}{self.message}"

    def _undo(self) -> None:
        if not self.review.undo():
            raise InputError("There is nothing to undo, or somebody else has decided it otherwise since.")


def _button(action: str) -> ipywidgets.Button:
    """The button of an action, with its key."""
    key = next(key for key, name in KEYS.items() if name == action)
    text = action if key.startswith("Arrow") else f"{action} ({key})"
    return ipywidgets.Button(
        description=text,
        icon=ICONS[action],
        button_style=STYLES.get(action, ""),
        layout={"width": "104px", "padding": "0"},
    )
