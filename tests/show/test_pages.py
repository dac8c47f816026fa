"""Pages of executed notebooks: parameters once, pictures that say what they show, and where a run stopped."""

import base64
import re
import time
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lib.show import pages
from lib.show.leaflet import data_address, fetched_addresses

DECLARED = (
    'area: str = "demo"  # study area\nepochs: int = 50  # how many\nsources: list = [  # where from\n    {"a": 1},\n]'
)


def png(width: int = 900, height: int = 60) -> str:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()


def shown(kind: str, content: str, **metadata):
    return new_output("display_data", {kind: content}, metadata={kind: metadata})


def written(cells: list, folder: Path) -> Path:
    path = folder / "n.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.fixture
def notebook(tmp_path) -> Path:
    """What papermill leaves of a notebook with two pictures, a wide table, printed lines, a widget and an error."""
    table = (
        "<table class='dataframe'><tr><td>inf</td>"
        + "".join(f"<td>column_{n}</td>" for n in range(60))
        + "</tr></table>"
    )
    cells = [
        new_markdown_cell("<span>An Exception</span>", metadata={"tags": ["papermill-error-cell-tag"]}),
        new_markdown_cell("# 2. A title\n*A question?*"),
        new_code_cell(DECLARED, metadata={"tags": ["parameters"]}),
        new_code_cell("# Parameters\nepochs = 3\narea = 'a'\n", metadata={"tags": ["injected-parameters"]}),
        new_markdown_cell("## Curves\nThe **loss** goes down. It may rise again."),
        new_code_cell("plot()", outputs=[shown("image/png", png()), shown("image/png", png(), alt="Said by itself.")]),
        new_markdown_cell("## Numbers"),
        new_code_cell(
            "x = '" + "y" * 300 + "'",
            outputs=[
                *(new_output("stream", name="stdout", text=f"line {n}\n") for n in range(3)),
                shown("text/html", table),
                shown("application/vnd.jupyter.widget-view+json", {"model_id": "a"}),
            ],
        ),
        new_code_cell(
            "raise", execution_count=7, outputs=[new_output("error", ename="E", evalue="<b>", traceback=["t"])]
        ),
    ]
    return written(cells, tmp_path)


def test_each_parameter_stands_once_with_the_value_of_the_run(notebook):
    page = pages.notebook_page(notebook)
    rows = re.findall(r"<code>(\w+)</code></td>\s*<td class=\"value\">(.*?)</td><td>(.*?)</td>", page, re.DOTALL)
    assert rows == [
        ("area", "a", "study area"),
        ("epochs", "3", "how many"),
        ("sources", "[{&#39;a&#39;: 1}]", "where from"),
    ]
    assert "# Parameters" not in page and "the other 1 parameters" in page
    assert ">9</td>" in pages.notebook_page(notebook, {"epochs": 9})


def test_pictures_say_what_they_show(notebook):
    page = pages.notebook_page(notebook)
    assert re.findall(r'<img [^>]*alt="([^"]*)"', page) == ["Curves: The loss goes down.", "Said by itself."]
    assert page.count("<img ") == 2 and fetched_addresses(page) == []


def test_contents_lead_to_the_headings_and_code_is_folded(notebook):
    page = pages.notebook_page(notebook)
    for anchor, text in re.findall(r'<li><a href="#([^"]*)">([^<]*)</a></li>', page):
        assert f'id="{anchor}">{text}' in page
    assert page.count("<li>") == 2 and page.count('<details class="code">') == 4 and "<details open" not in page[-900:]
    assert '<html lang="en">' in page and "<title>2. A title: a</title>" in page and 'href="index.html"' in page
    assert "line 0\nline 1\nline 2</pre>" in page and "widget" not in page
    assert page.count("inf: without end") == 1


def test_a_failing_cell_is_named_and_linked(notebook):
    page = pages.notebook_page(notebook)
    assert '<a href="#stopped">Cell 7: E: &lt;b&gt;</a>' in page and page.count('id="stopped"') == 1
    assert "An Exception" not in page


def test_charts_lose_nothing_and_photos_little():
    chart = base64.b64decode(png())
    found = pages.picture(chart, "a chart")
    mime, content = re.fullmatch("data:(.*?);base64,(.*)", found["address"]).groups()
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    assert (decoded == cv2.imdecode(np.frombuffer(chart, np.uint8), cv2.IMREAD_COLOR)).all()
    assert (found["width"], found["height"]) == (900, 60) and mime in ("image/webp", "image/png")


def test_a_picture_too_high_for_webp_stays_as_it_is():
    tall = cv2.imencode(".png", np.zeros((16_384, 2, 3), np.uint8))[1].tobytes()
    assert pages.picture(tall, "")["address"] == data_address(tall, "image/png")


def test_a_long_line_is_read_once(tmp_path):
    bar = new_output("stream", name="stdout", text="10 %\r\n20 %\r100 %\n" + "x" * 200_000)
    path, started_s = written([new_code_cell("x", outputs=[bar])], tmp_path), time.perf_counter()
    page = pages.notebook_page(path)
    assert time.perf_counter() - started_s < 10 and "20 %" not in page and "10 %" in page and "\n100 %\nxxx" in page


def test_a_notebook_of_nothing_is_a_page(tmp_path):
    page = pages.notebook_page(written([new_code_cell("%magic\nx")], tmp_path))
    assert "<title>n</title>" in page and "stopped.</strong>" not in page


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_fits_a_window(browser, notebook, width, dark, within):
    path = notebook.with_suffix(".html")
    path.write_text(pages.notebook_page(notebook))
    within(path, width, dark)


@pytest.mark.browser
def test_paper_shows_all_of_the_code(browser, notebook):
    path = notebook.with_suffix(".html")
    path.write_text(pages.notebook_page(notebook))
    browser.open(path, 700)
    browser.ask("Emulation.setEmulatedMedia", media="print")
    cut = (
        "[...document.querySelectorAll('pre')].filter(p => p.scrollWidth > p.clientWidth + 1 || !p.clientHeight).length"
    )
    assert browser.value(cut) == 0 and browser.value("document.querySelectorAll('details.code pre').length") == 4
