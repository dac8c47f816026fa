"""The map of splits: chips in metres, counted, towns apart."""

import numpy as np
import pandas as pd
import pytest

from lib.errors import InputError
from lib.show.splits import split_map

pytestmark = pytest.mark.filterwarnings("error")


def footprint(west: float, south: float, size: float = 0.001) -> str:
    east, north = west + size, south + size
    return f"POLYGON (({west} {south}, {east} {south}, {east} {north}, {west} {north}, {west} {south}))"


def test_split_map_is_in_metres_and_counts(texts):
    places = [footprint(25.0, 60.0), footprint(25.002, 60.0), ""]
    manifest = pd.DataFrame(
        {"footprint": places, "split": ["train", "test", "train"], "label": ["osm", "clean", "osm"]}
    )
    figure = split_map(manifest)
    ring = figure.axes[0].patches[0].get_xy()
    # 0.001 degree is 111.2 m to the north and, at 60 degrees, half of it to the east
    assert np.ptp(ring[:, 1]) == pytest.approx(111.2, abs=0.2)
    assert np.ptp(ring[:, 0]) == pytest.approx(55.6, abs=0.2)
    assert {"train, OSM labels: 1", "test, clean labels: 1", "without a place: 1"} <= set(texts(figure))
    dropped = split_map(manifest.assign(dropped=["", "by hand: clouds", ""]))
    assert "left out, clean labels: 1" in texts(dropped) and "test, clean labels: 1" not in texts(dropped)
    with pytest.raises(InputError, match="no CRS"):
        split_map(manifest.assign(footprint=""))


def test_split_map_parts_towns_that_lie_far_apart():
    places = [footprint(25.0, 60.0), footprint(25.001, 60.0), footprint(10.0, 48.0)]
    manifest = pd.DataFrame(
        {"footprint": places, "split": "train", "label": "osm", "scene": ["helsinki", "helsinki", "town"]}
    )
    figure = split_map(manifest, title="two towns")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["helsinki", "town"]
    assert [len(ax.patches) for ax in figure.axes] == [2, 1]
    scattered = [footprint(degrees, 60.0) for degrees in range(10, 20)]
    country = pd.DataFrame({"footprint": scattered, "split": "train", "label": "osm"})
    assert len(split_map(country).axes) == 1
