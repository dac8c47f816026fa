"""The result of a mapping as a picture and as a map: colours of the styles, amounts, nothing fetched."""

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex

from lib.errors import InputError
from lib.grid import Grid
from lib.mapping.overview import Overview
from lib.mapping.styles import STYLES
from lib.show.canvas import PREDICTION, rgb
from lib.show.leaflet import fetched_addresses, map_page
from lib.show.map_result import result_figure, result_map

pytestmark = pytest.mark.filterwarnings("error")
NASTY = "</script><script>alert(1)</script>{{ 7*7 }}"


def overview(grid: Grid) -> Overview:
    """Three roads, one of each class, a missing one, two houses; the network is sure of the left half."""
    image = np.random.default_rng(0).integers(60, 190, (60, 80, 3), dtype=np.uint8)
    probability = np.zeros((60, 80), np.float32)
    probability[:, :40] = 1
    probability[:5] = np.nan

    def placed(*shapes: shapely.Geometry) -> list[shapely.Geometry]:
        return [shapely.transform(shape, grid.pixel_to_world) for shape in shapes]

    lines = placed(*(shapely.LineString([(5, y), (70, y)]) for y in (10, 20, 30)))
    facts = {"length_m": [1000.0, 2000.0, 400.0], "confidence": [0.95, 0.8, 0.6], "confidence_class": list(CLASSES)}
    missing = {"length_m": [100.0], "confidence": [0.9], "status": ["open"], "name": [NASTY]}
    houses = placed(shapely.box(5, 40, 15, 50), shapely.box(25, 40, 35, 50))
    layers = {
        "roads": gpd.GeoDataFrame(facts, geometry=lines, crs=grid.crs),
        "missing_roads": gpd.GeoDataFrame(missing, geometry=lines[:1], crs=grid.crs),
        "buildings": gpd.GeoDataFrame(
            {"area_m2": [25.0, 25.0], "confidence_class": ["sure", "doubtful"]}, geometry=houses, crs=grid.crs
        ),
    }
    return Overview(grid, image, probability, layers)


CLASSES = [look.value for look in STYLES["roads"].looks]


@pytest.mark.parametrize("kind", ["mercator", "lonlat", "rotated utm", "pixels"])
def test_the_picture_shows_roads_in_the_colours_of_their_class(kind, grids, texts):
    grid = grids[kind]
    figure = result_figure(overview(grid), title="a town & its <survey>")
    said = texts(figure)
    assert [text for text in said if "km" in text] == [
        "sure: 0.9 or more (1.0 km)",
        "likely: 0.7 or more (2.0 km)",
        "doubtful: less (0.4 km)",
    ]
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["a town & its <survey>", "probability", "roads: 3.4 km"]
    drawn = [item for item in figure.axes[2].collections if isinstance(item, LineCollection)]
    colors = [to_hex(item.get_colors()[0]).upper() for item in drawn]
    assert colors[1::2] == [look.color for look in reversed(STYLES["roads"].looks)]  # the surest lies on top
    assert set(colors[::2]) == {"#FFFFFF"}
    for item, y in zip(drawn[1::2], (30, 20, 10), strict=True):
        assert item.get_segments()[0] == pytest.approx(np.array([[5, y], [70, y]]), abs=1e-3)
    assert figure.encoded()[0] == "image/jpeg"


@pytest.mark.parametrize(("kind", "has_arrow"), [("mercator", False), ("rotated utm", True), ("pixels", False)])
def test_an_arrow_shows_north_where_it_is_not_up(kind, has_arrow, grids):
    grid = grids[kind]
    image, *others = result_figure(overview(grid)).axes
    arrows = [text for text in image.texts if text.get_text() == "N"]
    assert len(arrows) == has_arrow and not any(text.get_text() == "N" for ax in others for text in ax.texts)
    if has_arrow:
        x, y = arrows[0].xyann  # points, y up
        a, b, *_ = grid.transform  # a step to the grid's north goes b to the right and a up
        assert np.degrees(np.arctan2(x, y)) == pytest.approx(np.degrees(np.arctan2(b, a)), abs=4)


def test_the_probability_is_a_tint_and_what_was_not_seen_has_none(grids):
    figure = result_figure(overview(grids["pixels"]))
    pixels = np.asarray(figure.axes[1].images[0].get_array())
    assert np.abs(pixels[30, 20].astype(int) - rgb(PREDICTION)).max() < 40  # sure
    for row, column in ((30, 60), (2, 20)):
        assert np.ptp(pixels[row, column].astype(int)) < 60  # nearly grey, as the muted image is


def test_buildings_are_areas_and_counted(grids, texts):
    figure = result_figure(overview(grids["rotated utm"]), layer="buildings")
    assert "sure: 0.9 or more (1)" in texts(figure) and "likely: 0.7 or more (0)" in texts(figure)
    drawn = [item for item in figure.axes[2].collections if isinstance(item, PolyCollection)]
    assert sum(len(item.get_paths()) for item in drawn) == 2
    with pytest.raises(InputError, match="it has roads, missing_roads, buildings"):
        result_figure(overview(grids["pixels"]), layer="rivers")
    with pytest.raises(InputError, match="it has none"):
        result_figure(replace(overview(grids["pixels"]), layers={}))


@pytest.mark.parametrize("kind", ["mercator", "lonlat", "rotated utm", "pixels"])
def test_the_map_opens_offline_with_a_layer_a_category(kind, grids):
    page = map_page(result_map(overview(grids[kind])))
    assert not fetched_addresses(page)
    for name, amount in (("sure: 0.9 or more", 1), ("likely: 0.7 or more", 1), ("doubtful: less", 1)):
        assert f"roads, {name} ({amount})" in page
    assert "buildings, likely" not in page  # there is none
    assert "missing roads, to be reviewed (1)" in page and "OpenStreetMap contributors" in page
    assert "<script>alert" not in page
    assert page.count("L.layerGroup(") == 6 and "interactive: false" in page
