"""The lane panel without a front end: what it draws, where it looks, what it saves, what it cuts."""

import html
import time

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import ParameterError
from lib.osm.lanes import METRIC
from lib.parameters import check_notebook, declared, load
from lib.show import lane_panel
from lib.show.canvas import FN, FP, LABEL, rgb

pytestmark = pytest.mark.filterwarnings("error")

SIDE, GSD_M = 64, 0.5
NOTEBOOK = "01_rasterize_osm"
OWN = {"residential": 3.0, "default": 3.25}


def draw_mask(lane_width_m, classes, dx_m, dy_m) -> np.ndarray:
    """One horizontal road of two lanes, where its class is drawn."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if "residential" in classes:
        width_m = lane_width_m if isinstance(lane_width_m, float) else lane_width_m["residential"]
        middle_px, half_px = SIDE / 2 - dy_m / GSD_M, width_m / GSD_M
        mask[round(middle_px - half_px) : round(middle_px + half_px)] = 255
    return mask


def ground(name="scene", draw=draw_mask, size_px=(4 * SIDE, 4 * SIDE), seen=None, **offset):
    image = np.full((SIDE, SIDE, 3), 120, np.uint8)

    def opened():
        return lambda window: (seen.append(window) if seen is not None else None) or lane_panel.Look(image, draw)

    return lane_panel.Ground(name, size_px, GSD_M, opened, **offset)


@pytest.fixture
def panel(area):
    """Makes a panel over some scenes, with what the notebook's parameters are to be."""

    def make(*grounds, text="", cell=None, tables=None, classes=("residential", "footway"), **options):
        _, settled = area(text, NOTEBOOK, **(cell or {}))
        tables = tables or {"run's": (OWN, settled["lane_widths_m"]), "fitted": ({**OWN, "residential": 6.0},) * 2}
        own = METRIC.drawn
        return lane_panel.LanePanel(
            grounds or [ground()], settled, classes=classes, own_classes=own, tables=tables, **options
        )

    return make


def rows_of(panel, color) -> np.ndarray:
    """Rows of the picture that are near a colour."""
    picture = cv2.imdecode(np.frombuffer(panel.picture.value, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    column = picture[:, SIDE // 2].astype(int)
    return np.nonzero(np.abs(column - rgb(color)).sum(axis=1) < np.abs(column - 120).sum(axis=1) + 60)[0]


def test_the_mask_follows_the_sliders(panel):
    shown = panel()
    assert "18.8%" in shown.status.value and shown.lane_width.disabled  # 12 of 64 rows
    shown.widths.value = "fitted"
    assert "37.5%" in shown.status.value
    middle = rows_of(shown, LABEL).mean()
    shown.dy.value = 5.0  # north is up: ten pixels
    assert rows_of(shown, LABEL).mean() == pytest.approx(middle - 10, abs=1.5)
    shown.widths.value = lane_panel.ONE_WIDTH
    shown.lane_width.value = 1.5
    assert "9.4%" in shown.status.value and not shown.lane_width.disabled
    shown.boxes["residential"].value = False
    assert "0.0%" in shown.status.value
    shown.reset.click()
    assert "18.8%" in shown.status.value and shown.dy.value == 0 and shown.profile() == shown.saved


def test_before_shows_what_the_run_drew_and_the_change_parts_it(panel):
    shown = panel(cell={"lane_width_m": 3.0, "dy_m": 1.0})
    assert (shown.widths.value, shown.lane_width.value, shown.dy.value) == (lane_panel.ONE_WIDTH, 3.0, 1.0)
    first = shown.picture.value
    shown.dy.value = 4.0
    assert shown.picture.value != first
    shown.before.value = True
    assert shown.picture.value == first and "as this run drew it" in shown.status.value
    shown.before.value, shown.change.value = False, True
    comes, goes = rows_of(shown, FP), rows_of(shown, FN)
    assert comes.max() < goes.min() and "comes" in shown.status.value and "goes" in shown.status.value


def test_the_offset_is_said_with_its_sum_scene_by_scene(panel):
    here = ground("north", offset_m=(1.2, -0.4), offset_words="confidence 0.93")
    shown = panel(here, ground("south", offset_words="not certain, adds nothing"))
    shown.dx.value = 2.0
    assert "+1.2 m east, -0.4 m north (confidence 0.93)" in shown.offset.value
    assert "<b>+3.2 m east, -0.4 m north</b>" in shown.offset.value
    shown.scene.value = shown.scene.options[1][1]
    assert "not certain, adds nothing" in shown.offset.value and "<b>" not in shown.offset.value


def test_zoom_and_pan_stay_within_the_scene(panel):
    seen = []
    shown = panel(ground(size_px=(2048, 1024), seen=seen), ground("other"))
    for name in ("in", "in", "in", "left", "up"):
        shown.view[name].click()
    assert seen[-1] == (640, 320, 512, 256), "no finer than FINEST_PX; a quarter to the left and up"
    shown.point("drag", -0.5, 0.0)
    assert seen[-1] == (896, 320, 512, 256)
    for _ in range(9):
        shown.view["right"].click()
    assert seen[-1] == (1536, 320, 512, 256)
    shown.point("out", 0.5, 0.5)
    assert seen[-1] == (1024, 192, 1024, 512) and "512 m across" in shown.status.value
    count = len(seen)
    shown.dx.value = 1.0
    assert len(seen) == count, "the view is kept while sliders move"
    shown.scene.value = shown.scene.options[1][1]
    assert (shown.zoom, shown.window) == (0, (0, 0, 4 * SIDE, 4 * SIDE))


@given(
    st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.integers(0, 9),
)
def test_a_window_lies_in_its_scene(size_px, centre, zoom):
    col, row, width, height = lane_panel.window_of(size_px, centre, zoom)
    assert 0 <= col <= col + width <= size_px[0] and 0 <= row <= row + height <= size_px[1] and width and height


def test_what_is_saved_is_what_the_next_run_draws(panel, capsys):
    shown = panel(text="gsd_m: 0.5  # metres\n")
    shown.widths.value, shown.dx.value = "fitted", -1.5
    shown.boxes["footway"].value = True
    shown.save.click()
    assert f"saved to params/my-village/{NOTEBOOK}.yaml: the next run takes it<" in shown.said.value
    values = load("my-village", NOTEBOOK)
    assert (values["gsd_m"], values["dx_m"], values["lane_width_m"]) == (0.5, -1.5, 0.0)
    assert values["classes"] == [*METRIC.drawn, "footway"] and values["lane_widths_m"]["residential"] == 6.0
    shown.boxes["footway"].value, shown.boxes["residential"].value = False, False
    shown.save.click()
    assert "residential" not in load("my-village", NOTEBOOK)["lane_widths_m"], "a width of no class would be refused"
    shown.reset.click()
    shown.save.click()
    assert load("my-village", NOTEBOOK)["classes"] == [], "the profile's own, whichever they are"
    # a working copy that runs again: its parameters cell as it was made, then the second cell
    copy = {name: default for name, (_, default) in declared(NOTEBOOK).items()} | {"area": "my-village"}
    shown.widths.value, shown.lane_width.value = lane_panel.ONE_WIDTH, 2.75
    shown.save.click()
    assert check_notebook(NOTEBOOK, copy)["lane_width_m"] == 2.75


def test_what_cannot_be_saved_is_said(panel, tmp_path):
    shown = panel(cell={"dx_m": 3.0})
    shown.save.click()
    assert "dx_m stands in the parameters cell or the call, which wins" in shown.said.value
    path = tmp_path / "params" / "my-village" / f"{NOTEBOOK}.yaml"
    path.write_text("- a list\n")
    shown.save.click()
    assert "expected lines `name: value`" in shown.said.value and path.read_text() == "- a list\n"


def test_no_class_is_no_profile(panel):
    shown = panel(cell={"classes": ["residential"]})
    shown.boxes["residential"].value = False
    assert "0.0%" in shown.status.value
    shown.save.click()
    assert "No class is chosen" in shown.said.value


def test_chips_are_cut_with_what_is_saved_or_not_at_all(panel, monkeypatch):
    shown, started = panel(cell={"chip_px": 64, "dx_m": 2.0}), []
    monkeypatch.setattr(shown.cutting.rerun, "start", started.append)
    shown.cut.click()
    assert '{"chip_px": 64, "dx_m": 2.0}' in started[-1]
    shown.dx.value = 1.0
    shown.cut.click()
    assert "save first, or reset" in shown.said.value and len(started) == 1
    shown.save.click()
    shown.cut.click()
    assert '{"chip_px": 64}' in started[-1] and "runs anew" in shown.said.value


def test_an_error_of_reading_or_drawing_is_shown_as_text(panel, text):
    def refuse(*_):
        raise ParameterError(text)

    shown = panel(ground(text, draw=refuse, offset_m=(1.0, 0.0), offset_words=text), classes=[text])
    assert html.escape(text) in shown.status.value and html.escape(text) in shown.offset.value
    assert shown.boxes[text].description == text and not shown.boxes[text].description_allow_html
    shown = panel(ground(draw=lambda *_: np.zeros((2, 2), np.uint8)))
    assert "Expected a mask" in shown.status.value


def test_latency_is_told(panel, capsys):
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (256, 256, 3), dtype=np.uint8), (1024, 1024))
    lines = [(rng.random((2, 2)) * 1024 * 16).astype(np.int32) for _ in range(200)]

    def draw(lane_width_m, *_):
        mask = np.zeros((1024, 1024), np.uint8)
        cv2.polylines(mask, lines, False, 255, round(2 * lane_width_m / GSD_M), cv2.LINE_8, 4)
        return mask

    look = lane_panel.Look(image, draw)
    shown = panel(lane_panel.Ground("town", (1024, 1024), 0.5, lambda: lambda _: look), cell={"lane_width_m": 3.0})
    times_ms = {}
    for mode in (False, True):
        shown.change.value = mode
        start_s = time.process_time()
        for value in (2, 3, 4, 5):
            shown.lane_width.value = value
        times_ms["change" if mode else "mask"] = 1000 * (time.process_time() - start_s) / 4
    with capsys.disabled():
        print(", ".join(f"{name} {ms:.0f} ms" for name, ms in times_ms.items()), "a redraw of 1024 px", end=" ")
