"""
The two panels of the notebooks: lane widths over an image, and the threshold over probabilities.

A panel takes arrays and callables, so that it needs no GIS package; `is_interactive` says whether anybody could move
its sliders. Each composes the same pixels as the static figures (`canvas.overlay_rgb`, `canvas.error_rgb`), fast enough
to follow a slider.
"""

import html
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ipywidgets
import numpy as np
import yaml

from lib.errors import InputError, ParameterError, PPLinkNetError
from lib.grid import MASK_FOREGROUND
from lib.paths import write_whole
from lib.scores.sweep import THRESHOLDS, threshold_counts
from lib.show.canvas import check_pair, encode_image, error_rgb, overlay_rgb

HEADLESS_VARIABLE = "PP_LINKNET_HEADLESS"  # set to 1 by the runner of reports
PREVIEW_QUALITY = 85  # JPEG: a tenth of the PNG's time and bytes, and a slider sends many
LANE_WIDTH_M = 3.25  # where the slider stands at first
LANE_WIDTH_RANGE_M = (1.0, 8.0)
OFFSET_RANGE_M = (-15.0, 15.0)

LaneWidth = float | Mapping[str, float]  # metres; of all classes, or class by class
DrawMask = Callable[[LaneWidth, tuple[str, ...], float, float], np.ndarray]
ONE_WIDTH = "one width for all"


def is_interactive() -> bool:
    """
    True where a person at a notebook can move a slider.

    False outside a kernel, where PP_LINKNET_HEADLESS is set (to anything but 0), and where the run says
    that nobody can answer a question of the kernel: papermill, nbconvert and nbclient do, JupyterLab and
    its kin do not.
    """
    if os.environ.get(HEADLESS_VARIABLE, "0") not in ("", "0"):
        return False
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    return bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin", False))


class Panel(ipywidgets.VBox):
    """
    A picture with its controls and a status line beside it; drawn anew whenever a control moves.

    Parameters
    ----------
    controls
        One below the other.
    watched
        Controls that stand inside one of these.
    """

    def __init__(self, controls: Sequence[ipywidgets.Widget], watched: Sequence[ipywidgets.Widget] = ()):
        self.picture = ipywidgets.Image(
            format="jpeg", layout={"max_width": "720px", "width": "100%", "object_fit": "contain"}
        )
        self.status = ipywidgets.HTML()
        for control in (*controls, *watched):
            if control.has_trait("value") and control.has_trait("disabled"):  # not what `redraw` itself writes
                control.observe(lambda _: self.redraw(), "value")
        self.column = ipywidgets.VBox([*controls, self.status], layout={"width": "340px"})
        super().__init__([ipywidgets.HBox([self.picture, self.column])])
        self.redraw()

    def show(self, pixels: np.ndarray) -> None:
        """Show uint8 (H, W, 3) RGB."""
        self.picture.value = encode_image(pixels, quality=PREVIEW_QUALITY)

    def redraw(self) -> None:
        """Draw what the controls say."""
        raise NotImplementedError


class LanePanel(Panel):
    """
    Sliders for lane width, classes and offset; the mask moves over the image at once; a button saves the profile.

    Parameters
    ----------
    image
        uint8 (H, W, 3) RGB.
    draw_mask
        `draw_mask(lane_width_m, classes, dx_m, dy_m)` gives the mask, uint8 (H, W); the lane width is one number or a
        table by class; dx to the east, dy to the north, metres. `road_drawer` makes one.
    classes
        Highway classes to choose from; all are drawn at first.
    dx_m, dy_m
        Where the sliders stand at first, metres.
    tables
        Name -> (lane widths by class, what of them is saved), offered beside one width for all; the first is chosen
        at first.
    profile_path
        YAML file that "save profile" updates; None: no button.

    Raises
    ------
    InputError
        If image and mask do not fit.
    """

    def __init__(
        self,
        image: np.ndarray,
        draw_mask: DrawMask,
        *,
        classes: Sequence[str],
        dx_m: float = 0.0,
        dy_m: float = 0.0,
        tables: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]] | None = None,
        profile_path: Path | None = None,
    ):
        check_pair(image)
        self.image = image
        self.draw_mask = draw_mask
        self.profile_path = profile_path
        self.tables = dict(tables or {})
        self.widths = ipywidgets.Dropdown(
            options=[*self.tables, ONE_WIDTH], description="lane widths", style={"description_width": "90px"}
        )
        self.lane_width = _slider("lane width, m", LANE_WIDTH_M, LANE_WIDTH_RANGE_M, 0.05)
        self.dx = _slider("east, m", dx_m, OFFSET_RANGE_M, 0.1)
        self.dy = _slider("north, m", dy_m, OFFSET_RANGE_M, 0.1)
        self.boxes = [
            ipywidgets.Checkbox(value=True, description=name, indent=False, layout={"width": "auto"})
            for name in classes
        ]
        self.save = ipywidgets.Button(description="save profile", icon="save")
        self.save.on_click(lambda _: self.save_profile())
        choice = ipywidgets.GridBox(self.boxes, layout={"grid_template_columns": "repeat(2, 1fr)"})
        buttons = [self.save] if self.profile_path else []
        super().__init__([self.widths, self.lane_width, self.dx, self.dy, choice, *buttons], watched=self.boxes)

    def profile(self) -> dict[str, object]:
        """What the sliders say: `lane_width_m` (0: by class), `lane_widths_m`, `classes`, `dx_m`, `dy_m`."""
        one = self.widths.value == ONE_WIDTH
        return {
            "lane_width_m": round(self.lane_width.value, 3) if one else 0.0,
            "lane_widths_m": {} if one else dict(self.tables[self.widths.value][1]),
            "classes": [box.description for box in self.boxes if box.value],
            "dx_m": round(self.dx.value, 3),
            "dy_m": round(self.dy.value, 3),
        }

    def redraw(self) -> None:
        """Draw mask and picture anew; an error of the drawing is shown below the sliders."""
        start_s = time.perf_counter()
        profile = self.profile()
        self.lane_width.disabled = self.widths.value != ONE_WIDTH
        try:
            width_m = profile["lane_width_m"] or self.tables[self.widths.value][0]
            mask = self.draw_mask(width_m, tuple(profile["classes"]), profile["dx_m"], profile["dy_m"])
            self.show(overlay_rgb(self.image, mask))
        except PPLinkNetError as error:
            self.status.value = warning(error)
            return
        elapsed_ms = 1000 * (time.perf_counter() - start_s)
        share = float((mask == MASK_FOREGROUND).mean())
        self.status.value = f"{share:.1%} of the image is road · drawn in {elapsed_ms:.0f} ms"

    def save_profile(self) -> None:
        """Write what the sliders say into the profile file; says below the sliders whether it worked."""
        try:
            update_yaml(self.profile_path, self.profile())
        except (PPLinkNetError, OSError) as error:
            self.status.value = warning(error)
            return
        self.status.value = f"saved to {html.escape(str(self.profile_path))}"


class ThresholdPanel(Panel):
    """
    A threshold slider over predicted chips: errors over the image, IoU of this chip and of all together.

    Parameters
    ----------
    probabilities
        float (H, W) in 0 to 1, one a chip.
    masks
        Truth, uint8 (H, W) of 0, 127 (not scored) and 255.
    images
        uint8 (H, W, 3) RGB.
    names
        Of the chips, for the menu; None: numbers.
    threshold
        At first, to the nearest hundredth; a probability of at least the threshold is foreground.

    Raises
    ------
    InputError
        If there is no chip, or arrays do not fit.
    """

    def __init__(
        self,
        probabilities: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        images: Sequence[np.ndarray],
        *,
        names: Sequence[str] | None = None,
        threshold: float = 0.5,
    ):
        if not probabilities or not len(probabilities) == len(masks) == len(images):
            raise InputError(
                f"Expected one probability, mask and image a chip, at least one chip; "
                f"got {len(probabilities)}, {len(masks)} and {len(images)}."
            )
        if not 0 < threshold < 1:
            raise ParameterError(f"Expected a threshold between 0 and 1; got {threshold}.")
        self.chips = list(zip(probabilities, masks, images, strict=True))
        for probability, mask, image in self.chips:
            check_pair(image, mask, np.empty(probability.shape, np.uint8))
        # int64 (chips, thresholds, 3): tp, fp, fn
        self.counts = np.stack([threshold_counts(p, mask, THRESHOLDS) for p, mask, _ in self.chips])
        names = [f"chip {place}" for place in range(len(self.chips))] if names is None else names
        options = [(name, place) for place, name in enumerate(names)]
        self.chip = ipywidgets.Dropdown(options=options, description="chip")
        self.threshold = _slider("threshold", self._nearest(threshold), (THRESHOLDS[0], THRESHOLDS[-1]), 0.01)
        super().__init__([self.chip, self.threshold])

    def scores(self) -> tuple[float, float]:
        """Foreground IoU at the slider's threshold: of the chip shown, of all pooled; NaN where empty."""
        place = int(np.searchsorted(THRESHOLDS, self._nearest(self.threshold.value)))
        return _iou(self.counts[self.chip.value, place]), _iou(self.counts[:, place].sum(axis=0))

    @staticmethod
    def _nearest(threshold: float) -> float:
        """The counted threshold that is nearest, so that picture and scores speak of the same one."""
        return float(THRESHOLDS[np.abs(THRESHOLDS - threshold).argmin()])

    def redraw(self) -> None:
        """Draw the errors of the chip at the threshold and state the scores."""
        probability, mask, image = self.chips[self.chip.value]
        self.show(error_rgb(image, mask, probability >= self._nearest(self.threshold.value)))
        here, pooled = self.scores()
        self.status.value = (
            f"IoU of this chip <b>{here:.3f}</b><br>"
            f"IoU of all {len(self.chips)} pooled <b>{pooled:.3f}</b><br>"
            "green: found · orange: false alarm · blue: missed"
        )


def update_yaml(path: Path, values: Mapping[str, object]) -> None:
    """
    Set top-level keys of a YAML file and leave its other lines and comments as they are; written whole or not at all.

    Parameters
    ----------
    path
        The file; made where it is not there.
    values
        Numbers, text, or lists or mappings of them.

    Raises
    ------
    InputError
        If the file is not a mapping of keys, or its layout is one that this function can't change safely.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    wanted = {**_keys(text, path), **values}
    for key, value in values.items():
        text = _with_key(text, key, value)
    if _keys(text, path) != wanted:
        raise InputError(f"Expected plain `key: value` lines in {path} for {', '.join(values)}. Edit the file by hand.")
    write_whole(path, text)


def _keys(text: str, path: Path) -> dict[str, object]:
    """What a YAML text says, as its readers will see it."""
    try:
        keys = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise InputError(f"Expected lines of `key: value` in {path}, which could be changed; got {error}.") from error
    if not isinstance(keys, dict):
        raise InputError(f"Expected keys and values in {path}; got a {type(keys).__name__}.")
    return keys


def _with_key(text: str, key: str, value: object) -> str:
    """YAML text with one top-level key set, on one line; a comment at the end of the old line stays."""
    written = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    line = f"{key}: {written.removesuffix('...' + chr(10)).strip()}"
    # the key's line with its comment, and the lines of its value: indented, or items of a list
    pattern = re.compile(rf"^{re.escape(key)}:[^#\n]*(#[^\n]*)?\n?(?:(?:[ ]+[^\n]*|- [^\n]*|-)\n?)*", re.MULTILINE)
    match = pattern.search(text)
    if match is None:
        gap = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{gap}{line}\n"
    comment = f"  {match[1]}" if match[1] else ""
    return f"{text[: match.start()]}{line}{comment}\n{text[match.end() :]}"


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
    )


def warning(error: Exception) -> str:
    """An error as a line of a panel."""
    return f'<span style="color:#b3261e">{html.escape(str(error))}</span>'


def _iou(counts: np.ndarray) -> float:
    """IoU of tp, fp and fn."""
    union = int(counts.sum())
    return float(counts[0] / union) if union else float("nan")
