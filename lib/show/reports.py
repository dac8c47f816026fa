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
    path = report_dir(area, work_dir) / "metrics.json"
    record = json.loads(path.read_text()) if path.is_file() else {}
    record[notebook] = {"metrics": metrics, "parameters": parameters, "provenance": run_record()}
    try:
        return write_whole(path, json.dumps(record, indent=1, allow_nan=False) + "\n")
    except (TypeError, ValueError) as error:
        raise InputError(f"{notebook}: metrics must be plain JSON values without NaN: {error}") from error


def recorded(notebook: str, area: str, work_dir: str) -> dict[str, Any]:
    """Parameters of a notebook's last run in this area, as its metrics recorded them; {} if it has not run."""
    path = report_dir(area, work_dir) / "metrics.json"
    record = json.loads(path.read_text()) if path.is_file() else {}
    return record.get(notebook, {}).get("parameters", {})


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
    blank = dict.fromkeys(
        ("require_js_url", "mathjax_url", "jquery_url", "mermaid_js_url", "jupyter_widgets_base_url"), ""
    )
    exporter = HTMLExporter(template_name="lab", exclude_input_prompt=True, exclude_output_prompt=True, **blank)
    exporter.embed_images = True
    body, _ = exporter.from_notebook_node(page)
    return write_whole(notebook.with_suffix(".html"), body)


def scoreboard_text(area: str, scoreboard: list[dict[str, Any]]) -> str:
    """The scoreboard as a plain text table, for a terminal."""
    table = pd.DataFrame(scoreboard)
    shown = table.to_string(index=False, float_format=lambda v: f"{v:.3f}", na_rep="-")
    return f"{area}: test chips, {OSM_ATTRIBUTION}\n{shown}\n"


def render_index(area: str, work_dir: str | Path = ".") -> Path:
    """Front page of an area's report: the scoreboard, its pictures, the notebooks, and how to run it again."""
    folder = report_dir(area, work_dir)
    record = json.loads((folder / "metrics.json").read_text())
    evaluation = record["04_evaluate"]
    board = evaluation["metrics"]["scoreboard"]
    write_whole(folder / "scoreboard.txt", scoreboard_text(area, board))
    page = jinja2.Template(INDEX_TEMPLATE, autoescape=True).render(
        area=evaluation["parameters"]["area"],
        board=pd.DataFrame(board),
        headline=evaluation["metrics"]["headline"],
        notes=evaluation["metrics"]["notes"],
        pictures=list(evaluation["metrics"]["captions"]),
        captions=evaluation["metrics"]["captions"],
        notebooks=[(n, title_of(folder / f"{n}.ipynb")) for n in NOTEBOOKS if (folder / f"{n}.html").is_file()],
        has_map=(folder / "map.html").is_file(),
        parameters=evaluation["parameters"],
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


INDEX_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>PP-LinkNet: {{ area }}</title>
<style>
 body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
 h1 { margin-bottom: 0; } h1 + p { font-size: 1.15rem; color: #444; }
 table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .35rem .9rem; border-bottom: 1px solid #ddd; }
 th { text-align: left; font-weight: 600; } td { text-align: right; font-variant-numeric: tabular-nums; }
 td:first-child { text-align: left; } img { max-width: 100%; border: 1px solid #ddd; }
 figure { margin: 1.5rem 0; } figcaption, footer, .note { color: #555; font-size: .92rem; }
 a { color: #0b5cad; } code { background: #f3f3f3; padding: 0 .25rem; }
</style>
</head>
<body>
<h1>{{ area }}</h1>
<p>{{ headline }}</p>
<table>
<tr>{% for c in board.columns %}<th>{{ c }}</th>{% endfor %}</tr>
{% for row in board.itertuples(index=False) %}
<tr>{% for v in row %}<td>{{ "–" if v is none else "%.3f"|format(v) if v is float else v }}</td>{% endfor %}</tr>
{% endfor %}
</table>
{% for note in notes %}<p class="note">{{ note }}</p>{% endfor %}
{% if has_map %}<p><a href="map.html">Open the map</a> (works with the network off).</p>{% endif %}
{% for p in pictures %}
<figure><img src="figures/{{ p }}" alt="{{ captions.get(p, p) }}">
<figcaption>{{ captions.get(p, p) }}</figcaption></figure>
{% endfor %}
<h2>How it was made</h2>
<ol>{% for name, title in notebooks %}
<li><a href="{{ name }}.html">{{ title }}</a> (<a href="{{ name }}.ipynb">executed notebook</a>)</li>{% endfor %}</ol>
<p>Numbers: <a href="metrics.json">metrics.json</a>. Run it again: <code>make report AREA={{ area }}</code>.</p>
<footer>
<p>{{ provenance.revision }}, {{ provenance.time }}, Python {{ provenance.python }}, {{ provenance.machine }};
{% for name, version in provenance.packages.items() -%}
{{ name }} {{ version }}{{ "" if loop.last else ", " }}{% endfor %}</p>
<p>Map data {{ attribution }}</p>
</footer>
</body>
</html>
"""

if __name__ == "__main__":
    main()
