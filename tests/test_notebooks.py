"""The notebooks run headlessly: on the sample, on real input, from any folder; wrong parameters stop them at once."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from lib.parameters import NOTEBOOKS
from lib.paths import ROOT
from lib.show import reports
from lib.show.leaflet import fetched_addresses

SHARED = ROOT.parent / "shared" / "data"
PAPERMILL = Path(sys.executable).with_name("papermill")
TINY = {
    "02_train_stage1": {
        "epochs": 1,
        "samples_per_epoch": 8,
        "batch_size": 4,
        "crop_px": 64,
    },
    "03_train_stage2": {"epochs": 1, "samples_per_epoch": 8, "batch_size": 4, "crop_px": 64},
    "04_evaluate": {"tta": "none"},
}
REAL = {
    "kampala": SHARED / "hot-fair-kampala-buildings",
    "massachusetts-epfl": SHARED,
}


def run_area(area, work_dir, first):
    for notebook in reports.notebooks_of(area):
        reports.run_notebook(notebook, area, TINY.get(notebook, first), work_dir)
    return reports.render_index(area, work_dir)


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """A report of the sample town with a tiny training."""
    work_dir = tmp_path_factory.mktemp("demo")
    index = run_area("demo", work_dir, {"data_dir": str(work_dir / "sample")})
    return index.parent


@pytest.mark.slow
def test_demo_report_is_whole(demo):
    record = json.loads((demo / "metrics.json").read_text())
    assert set(record) == set(NOTEBOOKS)
    board = record["04_evaluate"]["metrics"]["scoreboard"]
    assert [row["run"] for row in board] == ["stage 2 alone", "stage 1 alone", "stage 1, then 2"]
    for row in board:
        assert 0 <= row["IoU, pooled"] <= 1 and 0 <= row["APLS"] <= 1
    assert "OpenStreetMap" in (demo / "index.html").read_text()
    assert (demo / "map.html").is_file()
    assert len(list((demo / "figures").iterdir())) >= 8  # where it was, and what came out
    assert {"probability.tif", "mask.tif", "map.gpkg", "map.osm", "map.html"} <= {
        f.name for f in (demo / "map").iterdir()
    }


@pytest.mark.slow
def test_demo_notebooks_carry_figures_and_no_errors_or_warnings(demo):
    for name in NOTEBOOKS:
        outputs = [o for c in nbformat.read(demo / f"{name}.ipynb", 4).cells for o in c.get("outputs", [])]
        assert sum(any(kind.startswith("image/") for kind in o.get("data", {})) for o in outputs) >= 2
        assert not [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"]


@pytest.mark.slow
def test_demo_pages_open_with_the_network_off(demo):
    for page in demo.rglob("*.html"):
        assert fetched_addresses(page.read_text()) == [] and page.stat().st_size < 2_000_000, page.name


@pytest.mark.slow
def test_a_report_made_again_trains_nothing(demo):
    work_dir = demo.parents[1]
    before = (work_dir / "runs" / "demo" / "stage1" / "best.safetensors").stat().st_mtime_ns
    reports.run_notebook("02_train_stage1", "demo", TINY["02_train_stage1"], work_dir)
    assert (work_dir / "runs" / "demo" / "stage1" / "best.safetensors").stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.parametrize("area", REAL)
def test_real_input_goes_through_the_same_notebooks(area, tmp_path):
    if not REAL[area].is_dir():
        pytest.skip(f"the real imagery of {area} is not here")
    run_area(area, tmp_path, {"data_dir": str(REAL[area])})
    record = json.loads((tmp_path / "reports" / area / "metrics.json").read_text())
    assert len(record["04_evaluate"]["metrics"]["scoreboard"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["notebooks", "."])
def test_papermill_runs_a_notebook_from_any_folder(demo, folder, tmp_path):
    notebook = ROOT / "notebooks" / "02_train_stage1.ipynb"
    path = notebook.name if folder == "notebooks" else f"notebooks/{notebook.name}"
    options = ["-p", "epochs", "1", "-p", "samples_per_epoch", "8", "-p", "crop_px", "64", "-p", "work_dir"]
    done = papermill(folder, path, tmp_path / "out.ipynb", *options, demo.parents[1])
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "message"),
    [(("epoch", "1"), "the nearest known one is 'epochs'"), (("epochs", "many"), "'epochs' is a int, but 'many'")],
)
def test_wrong_parameters_stop_papermill_at_once(option, message, tmp_path):
    done = papermill("notebooks", "02_train_stage1.ipynb", tmp_path / "out.ipynb", "-p", *option)
    assert done.returncode != 0
    assert message in done.stderr
    cells = nbformat.read(tmp_path / "out.ipynb", 4).cells
    assert sum(c.get("execution_count") is not None for c in cells) <= 3


def papermill(folder, *arguments):
    command = [str(PAPERMILL), *map(str, arguments), "--no-progress-bar"]
    return subprocess.run(command, cwd=ROOT / folder, capture_output=True, text=True, timeout=600, check=False)
