"""Whatever a tag, a layer or an area is called: a map shows it as it is written, and runs none of it."""

import html
import json
import re

import geopandas as gpd
import numpy as np
import pytest
from shapely import LineString

from lib.errors import ParameterError
from lib.show import leaflet, webmap
from lib.show.canvas import FP, TRUTH

pytestmark = pytest.mark.filterwarnings("error")


def scene(grid, text) -> leaflet.Map:
    """A map with `text` in every place that takes one; two tips, three layer names, one credit."""
    mask = np.zeros((grid.height, grid.width), np.uint8)
    mask[10:30, 10:40] = 255
    line = np.array([[0.0, 0], [40, 30]])
    roads = gpd.GeoDataFrame({text: [text]}, geometry=[LineString(grid.pixel_to_world(line))], crs=grid.crs)
    made = webmap.scene_map(np.dstack([mask] * 3), grid, attribution=text)
    webmap.add_vectors(made, roads, f"vectors {text}", columns=[text])
    webmap.add_mask(made, mask, f"mask {text}", TRUTH, from_osm=True)
    webmap.add_errors(made, mask, mask)
    webmap.add_lines(made, [line], f"lines {text}", color=FP, tips=[text])
    return made


def strings(page: str) -> list[str]:
    """What a browser reads in the strings of the map's own script."""
    script = page[page.rindex("<script>") : page.rindex("</script>")]
    return [json.loads(found) for found in re.findall(r'"(?:[^"\\]|\\.)*"', script)]


def test_no_text_is_run_as_a_template(grids, text):
    made = scene(grids["mercator"], text)
    page = leaflet.map_page(made)
    assert page == leaflet.map_page(made) and leaflet.fetched_addresses(page) == []
    shown, found = leaflet.as_html(text), strings(page)
    assert shown in found and html.escape(text) in found  # the tip of a line is cut, a credit is shown whole
    assert f"<b>{shown}</b> {shown}" in found
    for kind in ("vectors", "mask", "lines"):
        assert any(name.endswith("</span>" + leaflet.as_html(f"{kind} {text}")) for name in found)
    frame = leaflet.map_html(made, title=text)
    assert f'title="{html.escape(text)}"' in frame and html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == page


def test_what_lies_in_a_group_of_folium_is_not_run_either(grids):
    import folium

    made = scene(grids["mercator"], "plain")
    group = folium.FeatureGroup("group")
    folium.Marker([0, 0], tooltip="a {{ 6*7 }} b").add_to(group)
    made.add_child(group)
    assert r"a \u007b{ 6*7 }} b" in leaflet.map_page(made)
    assert r"a \u007b{ 6*7 }} b" in made.get_root().render()  # as folium's own save does


def test_a_colour_is_a_colour(grids):
    with pytest.raises(ParameterError, match="#RRGGBB"):
        webmap.add_lines(scene(grids["pixels"], "plain"), [], "lines", color="red;{{7*7}}")


@pytest.mark.browser
def test_a_browser_shows_the_text_and_runs_none_of_it(browser, grids, text, tmp_path):
    whole = browser.made_of(leaflet.save_map(scene(grids["mercator"], text), tmp_path / "map.html"))
    drawn = re.sub(r"<(script|style)>.*?</\1>", "", whole, flags=re.DOTALL)
    shown = html.unescape(re.sub(r"<[^>]*>", "", drawn))
    for kind in ("vectors", "mask", "lines"):
        assert leaflet.short(f"{kind} {text}", leaflet.TEXT_LENGTH) in shown
    assert text in shown and "<title>run" not in whole and "<img src=" not in drawn
