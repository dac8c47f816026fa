"""Working copies for JupyterLab: filled in, kept, and all that a run there changes."""

import json
from urllib.parse import unquote

import nbclient
import nbformat
import pytest

from lib.errors import ParameterError
from lib.parameters import NOTEBOOKS
from lib.paths import ROOT
from lib.show import lab


@pytest.fixture
def town(tmp_path, monkeypatch):
    """A project of its own with the notebooks and one area; its root."""
    for name in NOTEBOOKS:
        path = tmp_path / "params" / "my-town" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("seed: 7\n" if name == "02_train_stage1" else "")
    (tmp_path / "notebooks").mkdir()
    for source in (ROOT / "notebooks").iterdir():
        if source.is_file():
            (tmp_path / "notebooks" / source.name).write_bytes(source.read_bytes())
    for module in ("lib.show.lab", "lib.parameters", "lib.paths"):
        monkeypatch.setattr(f"{module}.ROOT", tmp_path)
    return tmp_path


def change(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_copies_are_the_notebooks_with_the_area_in_them(town):
    copies = lab.copy_notebooks("my-town")
    assert [copy.relative_to(town / "reports/my-town/lab").stem for copy in copies] == list(NOTEBOOKS)
    for copy in copies:
        made, own = nbformat.read(copy, 4), nbformat.read(town / "notebooks" / copy.name, 4)
        nbformat.validate(made)
        differ = [(a, b) for a, b in zip(made.cells, own.cells, strict=True) if a != b]
        assert len(differ) == 1 and differ[0][0].source.startswith('area: str = "my-town"')
        assert differ[0][0].source.splitlines()[1:] == differ[0][1].source.splitlines()[1:]
        assert "jupytext" not in made.metadata and made.metadata.kernelspec.name == "python3"
        assert made.metadata.language_info.name == "python"


@pytest.mark.parametrize("name", ["1.0", "Zürich_2"])
def test_any_name_of_an_area_is_a_text_of_python(town, name):
    (town / "params" / name).mkdir()
    (town / "params" / name / "01_rasterize_osm.yaml").write_text("")
    (copy,) = lab.copy_notebooks(name, town / "work")
    namespace = {}
    exec(nbformat.read(copy, 4).cells[1].source, namespace)
    assert (namespace["area"], namespace["work_dir"]) == (name, str(town / "work"))


def test_a_copy_stays_until_the_projects_notebook_is_another_and_is_kept_then(town, capsys):
    first, second = lab.copy_notebooks("my-town")[:2]
    change(second, "batch_size: int = 4", "batch_size: int = 3")
    edited = second.read_bytes()
    lab.copy_notebooks("my-town")
    assert second.read_bytes() == edited and capsys.readouterr().out == ""
    for path in (first, second):
        change(town / "notebooks" / path.name, "seed: int = 0", "seed: int = 5")
    lab.copy_notebooks("my-town")
    kept = second.with_name("02_train_stage1.old1.ipynb")
    assert kept.read_bytes() == edited
    assert f"yours is kept as {kept}" in capsys.readouterr().out
    assert all("seed: int = 5" in path.read_text() for path in (first, second))
    assert sorted(first.parent.glob("*.old*")) == [kept], "one in which nothing was done leaves nothing behind"
    second.write_text("{")  # what a full disk leaves
    lab.copy_notebooks("my-town")
    assert second.with_name("02_train_stage1.old2.ipynb").read_text() == "{"
    assert nbformat.read(second, 4).metadata[lab.MADE]


def test_an_area_without_parameters_is_refused(town):
    with pytest.raises(ParameterError, match=r"no area 'my-twon'.*\['my-town'\]"):
        lab.copy_notebooks("my-twon")


def test_the_start_page_leads_to_every_copy(town):
    other = town / "params" / "Zürich_2"
    other.mkdir()
    (other / "03_train_stage2.yaml").write_text("")
    page = lab.start_page()
    text = nbformat.read(page, 4).cells[0].source
    assert "make report AREA=Zürich_2" in text
    links = [part.split('"')[0] for part in text.split('href="')[1:]]
    found = [(page.parent / unquote(link)).resolve() for link in links]
    assert len(found) == 6 and all(path.is_file() for path in found)
    assert "What does a network learn from many images" in text


def test_running_a_copy_and_saving_it_changes_nothing_of_the_projects(tmp_path, local_kernel):
    before = {path: path.read_bytes() for path in (ROOT / "notebooks").iterdir() if path.is_file()}
    copy = lab.copy_notebooks("demo", tmp_path)[1]
    book = nbformat.read(copy, 4)
    book.cells = book.cells[:3]  # up to the settled parameters: what comes next takes minutes
    options = {"kernel_name": "python3", "startup_timeout": 600, "config": local_kernel}
    nbclient.NotebookClient(book, resources={"metadata": {"path": copy.parent}}, **options).execute()
    nbformat.write(book, copy)
    assert "error" not in json.dumps(book.cells[2].outputs)
    assert {path: path.read_bytes() for path in (ROOT / "notebooks").iterdir() if path.is_file()} == before
    assert [path.name for path in copy.parent.iterdir() if path.suffix == ".py"] == []
    assert lab.copy_notebooks("demo", tmp_path)[1] == copy and nbformat.read(copy, 4) == book
