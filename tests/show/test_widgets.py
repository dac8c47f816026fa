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
from lib.parameters import load
from lib.paths import ROOT
from lib.show import widgets

pytestmark = pytest.mark.filterwarnings("error")

SIDE = 64


def decoded(panel) -> np.ndarray:
    content = np.frombuffer(panel.picture.value, np.uint8)
    return cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


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
    mask = np.where(image[..., 0] > 200, np.uint8(255), np.uint8(0))
    panel = widgets.ThresholdPanel([rng.random((1024, 1024), dtype=np.float32)], [mask], [image])
    start_s = time.process_time()
    for value in (0.2, 0.4, 0.6):
        panel.threshold.value = value
    with capsys.disabled():
        print(f"threshold {1000 * (time.process_time() - start_s) / 3:.0f} ms a redraw of 1024 px", end=" ")


def test_what_is_saved_is_what_the_next_run_takes(area):
    path, settled = area("seed: 7  # of all\n", "02_train_stage1", epochs=5)
    assert settled.stated == {"area", "epochs"} and settled.filed == {"seed"}
    said = widgets.save_parameters("02_train_stage1", settled, {"crop_px": 64, "seed": 8})
    assert said == "saved to params/my-village/02_train_stage1.yaml: the next run takes it"
    assert path.read_text() == "seed: 8  # of all\ncrop_px: 64\n"
    assert load("my-village", "02_train_stage1")["crop_px"] == 64
    said = widgets.save_parameters("02_train_stage1", settled, {"epochs": 6})
    assert "epochs stands in the parameters cell or the call, which wins" in said
    with pytest.raises(ParameterError, match="multiple of 32"):
        widgets.save_parameters("02_train_stage1", settled, {"crop_px": 65})
    assert load("my-village", "02_train_stage1")["crop_px"] == 64
