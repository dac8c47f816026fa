"""The review panel's callbacks without a front end, its pixels, and that the static sheet shows the same."""

import time

import cv2
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from lib.conflation.review import Review, decide, read_statuses
from lib.errors import InputError
from lib.show import review
from lib.show.canvas import LABEL, PREDICTION, rgb
from lib.show.review import ReviewPanel, View, candidate_rgb, review_sheet, viewer

CRS, WEST, NORTH = "EPSG:32635", 500_000.0, 6_700_000.0
SIDE_PX, GSD_M = 1000, 0.5


def line(*xy: tuple[float, float]) -> shapely.LineString:
    """Through places in metres east and south of the image's corner."""
    return shapely.LineString([(WEST + x, NORTH - y) for x, y in xy])


@pytest.fixture
def folder(tmp_path):
    """A grey image of 500 m a side, and a map of it with three candidates."""
    lines = [line((100, 100), (160, 100)), line((20, 5), (20, 45)), line((300, 300), (420, 460))]
    columns = {"candidate": [11, 12, 13], "confidence": [0.9, 0.8, 0.7], "length_m": [60.0, 40.0, 200.0]}
    names = ["residential", "", "<b>" + "x" * 500]
    frame = gpd.GeoDataFrame(columns | {"joins_highway": names, "status": "open"}, geometry=lines, crs=CRS)
    frame.to_file(tmp_path / "map.gpkg", layer="missing_roads")
    transform = rasterio.Affine(GSD_M, 0, WEST, 0, -GSD_M, NORTH)
    profile = {"driver": "GTiff", "width": SIDE_PX, "height": SIDE_PX, "count": 3, "dtype": "uint8"}
    with rasterio.open(tmp_path / "scene.tif", "w", crs=CRS, transform=transform, **profile) as file:
        file.write(np.full((3, SIDE_PX, SIDE_PX), 120, np.uint8))
    return tmp_path


@pytest.fixture
def view(folder):
    roads = gpd.GeoDataFrame(geometry=[line((0, 130), (500, 130))], crs=CRS).to_crs("EPSG:4326")
    return viewer([folder / "scene.tif"], gpd.read_file(folder / "map.gpkg"), roads)


@pytest.fixture
def panel(folder, view):
    return ReviewPanel(Review(folder / "map.gpkg", "missing_roads"), view)


def decoded(panel) -> np.ndarray:
    content = np.frombuffer(panel.picture.value, np.uint8)
    return cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def places_of(pixels: np.ndarray, color: str) -> np.ndarray:
    """(n, 2) x, y of the pixels of a colour."""
    return np.argwhere((pixels == rgb(color)).all(axis=2))[:, ::-1]


def test_the_lines_lie_where_they_are_on_the_ground(view):
    shown = view(11)
    # 60 m and 40 m on either side, but 120 m at least: 140 m from (60, 30)
    assert shown.image.shape == (640, 640, 3) and shown.gsd_m == pytest.approx(140 / 640)
    pixels = candidate_rgb(shown)
    drawn = places_of(pixels, PREDICTION) * shown.gsd_m
    assert drawn[:, 1].mean() == pytest.approx(70, abs=0.2)
    assert (drawn[:, 0].min(), drawn[:, 0].max()) == pytest.approx((40, 100), abs=0.8)
    osm = places_of(pixels, LABEL) * shown.gsd_m
    assert osm[:, 1].mean() == pytest.approx(100, abs=0.2) and np.ptp(osm[:, 0]) > 139
    assert (candidate_rgb(shown, lines=False) == 120).all() and (shown.image == 120).all()


def test_a_candidate_at_the_images_edge_is_shown_as_far_as_the_image_goes(view):
    shown = view(12)
    assert shown.image.shape == (640, 640, 3) and (shown.image == 120).all()
    [path] = shown.candidate
    np.testing.assert_allclose(path * shown.gsd_m, [[20, 5], [20, 45]], atol=1e-6)


def test_outlines_with_their_courts_are_drawn():
    ring = np.array([[10, 10], [50, 10], [50, 50], [10, 50], [10, 10]], float)
    court = shapely.Polygon(ring, [ring[::-1] / 2 + 15])
    pixels = candidate_rgb(View(np.full((64, 64, 3), 9, np.uint8), 0.5, review._paths(court), []))
    assert [tuple(pixels[y, x]) == rgb(PREDICTION) for y, x in ((10, 30), (30, 49), (20, 30), (30, 30))] == [
        True, True, True, False,
    ]  # fmt: skip


def test_each_button_writes_its_decision_and_shows_the_next(folder, panel):
    gpkg = folder / "map.gpkg"
    assert "<b>1 of 3</b> · open" in panel.about.value and "60 m · confidence 0.90 · joins resid" in panel.about.value
    first = panel.picture.value
    panel.buttons["accept"].click()
    assert read_statuses(gpkg, "missing_roads") == {11: "accepted", 12: "open", 13: "open"}
    assert "<b>2 of 3</b>" in panel.about.value and panel.picture.value != first and panel.progress.value == 1
    panel.buttons["reject"].click()
    panel.buttons["undo"].click()
    assert "<b>2 of 3</b> · open" in panel.about.value and "2 open · 1 accepted · 0 rejected" in panel.status.value
    panel.buttons["back"].click()
    assert panel.picture.value == first and "accepted" in panel.about.value
    panel.buttons["on"].click()
    for _ in range(2):
        panel.buttons["skip"].click()
    assert read_statuses(gpkg, "missing_roads") == {11: "accepted", 12: "skipped", 13: "skipped"}
    assert panel.progress.value == panel.progress.max == 3
    panel.lines.value = False
    assert (np.abs(decoded(panel).astype(int) - 120) <= 2).all()


def test_what_a_stranger_wrote_is_text_and_short(panel):
    panel.buttons["back"].click()
    assert "&lt;b&gt;xxx" in panel.about.value and "<b>x" not in panel.about.value and len(panel.about.value) < 600


def test_what_fails_is_said_and_nothing_is_lost(folder, panel, monkeypatch):
    panel.buttons["undo"].click()
    assert "nothing to undo" in panel.status.value
    (folder / "scene.tif").rename(folder / "gone.tif")
    panel.buttons["accept"].click()
    assert "1 accepted" in panel.status.value and "scene.tif" in panel.status.value
    (folder / "gone.tif").rename(folder / "scene.tif")
    panel.buttons["on"].click()
    assert "drawn in" in panel.status.value and "scene.tif" not in panel.status.value
    (folder / "map.gpkg").rename(folder / "moved.gpkg")
    panel.buttons["reject"].click()
    assert "map.gpkg: no such file" in panel.status.value and "1 accepted · 0 rejected" in panel.status.value


def test_a_candidate_that_no_image_shows_is_an_error_in_words(folder, view):
    with pytest.raises(InputError, match="99 is none of the 3"):
        view(99)
    lines = gpd.GeoDataFrame({"candidate": [1]}, geometry=[line((900, 900), (950, 900))], crs=CRS)
    with pytest.raises(InputError, match="lies on none of the 1 images"):
        viewer([folder / "scene.tif"], lines, lines)(1)


def test_two_panels_on_one_page_have_keys_of_their_own(folder, view, panel):
    other = ReviewPanel(panel.review, view)
    scripts = [one.children[-1].outputs[0]["data"]["application/javascript"] for one in (panel, other)]
    names = [one._dom_classes[0] for one in (panel, other)]
    assert names[0] != names[1] and all(name in script for name, script in zip(names, scripts, strict=True))
    for name in review.KEYS.values():
        widget = panel.lines if name == "lines" else panel.buttons[name]
        assert f"{names[0]}-{name}" in widget._dom_classes


def test_the_sheet_shows_the_first_candidates(panel, view):
    decide(panel.review.gpkg, "missing_roads", 11, "rejected")
    sheet = review_sheet(Review(panel.review.gpkg, "missing_roads"), view, count=2)
    assert [ax.get_title(loc="left") for ax in sheet.axes] == [
        "60 m · confidence 0.90 · joins residential · rejected", "40 m · confidence 0.80 · open",
    ]  # fmt: skip
    drawn = sheet.axes[0].images[0].get_array()
    np.testing.assert_array_equal(drawn, candidate_rgb(view(11)))
    assert sheet.encoded()[0] == "image/jpeg"


def test_a_decision_reads_one_window_and_is_written_once(folder, view, capsys):
    gpkg, seen, times_ms = folder / "map.gpkg", [], []
    panel = ReviewPanel(Review(gpkg, "missing_roads"), lambda number: seen.append(number) or view(number))

    def transactions() -> int:
        return int.from_bytes(gpkg.read_bytes()[24:28])  # SQLite's file change counter

    for name, writes in (("accept", 1), ("on", 0), ("reject", 1), ("back", 0), ("undo", 1)):
        before, start_s = transactions(), time.process_time()
        seen.clear()
        panel.buttons[name].click()
        times_ms.append(1000 * (time.process_time() - start_s))
        assert len(seen) == 1 and transactions() - before == writes
    with capsys.disabled():
        print(f"a decision, written and redrawn: {np.median(times_ms):.0f} ms", end=" ")
