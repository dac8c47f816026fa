"""Each notebook is a pair: the .py is its source, the .ipynb is generated from it and carries no outputs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.skipif(shutil.which("make") is None, reason="no make to run")
def test_make_sync_leaves_no_output_under_other_code(tmp_path):
    source = SOURCES[0]
    (tmp_path / "notebooks").mkdir()
    text = source.read_text()
    (tmp_path / "notebooks" / source.name).write_text(text.replace("gsd_m: float = 1.0", "gsd_m: float = 0.5"))
    ran = json.loads(source.with_suffix(".ipynb").read_text())
    code = [cell for cell in ran["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(code, start=1):
        cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "done"}]
        cell["execution_count"] = count
    path = tmp_path / "notebooks" / source.with_suffix(".ipynb").name
    path.write_text(json.dumps(ran))
    bin_dir = Path(sys.executable).parent
    command = ["make", "-f", ROOT / "Makefile", "sync", f"BIN={bin_dir}", "READY="]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    synced = json.loads(path.read_text())
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in synced["cells"])
    assert "gsd_m: float = 0.5" in "".join("".join(cell["source"]) for cell in synced["cells"])
    assert [cell["id"] for cell in synced["cells"]] == [cell["id"] for cell in ran["cells"]]  # small differences in git
    assert synced["metadata"] == ran["metadata"]


def test_params_folder_names_are_areas_with_all_notebooks():
    for area in (p for p in (ROOT / "params").iterdir() if p.is_dir()):
        assert sorted(p.stem for p in area.glob("*.yaml")) == list(NOTEBOOKS)
