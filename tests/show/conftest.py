"""An image, masks over it, a map of it, and what a figure says."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from lib.grid import Grid

SIDE = 64


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 190, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def quarters() -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction: upper left found, upper right missed, lower left false, lower right background."""
    truth, prediction = np.zeros((2, SIDE, SIDE), np.uint8)
    half = SIDE // 2
    truth[:half] = 255
    prediction[:, :half] = 255
    return truth, prediction


@pytest.fixture(scope="session")
def texts() -> Callable[[Figure], list[str]]:
    """Reads the legends of a figure and what is written into its axes."""

    def read(figure: Figure) -> list[str]:
        legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        return legends + [text.get_text() for ax in figure.axes for text in ax.texts]

    return read


@pytest.fixture(scope="session")
def grids() -> dict[str, Grid]:
    """One image of 60 x 80 pixels, lying in four kinds of places."""
    cos, sin = np.cos(np.radians(20)), np.sin(np.radians(20))
    transforms = {
        "mercator": ((0.6, 0, 3_600_000.0, 0, -0.6, 40_000.0), "EPSG:3857"),
        "lonlat": ((3e-6, 0, 25.0, 0, -3e-6, 60.0), "EPSG:4326"),
        "rotated utm": ((cos, sin, 385_000.0, sin, -cos, 6_672_000.0), "EPSG:32635"),
        "pixels": ((1, 0, 0, 0, 1, 0), None),
    }
    return {name: Grid(transform, crs, 80, 60) for name, (transform, crs) in transforms.items()}


# what a stranger may call a street, a file or a place; harmless, and none of it may be more than text
TEXTS = {
    "template": "{{7*7}}",
    "statement": "{% if %}",
    "comment": "{# #}",
    "literal": "${7*7}",
    "script": "</script><script>document.title = 'run'</script>",
    "markup": "<img src=x onerror=\"document.title='run'\">",
    "quotes": "'\"`\\",
    "formula": "$x^{$",
    "novel": "{{" + "x" * 100_000,
}


@pytest.fixture(params=TEXTS.values(), ids=TEXTS.keys())
def text(request) -> str:
    return request.param


@pytest.fixture
def all_texts() -> list[str]:
    return list(TEXTS.values())
