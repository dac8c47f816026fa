"""Each notebook is a pair: the .py is its source, the .ipynb is generated from it and carries no outputs."""

import json

import jupytext
import pytest

from lib.parameters import NOTEBOOKS, declared
from lib.paths import ROOT

SOURCES = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))


def test_the_notebooks_are_those_that_a_report_runs():
    assert [p.stem for p in SOURCES] == list(NOTEBOOKS)


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_pair_is_in_step(source):
    paired = jupytext.read(source.with_suffix(".ipynb"))
    own = jupytext.read(source)
    assert [(c.cell_type, c.source) for c in own.cells] == [(c.cell_type, c.source) for c in paired.cells], "make sync"
    tags = [c.metadata.get("tags", []) for c in paired.cells]
    assert tags == [c.metadata.get("tags", []) for c in own.cells]
    assert paired.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_notebook_is_clean_and_of_a_readable_length(source):
    cells = json.loads(source.with_suffix(".ipynb").read_text())["cells"]
    assert 15 <= len(cells) <= 30
    for cell in cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
    tags = [t for c in cells for t in c["metadata"].get("tags", [])]
    assert tags.count("parameters") == 1
    assert declared(source.stem)


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.stem)
def test_long_code_with_a_branch_lives_in_lib(source):
    for cell in jupytext.read(source).cells:
        lines = [line for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        branches = any(line.lstrip().startswith(("if ", "for ", "while ")) for line in lines)
        assert cell.cell_type != "code" or len(lines) <= 15 or not branches, cell.source


def test_params_folder_names_are_areas_with_all_notebooks():
    for area in (p for p in (ROOT / "params").iterdir() if p.is_dir()):
        assert sorted(p.stem for p in area.glob("*.yaml")) == list(NOTEBOOKS)
