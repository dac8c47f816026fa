"""
Run records and pages: notebooks executed through papermill, their HTML, metrics.json and an index.

`python -m lib.show.reports demo` runs the four notebooks of an area in order and renders reports/demo/.
"""

import argparse
import html
import json
import logging
import math
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from lib.errors import InputError, run
from lib.networks.checkpoint import provenance
from lib.parameters import NOTEBOOKS, area_name, check, load
from lib.paths import ROOT, locked, resolve, write_whole
from lib.show.charts import score_text
from lib.show.widgets import HEADLESS_VARIABLE

PROTOCOL = 1  # version of docs/protocol.md by which splits are drawn and scores are made
PATIENCE_S = 60  # how long a notebook waits for another that writes its numbers
OSM_LICENCE = "© OpenStreetMap contributors, ODbL 1.0 (openstreetmap.org/copyright)"
# addresses that nbconvert would write into a page
REMOTE_SCRIPTS = ("require_js_url", "mathjax_url", "jquery_url", "mermaid_js_url", "jupyter_widgets_base_url")


def report_dir(area: str, work_dir: str | Path = ".") -> Path:
    """Folder of an area's report."""
    return resolve(work_dir) / "reports" / area_name(area)


def chip_dir(area: str, work_dir: str | Path = ".") -> Path:
    """Folder of an area's chips and their manifest."""
    return resolve(work_dir) / "data" / area_name(area) / "chips"


def run_dir(area: str, run: str, work_dir: str | Path = ".") -> Path:
    """Folder of one training run of an area: checkpoint, history, log."""
    return resolve(work_dir) / "runs" / area_name(area) / area_name(run, "run")


def run_record() -> dict[str, Any]:
    """What a result needs to be run again: revision of the code, versions of Python and packages, machine, time."""
    return provenance(
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def notebooks_of(area: str) -> list[str]:
    """The notebooks that an area's report is made by, in order; without stage 1 where it has none."""
    alone = load(area, "03_train_stage2")["start_from"] == ""
    return [name for name in NOTEBOOKS if not (alone and name == "02_train_stage1")]


def write_metrics(notebook: str, area: str, work_dir: str, metrics: dict[str, Any], parameters: dict[str, Any]) -> Path:
    """
    Put one notebook's numbers into the area's metrics.json, beside those of the other notebooks.

    JSON has no NaN and no infinity: a number that is not defined is null. Notebooks that end at the same time wait for
    each other.

    Raises
    ------
    InputError
        If the metrics hold something that JSON can't.
    BusyError
        If another process holds the file for longer than PATIENCE_S.
    """
    own = {"metrics": metrics, "parameters": parameters, "protocol": PROTOCOL, "provenance": run_record()}
    path = report_dir(area, work_dir) / "metrics.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, PATIENCE_S):
        try:
            text = json.dumps(_metrics(path) | {notebook: _plain(own)}, indent=1, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"{notebook}: metrics must be plain JSON values: {error}") from error
        return write_whole(path, text + "\n")


def _plain(value: Any) -> Any:
    """A JSON value with null for each number that is not finite."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def recorded(notebook: str, area: str, work_dir: str) -> dict[str, Any]:
    """Parameters of a notebook's last run in this area, as its metrics recorded them; {} if it has not run."""
    record = _metrics(report_dir(area, work_dir) / "metrics.json")
    return record.get(notebook, {}).get("parameters", {})


def _metrics(path: Path) -> dict[str, Any]:
    """What a metrics.json holds: a record a notebook; {} before the first."""
    return json.loads(path.read_text()) if path.is_file() else {}


def require(path: Path, notebook: str, area: str, work_dir: str) -> Path:
    """
    Path of an earlier notebook's result; where it is missing, that notebook is run first, with the area's parameters.

    So each notebook works straight after setup, and nothing is computed twice.
    """
    if not path.exists():
        print(f"{path} is not there yet: running {notebook} for area {area} first", flush=True)
        run_notebook(notebook, area, work_dir=work_dir)
    return path


def run_notebook(
    notebook: str, area: str, parameters: dict[str, Any] | None = None, work_dir: str | Path = "."
) -> Path:
    """
    Execute a notebook with its area's parameters and render its HTML, into reports/<area>/.

    Parameters
    ----------
    notebook
        Name without suffix, e.g. "04_evaluate".
    area
        Study area: a folder of params/.
    parameters
        Values that win over those of params/<area>/<notebook>.yaml.
    work_dir
        Where data/, runs/ and reports/ are written; relative to the project's root.

    Raises
    ------
    ParameterError
        If a parameter is unknown or of another type; nothing is executed then.
    papermill.PapermillExecutionError
        If a cell fails; the notebook as far as it came is kept beside the others.
    """
    import papermill  # a second to import: only those who run notebooks pay it
    from traitlets.config import Config

    own = {"area": area, "work_dir": str(work_dir)} | (parameters or {})
    check(notebook, load(area, notebook) | own)
    out = report_dir(area, work_dir) / f"{notebook}.ipynb"
    out.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    print(f"== {notebook} ({area})", flush=True)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ[HEADLESS_VARIABLE] = "1"
    with tempfile.TemporaryDirectory(prefix="pp-linknet-") as sockets:
        # sockets in a folder of the user's own, rather than ports that anyone on the machine may listen to
        local = {"transport": "ipc", "ip": f"{sockets}/kernel"} if os.name == "posix" else {}
        papermill.execute_notebook(
            _no_pattern(ROOT / "notebooks" / f"{notebook}.ipynb"),
            _no_pattern(out),
            parameters=own,
            cwd=ROOT / "notebooks",
            kernel_name="python3",
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            config=Config({"KernelManager": local}),
        )
    render_html(out)
    print(f"== {notebook} done in {time.perf_counter() - start:.0f} s", flush=True)
    return out


def _no_pattern(path: Path) -> str:
    """A path for papermill, which takes braces in it for the names of parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def render_html(notebook: Path) -> Path:
    """HTML of an executed notebook that opens with the network off: nothing from elsewhere, no widget state."""
    import nbformat
    from nbconvert import HTMLExporter

    page = nbformat.read(notebook, as_version=4)
    page.metadata.pop("widgets", None)
    options = {"exclude_input_prompt": True, "exclude_output_prompt": True, "embed_images": True}
    template = (Path(__file__).parent / "templates" / "notebook.html.j2").read_text()
    exporter = HTMLExporter(raw_template=template, **options, **dict.fromkeys(REMOTE_SCRIPTS, ""))
    body, _ = exporter.from_notebook_node(page)
    return write_whole(notebook.with_suffix(".html"), body)


def render_index(area: str, work_dir: str | Path = ".") -> Path:
    """
    Front page of an area's report: the scoreboard, its pictures, the notebooks, and how to run it again.

    The page is templates/index.html; the scoreboard is also written as scoreboard.txt, for a terminal.
    """
    folder = report_dir(area, work_dir)
    evaluation = _metrics(folder / "metrics.json")["04_evaluate"]
    board = pd.DataFrame(evaluation["metrics"]["scoreboard"])
    table = board.to_string(index=False, float_format=lambda v: f"{v:.3f}", na_rep="-")
    write_whole(folder / "scoreboard.txt", f"{area}: test chips, {OSM_LICENCE}\n{table}\n")
    templates = jinja2.Environment(loader=jinja2.PackageLoader("lib.show"), autoescape=True)
    templates.filters["score"] = score_text
    page = templates.get_template("index.html").render(
        **evaluation["metrics"],
        area=evaluation["parameters"]["area"],
        board=board,
        notebooks=[(n, title_of(folder / f"{n}.ipynb")) for n in NOTEBOOKS if (folder / f"{n}.html").is_file()],
        has_map=(folder / "map.html").is_file(),
        provenance=evaluation["provenance"],
        protocol=evaluation.get("protocol", "not stated"),
        attribution=OSM_LICENCE,
    )
    return write_whole(folder / "index.html", page)


def title_of(notebook: Path) -> str:
    """First heading of a notebook."""
    first = json.loads(notebook.read_text())["cells"][0]["source"]
    return html.unescape("".join(first).splitlines()[0].lstrip("# "))


def main() -> None:
    """Run the notebooks of an area and render its report."""
    parser = argparse.ArgumentParser(description="Execute the notebooks of a study area and render reports/<area>/.")
    parser.add_argument("area", help="a folder of params/, e.g. demo")
    parser.add_argument("--data-dir", help="where the area's data lie, instead of params/<area>'s data_dir")
    parser.add_argument("--work-dir", default=".", help="where data/, runs/ and reports/ are written")
    arguments = parser.parse_args()
    start = time.perf_counter()
    for notebook in notebooks_of(arguments.area):
        own = {"data_dir": arguments.data_dir} if arguments.data_dir and notebook == NOTEBOOKS[0] else {}
        run_notebook(notebook, arguments.area, own, arguments.work_dir)
    index = render_index(arguments.area, arguments.work_dir)
    print(f"report in {time.perf_counter() - start:.0f} s: {index}\n")


if __name__ == "__main__":
    run(main)
