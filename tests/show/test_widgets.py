"""The panels' callbacks without a front end: what they draw, score and save."""

import subprocess
import sys
import time

import cv2
import nbformat
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient

from lib.errors import InputError, ParameterError
from lib.grid import MASK_IGNORE
from lib.paths import ROOT
from lib.show import widgets
from lib.show.canvas import LABEL, rgb

pytestmark = pytest.mark.filterwarnings("error")

SIDE = 64
GSD_M = 0.5


@pytest.fixture
def image() -> np.ndarray:
    return np.full((SIDE, SIDE, 3), 120, np.uint8)


def draw_mask(lane_width_m: float, classes: tuple[str, ...], dx_m: float, dy_m: float) -> np.ndarray:
    """One horizontal road of two lanes, where its class is drawn."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    if "residential" in classes:
        half_px = lane_width_m / GSD_M
        middle_px = SIDE / 2 - dy_m / GSD_M
        mask[round(middle_px - half_px) : round(middle_px + half_px)] = 255
    return mask


def decoded(panel) -> np.ndarray:
    content = np.frombuffer(panel.picture.value, np.uint8)
    return cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def tinted_rows(panel) -> np.ndarray:
    """Rows of the picture that are nearer to the label's colour than to the grey image."""
    column = decoded(panel)[:, SIDE // 2].astype(int)
    return np.nonzero(np.abs(column - rgb(LABEL)).sum(axis=1) < np.abs(column - 120).sum(axis=1) + 60)[0]


def lane_panel(image, **options) -> widgets.LanePanel:
    panel = widgets.LanePanel(image, draw_mask, classes=["residential", "footway"], **options)
    panel.boxes[1].value = False
    return panel


def test_the_mask_follows_the_sliders(image):
    panel = lane_panel(image)
    panel.lane_width.value = 3.0
    before = panel.picture.value
    assert "18.8%" in panel.status.value  # 12 of 64 rows
    panel.lane_width.value = 6.0
    assert panel.picture.value != before and "37.5%" in panel.status.value
    middle = tinted_rows(panel).mean()
    panel.dy.value = 5.0  # north is up: ten pixels
    assert tinted_rows(panel).mean() == pytest.approx(middle - 10, abs=1.5)
    panel.boxes[0].value = False
    assert "0.0%" in panel.status.value


def test_an_error_of_the_drawing_is_shown_and_escaped(image):
    def refuse(*_):
        raise ParameterError("lane <width> is odd")

    panel = widgets.LanePanel(image, refuse, classes=["residential"])
    assert "lane &lt;width&gt; is odd" in panel.status.value


def test_a_mask_of_another_shape_is_shown_as_an_error(image):
    panel = widgets.LanePanel(image, lambda *_: np.zeros((2, 2), np.uint8), classes=["residential"])
    assert "Expected a mask" in panel.status.value


def test_save_profile_updates_the_file_and_keeps_the_rest(tmp_path, image):
    path = tmp_path / "params" / "01.yaml"
    path.parent.mkdir()
    path.write_text(
        "# the town\narea: town  # where\nlane_width_m: 3.25  # metres a lane\n"
        "classes:\n  - primary\n  - footway\n\nseed: 1\n"
    )
    panel = lane_panel(image, profile_path=path)
    panel.lane_width.value = 2.75
    panel.dx.value = -1.5
    panel.save.click()
    assert "saved" in panel.status.value
    text = path.read_text()
    assert yaml.safe_load(text) == {
        "area": "town",
        "lane_width_m": 2.75,
        "lane_widths_m": {},
        "classes": ["residential"],
        "seed": 1,
        "dx_m": -1.5,
        "dy_m": 0.0,
    }
    assert "# the town" in text and "# where" in text and "lane_width_m: 2.75  # metres a lane\n" in text
    assert [entry.name for entry in path.parent.iterdir()] == ["01.yaml"]


def test_save_profile_makes_the_file_and_reports_failure(tmp_path, image):
    path = tmp_path / "new" / "01.yaml"
    panel = lane_panel(image, profile_path=path)
    panel.save.click()
    assert yaml.safe_load(path.read_text())["classes"] == ["residential"]
    path.write_text("- a list\n")
    panel.save.click()
    assert "Expected keys and values" in panel.status.value
    assert path.read_text() == "- a list\n"


def test_lane_widths_by_class_are_drawn_and_saved(tmp_path, image):
    def draw(lane_width_m, classes, dx_m, dy_m):
        width = lane_width_m if isinstance(lane_width_m, float) else lane_width_m["residential"]
        return draw_mask(width, classes, dx_m, dy_m)

    tables = {"own": ({"residential": 3.0}, {}), "fitted": ({"residential": 6.0}, {"residential": 6.0})}
    path = tmp_path / "01.yaml"
    panel = widgets.LanePanel(image, draw, classes=["residential"], tables=tables, profile_path=path)
    assert "18.8%" in panel.status.value and panel.lane_width.disabled
    panel.widths.value = "fitted"
    assert "37.5%" in panel.status.value
    panel.save.click()
    saved = yaml.safe_load(path.read_text())
    assert saved["lane_widths_m"] == {"residential": 6.0} and saved["lane_width_m"] == 0.0
    panel.widths.value = widgets.ONE_WIDTH
    assert not panel.lane_width.disabled
    panel.save.click()
    saved = yaml.safe_load(path.read_text())
    assert saved["lane_widths_m"] == {} and saved["lane_width_m"] == 3.25


def test_no_button_without_a_file(image):
    panel = lane_panel(image)
    assert panel.save not in panel.children[0].children[1].children


keys = st.text("abcdefghij_", min_size=1, max_size=6).filter(lambda key: yaml.safe_load(key) == key)
values = st.one_of(
    st.floats(-1e3, 1e3, allow_nan=False),
    st.integers(-9, 9),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12),
    st.lists(st.text("abc:#, -", max_size=6), max_size=4),
)


@given(
    before=st.dictionaries(keys, values, max_size=5), new=st.dictionaries(keys, values, max_size=3), flow=st.booleans()
)
def test_update_yaml_sets_what_it_is_told_and_nothing_else(tmp_path_factory, before, new, flow):
    path = tmp_path_factory.mktemp("yaml") / "p.yaml"
    path.write_text(
        yaml.safe_dump(before, default_flow_style=None if flow else False, sort_keys=False) if before else ""
    )
    original = path.read_text()
    try:
        widgets.update_yaml(path, new)
    except InputError:
        assert path.read_text() == original  # a layout that it can't change safely is left alone
    else:
        assert yaml.safe_load(path.read_text()) == {**before, **new} or not {**before, **new}


def chips(count: int = 3, side: int = SIDE) -> tuple[list, list, list]:
    rng = np.random.default_rng(1)
    probabilities = [rng.random((side, side), dtype=np.float32) for _ in range(count)]
    masks = [np.where(rng.random((side, side)) < 0.3, np.uint8(255), np.uint8(0)) for _ in range(count)]
    images = [rng.integers(0, 255, (side, side, 3), dtype=np.uint8) for _ in range(count)]
    masks[0][:8] = MASK_IGNORE
    return probabilities, masks, images


def plain_iou(pairs, threshold: float) -> float:
    both = either = 0
    for probability, mask in pairs:
        said, yes, scored = probability >= threshold, mask == 255, mask != MASK_IGNORE
        both += int((said & yes & scored).sum())
        either += int(((said | yes) & scored).sum())
    return both / either


def test_the_threshold_moves_errors_and_scores():
    probabilities, masks, images = chips()
    panel = widgets.ThresholdPanel(probabilities, masks, images, names=["a", "b", "c"], threshold=0.5)
    for threshold in (0.01, 0.3, 0.5, 0.77, 0.99):
        panel.threshold.value = threshold
        for place in range(3):
            panel.chip.value = place
            here, pooled = panel.scores()
            pairs = list(zip(probabilities, masks, strict=True))
            assert here == pytest.approx(plain_iou(pairs[place : place + 1], threshold))
            assert pooled == pytest.approx(plain_iou(pairs, threshold))
            assert f"{here:.3f}" in panel.status.value and f"{pooled:.3f}" in panel.status.value
    assert decoded(panel).shape == (SIDE, SIDE, 3)
    assert widgets.ThresholdPanel(probabilities, masks, images, threshold=0.4373).threshold.value == 0.44


def test_bad_chips_are_refused():
    probabilities, masks, images = chips()
    with pytest.raises(InputError, match="at least one chip"):
        widgets.ThresholdPanel([], [], [])
    with pytest.raises(InputError, match="got 3, 2 and 3"):
        widgets.ThresholdPanel(probabilities, masks[:2], images)
    with pytest.raises(InputError, match="Expected a mask"):
        widgets.ThresholdPanel([probabilities[0][:5]], masks[:1], images[:1])
    with pytest.raises(ParameterError, match="between 0 and 1"):
        widgets.ThresholdPanel(probabilities, masks, images, threshold=25)


def test_panels_need_no_gis_package():
    gis = {"geopandas", "osmnx", "pyproj", "rasterio", "shapely"}
    code = f"import lib.show.widgets, sys; print(sorted({gis} & set(sys.modules)))"
    root = ROOT
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_outside_a_notebook_nobody_moves_sliders():
    assert widgets.is_interactive() is False


class Kernel:
    """A kernel that was asked to run a cell by someone who can answer, or by no one."""

    def __init__(self, answers: bool):
        self.answers = answers

    def get_parent(self, channel: str) -> dict:
        return {"content": {"allow_stdin": self.answers}}


@pytest.mark.parametrize("answers, variable, expected", [(True, "", True), (True, "1", False), (False, "", False)])
def test_a_person_is_told_from_a_runner(monkeypatch, answers, variable, expected):
    import IPython

    shell = type("Shell", (), {"kernel": Kernel(answers)})
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    monkeypatch.setenv(widgets.HEADLESS_VARIABLE, variable)
    assert widgets.is_interactive() is expected


@pytest.mark.filterwarnings("default")
def test_an_executed_notebook_is_headless(monkeypatch, request):
    monkeypatch.delenv(widgets.HEADLESS_VARIABLE, raising=False)
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [nbformat.v4.new_code_cell("from lib.show import widgets\nprint(widgets.is_interactive())")]
    root = request.config.rootpath
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(root)}}).execute()
    assert notebook.cells[0].outputs[0]["text"] == "False\n"


def test_latency_is_told(capsys):
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (256, 256, 3), dtype=np.uint8), (1024, 1024))
    lines = [(rng.random((2, 2)) * 1024 * 16).astype(np.int32) for _ in range(200)]

    def draw(lane_width_m: float, *_) -> np.ndarray:
        mask = np.zeros((1024, 1024), np.uint8)
        cv2.polylines(mask, lines, False, 255, round(2 * lane_width_m / GSD_M), cv2.LINE_8, 4)
        return mask

    lanes = widgets.LanePanel(image, draw, classes=["residential"])
    mask = draw(3.0)
    sweep = widgets.ThresholdPanel([rng.random((1024, 1024), dtype=np.float32)], [mask], [image])
    times_ms = {}
    for name, slider, values in (
        ("lanes", lanes.lane_width, (2, 3, 4, 5)),
        ("threshold", sweep.threshold, (0.2, 0.4, 0.6)),
    ):
        start_s = time.perf_counter()
        for value in values:
            slider.value = value
        times_ms[name] = 1000 * (time.perf_counter() - start_s) / len(values)
    with capsys.disabled():
        print(
            " ".join(f"{name} {elapsed:.0f} ms" for name, elapsed in times_ms.items()), "a redraw of 1024 px", end=" "
        )
