"""The sheet that figures are drawn on, and its furniture: photos in pixel coordinates, legends, the scale bar."""

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from lib.errors import ParameterError
from lib.paths import write_whole
from lib.show.canvas import FAINT, INK, JPEG_QUALITY, short

DPI = 110
TEXT_LENGTH = 140  # letters that fit across a sheet
LABEL_LENGTH = 40  # in a legend or at an axis
STYLE = {"color": INK, "fontsize": 9}


class Sheet(Figure):
    """
    A matplotlib figure that shows itself in any notebook, headless or not, without pyplot.

    Parameters
    ----------
    width_in, height_in
        Size in inches at DPI dots an inch.
    alt
        What the picture shows, in a sentence, for who can't see it; it goes into the HTML.
    photo
        True for imagery: shown as JPEG, a fifth of the PNG's size; False for charts: PNG.
    """

    def __init__(self, width_in: float, height_in: float, alt: str, photo: bool):
        super().__init__(figsize=(width_in, height_in), dpi=DPI, layout="constrained", facecolor="white")
        self.alt = short(alt.strip(), 2 * TEXT_LENGTH)
        self.photo = photo

    def draw(self, renderer: RendererBase) -> None:
        """Draw the figure with each text as it is written, on one line, cut where it is long; a `$` is a letter."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
            text.set_text(short(" ".join(text.get_text().splitlines()), TEXT_LENGTH))
        with rc_context({"text.parse_math": False}):  # for ticks that are made only now
            super().draw(renderer)

    def encoded(self) -> tuple[str, bytes]:
        """Mime type and bytes of the picture as a notebook shows it."""
        buffer = BytesIO()
        if self.photo:
            # without subsampling coloured edges stay crisp
            options = {"quality": JPEG_QUALITY, "subsampling": 0, "optimize": True}
            self.savefig(buffer, format="jpeg", pil_kwargs=options)
            return "image/jpeg", buffer.getvalue()
        self.savefig(buffer, format="png")
        return "image/png", buffer.getvalue()

    def _ipython_display_(self) -> None:
        from IPython.display import Image, display

        mime, content = self.encoded()
        image = Image(data=content, format=mime.split("/")[1])
        display(image, metadata={mime: {"alt": self.alt}})


def save_figure(sheet: Sheet, path: Path) -> Path:
    """Write a figure as a notebook shows it, whole or not at all; `path` gets the suffix of its kind, .jpg or .png."""
    mime, content = sheet.encoded()
    return write_whole(path.with_name(f"{path.name}{'.jpg' if mime == 'image/jpeg' else '.png'}"), content)


def round_length_m(limit_m: float) -> float:
    """The longest of 1, 2, 5, 10, 20, 50, ... metres (or their fractions) that is at most `limit_m`."""
    power = 10.0 ** np.floor(np.log10(limit_m))
    return float(max(step * power for step in (1, 2, 5) if step * power <= limit_m * (1 + 1e-9)))


def scale_bar(ax: Axes, gsd_m: float, width_px: float, on_image: bool = True) -> None:
    """
    Draw a scale bar in the lower left corner, at most a quarter of the width, in metres or kilometres.

    Parameters
    ----------
    ax
        Axes whose x unit is `gsd_m` metres long.
    gsd_m
        Ground sampling distance, metres a pixel.
    width_px
        Width of what is shown, in the unit of x.
    on_image
        White on a dark edge; False: ink on paper.
    """
    if not (np.isfinite(gsd_m) and gsd_m > 0):
        raise ParameterError(f"Expected gsd_m > 0, metres a pixel; got {gsd_m}.")
    length_m = round_length_m(width_px * gsd_m / 4)
    text = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    bar_edge, text_edge = ([withStroke(linewidth=width, foreground="#111820C0")] * on_image for width in (4.4, 2))
    left = 0.035  # of the axes' width, like the other places here: a zoom would not part bar and label
    right = left + length_m / gsd_m / width_px
    options = {"color": "white" if on_image else INK, "transform": ax.transAxes, "clip_on": False, "zorder": 10}
    ax.plot([left, right], [0.035] * 2, linewidth=2.2, solid_capstyle="butt", path_effects=bar_edge, **options)
    options |= {"ha": "center", "va": "bottom", "fontsize": 8, "path_effects": text_edge}
    ax.text((left + right) / 2, 0.05, text, **options)


def fitted(panel_in: float, image: np.ndarray, *masks: np.ndarray) -> tuple[list[np.ndarray], int]:
    """
    Arrays enlarged by a whole factor to about the panel's pixels, and the width of an outline that survives there.

    Enlarging before drawing keeps edges fine on small chips; large ones are left whole and drawn with wider edges.
    """
    panel_px = panel_in * DPI
    side = max(image.shape[:2])
    factor = max(1, round(panel_px / side))
    if factor > 1:
        size = (image.shape[1] * factor, image.shape[0] * factor)
        image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        masks = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for mask in masks]
    return [image, *masks], max(1, round(1.5 * side * factor / panel_px))


def height_share(image: np.ndarray) -> float:
    """Height of an image's panel as a share of its width; a narrow strip does not make a poster."""
    return float(np.clip(image.shape[0] / image.shape[1], 0.25, 2.0))


def show_photo(ax: Axes, pixels: np.ndarray, shape: tuple[int, int], gsd_m: float | None, title: str = "") -> None:
    """Show RGB pixels in the chip's own coordinates, (0, 0) its outer top-left corner, without ticks."""
    height, width = shape
    ax.imshow(pixels, extent=(0, width, height, 0))
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set(color=FAINT, linewidth=0.8)
    if title:
        ax.set_title(title, loc="left", **STYLE)
    if gsd_m is not None:
        scale_bar(ax, gsd_m, width)


def picture_axes(sheet: Sheet, count: int, columns: int) -> list[Axes]:
    """Axes of a grid of `count` pictures; places left over stay empty."""
    rows = -(-count // columns)
    axes = sheet.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[count:]:
        ax.remove()
    return list(axes[:count])


def strip_legend(sheet: Sheet, handles: list[Artist], columns: int | None = None) -> None:
    """Legend in one strip below the pictures, or in rows of so many columns."""
    sheet.legend(
        handles=handles,
        loc="outside lower left",
        ncols=columns or len(handles),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=1.4,
        handleheight=1.0,
    )


def patch(color: str, label: str, alpha: float = 1.0, hatched: bool = False) -> Patch:
    """Legend entry of an area: filled at `alpha`, edged in full colour."""
    return Patch(
        facecolor=(color, alpha), edgecolor=color, label=short(label, LABEL_LENGTH), hatch="////" if hatched else None
    )
