"""A cell that fails leaves pages that show where, and a status that says so."""

import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lib.show import reports

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """A project whose one notebook fails in its third cell."""
    cells = [
        new_markdown_cell("# A title\n## A step"),
        new_code_cell("area: str = 'x'\nwork_dir: str = '.'", metadata={"tags": ["parameters"]}),
        new_code_cell("print('so far')"),
        new_code_cell("raise ValueError('a <b>reason</b>')"),
        new_code_cell("print('never')"),
    ]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), tmp_path / "notebooks" / "02_train_stage1.ipynb")
    monkeypatch.setattr(reports, "ROOT", tmp_path)
    monkeypatch.setattr(reports, "NOTEBOOKS", ("02_train_stage1",))
    monkeypatch.setattr(reports, "load", lambda area, notebook: {"start_from": "stage1", "images": ["a.tif"]})
    monkeypatch.setattr(reports, "check", lambda notebook, values: values)
    monkeypatch.setattr(sys, "argv", ["reports", "town", "--work-dir", str(tmp_path)])
    return tmp_path / "reports" / "town"


def test_the_command_ends_with_1_and_says_where(failing, capsys):
    assert reports.main() == 1
    said = capsys.readouterr().err.splitlines()
    assert "error: 02_train_stage1 stopped in cell 4: ValueError: a <b>reason</b>" in said
    assert said[-1] == f"{failing / '02_train_stage1.html'} shows where"
    page = (failing / "02_train_stage1.html").read_text()
    assert '<a href="#stopped">Cell 4: ValueError: a &lt;b&gt;reason&lt;/b&gt;</a>' in page
    assert page.index("so far") < page.index('id="stopped"') and "reason" in page[page.index('id="stopped"') :]
    index = (failing / "index.html").read_text()
    assert 'href="02_train_stage1.html#stopped"' in index and "not yet" in index
