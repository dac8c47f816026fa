"""Maps open with the network off, show things where they are, and let no tag value become markup."""

import base64
import html
import json
import re
from html.parser import HTMLParser

import cv2
import geopandas as gpd
import numpy as np
import pytest
from folium.raster_layers import ImageOverlay
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import LineString, Polygon

from lib.errors import InputError, ParameterError
from lib.grid import MERCATOR_HALF_SIDE_M, Grid, project, tile_grid
from lib.show import leaflet, webmap
from lib.show.canvas import FN, FP, TP, TRUTH, rgb

HEIGHT, WIDTH = 60, 80
OVER_180 = ("utm over 180", "lonlat over 180", "mercator over 180")
NASTY = "</script><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)> ${a} `b` {{ c }} \" '"

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(params=["mercator", "lonlat", "rotated utm", "pixels", *OVER_180])
def grid(request, grids) -> Grid:
    return grids[request.param]


def scene(grid: Grid) -> leaflet.Map:
    image = np.random.default_rng(0).integers(60, 190, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return webmap.scene_map(image, grid, attribution="a city & its <survey>")


def pixels_of(layer: ImageOverlay) -> np.ndarray:
    """RGBA of a raster layer, decoded from its address."""
    content = base64.b64decode(layer.url.split(",", 1)[1])
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)


def layers(scene: leaflet.Map, kind: type) -> list:
    return [child for child in scene._children.values() if isinstance(child, kind)]


def full_scene(grid: Grid) -> leaflet.Map:
    """A map with every kind of layer."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:30, 10:40] = 255
    mask[:5] = 127
    world = grid.pixel_to_world(np.array([[0.0, 0], [80, 60], [80, 0]]))
    roads = gpd.GeoDataFrame(
        {"highway": ["primary", NASTY], "lanes": [2.0, np.nan]},
        geometry=[LineString(world), Polygon(world)],
        crs=grid.crs,
    )
    made = scene(grid)
    webmap.add_vectors(made, roads, "OSM <roads>", columns=["highway", "lanes", "absent"])
    webmap.add_mask(made, mask, "truth", TRUTH, from_osm=True)
    webmap.add_errors(made, mask, np.roll(mask, 5, axis=1))
    webmap.add_lines(made, [np.array([[0.0, 0], [40, 30]])], "lost", color=FP, tips=[NASTY], dashed=True)
    return made


def test_page_fetches_nothing(grid):
    page = leaflet.map_page(full_scene(grid))
    assert leaflet.fetched_addresses(page) == []
    # said again without the module's own reader: every address outside a link is written into the page
    outside_links = re.sub(r"<a\s[^>]*>", "", re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL))
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", outside_links)
    assert not re.search(r"url\(\s*[\"']?(?!data:|#)", outside_links)
    assert "<script src" not in page and "<link" not in page and "sourceMappingURL" not in page
    assert not any(name in page for name in ("jquery", "bootstrap", "awesome"))


def test_a_plugin_that_would_fetch_is_refused(grids):
    import folium.plugins

    made = scene(grids["mercator"])
    folium.plugins.Fullscreen().add_to(made)
    with pytest.raises(InputError, match="offline"):
        leaflet.map_page(made)


class Tags(HTMLParser):
    """Names of a page's tags."""

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


def tags_of(page: str) -> list[str]:
    reader = Tags()
    reader.feed(page)
    return reader.tags


@settings(max_examples=25)
@given(value=st.one_of(st.text(min_size=1, max_size=60), st.just(NASTY)))
def test_tags_stay_text_in_the_page(grids, value):
    made = scene(grids["pixels"])
    made_lines = [np.array([[0.0, 0], [5, 5]])]
    webmap.add_lines(made, made_lines, value, color=FP, tips=[value])
    page = leaflet.map_page(made)
    assert NASTY not in page
    scripts = [tag for tag in tags_of(page) if tag == "script"]
    assert scripts == [tag for tag in tags_of(leaflet.map_page(scene(grids["pixels"]))) if tag == "script"]


def test_raster_lies_where_the_grid_says(grid):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:30, 50:56] = 255  # centre at pixel (53, 25)
    made = scene(grid)
    webmap.add_mask(made, mask, "truth", TRUTH)
    layer = layers(made, ImageOverlay)[-1]
    pixels = pixels_of(layer)
    rows, columns = np.nonzero(pixels[..., 3])
    (south, west), (north, east) = layer.bounds
    if grid.crs is None:
        assert [[south, west], [north, east]] == [[-HEIGHT, 0], [0, WIDTH]]
        x, y = columns.mean() + 0.5, rows.mean() + 0.5
    else:
        assert 0 < east - west < 0.01
        (_, low), (_, high) = project(np.array([[west, south], [east, north]]), "EPSG:4326", "EPSG:3857")
        left, right = np.array([west, east]) * MERCATOR_HALF_SIDE_M / 180
        share = np.array([(columns.mean() + 0.5) / pixels.shape[1], (rows.mean() + 0.5) / pixels.shape[0]])
        mercator = np.array([[left + share[0] * (right - left), high - share[1] * (high - low)]])
        x, y = grid.world_to_pixel(project(mercator, "EPSG:3857", grid.crs))[0]
    assert (x, y) == pytest.approx((53, 25), abs=0.6)


def test_lines_and_vectors_agree(grid):
    line = np.array([[0.0, 0.0], [80.0, 60.0]])
    features = gpd.GeoDataFrame(geometry=[LineString(grid.pixel_to_world(line))], crs=grid.crs)
    made = scene(grid)
    webmap.add_lines(made, [line], "pixels", color=FP)
    webmap.add_vectors(made, features, "world")
    one, other = (layer.data["features"][0]["geometry"]["coordinates"] for layer in layers(made, leaflet.Vectors))
    assert np.allclose(one, other, atol=1e-6)
    (south, west), (north, east) = layers(made, ImageOverlay)[0].bounds
    lon, lat = np.transpose(one)
    margin = 1e-6
    assert west - margin <= lon.min() and lon.max() <= east + margin
    assert south - margin <= lat.min() and lat.max() <= north + margin


def test_a_slippy_tile_fills_its_corners():
    tile = tile_grid(309_606, 261_636, 19)
    made = webmap.scene_map(np.zeros((256, 256, 3), np.uint8), tile)
    (south, west), (north, east) = layers(made, ImageOverlay)[0].bounds
    assert west == pytest.approx(309_606 / 2**19 * 360 - 180, abs=1e-9)
    assert east - west == pytest.approx(360 / 2**19, abs=1e-9)
    assert north - south == pytest.approx(360 / 2**19, rel=1e-3)


def test_errors_have_their_colours_and_ignored_pixels_are_grey(grids):
    truth, prediction = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    truth[:30], prediction[:, :40] = 255, 255
    truth[-2:] = 127
    made = scene(grids["pixels"])
    webmap.add_errors(made, truth, prediction)
    pixels = pixels_of(layers(made, ImageOverlay)[-1])
    assert tuple(pixels[5, 5, :3]) == rgb(TP)
    assert tuple(pixels[5, 70, :3]) == rgb(FN)
    assert tuple(pixels[50, 5, :3]) == rgb(FP)
    assert pixels[50, 70, 3] == 0 and pixels[-1, 70, 3] > 0


def test_attribution_wherever_osm_is_shown(grid):
    made = scene(grid)
    assert "OpenStreetMap contributors" not in leaflet.map_page(made)
    webmap.add_mask(made, np.zeros((HEIGHT, WIDTH), np.uint8), "label", TRUTH, from_osm=True)
    page = leaflet.map_page(made)
    assert "OpenStreetMap contributors" in json.dumps(page, ensure_ascii=False)
    assert "a city &amp;amp; its" not in page and "\\u0026lt;survey" in page


def test_page_can_be_made_again_with_one_control(grids):
    made = full_scene(grids["mercator"])
    leaflet.map_page(made)
    webmap.add_lines(made, [np.array([[0.0, 0], [9, 9]])], "later", color=FP)
    page = leaflet.map_page(made)
    assert page.count("L.control.layers(") == 1 and "later" in page


def test_embedded_map_holds_the_whole_page(grids):
    made = scene(grids["lonlat"])
    frame = leaflet.map_html(made, height_px=300, title='a "map"')
    assert frame == leaflet.map_html(made, height_px=300, title='a "map"')
    inside = html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1])
    assert inside == leaflet.map_page(made)
    assert leaflet.fetched_addresses(frame) == []
    assert made._repr_html_().startswith("<iframe")


def test_save_map_leaves_one_whole_file(tmp_path, grids):
    path = leaflet.save_map(scene(grids["pixels"]), tmp_path / "maps" / "chip.html")
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [entry.name for entry in path.parent.iterdir()] == ["chip.html"]


def test_large_rasters_are_reduced(monkeypatch, grids):
    monkeypatch.setattr(webmap, "OVERLAY_SIDE_PX", 40)
    for name in ("mercator", "lonlat"):
        assert max(pixels_of(layers(scene(grids[name]), ImageOverlay)[0]).shape) <= 40


def test_bad_input_is_refused(grids):
    made = scene(grids["mercator"])
    with pytest.raises(InputError, match="60 rows x 80 columns"):
        webmap.add_mask(made, np.zeros((80, 60), np.uint8), "turned", TRUTH)
    with pytest.raises(InputError, match="one tip a line"):
        webmap.add_lines(made, [np.zeros((2, 2))], "lines", color=FP, tips=[])
    with pytest.raises(ParameterError, match="tiles=None"):
        webmap.scene_map(np.zeros((HEIGHT, WIDTH, 3), np.uint8), grids["pixels"], tiles="OpenStreetMap")


def test_tiles_are_an_option(grids):
    made = webmap.scene_map(np.zeros((HEIGHT, WIDTH, 3), np.uint8), grids["mercator"], tiles="OpenStreetMap")
    assert "tile.openstreetmap.org" in leaflet.map_page(made)


@pytest.mark.browser
@pytest.mark.parametrize("name", ["mercator", "pixels"])
def test_a_browser_draws_the_map(browser, tmp_path, name, grids):
    whole = browser.made_of(leaflet.save_map(full_scene(grids[name]), tmp_path / "map.html"))
    drawn = re.sub(r"<(script|style)>.*?</\1>", "", whole, flags=re.DOTALL)
    assert len(re.findall(r'<img class="leaflet-image-layer', drawn)) == 2  # image, mask; errors are off
    assert len(re.findall(r'<path class="leaflet-interactive"', drawn)) == 3  # road, polygon, lost route
    assert len(re.findall(r'type="checkbox"', drawn)) == 6  # five layers, and the swipe
    assert "OSM &lt;roads&gt;" in drawn and "OpenStreetMap contributors" in drawn
