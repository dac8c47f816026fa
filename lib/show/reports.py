"""
Run records and pages: notebooks executed through papermill, their HTML, metrics.json and an index.

`python -m lib.show.reports demo` runs the four notebooks of an area in order and renders reports/demo/.
"""

import argparse
import contextlib
import json
import logging
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from lib.errors import InputError, ParameterError, run
from lib.limits import classes_of
from lib.networks.checkpoint import provenance
from lib.networks.devices import device_name
from lib.parameters import NOTEBOOKS, area_name, check, load
from lib.paths import ROOT, locked, made_folder, read_mapping, resolve, write_whole
from lib.show.front import EVALUATION, MAPPED, front_page
from lib.show.pages import OSM_LICENCE, notebook_page
from lib.show.widgets import HEADLESS_VARIABLE

PROTOCOL = 1  # version of docs/protocol.md by which splits are drawn and scores are made
PATIENCE_S = 60  # how long a notebook waits for another that writes its numbers
RUN_FOLDERS = {"stage 2 alone": "scratch", "stage 1 alone": "stage1", "stage 1, then 2": "two_stage"}


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
    """What a result needs to be run again: revision of the code, versions of Python and packages, device, time."""
    return provenance(
        device=device_name(),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def notebooks_of(area: str) -> list[str]:
    """The notebooks that an area's report is made by, in order; without stage 1 or a map where it has none."""
    absent = {"02_train_stage1": load(area, "03_train_stage2")["start_from"] == ""}
    absent["05_map_area"] = not load(area, "05_map_area")["images"]
    return [name for name in NOTEBOOKS if not absent.get(name)]


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
            text = json.dumps(read_mapping(path) | {notebook: _plain(own)}, indent=1, allow_nan=False)
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
    record = read_mapping(report_dir(area, work_dir) / "metrics.json")
    return record.get(notebook, {}).get("parameters", {})


def require(path: Path, notebook: str, area: str, work_dir: str, task: str) -> Path:
    """
    Path of an earlier notebook's result; where it is missing, that notebook is run first, with the area's parameters.

    So each notebook works straight after setup, and nothing is computed twice.

    Raises
    ------
    ParameterError
        If that notebook's last run was of another task: masks do not say whether they are of roads or of buildings.
    """
    if not path.exists():
        print(f"{path} is not there yet: running {notebook} for area {area} first", flush=True)
        run_notebook(notebook, area, {"task": task}, work_dir)
    made_of = recorded(notebook, area, work_dir).get("task", task)
    if lacking := [kind for kind in classes_of(task) if kind not in classes_of(made_of)]:
        raise ParameterError(
            f"the task is {task!r}, and {path} was made with {made_of!r}, without {' and '.join(lacking)}: run "
            f"{notebook} with -p task {task} first, or give this area's other task a work_dir of its own"
        )
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
        If a cell fails; the notebook as far as it came is kept beside the others, and its page says where.
    """
    import papermill  # a second to import: only those who run notebooks pay it
    from traitlets.config import Config

    own = {"area": area, "work_dir": str(work_dir)} | (parameters or {})
    settled = check(notebook, load(area, notebook) | own)
    out = report_dir(area, work_dir) / f"{notebook}.ipynb"
    made_folder(out.parent, f"the reports of {area}")
    start = time.perf_counter()
    print(f"== {notebook} ({area})", flush=True)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    with _headless(), tempfile.TemporaryDirectory(prefix="pp-linknet-") as sockets:
        # sockets in a folder of the user's own, rather than ports that anyone on the machine may listen to
        local = {"transport": "ipc", "ip": f"{sockets}/kernel"} if os.name == "posix" else {}
        try:
            papermill.execute_notebook(
                _no_pattern(ROOT / "notebooks" / f"{notebook}.ipynb"),
                _no_pattern(out),
                parameters=own,
                cwd=ROOT / "notebooks",
                kernel_name="python3",
                start_timeout=600,  # a busy machine takes longer than the default of a minute
                progress_bar=False,
                stdout_file=sys.stdout,
                stderr_file=sys.stderr,
                config=Config({"KernelManager": local}),
            )
        finally:  # where a cell fails, too: the pages say which
            if out.is_file():
                render_html(out, settled)
                render_index(area, work_dir)
    print(f"== {notebook} done in {time.perf_counter() - start:.0f} s", flush=True)
    return out


@contextlib.contextmanager
def _headless() -> Iterator[None]:
    """Nobody answers the kernels that start in the block; a notebook that runs another one has its panels after it."""
    before = os.environ.get(HEADLESS_VARIABLE)
    os.environ[HEADLESS_VARIABLE] = "1"
    try:
        yield
    finally:
        del os.environ[HEADLESS_VARIABLE]
        if before is not None:
            os.environ[HEADLESS_VARIABLE] = before


def _no_pattern(path: Path) -> str:
    """A path for papermill, which takes braces in it for the names of parameters."""
    return str(path).replace("{", "{{").replace("}", "}}")


def render_html(notebook: Path, settled: dict[str, Any] | None = None) -> Path:
    """Page of an executed notebook beside it, see `lib.show.pages.notebook_page`."""
    return write_whole(notebook.with_suffix(".html"), notebook_page(notebook, settled))


def render_index(area: str, work_dir: str | Path = ".") -> Path:
    """
    Front page of an area's report, as far as it has come, see `lib.show.front.front_page`.

    The scoreboard is also written as scoreboard.txt, for a terminal.
    """
    folder = report_dir(area, work_dir)
    metrics = read_mapping(folder / "metrics.json")
    if EVALUATION in metrics:
        board = pd.DataFrame(metrics[EVALUATION]["metrics"]["scoreboard"])
        table = board.to_string(index=False, float_format=lambda v: f"{v:.3f}", na_rep="-")
        write_whole(folder / "scoreboard.txt", f"{area}: test chips, {OSM_LICENCE}\n{table}\n")
    return write_whole(folder / "index.html", front_page(folder, area, metrics, chip_dir(area, work_dir)))


def _by_name(text: str) -> dict[str, Any]:
    """A JSON object."""
    return dict(json.loads(text))


def main() -> int:
    """Run the notebooks of an area and render its report; 1 where a cell fails."""
    from papermill import PapermillExecutionError

    parser = argparse.ArgumentParser(description="Execute the notebooks of a study area and render reports/<area>/.")
    parser.add_argument("area", help="a folder of params/, e.g. demo")
    parser.add_argument("--data-dir", help="where the area's data lie, instead of params/<area>'s data_dir")
    parser.add_argument("--only", metavar="NOTEBOOK", choices=NOTEBOOKS, help="run this one, e.g. 01_rasterize_osm")
    parser.add_argument(
        "--parameters", type=_by_name, default={}, help="with --only: values that win over params/<area>, as JSON"
    )
    parser.add_argument("--work-dir", default=".", help="where data/, runs/ and reports/ are written")
    parser.add_argument(
        "--map", metavar="IMAGES", help="only map these images (a pattern), by the network that is there"
    )
    parser.add_argument("--osm", default="", help='with --map: vectors to compare with, or "overpass"')
    parser.add_argument("--name", default="own_images", help="with --map: folder of the map in reports/<area>")
    arguments = parser.parse_args()
    start = time.perf_counter()
    in_data = {"data_dir": arguments.data_dir} if arguments.data_dir else {}
    stated = {NOTEBOOKS[0]: in_data, MAPPED: in_data}
    if arguments.map:
        osm = arguments.osm if arguments.osm in ("", "overpass") else str(Path(arguments.osm).resolve())
        named = {"images": [arguments.map], "osm": osm, "mapped": "", "name": arguments.name}
        stated = {MAPPED: named | {"data_dir": str(Path.cwd())}}
    if arguments.only:
        stated = {arguments.only: stated.get(arguments.only, {}) | arguments.parameters}
    for notebook in stated if arguments.map or arguments.only else notebooks_of(arguments.area):
        own = stated.get(notebook, {})
        try:
            run_notebook(notebook, arguments.area, own, arguments.work_dir)
        except PapermillExecutionError as error:
            page = report_dir(arguments.area, arguments.work_dir) / f"{notebook}.html"
            said = f"error: {notebook} stopped in cell {error.exec_count}: {error.ename}: {error.evalue}"
            print(f"{said}\n{page} shows where", file=sys.stderr)
            return 1
    index = report_dir(arguments.area, arguments.work_dir) / "index.html"
    print(f"report in {time.perf_counter() - start:.0f} s: {index}\n")
    return 0


if __name__ == "__main__":
    run(main)
