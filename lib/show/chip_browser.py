"""
The chips that an evaluation is made of, one by one, worst first; and out with those that should not count.

A chip is taken out by a rule of notebook 1, `{chip: NAME, reason: TEXT}` in `drop` of its params file, and by nothing
else: the panel reads these rules, adds one or takes one away, and the next run of notebook 1 does what they say.
"""

import html
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import cv2
import ipywidgets
import numpy as np
import pandas as pd

from lib.errors import InputError, PPLinkNetError
from lib.mapping.predict import predict_chips
from lib.networks.checkpoint import TrainedModel
from lib.parameters import read_yaml
from lib.scores.evaluate import Case, read_case, score_chips
from lib.scores.metrics import ratio
from lib.show.canvas import PREDICTION, TRUTH, error_rgb, overlay_rgb
from lib.show.keys import add_keys
from lib.show.widgets import ERROR_LEGEND, Panel, close_lines, swatch, update_yaml, warning
from lib.trust.rules import Rule, named_chips, parse_rule

SPLITS = ("test", "val")  # that an evaluation reads: on one it is scored, on the other thresholds were chosen
SIDE_PX = 512  # of one of the four pictures, at most
GAP_PX = 4
ALL = "all"
BY_NAME = "by name"
KEYS = {"x": "exclude", "k": "keep", "ArrowLeft": "back", "ArrowRight": "on"}
REASONS = ("clouds or shadow", "image and label are of different years", "the label is wrong", "no image here")
TEST_WARNING = (
    "A test chip that is left out changes what the score means: it is then that of chips which somebody chose. The "
    "report says how many were left out, and why."
)


def case_rgb(case: Case, side_px: int = SIDE_PX) -> np.ndarray:
    """
    A chip in four pictures: image and truth, below them prediction and errors.

    Returns uint8 (H, W, 3), each picture at most `side_px` a side.
    """
    height, width = case.truth.shape
    zoom = min(1.0, side_px / max(height, width))
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    image = cv2.resize(case.image, size, interpolation=cv2.INTER_AREA)
    truth, said = (cv2.resize(m, size, interpolation=cv2.INTER_NEAREST) for m in (case.truth, case.prediction))
    parts = [
        image,
        overlay_rgb(image, truth, TRUTH),
        overlay_rgb(image, said, PREDICTION),
        error_rgb(image, truth, said),
    ]
    canvas = np.full((2 * size[1] + GAP_PX, 2 * size[0] + GAP_PX, 3), 255, np.uint8)
    for place, part in enumerate(parts):
        top, left = (place // 2) * (size[1] + GAP_PX), (place % 2) * (size[0] + GAP_PX)
        canvas[top : top + size[1], left : left + size[0]] = part
    return canvas


def chip_browser(
    manifest: pd.DataFrame,
    label: str,
    model: TrainedModel,
    folder: Path,
    rules_path: Path,
    *,
    scored: pd.DataFrame | None = None,
    task: str = "roads",
    tta: str = "none",
    progress: Callable[[str], None] | None = None,
) -> "ChipBrowser":
    """
    A browser of the test and validation chips of one label source, those that were left out among them.

    Parameters
    ----------
    manifest
        From `lib.chips.manifest.load_manifest`; of several classes the rows of one.
    label
        Source of the truth: "osm", "clean".
    model
        What predicts; its threshold for `task` is used, so that it has to be that of the views `tta`.
    folder
        Of the run: probabilities lie in its folders `test` and `val`, and missing ones are made there.
    rules_path
        params/<area>/01_rasterize_osm.yaml.
    scored
        What `lib.scores.evaluate.score_chips` said of some of the chips by this model; the others are scored here.
    progress
        Called with lines of text.
    """
    threshold = model.info.thresholds[task]
    tables, views, known = [], {}, set() if scored is None else set(scored["chip"])
    for split in SPLITS:
        rows = manifest[(manifest["label"] == label) & (manifest["split"] == split)]
        paths = predict_chips(model, rows, folder / split, tta=tta, progress=progress)
        views |= {c.chip: partial(read_case, c, paths[c.Index], threshold) for c in rows.itertuples()}
        others = rows[~rows["chip"].isin(known)]
        found = [scored] if scored is not None and split == "test" else []
        if len(others):
            found.append(score_chips(others, paths, threshold, task, progress))
        if len(rows):
            tables.append(rows[["chip", "split", "dropped"]].merge(shown_scores(pd.concat(found), task), on="chip"))
    return ChipBrowser(pd.concat(tables, ignore_index=True), lambda chip: views[chip](), rules_path)


def shown_scores(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """Chip, and the scores that chips are sorted by, of a table of `lib.scores.evaluate.score_chips`."""
    if task == "roads":
        own = {"APLS": table["apls"]}
    else:
        tp, wrong = table["building_tp"], table["building_fp"] + table["building_fn"]
        own = {"F1 of buildings": ratio(2 * tp, 2 * tp + wrong, 1.0)}
    return pd.DataFrame({"chip": table["chip"], "IoU": table["iou"], **own})


class ChipBrowser(Panel):
    """
    A list of chips with their scores, and the one at hand in four pictures; a button takes it out, or keeps it again.

    Keys, once the panel was clicked: x exclude, k keep, arrows left and right one chip on.

    Parameters
    ----------
    chips
        One row a chip: `chip`, `split`, `dropped` (why it is left out today; empty: it is not), and its scores, each a
        column, the first the most telling; more is better, NaN where it is not defined.
    view
        From a chip's name to what is to be seen of it.
    rules_path
        YAML file whose `drop` says what is left out from the next run of notebook 1 on.

    Raises
    ------
    InputError
        If there is no chip.
    ParameterError
        If the file can't be read, or a rule of it.
    """

    def __init__(self, chips: pd.DataFrame, view: Callable[[str], Case], rules_path: Path):
        if chips.empty:
            raise InputError("Expected at least one chip that tests or validates; there is none to show.")
        self.table, self.view, self.rules_path = chips.set_index("chip"), view, rules_path
        self.scores = [name for name in chips.columns if name not in ("chip", "split", "dropped")]
        self._arranging = False
        orders = [f"worst {name} first" for name in self.scores] + [f"best {name} first" for name in self.scores]
        self.split = _menu("chips", [ALL, *dict.fromkeys(chips["split"])])
        self.order = _menu("order", [*orders, BY_NAME])
        self.chip = ipywidgets.Select(rows=9, layout={"width": "330px"})
        self.reason = ipywidgets.Combobox(
            options=REASONS, placeholder="why it should not count", layout={"width": "330px"}, ensure_option=False
        )
        actions = {
            "exclude": self.exclude,
            "keep": self.keep,
            "back": partial(self.step, -1),
            "on": partial(self.step, 1),
        }
        self.buttons = {name: _button(name) for name in actions}
        for name, act in actions.items():
            self.buttons[name].on_click(lambda _, act=act: self.act(act))
        self.about = ipywidgets.HTML()
        row = ipywidgets.HBox(list(self.buttons.values()))
        super().__init__([self.split, self.order, self.chip, self.about, self.reason, row])
        add_keys(self, self.buttons, KEYS)

    @property
    def rules(self) -> list[Rule]:
        """What the params file says of `drop`, read anew: somebody may have edited it."""
        rules = read_yaml(self.rules_path).get("drop") or [] if self.rules_path.is_file() else []
        for rule in rules:
            parse_rule(rule)
        return rules

    def exclude(self) -> None:
        """Add a rule that takes the chip at hand out, with the reason that was written."""
        reason = " ".join(self.reason.value.split())
        if not reason:
            raise InputError("Write why it should not count, then exclude it: the reason goes into the report.")
        others = self._without(self.chip.value)
        update_yaml(self.rules_path, {"drop": [*others, {"chip": self.chip.value, "reason": reason}]})

    def keep(self) -> None:
        """Take away the rule that names the chip at hand."""
        update_yaml(self.rules_path, {"drop": self._without(self.chip.value)})

    def step(self, by: int) -> None:
        """Go on in the list, or back; its ends hold."""
        names = [name for _, name in self.chip.options]
        self.chip.value = names[min(max(names.index(self.chip.value) + by, 0), len(names) - 1)]

    def _without(self, chip: str) -> list[Rule]:
        return [rule for rule in self.rules if not (isinstance(rule, Mapping) and rule["chip"] == chip)]

    def redraw(self) -> None:
        """Show the list as it is asked for, and the chip at hand; an error is shown below the buttons."""
        if self._arranging:
            return
        try:
            out = {chip: rule.reason for chip, rule in named_chips(self.rules).items()}
            self._arrange(out)
            case = self.view(self.chip.value)
            self.show(case_rgb(case))
        except (PPLinkNetError, OSError) as error:
            self.status.value = warning(error)
            return
        self.about.value = self._said(out)
        changed = sum((self.table.loc[name, "dropped"] != "") != (name in out) for name in self.table.index)
        counts = [
            f"{sum(name in out for name in rows.index)} of {len(rows)} {split}"
            for split, rows in self.table.groupby("split", sort=False)
        ]
        news = " Run notebook 1 again, and then those after it: until then nothing has changed." if changed else ""
        self.status.value = close_lines(f"Left out: {', '.join(counts)} chips.{news}<br>{TEST_WARNING}{self.message}")

    def _arrange(self, out: Mapping[str, str]) -> None:
        """Fill the list by split and order, and stay at the chip at hand where it is in it."""
        rows = self.table if self.split.value == ALL else self.table[self.table["split"] == self.split.value]
        if self.order.value == BY_NAME:
            rows, shown = rows.sort_index(), self.scores[0]
        else:
            way, shown = self.order.value.removesuffix(" first").split(" ", 1)
            rows = rows.sort_values(shown, ascending=way == "worst", kind="stable", na_position="last")
        options = [
            (f"{'✕ ' if row.Index in out else ''}{_score(score)} · {row.Index} · {row.split}", row.Index)
            for row, score in zip(rows.itertuples(), rows[shown], strict=True)
        ]
        if list(self.chip.options) == options:
            return
        self._arranging = True  # what is set here is no wish of anybody's
        at_hand = self.chip.value
        self.chip.options = options
        self.chip.value = at_hand if at_hand in rows.index else options[0][1]
        self._arranging = False

    def _said(self, out: Mapping[str, str]) -> str:
        """The chip at hand in words: scores, whether it counts, and what the four pictures are."""
        chip = self.chip.value
        row = self.table.loc[chip]
        scores = " · ".join(f"{name} <b>{_score(row[name])}</b>" for name in self.scores)
        counts = "counts" if chip not in out else f"<b>excluded</b>: {html.escape(out[chip])}"
        now = f" (in this run {'it counted' if row['dropped'] == '' else 'it did not'})"
        then = now if (row["dropped"] != "") != (chip in out) else ""
        return close_lines(
            f"<b>{html.escape(chip)}</b> · {row['split']}<br>{scores}<br>{counts}{then}<br>"
            f"image, {swatch(TRUTH)} truth; below {swatch(PREDICTION)} prediction, errors:<br>{ERROR_LEGEND}"
        )


def _score(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"


def _menu(name: str, options: list[str]) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(
        options=options, description=name, layout={"width": "330px"}, style={"description_width": "45px"}
    )


def _button(action: str) -> ipywidgets.Button:
    """The button of an action, with its key."""
    looks = {
        "exclude": ("exclude (x)", "times", "danger"),
        "keep": ("keep (k)", "check", "success"),
        "back": ("", "arrow-left", ""),
        "on": ("", "arrow-right", ""),
    }
    text, icon, style = looks[action]
    width = "114px" if text else "44px"
    tip = {"back": "the chip above", "on": "the chip below"}.get(action, "")
    return ipywidgets.Button(
        description=text, icon=icon, button_style=style, tooltip=tip, layout={"width": width, "padding": "0"}
    )
