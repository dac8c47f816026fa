"""
Run records and pages: notebooks executed through papermill, their HTML, metrics.json and an index.

`python -m lib.show.reports demo` runs the four notebooks of an area in order and renders reports/demo/.
"""

import argparse
import html
import json
import logging
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

from lib.errors import InputError
from lib.networks.checkpoint import provenance
from lib.parameters import NOTEBOOKS, check, load
from lib.paths import ROOT, resolve, write_whole
from lib.show.widgets import HEADLESS_VARIABLE

OSM_ATTRIBUTION = "© OpenStreetMap contributors, ODbL 1.0 (openstreetmap.org/copyright)"
# addresses that nbconvert would write into a page
REMOTE_SCRIPTS = ("require_js_url", "mathjax_url", "jquery_url", "mermaid_js_url", "jupyter_widgets_base_url")


def report_dir(area: str, work_dir: str | Path = ".") -> Path:
    """Folder of an area's report."""
    return resolve(work_dir) / "reports" / area


def chip_dir(area: str, work_dir: str | Path = ".") -> Path:
    """Folder of an area's chips and their manifest."""
    return resolve(work_dir) / "data" / area / "chips"


def run_dir(area: str, run: str, work_dir: str | Path = ".") -> Path:
    """Folder of one training run of an area: checkpoint, history, log."""
    return resolve(work_dir) / "runs" / area / run


def run_record() -> dict[str, Any]:
    """What a result needs to be run again: revision of the code, versions of Python and packages, machine, time."""
    return provenance(
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def write_metrics(notebook: str, area: str, work_dir: str, metrics: dict[str, Any], parameters: dict[str, Any]) -> Path:
    """
    Put one notebook's numbers into the area's metrics.json, beside those of the other notebooks.

    Raises
    ------
    InputError
        If the metrics hold something that JSON can't, such as NaN: a number that is not known is left out or None.
    """
    path, record = _metrics(area, work_dir)
    record[notebook] = {"metrics": metrics, "parameters": parameters, "provenance": run_record()}
    try:
        return write_whole(path, json.dumps(record, indent=1, allow_nan=False) + "\n")
    except (TypeError, ValueError) as error:
        raise InputError(f"{notebook}: metrics must be plain JSON values without NaN: {error}") from error


def recorded(notebook: str, area: str, work_dir: str) -> dict[str, Any]:
    """Parameters of a notebook's last run in this area, as its metrics recorded them; {} if it has not run."""
    _, record = _metrics(area, work_dir)
    return record.get(notebook, {}).get("parameters", {})


def _metrics(area: str, work_dir: str | Path) -> tuple[Path, dict[str, Any]]:
    """Path of an area's metrics.json, and what it holds: a record a notebook; {} before the first."""
    path = report_dir(area, work_dir) / "metrics.json"
    return path, json.loads(path.read_text()) if path.is_file() else {}


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

    own = {"area": area, "work_dir": str(work_dir)}
    values = check(notebook, load(area, notebook) | own | (parameters or {}))
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
            ROOT / "notebooks" / f"{notebook}.ipynb",
            out,
            parameters=values,
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


def render_html(notebook: Path) -> Path:
    """HTML of an executed notebook that opens with the network off: nothing from elsewhere, no widget state."""
    import nbformat
    from nbconvert import HTMLExporter

    page = nbformat.read(notebook, as_version=4)
    page.metadata.pop("widgets", None)
    options = {"exclude_input_prompt": True, "exclude_output_prompt": True, "embed_images": True}
    exporter = HTMLExporter(template_name="lab", **options, **dict.fromkeys(REMOTE_SCRIPTS, ""))
    body, _ = exporter.from_notebook_node(page)
    return write_whole(notebook.with_suffix(".html"), body)


def render_index(area: str, work_dir: str | Path = ".") -> Path:
    """
    Front page of an area's report: the scoreboard, its pictures, the notebooks, and how to run it again.

    The page is templates/index.html; the scoreboard is also written as scoreboard.txt, for a terminal.
    """
    folder = report_dir(area, work_dir)
    _, record = _metrics(area, work_dir)
    evaluation = record["04_evaluate"]
    board = pd.DataFrame(evaluation["metrics"]["scoreboard"])
    table = board.to_string(index=False, float_format=lambda v: f"{v:.3f}", na_rep="-")
    write_whole(folder / "scoreboard.txt", f"{area}: test chips, {OSM_ATTRIBUTION}\n{table}\n")
    templates = jinja2.Environment(loader=jinja2.PackageLoader("lib.show"), autoescape=True)
    page = templates.get_template("index.html").render(
        **evaluation["metrics"],
        area=evaluation["parameters"]["area"],
        board=board,
        notebooks=[(n, title_of(folder / f"{n}.ipynb")) for n in NOTEBOOKS if (folder / f"{n}.html").is_file()],
        has_map=(folder / "map.html").is_file(),
        provenance=evaluation["provenance"],
        attribution=OSM_ATTRIBUTION,
    )
    return write_whole(folder / "index.html", page)


def title_of(notebook: Path) -> str:
    """First heading of a notebook."""
    first = json.loads(notebook.read_text())["cells"][0]["source"]
    return html.unescape("".join(first).splitlines()[0].lstrip("# "))


def main() -> None:
    """Run the four notebooks of an area and render its report."""
    parser = argparse.ArgumentParser(description="Execute the notebooks of a study area and render reports/<area>/.")
    parser.add_argument("area", help="a folder of params/, e.g. demo")
    parser.add_argument("--data-dir", help="where the area's data lie, instead of params/<area>'s data_dir")
    parser.add_argument("--work-dir", default=".", help="where data/, runs/ and reports/ are written")
    arguments = parser.parse_args()
    start = time.perf_counter()
    for notebook in NOTEBOOKS:
        own = {"data_dir": arguments.data_dir} if arguments.data_dir and notebook == NOTEBOOKS[0] else {}
        run_notebook(notebook, arguments.area, own, arguments.work_dir)
    index = render_index(arguments.area, arguments.work_dir)
    print(f"report in {time.perf_counter() - start:.0f} s: {index}\n")


if __name__ == "__main__":
    main()
