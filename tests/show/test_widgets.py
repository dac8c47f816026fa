"""The panels' callbacks without a front end: what they draw, score and save."""

import subprocess
import sys

import cv2
import nbformat
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient

from lib.errors import InputError, ParameterError
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
def test_an_executed_notebook_is_headless(monkeypatch, request, local_kernel):
    monkeypatch.delenv(widgets.HEADLESS_VARIABLE, raising=False)
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [nbformat.v4.new_code_cell("from lib.show import widgets\nprint(widgets.is_interactive())")]
    root = request.config.rootpath
    options = {"timeout": 600, "startup_timeout": 600, "config": local_kernel}
    NotebookClient(notebook, resources={"metadata": {"path": str(root)}}, **options).execute()
    assert notebook.cells[0].outputs[0]["text"] == "False\n"


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
