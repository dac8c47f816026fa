"""
Parameters of a notebook: known names, right types, from the cell that declares them.

The cell is parsed here, not with jupytext or papermill's `inspect_notebook`: either takes a second to import, in every
notebook's first cell.
"""

import ast
import difflib
from pathlib import Path
from typing import Any

import yaml

from lib.errors import ParameterError
from lib.paths import ROOT

NOTEBOOKS = ("01_rasterize_osm", "02_train_stage1", "03_train_stage2", "04_evaluate")


def declared(notebook: str) -> dict[str, tuple[str, Any]]:
    """
    Name -> (type, default) of each parameter that a notebook declares.

    They are the annotated assignments of the cell tagged `parameters` in notebooks/<notebook>.py.

    Raises
    ------
    ParameterError
        If there is no such notebook, or its parameters cell assigns something without a type.
    """
    source = ROOT / "notebooks" / f"{notebook}.py"
    if not source.is_file():
        raise ParameterError(f"no notebook {notebook!r}; expected one of {list(NOTEBOOKS)}")
    cells = source.read_text().split("\n# %%")
    cell = next((c for c in cells if '"parameters"' in c.split("\n", 1)[0]), None)  # the tags stand in its first line
    if cell is None:
        raise ParameterError(f"{source.name} has no cell tagged parameters")
    names = {}
    for statement in ast.parse(cell.split("\n", 1)[1]).body:
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.annotation, ast.Name)):
            raise ParameterError(
                f"{source.name}: the parameters cell holds only lines of the form `name: type = value`"
            )
        names[statement.target.id] = (statement.annotation.id, ast.literal_eval(statement.value))
    return names


def area_name(name: str, what: str = "area") -> str:
    """
    The name of a study area, or of something else that names a folder (`what`), as it came.

    Raises
    ------
    ParameterError
        If it is no plain name: empty, a path, hidden (a dot at its start), longer than a file system takes, or with
        characters that can't be seen.
    """
    plain = name != "" and name.isprintable() and not name.startswith((".", "-")) and "\\" not in name
    if not plain or name != Path(name).name or len(name.encode()) > 100:
        raise ParameterError(
            f'{what} {name[:60]!r}: expected the plain name of a folder, such as "my-town": no path, not empty, '
            "no dot or dash at its start, at most 100 bytes"
        )
    return name


def check(notebook: str, values: dict[str, Any]) -> dict[str, Any]:
    """
    Values of a notebook's parameters, its defaults overridden by `values`.

    Parameters
    ----------
    notebook
        Name without suffix, e.g. "02_train_stage1".
    values
        Overriding values, e.g. read from a params file.

    Raises
    ------
    ParameterError
        For a name the notebook doesn't know (names the nearest known one) and for a value of another type; whole
        numbers are accepted for a float, nothing else is converted.
    """
    known = checked(notebook, declared(notebook), values)
    area_name(known["area"])
    return known


def checked(owner: str, known: dict[str, tuple[str, Any]], values: dict[str, Any]) -> dict[str, Any]:
    """
    A value of each known parameter: its own of `values`, or the default.

    Parameters
    ----------
    owner
        Whose parameters they are, for messages.
    known
        Name -> (type, default), as `declared` gives them.
    values
        Overriding values.

    Raises
    ------
    ParameterError
        As `check`.
    """
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)
            raise ParameterError(
                f"{owner} has no parameter {name!r}; the nearest known one is {near[0]!r}, all are {sorted(known)}"
            )
    return {name: _typed(owner, name, kind, values.get(name, default)) for name, (kind, default) in known.items()}


def _typed(owner: str, name: str, kind: str, value: Any) -> Any:
    """The value, if its type is the one named `kind`; True is no int here, and 3 is no text."""
    if kind == "float" and type(value) is int:
        return float(value)
    if type(value).__name__ == kind:
        return value
    hint = " (YAML reads 1e-4 as text: write 1.0e-4)" if kind == "float" and isinstance(value, str) else ""
    raise ParameterError(
        f"{owner}: parameter {name!r} is a {kind}, but {value!r} of type {type(value).__name__} came{hint}"
    )


def check_notebook(notebook: str, namespace: dict[str, Any]) -> dict[str, Any]:
    """
    Check the parameters of the notebook that calls this, as its second code cell.

    papermill puts what the caller passed into a cell of its own behind the parameters cell and only warns of a name
    that the notebook doesn't know; that cell is read back from IPython's history here, so that such a name stops the
    run. The namespace's values are replaced by the checked ones.

    Parameters
    ----------
    namespace
        `globals()` of the notebook.

    Returns
    -------
    values
        The checked parameters, ready to be recorded.
    """
    history = namespace.get("In", [])
    injected = history[-2] if len(history) >= 2 and history[-2].lstrip().startswith("# Parameters") else ""
    names = (node for node in ast.walk(ast.parse(injected)) if isinstance(node, ast.Name))
    passed = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    known = declared(notebook)
    values = check(notebook, {name: namespace[name] for name in {*known, *passed} if name in namespace})
    namespace.update(values)
    return values


def load(area: str, notebook: str) -> dict[str, Any]:
    """
    Parameters of a notebook for a study area, from params/<area>/<notebook>.yaml, checked.

    Raises
    ------
    ParameterError
        If the area has no such file, or the file is not a mapping of known names to values of the right type.
    """
    path = ROOT / "params" / area_name(area) / f"{notebook}.yaml"
    if not path.is_file():
        areas = sorted(p.name for p in (ROOT / "params").iterdir() if p.is_dir())
        raise ParameterError(f"no parameters at params/{area}/{notebook}.yaml; the areas are {areas}")
    values = yaml.safe_load(path.read_text()) or {}
    if not isinstance(values, dict):
        raise ParameterError(f"{path.name} of area {area}: expected lines `name: value`, got {type(values).__name__}")
    return check(notebook, values)
