"""The front page says what was tested, where, when and on what, and whether a gain is real."""

import cv2
import numpy as np
import pandas as pd
import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lib.chips.manifest import write_manifest
from lib.grid import Grid
from lib.scores.evaluate import statistics
from lib.show import front, reports


def gain(metric: str, low: float, high: float) -> dict:
    return {"difference": "b minus a", "metric": metric, "value": (low + high) / 2, "low": low, "high": high}


RECORD = {
    "headline": "IoU, pooled: 0.400 a, 0.500 b",
    "notes": ["four chips", "b minus a, in words"],
    "scoreboard": [{"run": run, "IoU, pooled": 0.4, "APLS": None, "F1": 0.1} for run in ("a", "b")],
    "differences": [gain("IoU, pooled", 0.1, 0.2), gain("F1", 0.1, 0.2), gain("APLS", -0.1, 0.2)],
    "captions": {"1.png": "One chip."},
}


@pytest.fixture
def report(tmp_path, make_chips):
    """Makes a report of an area `town`, with chips that lie somewhere or nowhere."""

    def make(placed: bool, record: dict = RECORD):
        chips = reports.chip_dir("town", tmp_path)
        table = make_chips(chips, 2).assign(scene="north", label="clean", split=["train", "test"], crs="", transform="")
        squares = [f"POLYGON (({x} 60, {x}.001 60, {x}.001 60.001, {x} 60.001, {x} 60))" for x in (24, 24)]
        table = table.assign(width=48, height=48, footprint=squares if placed else "")
        write_manifest(table, chips / "manifest.csv")
        reports.write_metrics("04_evaluate", "town", str(tmp_path), record, {"area": "town", "task": "roads"})
        folder = reports.report_dir("town", tmp_path)
        (folder / "figures").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "figures" / "1.png"), np.zeros((60, 900, 3), np.uint8))
        return reports.render_index("town", tmp_path)

    return make


def test_it_says_what_where_when_and_on_what(report):
    page = report(placed=True).read_text()
    for said in (
        "roads on 1 test chips, 0.00058 km²",
        "north (60.001° N, 24.001° E)",
        " UTC",
        "CPU cores",
        "figures/0_where.png",
    ):
        assert said in page, said
    assert "Of all pixels that truth or prediction call foreground" in page and 'alt="One chip."' in page


def test_the_middle_of_what_lies_across_the_antimeridian_is_there():
    over = Grid((1.0, 0, 180_398.0, 0, -1.0, 8_118_098.0), "EPSG:32701", 320, 250).footprint_wkt()
    assert front._place(pd.DataFrame({"footprint": ["", over]})) == "17.000° S, 180.000° W"
    east = Grid((1e-3, 0, 178.5, 0, -1e-3, -17.0), "EPSG:4326", 100, 100).footprint_wkt()
    west = Grid((1e-3, 0, -179.0, 0, -1e-3, -17.0), "EPSG:4326", 100, 100).footprint_wkt()
    assert front._place(pd.DataFrame({"footprint": [east, west]})) == "17.050° S, 179.800° E"


def test_a_gain_whose_interval_holds_0_is_not_shown(report):
    page = report(placed=True).read_text()
    assert page.count("yes, better") == 1 and page.count("not shown: the interval holds 0") == 1
    assert "four chips" in page and "in words" not in page
    assert [front.verdict(*ends) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (None, 1.0))] == [
        "yes, better",
        "yes, worse",
        "not shown: the interval holds 0",
        "not defined",
    ]


def test_without_georeference_there_is_no_locator(report):
    page = report(placed=False).read_text()
    assert "north (without georeference)" in page and "0_where" not in page


@pytest.mark.parametrize("task", ["roads", "buildings"])
def test_every_score_has_its_line(task):
    assert set(statistics(task)) <= set(front.MEANINGS)


def test_a_run_that_stopped_is_named_before_scores_of_an_earlier_one(report, tmp_path):
    folder = report(placed=False).parent
    for name, error in (("01_rasterize_osm", []), ("02_train_stage1", [new_output("error", ename="E", evalue="bad")])):
        cells = [new_markdown_cell(f"# {name}"), new_code_cell("1", execution_count=4, outputs=error)]
        write(new_notebook(cells=cells), folder / f"{name}.ipynb")
        reports.render_html(folder / f"{name}.ipynb")
    page = reports.render_index("town", tmp_path).read_text()
    assert 'href="02_train_stage1.html#stopped">Cell 4: E: bad</a>' in page and "of an earlier run" in page
    assert page.count("stopped.</strong>") == 1
    (folder / "metrics.json").unlink()
    page = reports.render_index("town", tmp_path).read_text()
    assert "stopped.</strong>" in page and "earlier run" not in page and "not yet" in page


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_fits_a_window(within, browser, report, width, dark):
    within(report(placed=True), width, dark)
    shares = "[...document.images].map(i => i.getBoundingClientRect().width / i.naturalWidth)"
    assert min(browser.value(shares)) > 0.7  # small print of 9 points stays larger than 9 CSS pixels


@pytest.mark.browser
def test_one_run_looks_right_too(within, report):
    within(
        report(placed=False, record=RECORD | {"scoreboard": RECORD["scoreboard"][:1], "differences": []}), 390, False
    )


def test_numbers_of_a_page_are_those_of_its_record(report):
    page = report(placed=True).read_text()
    assert "<tr><td>IoU, pooled</td><td>0.400</td><td>0.400</td></tr>" in page
    assert (
        "<tr><td>APLS</td><td>–</td><td>–</td></tr>" in page and "<tr><th>score</th><th>a</th><th>b</th></tr>" in page
    )
