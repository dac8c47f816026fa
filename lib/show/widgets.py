"""
What the panels of the notebooks share, and how a panel writes a params file.

A panel takes arrays and callables, so that it needs no GIS package; `is_interactive` says whether anybody could move
its sliders. Each composes the same pixels as the static figures (`canvas.overlay_rgb`, `canvas.error_rgb`), fast enough
to follow a slider.
"""

import html
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import ipywidgets
import numpy as np
import yaml

from lib.errors import InputError, PPLinkNetError
from lib.parameters import Settled, check, load, params_path
from lib.paths import write_whole
from lib.show.canvas import ERRORS, encode_image

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


def close_lines(text: str) -> str:
    """Lines of HTML as near to each other as in a text; JupyterLab sets them as far apart as controls."""
    return f'<div style="line-height:1.45">{text}</div>'


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
        self.message = ""  # of an action that failed
        for control in (*controls, *watched):
            if control.has_trait("value") and control.has_trait("disabled"):  # not what `redraw` itself writes
                control.observe(lambda _: self.redraw(), "value")
        # the picture gives way, not the controls
        self.column = ipywidgets.VBox(
            [*controls, self.status], layout={"flex": f"0 0 {COLUMN_PX + 8}px", "padding": "0 8px 0 0"}
        )
        super().__init__([ipywidgets.HBox([self.picture, self.column], layout={"align_items": "flex-start"})])
        self.redraw()

    def show(self, pixels: np.ndarray) -> None:
        """Show uint8 (H, W, 3) RGB."""
        self.picture.value = encode_image(pixels, quality=PREVIEW_QUALITY)

    def redraw(self) -> None:
        """Draw what the controls say."""
        raise NotImplementedError

    def act(self, action: Callable[[], object]) -> None:
        """Do what a button says and show what came of it; `message` is what failed, for `redraw` to say."""
        try:
            action()
            self.message = ""
        except (PPLinkNetError, OSError) as error:
            self.message = f"<br>{warning(error)}"
        self.redraw()


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


def warning(error: Exception | str) -> str:
    """An error as a line of a panel, in the red of JupyterLab's theme."""
    return f'<span style="color:var(--jp-error-color1, #b3261e)">{html.escape(str(error))}</span>'


def swatch(color: str) -> str:
    """A little square of a colour, for a legend in a line of text."""
    box = "display:inline-block;width:.8em;height:.8em;border:1px solid currentColor"
    return f'<span style="{box};background:{color}"></span>'


ERROR_LEGEND = " ".join(
    f"{swatch(ERRORS[name])} {words}" for name, words in (("tp", "found"), ("fp", "false alarm"), ("fn", "missed"))
)
