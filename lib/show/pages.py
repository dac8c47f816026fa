"""
Pages that are sent around: an executed notebook as HTML that fetches nothing.

Text of strangers passes the templates of lib/show/templates alone, which escape it; markup are only a notebook's own
Markdown, highlighted code, and what its cells displayed as HTML. nbconvert's page would weigh 0.3 MB before its first
cell and say of each figure that it has no description.
"""

import ast
import base64
import io
import re
import tokenize
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
from markupsafe import Markup

from lib.paths import ROOT
from lib.show.canvas import JPEG_QUALITY
from lib.show.charts import score_text
from lib.show.leaflet import data_address

OSM_LICENCE = "© OpenStreetMap contributors, ODbL 1.0 (openstreetmap.org/copyright)"
CODE_STYLES = {"light": "xcode", "dark": "github-dark"}  # Pygments'
PICTURES = ("image/png", "image/jpeg")
_HEADING = re.compile(r'<h[23] id="([^"]*)">(.*?)<a class="anchor-link"', re.DOTALL)
_FIRST_SENTENCE = re.compile(r"(.+?[.?!:])(?:\s|$)", re.DOTALL)
WEBP_SIDE_PX = 16_383  # the format's limit
_OVERWRITTEN = re.compile(r"^[^\n]*\r(?!\n)", re.MULTILINE)  # what a terminal shows for a moment
_NOT_OF_THE_RUN = {"injected-parameters", "papermill-error-cell-tag"}  # tags of cells that papermill adds

templates = jinja2.Environment(
    loader=jinja2.PackageLoader("lib.show"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
templates.filters["score"] = score_text


def notebook_page(notebook: Path, settled: dict[str, Any] | None = None) -> str:
    """
    HTML of an executed notebook: contents, code folded, each parameter once, pictures that say what they show.

    Parameters
    ----------
    notebook
        The executed .ipynb.
    settled
        What its parameters were in this run; None: what its own cells say.
    """
    import nbformat

    page = nbformat.read(notebook, as_version=4)
    tagged = {tag: cell for cell in page.cells for tag in cell.metadata.get("tags", [])}
    values = _assigned(tagged.get("injected-parameters")) | (settled or {})
    cells, above = [], ""
    for cell in page.cells:
        tags = set(cell.metadata.get("tags", []))
        if tags & _NOT_OF_THE_RUN:
            continue
        if cell.cell_type == "markdown":
            cells.append({"text": _markdown(cell.source)})
            above = _caption(cell.source)
        elif cell.cell_type == "code":
            outputs = [shown for output in _joined(cell.outputs) if (shown := _output(output, above))]
            rows = _parameter_rows(cell.source, values) if "parameters" in tags else []
            if outputs or cell.source.strip():
                cells.append({"code": _highlighted(cell.source), "outputs": outputs, "parameters": rows})
    headings = [
        (Markup(anchor).unescape(), Markup(text).striptags())
        for cell in cells
        for anchor, text in _HEADING.findall(cell.get("text", ""))
    ]
    return templates.get_template("notebook.html").render(
        title=title_of(notebook),
        name=notebook.stem,
        area=values.get("area", ""),
        cells=cells,
        headings=headings,
        stopped=failure_of(page),
        code_style=_code_style(),
        attribution=OSM_LICENCE,
    )


def title_of(notebook: Path) -> str:
    """First heading of a notebook, or the name of its file."""
    import nbformat

    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "markdown" and cell.source.startswith("#"):
            return Markup(cell.source.splitlines()[0].lstrip("# ")).unescape()
    return notebook.stem


def failure_of(page: Any) -> str:
    """Which cell of an executed notebook failed, and what it said, in a line; "" where none did."""
    for cell in page.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return f"Cell {cell.execution_count}: {_said(output)}"
    return ""


def _said(output: Any) -> str:
    """Name and message of an error output, on one line, cut where it is a novel."""
    return " ".join(f"{output.ename}: {output.evalue}".split())[:300]


def _markdown(source: str) -> Markup:
    from nbconvert.filters import markdown2html

    return Markup(markdown2html(source))


def _caption(source: str) -> str:
    """What stands above a figure: the last heading, and the first sentence below it, without Markdown's marks."""
    lines = [line.strip() for line in source.splitlines()]
    heads = [number for number, line in enumerate(lines) if line.startswith("#")]
    head = lines[heads[-1]].lstrip("# ") if heads else ""
    text = " ".join(lines[heads[-1] + 1 if heads else 0 :]).strip()
    first = _FIRST_SENTENCE.match(text)
    said = ": ".join(filter(None, (head.rstrip("."), first[1] if first else text)))
    return re.sub(r"[*`]|\[([^\]]*)\]\([^)]*\)", lambda match: match[1] or "", said)


def _highlighted(source: str) -> Markup:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return Markup(highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)))


def _code_style() -> Markup:
    """Colours of code on light and on dark paper, without backgrounds."""
    from pygments.formatters import HtmlFormatter

    light, dark = (
        "\n".join(
            line
            for line in HtmlFormatter(style=style).get_style_defs(".code pre").splitlines()
            if line.startswith(".code pre .")
        )
        for style in CODE_STYLES.values()
    )
    return Markup(f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}")


def _assigned(cell: Any) -> dict[str, Any]:
    """Name -> value of the plain assignments of a cell; of what is no literal, its source."""
    found = {}
    for statement in _statements(cell.source) if cell is not None else []:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        if isinstance(target, ast.Name) and getattr(statement, "value", None) is not None:
            try:
                found[target.id] = ast.literal_eval(statement.value)
            except ValueError:
                found[target.id] = ast.unparse(statement.value)
    return found


def _statements(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError:  # a cell with a magic: then it declares no parameters
        return []


def _parameter_rows(source: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a declared parameter, in order: name, value in this run, what its comment says, changed or not."""
    from types import SimpleNamespace

    tokens = tokenize.generate_tokens(io.StringIO(source).readline) if _statements(source) else ()
    notes = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    lines = {
        getattr(statement.targets[0] if isinstance(statement, ast.Assign) else statement.target, "id", ""): statement
        for statement in _statements(source)
        if isinstance(statement, ast.Assign | ast.AnnAssign)
    }
    return [
        {
            "name": name,
            "value": value_text(values.get(name, default)),
            "note": next((notes[n] for n in range(lines[name].lineno, lines[name].end_lineno + 1) if n in notes), ""),
            "changed": values.get(name, default) != default,
        }
        for name, default in _assigned(SimpleNamespace(source=source)).items()
    ]


def _joined(outputs: list[Any]) -> list[Any]:
    """Outputs with each run of text as one: a cell that prints line by line makes many."""
    joined = []
    for output in outputs:
        if output.output_type == "stream" and joined and joined[-1].output_type == "stream":
            joined[-1] = type(output)(joined[-1], text=joined[-1].text + output.text)
        else:
            joined.append(output)
    return joined


def value_text(value: Any) -> str:
    """A parameter's value for people: text as it is."""
    return value if isinstance(value, str) and value else repr(value)


def _output(output: Any, above: str) -> dict[str, Any] | None:
    """One output for the template; None for a widget, which shows nothing in a page."""
    from nbconvert.filters import ansi2html

    if output.output_type == "stream":
        said = _OVERWRITTEN.sub("", output.text).replace(f"{ROOT}/", "")  # where a project lies is nobody's business
        return {"kind": "text", "text": Markup(ansi2html(said.rstrip("\n")))}
    if output.output_type == "error":
        trace = "\n".join(output.traceback)
        return {"kind": "error", "said": _said(output), "text": Markup(ansi2html(trace))}
    data = output.data
    if any("widget-view" in kind for kind in data):
        return None
    for kind in PICTURES:
        if kind in data:
            return picture(base64.b64decode(data[kind]), output.metadata.get(kind, {}).get("alt") or above)
    if "text/html" in data:
        return {"kind": "html", "text": Markup(data["text/html"]), "has_inf": "<td>inf</td>" in data["text/html"]}
    if "text/markdown" in data:
        return {"kind": "html", "text": _markdown(data["text/markdown"])}
    return {"kind": "text", "text": Markup(ansi2html(data["text/plain"]))} if "text/plain" in data else None


def picture(content: bytes, alt: str) -> dict[str, Any]:
    """A PNG or JPEG for a template, written into the page as WebP where that is smaller: charts without loss."""
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    is_png = content.startswith(b"\x89PNG")
    mime = "image/png" if is_png else "image/jpeg"
    quality = 101 if is_png else JPEG_QUALITY  # above 100: without loss
    height, width = pixels.shape[:2]
    if max(height, width) <= WEBP_SIDE_PX:
        smaller = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
        if len(smaller) < len(content):
            content, mime = smaller, "image/webp"
    return {"kind": "picture", "address": data_address(content, mime), "alt": alt, "width": width, "height": height}
