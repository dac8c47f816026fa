"""
JupyterLab on working copies of the notebooks, so that nothing that is run there changes the project's own.

`python -m lib.show.lab my-town` opens the copies of an area, in reports/my-town/lab/; without an area, a start page
that leads to those of all. What follows "--" is for JupyterLab: `python -m lib.show.lab my-town -- --no-browser`.
"""

import argparse
import hashlib
import itertools
import json
import os
import re
import sys
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbformat import NotebookNode

from lib.errors import ParameterError, run
from lib.parameters import NOTEBOOKS, area_name
from lib.paths import ROOT, resolve, write_whole
from lib.show.reports import report_dir

MADE = "pp_linknet"  # in a copy's metadata: digest of its cells as they were made
# in Lab's list of files: the project's own notebooks are not for it
HIDDEN = ["notebooks", "__pycache__", "*.egg-info"]


def areas() -> dict[str, list[str]]:
    """Area -> names of the notebooks that params/ has its values for, in order."""
    folders = sorted(path for path in (ROOT / "params").iterdir() if path.is_dir())
    known = {path.name: [name for name in NOTEBOOKS if (path / f"{name}.yaml").is_file()] for path in folders}
    return {area: names for area, names in known.items() if names}


def copy_notebooks(area: str, work_dir: str | Path = ".") -> list[Path]:
    """
    Working copies of an area's notebooks, in reports/<area>/lab/.

    One that is there stays as it is, with what was changed in it and its outputs, until the project's notebook is
    another one. Then it is kept beside the new copy, which is said; one in which nothing was done is replaced.

    Parameters
    ----------
    area
        A folder of params/; `lib.parameters.check_notebook` takes the values from there.
    work_dir
        Where data/, runs/ and reports/ are written; relative to the project's root.

    Raises
    ------
    ParameterError
        If params/ has no such area.
    """
    known = areas()
    if area_name(area) not in known:
        raise ParameterError(f"no area {area!r}; they are {list(known)}. A new one: make new AREA={area}")
    return [_copy(name, area, work_dir) for name in known[area]]


def _copy(name: str, area: str, work_dir: str | Path) -> Path:
    """One notebook's working copy, made where it is not there or of an earlier state of the project's notebook."""
    path = report_dir(area, work_dir) / "lab" / f"{name}.ipynb"
    made = _filled(name, {"area": area, "work_dir": str(work_dir)})
    if path.is_file():
        old = _read(path)
        if old and old.metadata.get(MADE) == made.metadata[MADE]:
            return path
        if not old or old.metadata.get(MADE) != _digest(old):
            kept = next(k for n in itertools.count(1) if not (k := path.with_name(f"{name}.old{n}.ipynb")).exists())
            path.replace(kept)
            print(f"notebooks/{path.name} has changed: a new copy is made, and yours is kept as {kept}")
    return write_whole(path, nbformat.writes(made) + "\n")


def _read(path: Path) -> NotebookNode | None:
    """A notebook of version 4; None where it is no such thing."""
    try:
        return nbformat.reads(path.read_text(encoding="utf-8"), 4)
    except (ValueError, nbformat.ValidationError):
        return None


def _filled(name: str, values: dict[str, str]) -> NotebookNode:
    """The project's notebook with other values in its parameters cell, and all that Lab would add when it opens it."""
    from ipykernel.ipkernel import IPythonKernel

    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
    cell = next(cell for cell in book.cells if "parameters" in cell.metadata.get("tags", ()))
    for parameter, value in values.items():
        line = f"{parameter}: str = {json.dumps(value, ensure_ascii=False)}"
        cell.source = re.sub(rf'^{parameter}: str = "[^"\n]*"', lambda _, line=line: line, cell.source, flags=re.M)
    book.metadata.pop("jupytext", None)  # would write a .py beside it
    book.metadata.language_info = IPythonKernel.language_info
    book.metadata[MADE] = _digest(book)
    return book


def _digest(book: NotebookNode) -> str:
    """SHA-256 of what cells say and show."""
    cells = [(cell.cell_type, cell.source, cell.get("outputs", [])) for cell in book.cells]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def start_page(work_dir: str | Path = ".") -> Path:
    """
    A page for JupyterLab, reports/lab/start.ipynb: what each notebook asks, and each area's copies, which are made.

    An area whose copies can't be made would be missing from it; so an error of one is an error of all.
    """
    path = resolve(work_dir) / "reports" / "lab" / "start.ipynb"
    rows, asked = [], {}
    for area in areas():
        links = {
            copy.stem: _link(copy, path.parent, copy.stem.split("_", 1)[0]) for copy in copy_notebooks(area, work_dir)
        }
        report = report_dir(area, work_dir) / "index.html"
        last = _link(report, path.parent, "report") if report.is_file() else f"make report AREA={area}"
        row = [area, *(links.get(name, "") for name in NOTEBOOKS), last]
        rows.append("".join(f"<td>{entry}</td>" for entry in row))
    for name in NOTEBOOKS:
        title, _, question, *_ = _filled(name, {}).cells[0].source.split("\n")
        asked[name] = f"{title.removeprefix('# ')}: {question}"
    heads = "".join(f"<th>{head}</th>" for head in ("area", *(name.split("_", 1)[0] for name in NOTEBOOKS), ""))
    table = "\n".join(f"<tr>{row}</tr>" for row in (heads, *rows))
    text = "\n\n".join(
        [
            "# The notebooks, area by area",
            "Each makes what it needs from the one before it. These are working copies: what you change or run here "
            "changes nothing of the project's own.",
            "\n".join(asked.values()),
            f"<table>\n{table}\n</table>",
            "An area of your own begins with `make new AREA=…`, see `docs/own-imagery.md`; `make lab` has it then.",
        ]
    )
    book = _filled(NOTEBOOKS[0], {})
    cell = nbformat.v4.new_markdown_cell(text, id="start")
    return write_whole(path, nbformat.writes(nbformat.v4.new_notebook(cells=[cell], metadata=book.metadata)) + "\n")


def _link(target: Path, folder: Path, words: str) -> str:
    """A link of a page in `folder`."""
    return f'<a href="{quote(Path(os.path.relpath(target, folder)).as_posix())}">{words}</a>'


def main() -> None:
    """Make the copies and become JupyterLab."""
    parser = argparse.ArgumentParser(description="Open JupyterLab on working copies of the notebooks.")
    parser.add_argument("area", nargs="?", help="a folder of params/, e.g. demo; without one: a start page of all")
    parser.add_argument("--work-dir", default=".", help="where data/, runs/ and reports/ are written")
    words = [*sys.argv[1:], "--"]
    own, others = words[: words.index("--")], words[words.index("--") + 1 : -1]
    arguments = parser.parse_args(own)
    work_dir = arguments.work_dir
    opened = copy_notebooks(arguments.area, work_dir)[0] if arguments.area else start_page(work_dir)
    settings = {"ServerApp.root_dir": resolve(work_dir), "ContentsManager.hide_globs": HIDDEN}
    options = [f"--{name}={value}" for name, value in settings.items()]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *options, *others, str(opened)])


if __name__ == "__main__":
    run(main)
