"""Whatever areas, runs, captions, parameters and outputs are called: pages show it as it is, and run nothing."""

from html.parser import HTMLParser

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lib.errors import ParameterError
from lib.parameters import check, load
from lib.show import reports
from lib.show.leaflet import fetched_addresses
from tests.show.conftest import CHROMIUM

CODE = """
import numpy as np, pandas as pd
from lib.grid import Grid
from lib.show.charts import training_curves
from lib.show.webmap import add_lines, scene_map
history = {"epoch": [1], "train_loss": [1.0], "val_iou": [0.5], "learning_rate": [0.1]}
for text in texts:
    print(text)
    display(pd.DataFrame({text: [text]}), training_curves(history, best_epoch=1, title=text), text)
drawn = scene_map(np.zeros((32, 32, 3), np.uint8), Grid((1, 0, 0, 0, 1, 0), None, 32, 32))
for text in texts:
    add_lines(drawn, [], text, color="#FF0000")
drawn
"""
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


class Reader(HTMLParser):
    """What a page shows, its tags and what they say."""

    def __init__(self, page: str):
        super().__init__()
        self.shown, self.attributes, self.tags = "", [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [value or "" for _, value in attrs]

    def handle_data(self, data):
        self.shown += data if self.cdata_elem is None else ""


def executed(texts, folder, monkeypatch):
    """A report's notebook, run by its runner and rendered; each text is a parameter and stands in every output."""
    root = folder / "{{7*7}} {x}"
    cells = [
        new_markdown_cell("# A title"),
        new_code_cell("texts: list = []", metadata={"tags": ["parameters"]}),
        new_code_cell(CODE),
    ]
    (root / "notebooks").mkdir(parents=True)
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), root / "notebooks" / "n.ipynb")
    monkeypatch.setattr(reports, "ROOT", root)
    monkeypatch.setattr(reports, "load", lambda area, notebook: {})
    monkeypatch.setattr(reports, "check", lambda notebook, values: {"texts": values["texts"]})
    return reports.run_notebook("n", "town", {"texts": texts}, root).with_suffix(".html")


def index(text, folder):
    record = {
        "headline": text,
        "notes": [text],
        "scoreboard": [{"run": text, text: 0.5, "APLS": float("inf")}, {"run": "b", text: 0.25, "APLS": 0.5}],
        "captions": {f"{text[:20].replace('/', '')}.png": text},
    }
    reports.write_metrics("04_evaluate", "town", str(folder), record, {"area": text})
    return reports.render_index("town", folder)


def test_an_executed_notebook_shows_its_text(all_texts, tmp_path, monkeypatch, request):
    path = executed(all_texts, tmp_path, monkeypatch)
    assert path.relative_to(tmp_path).parts == ("{{7*7}} {x}", "reports", "town", "n.html")
    page = path.read_text()
    read = Reader(page)
    plain = Reader(executed(["plain"], tmp_path / "plain", monkeypatch).read_text())
    assert read.tags.count("script") == plain.tags.count("script") and read.tags.count("img") == len(all_texts)
    for text in all_texts:
        assert read.shown.count(text[:40]) >= 3 and any(text[:40] in said for said in read.attributes), text[:40]
    assert fetched_addresses(page) == []
    (frame,) = (said for said in read.attributes if said.startswith("<!DOCTYPE html>"))
    assert r"\u007b{7*7}}" in frame and r"\u007b% if %}" in frame and fetched_addresses(frame) == []
    if CHROMIUM:
        drawn = request.getfixturevalue("browser").made_of(path)
        assert "<title>run" not in drawn and all(text[:40] in Reader(drawn).shown for text in all_texts)


def test_the_index_shows_its_text(text, tmp_path, request):
    path = index(text, tmp_path)
    read, plain = Reader(path.read_text()), Reader(index("plain", tmp_path / "plain").read_text())
    assert read.tags == plain.tags and read.shown.count(text) == plain.shown.count("plain") >= 6
    assert text in read.attributes and "–" in read.shown and "nan" not in read.shown
    assert fetched_addresses(path.read_text()) == []
    assert text[:40] in (path.parent / "scoreboard.txt").read_text()
    if CHROMIUM:
        drawn = request.getfixturevalue("browser").made_of(path)
        assert "<title>run" not in drawn and text in Reader(drawn).shown


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../../x",
        "/abs",
        "a/b",
        "a\\b",
        "a/",
        ".git",
        "-x",
        "a b",
        "$a",
        "a\n",
        "a\0",
        "\ud800",
        "x" * 101,
    ],
)
def test_the_name_of_an_area_is_a_name(name, tmp_path):
    for use in (
        lambda: reports.report_dir(name, tmp_path),
        lambda: reports.chip_dir(name, tmp_path),
        lambda: reports.run_dir(name, "stage1", tmp_path),
        lambda: reports.write_metrics("04_evaluate", name, str(tmp_path), {}, {}),
        lambda: reports.recorded("04_evaluate", name, str(tmp_path)),
        lambda: reports.run_notebook("04_evaluate", name, {}, tmp_path),
        lambda: load(name, "04_evaluate"),
        lambda: check("04_evaluate", {"area": name}),
    ):
        with pytest.raises(ParameterError, match="area .*: expected the plain name of a folder"):
            use()
    with pytest.raises(ParameterError, match="run .*: expected the plain name of a folder"):
        reports.run_dir("town", name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_name_may_have_any_letters(tmp_path):
    for name in ("São-Paulo", "አዲስ-አበባ", "हिन्दी", "north_2", "v1.2"):
        assert reports.report_dir(name, tmp_path) == tmp_path / "reports" / name
