"""
A chip under its label, and crops of it as training sees them: drawn by the code that trains.

The panel for JupyterLab and the static figure show the same pixels (`preview`, `preview_rgb`).
"""

import html
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import cv2
import ipywidgets
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.chips.manifest import SPLITS, read_bands, read_mask
from lib.errors import InputError, PPLinkNetError
from lib.grid import MASK_FOREGROUND, MASK_IGNORE
from lib.networks.config import INPUT_MULTIPLE_PX
from lib.parameters import Settled
from lib.show.canvas import IGNORE, LABEL, LABEL_ALPHA, TRUTH, overlay_rgb
from lib.show.keys import add_keys
from lib.show.sheet import Sheet, patch, picture_axes, show_photo, strip_legend
from lib.show.widgets import COLUMN_PX, Panel, close_lines, save_parameters, swatch, warning
from lib.training.augment import augment
from lib.training.cache import ChipCache, CropDataset
from lib.training.recipe import AUGMENTATIONS, RECIPES, TrainConfig, train_config

NOTEBOOK = "02_train_stage1"
CROPS = 8
MOST_PX = 600_000  # of all crops of a panel together, so that it is drawn in a tenth of a second
LARGEST_CROP_PX = 1024
PICTURE_PX, GAP_PX = 1024, 8
PAPER = 128  # grey between the pictures, on light and dark pages
KEYS = {"ArrowRight": "on", "ArrowLeft": "back", "n": "chip", "l": "labels"}


@dataclass(frozen=True)
class Preview:
    """
    A chip, and crops of it as the network would be shown them, before normalisation.

    Attributes
    ----------
    image, mask
        uint8 (H, W, 3) RGB and (H, W).
    crops, crop_masks
        uint8 (n, crop_px, crop_px, 3) RGB and (n, crop_px, crop_px): 127 (ignore) also beyond the chip's edge.
    """

    image: np.ndarray
    mask: np.ndarray
    crops: np.ndarray
    crop_masks: np.ndarray


def preview(chip: pd.Series, config: TrainConfig, draw: int = 0, count: int = CROPS) -> Preview:
    """
    A row of a manifest, and `count` crops of it.

    Parameters
    ----------
    config
        Its crop_px, augmentation and seed.
    draw
        Others for each number, the same at each call: what an epoch of that number would take of this chip alone.

    Raises
    ------
    InputError
        If image or mask can't be read, or differ in size.
    """
    bands, mask = read_bands(chip["image"]), read_mask(chip["mask"])
    if bands.shape[:2] != mask.shape:
        raise InputError(f"{chip['image']} is {bands.shape[:2]} px, {chip['mask']} {mask.shape} px.")
    pixels = np.dstack([bands, mask])
    flat = pixels.reshape(-1, pixels.shape[2])
    cache = ChipCache(flat, np.array([0, len(flat)]), np.array([mask.shape]), [chip["chip"]], bands.shape[2])
    dataset = CropDataset(cache, config.crop_px, AUGMENTATIONS[config.augmentation], count, config.seed)
    batch = dataset[draw, 0, count]
    images, masks, _ = augment(batch["pixels"], batch["affine"], batch["colour"], config.crop_px, cache.bands)
    crops = (images[:, :3] * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return Preview(np.ascontiguousarray(bands[..., :3]), mask, np.ascontiguousarray(crops), masks[:, 0].numpy())


def preview_rgb(seen: Preview, color: str = LABEL, labels: bool = True) -> np.ndarray:
    """
    The chip bare and under its label, and its crops below, in rows of four or two; uint8 (H, PICTURE_PX, 3).

    `labels` says whether the crops are under theirs, too.
    """
    pictures = [(seen.image, None), (seen.image, seen.mask)]
    crops = [(crop, mask if labels else None) for crop, mask in zip(seen.crops, seen.crop_masks, strict=True)]
    columns = 4 if len(crops) > 2 else 2
    rows = [pictures, *(crops[first : first + columns] for first in range(0, len(crops), columns))]
    strips = [_strip(row, 2 if row is pictures else columns, color) for row in rows]
    gap = np.full((GAP_PX, PICTURE_PX, 3), PAPER, np.uint8)
    return np.concatenate([part for strip in strips for part in (gap, strip)][1:])


def _strip(pictures: list[tuple[np.ndarray, np.ndarray | None]], columns: int, color: str) -> np.ndarray:
    """Images, each under its mask where it has one, side by side in so many columns; uint8 (H, PICTURE_PX, 3)."""
    width = (PICTURE_PX - (columns - 1) * GAP_PX) // columns
    height = max(1, round(width * pictures[0][0].shape[0] / pictures[0][0].shape[1]))
    canvas = np.full((height, PICTURE_PX, 3), PAPER, np.uint8)
    for place, (image, mask) in enumerate(pictures):
        how = cv2.INTER_AREA if image.shape[1] > width else cv2.INTER_CUBIC
        shown = cv2.resize(image, (width, height), interpolation=how)
        if mask is not None:
            shown = overlay_rgb(shown, cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST), color)
        canvas[:, place * (width + GAP_PX) :][:, :width] = shown
    return canvas


def crops_figure(chip: pd.Series, config: TrainConfig) -> Figure:
    """A chip bare and under its label, and what training makes of it, as the panel shows them."""
    seen, color = preview(chip, config), _color(chip["label"])
    pixels = preview_rgb(seen, color)
    width_in = 10.0
    title = f"{chip['chip']}, {_words(config)}"
    sheet = Sheet(width_in, width_in * pixels.shape[0] / pixels.shape[1] + 0.7, f"Crops of {title}", photo=True)
    (ax,) = picture_axes(sheet, 1, 1)
    show_photo(ax, pixels, pixels.shape[:2], None, title)
    legend = [patch(color, f"{chip['label']} label", LABEL_ALPHA), patch(IGNORE, "ignored", 0.35, hatched=True)]
    strip_legend(sheet, legend)
    return sheet


def chosen_values(settled: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """
    What to write into the params file so that training takes some fields of `TrainConfig`.

    The notebook's own parameters, but where the recipe or `train_options` would overrule them: then these.
    """
    more = dict(settled["train_options"])
    overruled = more.keys() | RECIPES[settled["recipe"]].keys()
    own = {name: value for name, value in chosen.items() if name in settled and name not in overruled}
    without = train_config({**settled, **own})
    more |= {name: value for name, value in chosen.items() if name not in own and getattr(without, name) != value}
    return own | {"train_options": more}


class AugmentationPanel(Panel):
    """
    A chip to choose, under its label, and crops of it; the augmentation and the crops' side are saved for training.

    Keys, once the panel was clicked: arrows left and right draw anew, n the next chip, l shows the crops' labels.

    Parameters
    ----------
    manifest
        Of chips; those that a rule dropped are left out.
    settled
        The parameters of notebook 2.

    Raises
    ------
    InputError
        If there is no chip.
    """

    def __init__(self, manifest: pd.DataFrame, settled: Settled):
        used = manifest[manifest["dropped"] == ""]
        if used.empty:
            raise InputError("Expected at least one chip; the manifest has none that is used.")
        self.settled, self.config, self.draw, self.is_quiet = settled, train_config(settled), 0, False
        by_group = {name: rows for name, rows in used.groupby(["label", "split"], sort=False)}
        order = sorted(by_group, key=lambda group: (group[0] != "osm", SPLITS.index(group[1])))
        self.groups = {
            f"{label}, {split} ({len(by_group[label, split])})": by_group[label, split] for label, split in order
        }
        wide = {"style": {"description_width": "95px"}, "layout": {"width": f"{COLUMN_PX - 10}px"}}
        self.group = ipywidgets.Dropdown(options=[*self.groups], description="label, split", **wide)
        self.chip = ipywidgets.Dropdown(description="chip", **wide)
        self._list_chips()
        self.group.observe(lambda _: self._list_chips(), "value")  # before it is drawn
        self.augmentation = ipywidgets.Dropdown(
            options=[*AUGMENTATIONS], value=self.config.augmentation, description="augmentation", **wide
        )
        self.ranges = ipywidgets.HTML()
        self.crop = ipywidgets.IntSlider(
            value=self.config.crop_px,
            min=INPUT_MULTIPLE_PX,
            max=max(LARGEST_CROP_PX, self.config.crop_px),
            step=INPUT_MULTIPLE_PX,
            description="crop, px",
            **wide,
        )
        self.buttons = {
            "back": _button("", "arrow-left", "the draw before (left arrow)", "40px"),
            "on": _button("another draw", "arrow-right", "other crops, otherwise changed (right arrow)", "140px"),
            "chip": _button("next chip (n)", "step-forward", "the next of the menu", "140px"),
        }
        self.labels = ipywidgets.ToggleButton(
            value=True, description="labels on the crops (l)", icon="eye", layout={"width": "234px"}
        )
        self.reset = _button("reset", "undo", "back to what this run trains with", "90px")
        self.save = _button("save", "save", "write both into the params file", "90px")
        acts = {
            **{"back": lambda: self.step(-1), "on": lambda: self.step(1), "chip": self.next_chip},
            **{"reset": self.put_back, "save": self.save_values},
        }
        for name, button in {**self.buttons, "reset": self.reset, "save": self.save}.items():
            button.on_click(lambda _, act=acts[name]: act())
        self.said = ipywidgets.HTML()
        rows = [ipywidgets.HBox([*self.buttons.values()]), self.labels]
        controls = [self.group, self.chip, *rows, self.augmentation, self.ranges, self.crop]
        super().__init__([*controls, ipywidgets.HBox([self.reset, self.save]), self.said])
        add_keys(self, {**self.buttons, "labels": self.labels}, KEYS, focus=False)

    def _list_chips(self) -> None:
        """The chips of the group in the menu."""
        self.is_quiet = True
        self.chip.options = list(self.groups[self.group.value]["chip"])
        self.chip.index = 0
        self.is_quiet = False

    @property
    def chosen(self) -> dict[str, Any]:
        """What the controls say, by fields of `TrainConfig`."""
        return {"crop_px": self.crop.value, "augmentation": self.augmentation.value}

    def redraw(self) -> None:
        """Draw the chip and its crops; an error is shown below the controls."""
        if self.is_quiet:
            return
        start_s = time.perf_counter()
        chip = self.groups[self.group.value].iloc[self.chip.index]
        try:
            config = train_config(self.settled | chosen_values(self.settled, self.chosen))
            count = next(n for n in (CROPS, 4, 2, 1) if n == 1 or n * config.crop_px**2 <= MOST_PX)
            seen = preview(chip, config, self.draw, count)
            self.show(preview_rgb(seen, _color(chip["label"]), self.labels.value))
        except (PPLinkNetError, OSError) as error:
            self.status.value = close_lines(warning(error))
            return
        elapsed_ms = 1000 * (time.perf_counter() - start_s)
        self.ranges.value = _ranges(config.augmentation)
        shares = [float((seen.mask == value).mean()) for value in (MASK_FOREGROUND, MASK_IGNORE)]
        self.status.value = close_lines(
            f"above: the chip, bare and under its label<br>below: {count} of its crops as training sees them, draw "
            f"{self.draw + 1}<br>{swatch(_color(chip['label']))} {chip['label']} label, {shares[0]:.1%} of the chip · "
            f"{swatch(IGNORE)} hatched: ignored, {shares[1]:.1%}<br>drawn in {elapsed_ms:.0f} ms"
        )

    def step(self, by: int) -> None:
        """Draw other crops, or the ones before."""
        self.draw = max(0, self.draw + by)
        self.redraw()

    def next_chip(self) -> None:
        """The next chip of the menu, after the last one the first."""
        self.chip.index = (self.chip.index + 1) % len(self.chip.options)

    def put_back(self) -> None:
        """The controls as they stood at first."""
        self.augmentation.value, self.crop.value = self.config.augmentation, self.config.crop_px

    def save_values(self) -> None:
        """Write augmentation and side of the crops into the params file; says below whether it worked."""
        try:
            said = save_parameters(NOTEBOOK, self.settled, chosen_values(self.settled, self.chosen))
            self.said.value = close_lines(html.escape(said))
        except (PPLinkNetError, OSError) as error:
            self.said.value = close_lines(warning(error))


def _color(label: str) -> str:
    return LABEL if label == "osm" else TRUTH


def _words(config: TrainConfig) -> str:
    return (
        f"as training sees it: crops of {config.crop_px} px, augmentation {config.augmentation!r}, seed {config.seed}"
    )


def _ranges(name: str) -> str:
    """What an augmentation does, in words and numbers."""
    config = AUGMENTATIONS[name]
    units = {"hue_deg": "°"}
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    said = [
        f"{key.removesuffix('_deg')} ±{value:g}{units[key]}" if key in units else f"{key} ±{100 * value:.0f} %"
        for key, value in values.items()
        if key not in ("probability", "flips") and value
    ]
    said += ["mirrored and turned"] if config.flips else []
    text = f"{', '.join(said)}; each in {config.probability:.0%} of the crops" if said else "nothing is changed"
    return close_lines(text)


def _button(name: str, icon: str, words: str, width: str) -> ipywidgets.Button:
    return ipywidgets.Button(description=name, icon=icon, tooltip=words, layout={"width": width})
