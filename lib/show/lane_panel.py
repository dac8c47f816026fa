"""
Lane widths, classes and offset over any scene of an area, beside what the run drew; saved, and the chips cut again.

The panel is given scenes as `Ground` and needs no GIS package; `lib.show.label_figures.lane_panel` makes them.
"""

import html
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import ipywidgets
import numpy as np

from lib.errors import BusyError, ParameterError, PPLinkNetError
from lib.grid import MASK_FOREGROUND
from lib.parameters import Settled
from lib.show.again import CUTTING, CutAgain
from lib.show.canvas import FN, FP, LABEL, TP, error_rgb, overlay_rgb
from lib.show.keys import add_keys
from lib.show.widgets import COLUMN_PX, Panel, close_lines, save_parameters, swatch, warning

SAVED = ("lane_width_m", "lane_widths_m", "classes", "dx_m", "dy_m")  # what the sliders say, by the notebook's names
PICTURE_PX = 1024  # longer side of the picture
FINEST_PX = 512  # a picture's longer side shows at least so many pixels of the image
SCENES_KEPT = 2  # in memory, of those that were looked at
VIEWS_KEPT = 8
LANE_WIDTH_M = 3.25  # where the slider stands at first
LANE_WIDTH_RANGE_M = (1.0, 8.0)
OFFSET_RANGE_M = (-15.0, 15.0)
ONE_WIDTH = "one width for all"
PAN = 0.25  # of what is seen
# button -> icon, words
VIEW_BUTTONS = {
    "in": ("search-plus", "nearer (+, or double click)"),
    "out": ("search-minus", "farther (-)"),
    "whole": ("expand", "the whole scene (0)"),
    "left": ("arrow-left", "to the left (or drag)"),
    "up": ("arrow-up", "up"),
    "down": ("arrow-down", "down"),
    "right": ("arrow-right", "to the right"),
}
KEYS = {
    **{"+": "in", "=": "in", "-": "out", "0": "whole", "b": "before", "d": "change"},
    **{"ArrowLeft": "left", "ArrowUp": "up", "ArrowDown": "down", "ArrowRight": "right"},
}
STEPS = {"left": (-PAN, 0), "up": (0, -PAN), "down": (0, PAN), "right": (PAN, 0)}

Window = tuple[int, int, int, int]  # (col, row, width, height)
LaneWidth = float | Mapping[str, float]  # metres; of all classes, or class by class
DrawMask = Callable[[LaneWidth, tuple[str, ...], float, float], np.ndarray]


class Look(NamedTuple):
    """
    A part of a scene.

    Attributes
    ----------
    image
        uint8 (H, W, 3) RGB.
    draw
        `draw(lane_width_m, classes, dx_m, dy_m)` gives the mask of it, uint8 (H, W); dx to the east, dy to the north,
        metres, on top of the scene's automatic offset.
    """

    image: np.ndarray
    draw: DrawMask


@dataclass(frozen=True)
class Ground:
    """
    A scene as the panel shows it.

    Attributes
    ----------
    name
        In the menu.
    size_px
        (width, height) at full resolution.
    gsd_m
        Metres a pixel there.
    opened
        Reads the scene; gives what looks at any window of it, in its pixels.
    offset_m
        Metres east and north by which the automatic offset moves the vectors.
    offset_words
        How sure it is, or why there is none.
    """

    name: str
    size_px: tuple[int, int]
    gsd_m: float
    opened: Callable[[], Callable[[Window], Look]]
    offset_m: tuple[float, float] = (0.0, 0.0)
    offset_words: str = ""


def window_of(size_px: tuple[int, int], centre: tuple[float, float], zoom: int) -> Window:
    """
    Part of a scene that is 2**zoom times as narrow and as low, around a place as far as the scene goes.

    `centre` in shares of its sides, x before y.
    """
    sides = [max(1, round(side / 2**zoom)) for side in size_px]
    corner = [
        min(max(round(share * whole - side / 2), 0), whole - side)
        for share, whole, side in zip(centre, size_px, sides, strict=True)
    ]
    return (*corner, *sides)


class LanePanel(Panel):
    """
    Sliders for lane width, classes and offset; the mask moves over the image at once.

    Keys, once the panel was clicked: + and - and 0 zoom, arrows pan, b (held) shows what the run drew, d what changes.
    The picture is dragged, and a double click zooms in there, with shift out.

    Parameters
    ----------
    grounds
        Scenes to choose from, at least one; each is read when it is chosen.
    settled
        The notebook's parameters: where the sliders stand at first, and what "before" shows.
    classes
        Highway classes with a box.
    own_classes
        What the profile draws where `classes` of the parameters is empty.
    tables
        Name -> (lane widths by class, what of them is saved), offered beside one width for all; the first is the
        run's own.
    fixed_px
        Whether the profile draws lanes in pixels, whatever the metres.
    """

    def __init__(
        self,
        grounds: Sequence[Ground],
        settled: Settled,
        *,
        classes: Collection[str],
        own_classes: Sequence[str],
        tables: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]],
        fixed_px: bool = False,
    ):
        self.settled, self.tables = settled, dict(tables)
        self.own_classes, self.fixed_px = tuple(own_classes), fixed_px
        self.zoom, self.centre = 0, (0.5, 0.5)
        self.is_quiet, self.saved_names = False, ()
        self._opened = lru_cache(SCENES_KEPT)(lambda ground: ground.opened())
        self._look = lru_cache(VIEWS_KEPT)(lambda ground, window: self._opened(ground)(window))
        run_classes = settled["classes"] or own_classes
        self.run_classes = tuple(run_classes)
        wide = {"style": {"description_width": "90px"}, "layout": {"width": f"{COLUMN_PX - 10}px"}}
        self.scene = ipywidgets.Dropdown(
            options=[(ground.name, ground) for ground in grounds], description="scene", **wide
        )
        self.scene.observe(lambda _: self._see_whole(), "value")  # before it is drawn
        self.view = {name: _button(icon, words) for name, (icon, words) in VIEW_BUTTONS.items()}
        for name, button in self.view.items():
            button.on_click(lambda _, name=name: self.move(name))
        half = {"layout": {"width": f"{COLUMN_PX // 2 - 8}px"}}
        self.before = ipywidgets.ToggleButton(description="before (hold b)", icon="history", **half)
        self.change = ipywidgets.ToggleButton(description="what changes (d)", icon="exchange", **half)
        one = settled["lane_width_m"]
        self.widths = ipywidgets.Dropdown(
            options=[*self.tables, ONE_WIDTH],
            value=ONE_WIDTH if one else next(iter(self.tables)),
            description="lane widths",
            disabled=fixed_px,
            **wide,
        )
        self.lane_width = _slider("lane width, m", one or LANE_WIDTH_M, LANE_WIDTH_RANGE_M, 0.05)
        self.dx = _slider("move east, m", settled["dx_m"], OFFSET_RANGE_M, 0.1)
        self.dy = _slider("north, m", settled["dy_m"], OFFSET_RANGE_M, 0.1)
        self.boxes = {
            name: ipywidgets.Checkbox(
                value=name in run_classes, description=name, indent=False, layout={"width": "auto"}
            )
            for name in classes
        }
        choice = ipywidgets.GridBox([*self.boxes.values()], layout={"grid_template_columns": "repeat(2, 1fr)"})
        self.offset = ipywidgets.HTML()
        self.reset = _named_button("reset", "undo", "back to what this run drew", self.put_back)
        self.save = _named_button("save", "save", "write it into the params file", self.save_profile)
        self.cut = _named_button("cut chips again", "scissors", "run notebook 1 with what is saved", self.cut_again)
        self.cutting = CutAgain(settled)
        self.said = self.cutting.said
        self.saved = self.profile()
        super().__init__(
            [
                self.scene,
                ipywidgets.HBox(list(self.view.values())),
                ipywidgets.HBox([self.before, self.change]),
                self.widths,
                self.lane_width,
                self.dx,
                self.dy,
                self.offset,
                choice,
                ipywidgets.HBox([self.reset, self.save, self.cut]),
                self.cutting,
            ],
            [self.before, self.change, *self.boxes.values()],
        )
        pressed = {**self.view, "before": self.before, "change": self.change}
        add_keys(self, pressed, KEYS, held="b", on_pointer=self.point, focus=False)

    @property
    def ground(self) -> Ground:
        """The scene that is shown."""
        return self.scene.value

    @property
    def window(self) -> Window:
        """What is seen of the scene, in its pixels at full resolution."""
        return window_of(self.ground.size_px, self.centre, self.zoom)

    def chosen(self) -> tuple[str, ...]:
        """Classes that are drawn; those without a box stay as the run had them."""
        known = dict.fromkeys((*self.own_classes, *self.run_classes, *self.boxes))
        return tuple(
            name for name in known if (self.boxes[name].value if name in self.boxes else name in self.run_classes)
        )

    def profile(self) -> dict[str, Any]:
        """What the sliders say, by the names of `SAVED`."""
        one, classes = self.widths.value == ONE_WIDTH, self.chosen()
        drawn = {*classes, "default"} if "all" not in classes else None
        table = {} if one else self.tables[self.widths.value][1]
        return {
            "lane_width_m": round(self.lane_width.value, 3) if one else 0.0,
            "lane_widths_m": {name: width for name, width in table.items() if drawn is None or name in drawn},
            "classes": [] if {*classes} == {*self.own_classes} else list(classes),
            "dx_m": round(self.dx.value, 3),
            "dy_m": round(self.dy.value, 3),
        }

    def _mask(self, look: Look, before: bool) -> np.ndarray:
        """Mask of what is seen as the run draws it, or as the sliders say: uint8 (H, W)."""
        if before:
            one, name, classes = self.settled["lane_width_m"], next(iter(self.tables)), self.run_classes
            dx_m, dy_m = self.settled["dx_m"], self.settled["dy_m"]
        else:
            one = self.lane_width.value if self.widths.value == ONE_WIDTH else 0.0
            name, classes = self.widths.value, self.chosen()
            dx_m, dy_m = self.dx.value, self.dy.value
        return look.draw(one or self.tables[name][0], classes, dx_m, dy_m)

    def redraw(self) -> None:
        """Draw mask and picture anew; an error of reading or drawing is shown below the sliders."""
        if self.is_quiet:
            return
        start_s = time.perf_counter()
        self.lane_width.disabled = self.fixed_px or self.widths.value != ONE_WIDTH
        self._say_offset()
        try:
            look = self._look(self.ground, self.window)
            mask = self._mask(look, self.before.value)
            if self.change.value and not self.before.value:
                self.show(error_rgb(look.image, self._mask(look, before=True), mask))
            else:
                self.show(overlay_rgb(look.image, mask))
        except (PPLinkNetError, OSError) as error:
            self.status.value = close_lines(warning(error))
            return
        elapsed_ms = 1000 * (time.perf_counter() - start_s)
        share = float((mask == MASK_FOREGROUND).mean())
        if self.change.value and not self.before.value:
            shown = f"{swatch(TP)} stays · {swatch(FP)} comes · {swatch(FN)} goes"
        else:
            shown = f"{swatch(LABEL)} {'as this run drew it' if self.before.value else 'as the sliders say'}"
        across_m = self.window[2] * self.ground.gsd_m
        self.status.value = close_lines(
            f"{shown}<br>{share:.1%} of what is seen is road · {across_m:,.0f} m across · drawn in {elapsed_ms:.0f} ms"
        )

    def _say_offset(self) -> None:
        """What the automatic offset adds to the sliders, and the sum."""
        auto_m = self.ground.offset_m
        lines = [f"automatic offset here: {html.escape(self.ground.offset_words)}"]
        if any(auto_m):
            lines = [f"automatic offset here: {_metres(*auto_m)} ({html.escape(self.ground.offset_words)})"]
            lines.append(f"with the sliders: <b>{_metres(auto_m[0] + self.dx.value, auto_m[1] + self.dy.value)}</b>")
        if self.fixed_px:
            lines.append("this profile draws lanes in pixels: widths in metres change nothing")
        self.offset.value = close_lines("<br>".join(lines))

    def move(self, name: str) -> None:
        """Zoom or pan as the button of that name says."""
        if name == "whole":
            self._see_whole()
        elif name in STEPS:
            self._pan(*STEPS[name])
        else:
            finest = max(0, math.ceil(math.log2(max(self.ground.size_px) / FINEST_PX)))
            self.zoom = min(max(self.zoom + (1 if name == "in" else -1), 0), finest)
        self.redraw()

    def _see_whole(self) -> None:
        self.zoom, self.centre = 0, (0.5, 0.5)

    def point(self, what: str, x: float, y: float) -> None:
        """Follow the pointer: drag the picture by, or zoom at, a share of its sides."""
        if what == "drag":
            self._pan(-x, -y)
            self.redraw()
        else:
            self._pan(x - 0.5, y - 0.5)
            self.move(what)

    def _pan(self, x: float, y: float) -> None:
        """Move what is seen by a share of it, as far as the scene goes."""
        col, row, width, height = self.window
        seen = (col + (0.5 + x) * width) / self.ground.size_px[0], (row + (0.5 + y) * height) / self.ground.size_px[1]
        col, row, width, height = window_of(self.ground.size_px, seen, self.zoom)
        self.centre = (col + width / 2) / self.ground.size_px[0], (row + height / 2) / self.ground.size_px[1]

    def put_back(self) -> None:
        """The sliders as they stood at first."""
        self.is_quiet = True
        self.widths.value = ONE_WIDTH if self.settled["lane_width_m"] else next(iter(self.tables))
        self.lane_width.value = self.settled["lane_width_m"] or LANE_WIDTH_M
        self.dx.value, self.dy.value = self.settled["dx_m"], self.settled["dy_m"]
        for name, box in self.boxes.items():
            box.value = name in self.run_classes
        self.is_quiet = False
        self.redraw()

    def save_profile(self) -> None:
        """Write what the sliders say into the params file; says below whether it worked."""
        try:
            if not self.chosen():
                raise ParameterError("No class is chosen, and an empty list means the profile's own: choose one.")
            profile = self.profile()
            self.said.value = close_lines(html.escape(save_parameters(CUTTING, self.settled, profile)))
            self.saved, self.saved_names = profile, SAVED
        except (PPLinkNetError, OSError) as error:
            self.said.value = close_lines(warning(error))

    def cut_again(self) -> None:
        """Run notebook 1 with what is saved; says below why not."""
        try:
            if self.profile() != self.saved and not self.cutting.rerun.is_running:
                raise ParameterError("The sliders say something else than what is saved: save first, or reset.")
            self.cutting.start(self.saved_names)
        except (BusyError, ParameterError, OSError) as error:
            self.said.value = close_lines(warning(error))


def _button(icon: str, words: str) -> ipywidgets.Button:
    return ipywidgets.Button(icon=icon, tooltip=words, layout={"width": f"{COLUMN_PX // 7 - 5}px", "padding": "0"})


def _named_button(name: str, icon: str, words: str, act: Callable[[], None]) -> ipywidgets.Button:
    button = ipywidgets.Button(description=name, icon=icon, tooltip=words, layout={"width": "auto", "flex": "1 1 auto"})
    button.on_click(lambda _: act())
    return button


def _metres(east_m: float, north_m: float) -> str:
    return f"{east_m:+.1f} m east, {north_m:+.1f} m north"


def _slider(name: str, value: float, ends: tuple[float, float], step: float) -> ipywidgets.FloatSlider:
    """A slider that also reaches the value it starts from."""
    return ipywidgets.FloatSlider(
        value=value,
        min=min(ends[0], value),
        max=max(ends[1], value),
        step=step,
        description=name,
        readout_format=".2f",
        style={"description_width": "90px"},
        layout={"width": f"{COLUMN_PX - 10}px"},
    )
