"""
Parameters of a notebook: known names, right types and values in range, from the cell that declares them.

Ranges and names stand beside the settings that they are for (`lib.limits`); `check` asks each of these, before a file
is opened and without PyTorch or a GIS package. The cell is parsed here, not with jupytext or papermill's
`inspect_notebook`: either takes a second to import, in every notebook's first cell.
"""

import ast
import shlex
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lib.errors import ParameterError, say_in_words
from lib.limits import (
    LARGEST_SEED,
    REACH_M,
    TASKS,
    VIEWS,
    as_float,
    check_fields,
    check_names,
    check_value,
    limited,
    settings_from,
)
from lib.networks.published import published
from lib.paths import ROOT, resolve

NOTEBOOKS = ("01_rasterize_osm", "02_train_stage1", "03_train_stage2", "04_evaluate", "05_map_area")
TYPES = {kind.__name__: kind for kind in (bool, int, float, str, list, dict)}

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class NotebookSettings:
    """Parameters that only notebooks know; what each means stands beside it in the notebook's parameters cell."""

    task: str = limited("roads", choices=TASKS)
    dx_m: float = limited(0.0, minimum=-REACH_M, maximum=REACH_M)
    dy_m: float = limited(0.0, minimum=-REACH_M, maximum=REACH_M)
    scheduler: str = limited("", pattern=r"|(\w+://)?[^\s/]+:\d+", form="'' or an address such as 'tls://host:8786'")
    start_from: str = limited("stage1", choices=("stage1", "stage1b", ""))
    test_label: str = limited("clean", choices=("osm", "clean"))
    tta: str = limited("none", choices=VIEWS)
    threshold: float = limited(0.0, minimum=0, below=1)
    examples: int = limited(4, minimum=1, maximum=100)
    seed: int = limited(0, minimum=0, maximum=LARGEST_SEED)

    def __post_init__(self) -> None:
        check_fields(self)


class Settled(dict[str, Any]):
    """
    Checked parameters of a notebook by name, and where they are from.

    Attributes
    ----------
    stated, filed
        Names that the call or the parameters cell states, and those that the params file does, unless it is overruled;
        all others have the notebook's own values.
    """

    def __init__(self, values: dict[str, Any], stated: Iterable[str], filed: Iterable[str]) -> None:
        super().__init__(values)
        self.stated, self.filed = frozenset(stated), frozenset(filed) - frozenset(stated)


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
        If it is no plain name: empty, hidden (a dot at its start), longer than a file system takes, or with what means
        something to make, a shell or a path, such as a space.
    """
    plain = all(unicodedata.category(sign)[0] in "LMN" or sign in "-_." for sign in name)  # letters, marks, numbers
    if not name or not plain or name[0] in ".-" or len(name.encode()) > 100:
        raise ParameterError(
            f'{what} {name[:60]!r}: expected the plain name of a folder, such as "my-town": letters, digits, "-", "_" '
            'and ".", no dot or dash at its start, not empty, at most 100 bytes'
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
        For a name the notebook doesn't know (names the nearest known one), for a value of another type (whole numbers
        are accepted for a float, nothing else is converted), and for one that is none of its names or out of range.
    """
    known = declared(notebook)
    check_names(notebook, values, known)
    checked = {}
    for name, (kind, default) in known.items():
        value = values.get(name, default)
        try:
            check_value(name, value, TYPES[kind])
        except ParameterError as error:
            raise ParameterError(f"{notebook}: {error}") from error
        checked[name] = as_float(value) if kind == "float" else value
    try:
        area_name(checked["area"])
        _check_ranges(checked)
    except ParameterError as error:
        raise ParameterError(f"{notebook}: {error}") from error
    return checked


def _check_ranges(values: dict[str, Any]) -> None:
    """Make all settings that these parameters are for; each checks its own."""
    _made_of(values, NotebookSettings)
    if "sources" in values:
        from lib.chips.options import ChipOptions, check_source, sources_of
        from lib.osm.lanes import check_classes, chosen_lanes
        from lib.trust.rules import parse_rule

        _made_of(values, ChipOptions)
        if not values["sources"]:
            raise ParameterError("sources is empty: expected a list of {images: ..., osm: ..., clean: ...}")
        for number, source in enumerate(values["sources"], 1):
            check_source(source, f"entry {number} of sources")
            sources_of(source, values["task"])
        lanes = chosen_lanes(*(values[name] for name in ("profile", "lane_width_m", "lane_widths_m", "classes")))
        check_classes(values["class_weights"], lanes, "class_weights")
        for rule in values["drop"]:
            parse_rule(rule)
    if "mapped" in values:
        from lib.mapping.options import MapOptions

        area_name(values["name"], "name")
        _made_of(values | {"threshold": values["threshold"] or None}, MapOptions)
    if "train_options" in values:
        from lib.networks.config import ModelConfig
        from lib.training.recipe import train_config

        train_config(values)
        if "architecture" in values:
            _made_of(values | {"encoder_weights": values["encoder_weights"] or None}, ModelConfig)
        if "network" in values:
            settings_from(ModelConfig, values["network"], "the network")
            if values["network"] and values["start_from"]:
                raise ParameterError(
                    f"network is {values['network']!r}, but stage 1's is taken (start_from {values['start_from']!r}): "
                    'give one of them; start_from: "" trains stage 2 alone'
                )


def _made_of(values: dict[str, Any], kind: type[Settings]) -> Settings:
    """Settings of the values that have the name of one of their fields."""
    return kind(**{field.name: values[field.name] for field in fields(kind) if field.name in values})


def check_notebook(notebook: str, namespace: dict[str, Any]) -> Settled:
    """
    Settle the parameters of the notebook that calls this, as its second code cell.

    What the call states wins over params/<area>/<notebook>.yaml, and that over the parameters cell. Stated is what was
    edited in the parameters cell, and what papermill put into a cell of its own behind it: that cell is read back from
    IPython's history, as papermill only warns of a name that the notebook doesn't know. The namespace's values are
    replaced by the settled ones, and a line says which came from where. Run again by itself, as in JupyterLab, the cell
    reads the file again: what an earlier run took from it is nothing that anybody stated. From here on, errors of ours
    are said in words.

    Parameters
    ----------
    namespace
        `globals()` of the notebook.

    Returns
    -------
    values
        The checked parameters, ready to be recorded.

    Raises
    ------
    ParameterError
        As `check` and `load`; also for a checkpoint or folder to read from that is not there.
    """
    if "get_ipython" in namespace:
        say_in_words(namespace["get_ipython"]())
    history = namespace.get("In", [])
    injected = history[-2] if len(history) >= 2 and history[-2].lstrip().startswith("# Parameters") else ""
    names = (node for node in ast.walk(ast.parse(injected)) if isinstance(node, ast.Name))
    passed = {name.id for name in names if isinstance(name.ctx, ast.Store)}
    known = declared(notebook)
    given = {name: namespace[name] for name in {*known, *passed} if name in namespace}
    earlier = next((value for value in namespace.values() if isinstance(value, Settled)), Settled({}, (), ()))
    own = {name: [default] for name, (_, default) in known.items()}
    for name in earlier.filed:
        own[name].append(earlier[name])
    stated = {n: v for n, v in given.items() if n in passed or not any(v == o and type(v) is type(o) for o in own[n])}
    area = check(notebook, stated)["area"]
    filed = _filed(area, notebook)
    values = check(notebook, filed | stated)
    for name in ("checkpoint", "noise_study_dir"):
        ships = name == "checkpoint" and values.get(name) in published()
        if values.get(name) and not ships and not resolve(values[name]).exists():
            raise ParameterError(f"{notebook}: {name} is {values[name]!r}, but there is no {resolve(values[name])}")
    namespace.update(values)
    settled = Settled(values, stated, filed)
    for origin, found in (("this call", settled.stated), (f"params/{area}/{notebook}.yaml", settled.filed)):
        if found := sorted(found - {"area", "work_dir"}):
            print(f"from {origin}: {', '.join(found)}")
    return settled


def load(area: str, notebook: str) -> dict[str, Any]:
    """
    Parameters of a notebook for a study area: its defaults, overridden by params/<area>/<notebook>.yaml, checked.

    Raises
    ------
    ParameterError
        If the area has no such file, or the file is not a mapping of known names to values of the right type and in
        range; names the file.
    """
    return check(notebook, _filed(area, notebook) | {"area": area})


def params_path(area: str, notebook: str) -> Path:
    """The params file of a notebook for a study area."""
    return ROOT / "params" / area_name(area) / f"{notebook}.yaml"


def _filed(area: str, notebook: str) -> dict[str, Any]:
    """What params/<area>/<notebook>.yaml says, checked; see `load`."""
    path = params_path(area, notebook)
    if not path.is_file():
        areas = sorted(p.name for p in (ROOT / "params").iterdir() if p.is_dir())
        advice = (
            "write it, empty for the notebook's own values"
            if area in areas
            else f"the areas are {areas}; a new one: make new AREA={shlex.quote(area)} IMAGES='photos/*.tif' "
            "OSM=roads.gpkg CLEAN=labels.geojson"
        )
        raise ParameterError(f"no parameters at params/{area}/{notebook}.yaml; {advice}")
    values = read_yaml(path)
    if "area" in values:
        raise ParameterError(f"{path}: area is the name of the folder, {area!r}: remove the line `area: ...`")
    try:
        check(notebook, values | {"area": area})
    except ParameterError as error:
        raise ParameterError(f"{path}: {error}") from error
    return values


class _PlainLoader(yaml.SafeLoader):
    """YAML as people mean it: a date is text, and a number with a leading zero or a name given twice is an error."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _whole_number(loader: _PlainLoader, node: yaml.ScalarNode) -> int:
    digits = node.value.lstrip("+-")
    if ":" in digits or (digits[0] == "0" and digits[1:].isdigit()):
        read = yaml.SafeLoader.construct_yaml_int(loader, node)
        raise yaml.constructor.ConstructorError(
            None,
            None,
            f"YAML reads {node.value} as {read}: write the decimal number, or quotes for text",
            node.start_mark,
        )
    return yaml.SafeLoader.construct_yaml_int(loader, node)


def _mapping(loader: _PlainLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    names = [key.value for key, _ in node.value]
    for key, _ in node.value:
        if names.count(key.value) > 1:
            raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
    return loader.construct_mapping(node, deep=True)


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_PlainLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """
    Lines `name: value` of a file.

    Raises
    ------
    ParameterError
        If it is no YAML, or says something else than one would think; names file and line.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _PlainLoader) or {}  # a safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ParameterError(f"{path}, line {line}: {error.problem}; expected lines `name: value`") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParameterError(f"{path}: expected lines `name: value` in UTF-8: {error}") from error
    if not isinstance(values, dict):
        raise ParameterError(f"{path}: expected lines `name: value`, got {type(values).__name__}")
    return values
