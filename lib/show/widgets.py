"""
What the panels of the notebooks share, the threshold over probabilities, and how a panel writes a params file.

A panel takes arrays and callables, so that it needs no GIS package; `is_interactive` says whether anybody could move
its sliders. Each composes the same pixels as the static figures (`canvas.overlay_rgb`, `canvas.error_rgb`), fast enough
to follow a slider.
"""

import html
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import ipywidgets
import numpy as np
import yaml

from lib.errors import InputError, ParameterError
from lib.parameters import Settled, check, load, params_path
from lib.paths import write_whole
from lib.scores.sweep import THRESHOLDS, threshold_counts
from lib.show.canvas import check_pair, encode_image, error_rgb

HEADLESS_VARIABLE = "PP_LINKNET_HEADLESS"  # set to 1 by the runner of reports
PREVIEW_QUALITY = 85  # JPEG: a tenth of the PNG's time and bytes, and a slider sends many
COLUMN_PX = 340  # width of the controls beside the picture


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
            format="jpeg",
            layout={"width": "100%", "min_width": "0", "max_width": "720px", "max_height": "80vh"}
            | {"object_fit": "contain", "margin": "0 8px 0 0"},
        )
        self.status = ipywidgets.HTML()
        for control in (*controls, *watched):
            if control.has_trait("value") and control.has_trait("disabled"):  # not what `redraw` itself writes
                control.observe(lambda _: self.redraw(), "value")
        # the picture gives way, not the controls
        self.column = ipywidgets.VBox([*controls, self.status], layout={"flex": f"0 0 {COLUMN_PX}px"})
        super().__init__([ipywidgets.HBox([self.picture, self.column])])
        self.redraw()

    def show(self, pixels: np.ndarray) -> None:
        """Show uint8 (H, W, 3) RGB."""
        self.picture.value = encode_image(pixels, quality=PREVIEW_QUALITY)

    def redraw(self) -> None:
        """Draw what the controls say."""
        raise NotImplementedError


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


def save_parameters(notebook: str, settled: Settled, values: Mapping[str, object]) -> str:
    """
    Write values into params/<area>/<notebook>.yaml, where the next run reads them; says so, and what wins over them.

    Lines are written for those alone that the next run would not take anyway.

    Parameters
    ----------
    settled
        What the notebook runs with, of `lib.parameters.check_notebook`.
    values
        Of parameters, by name.

    Raises
    ------
    InputError, ParameterError
        If the notebook would refuse them, or the file can't be changed; it is left as it was then.
    """
    area = settled["area"]
    before = load(area, notebook)
    after = check(notebook, before | values)
    update_yaml(params_path(area, notebook), {name: values[name] for name in values if after[name] != before[name]})
    said = f"saved to params/{area}/{notebook}.yaml: the next run takes it"
    if above := sorted(settled.stated & values.keys()):
        said += f"; but {', '.join(above)} stands in the parameters cell or the call, which wins: set it back there"
    return said


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


def warning(error: Exception | str) -> str:
    """An error as a line of a panel, in the red of JupyterLab's theme."""
    return f'<span style="color:var(--jp-error-color1, #b3261e)">{html.escape(str(error))}</span>'


def small(text: str) -> str:
    """Markup whose lines stand closer than those of a widget."""
    return f'<div style="line-height:1.4">{text}</div>'


def swatch(color: str) -> str:
    """A little square of a colour, for a legend in a line of text."""
    box = "display:inline-block;width:.8em;height:.8em;border:1px solid currentColor"
    return f'<span style="{box};background:{color}"></span>'


def _iou(counts: np.ndarray) -> float:
    """IoU of tp, fp and fn."""
    union = int(counts.sum())
    return float(counts[0] / union) if union else float("nan")
