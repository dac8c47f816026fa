"""Reports: metrics side by side, pages that fetch nothing, text that is escaped."""

import json
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest

from lib.errors import InputError, ParameterError
from lib.mapping.images import find_images
from lib.paths import ROOT, resolve
from lib.show import pages, reports
from lib.show.leaflet import fetched_addresses

EVALUATION = {
    "headline": "IoU <b>0.5</b>",
    "notes": ["four chips"],
    "scoreboard": [{"run": "a & b", "IoU, pooled": 0.5, "APLS": None}],
    "captions": {"1.png": "One chip."},
}


def test_metrics_of_several_notebooks_stand_side_by_side(tmp_path):
    reports.write_metrics("02_train_stage1", "demo", str(tmp_path), {"iou": 0.5}, {"epochs": 3})
    path = reports.write_metrics("03_train_stage2", "demo", str(tmp_path), {"iou": 0.6}, {"epochs": 4})
    record = json.loads(path.read_text())
    assert list(record) == ["02_train_stage1", "03_train_stage2"]
    assert record["02_train_stage1"]["provenance"]["packages"]["torch"]
    assert reports.recorded("03_train_stage2", "demo", str(tmp_path)) == {"epochs": 4}
    assert reports.recorded("03_train_stage2", "nowhere", str(tmp_path)) == {}
    with pytest.raises(InputError, match="plain JSON"):
        reports.write_metrics("04_evaluate", "demo", str(tmp_path), {"chips": pd.DataFrame()}, {})
    assert json.loads(path.read_text()) == record


def test_an_empty_record_is_none(tmp_path):
    path = reports.write_metrics("02_train_stage1", "demo", str(tmp_path), {"iou": 0.5}, {"epochs": 3})
    path.write_text("")  # as a power cut may leave it
    assert reports.recorded("02_train_stage1", "demo", str(tmp_path)) == {}
    reports.write_metrics("03_train_stage2", "demo", str(tmp_path), {"iou": 0.6}, {"epochs": 4})
    assert list(json.loads(path.read_text())) == ["03_train_stage2"]


def test_what_an_earlier_notebook_left_is_of_the_same_task(tmp_path, monkeypatch):
    ran, own = [], ("demo", str(tmp_path))
    monkeypatch.setattr(reports, "run_notebook", lambda *what: ran.append(what))
    chips = tmp_path / "manifest.csv"
    reports.require(chips, "01_rasterize_osm", *own, "buildings")
    assert ran == [("01_rasterize_osm", "demo", {"task": "buildings"}, str(tmp_path))]
    chips.touch()
    reports.write_metrics("01_rasterize_osm", *own, {}, {"task": "roads+buildings"})
    assert reports.require(chips, "01_rasterize_osm", *own, "roads") == chips
    reports.write_metrics("01_rasterize_osm", *own, {}, {"task": "roads"})
    with pytest.raises(ParameterError, match="'buildings', and .* with 'roads', without buildings: run 01_"):
        reports.require(chips, "01_rasterize_osm", *own, "buildings")
    assert len(ran) == 1


WRITE = """
import sys
from lib.show import pages, reports
reports.PATIENCE_S = 600
for number in range(20):
    reports.write_metrics(f"n{sys.argv[1]}_{number}", "demo", sys.argv[2], {"n": number}, {})
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    command = [sys.executable, "-c", WRITE]
    writers = [subprocess.Popen([*command, str(number), tmp_path], cwd=ROOT) for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    record = json.loads((reports.report_dir("demo", tmp_path) / "metrics.json").read_text())
    assert sorted(record) == sorted(f"n{writer}_{number}" for writer in range(3) for number in range(20))


def test_a_number_that_is_not_defined_is_null(tmp_path):
    numbers = {"a": float("inf"), "b": [np.float64("nan"), 1.5], "c": {"d": (-np.inf, 2)}}
    path = reports.write_metrics("04_evaluate", "demo", str(tmp_path), numbers, {"dx_m": float("nan")})
    record = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))["04_evaluate"]
    assert record["metrics"] == {"a": None, "b": [None, 1.5], "c": {"d": [None, 2]}}
    assert record["parameters"] == {"dx_m": None}


def test_notebook_page_fetches_nothing_and_drops_widget_state(tmp_path):
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Title $x^2$")])
    page.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {"a": 1}}}
    path = tmp_path / "n.ipynb"
    nbformat.write(page, path)
    html = reports.render_html(path).read_text()
    assert "Title" in html and fetched_addresses(html) == [] and "widget-state" not in html
    assert pages.title_of(path) == "Title $x^2$"


def test_images_to_map_are_told_from_the_folder_that_they_were_named_in(tmp_path, monkeypatch):
    folder, stated = tmp_path / "town [old]", []
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.tif").touch()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(reports, "run_notebook", lambda notebook, area, values, work_dir: stated.append(values))
    for images, found in (("*.tif", ["a.tif", "b.tif"]), ("a.tif", ["a.tif"]), (str(folder / "b.tif"), ["b.tif"])):
        monkeypatch.setattr(sys, "argv", ["reports", "demo", "--map", images])
        assert reports.main() == 0
        values = stated.pop()
        assert find_images(values["images"], resolve(values["data_dir"])) == [str(folder / name) for name in found]


def test_index_shows_scores_and_escapes_what_strangers_wrote(tmp_path):
    reports.write_metrics("04_evaluate", "demo", str(tmp_path), EVALUATION, {"area": "demo"})
    folder = reports.report_dir("demo", tmp_path)
    (folder / "figures").mkdir()
    (folder / "figures" / "1.png").write_bytes(b"")
    page = reports.render_index("demo", tmp_path).read_text()
    assert "IoU &lt;b&gt;0.5" in page and "a &amp; b" in page and "0.500" in page and "One chip." in page
    assert "OpenStreetMap contributors" in page and fetched_addresses(page) == []
    assert "0.500" in (folder / "scoreboard.txt").read_text()


def test_a_work_dir_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/reports/demo: expected the reports of demo, but no folder can be made"):
        reports.run_notebook("02_train_stage1", "demo", work_dir=tmp_path / "file")
