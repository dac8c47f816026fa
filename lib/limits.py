"""
What a setting may be: its range or its names, stated once, beside its default in a dataclass.

    @dataclass(frozen=True)
    class Options:
        share: float = limited(0.5, minimum=0, below=1)
        kind: str = limited("a", choices=("a", "b"))

        def __post_init__(self) -> None:
            check_fields(self)

Types are those of the annotations. Nothing here imports more than the standard library, so that settings can be checked
before anything heavy is.
"""

import difflib
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from numbers import Integral, Real
from typing import Any, TypeVar

from lib.errors import ParameterError

CLASSES = ("roads", "buildings")  # what pixels can be; in this order in masks, a network's outputs, and files
TASKS = (*CLASSES, "+".join(CLASSES))  # what a network finds: one text, as a command line and a file have it
BACKENDS = ("auto", "torch", "onnxruntime", "openvino")  # what computes a network on a CPU
VIEWS = ("d4", "none")  # what a prediction averages: eight views, or one
REACH_M = 100.0  # vectors are read so far around an image: half of the widest road, and an offset to be mended
LARGEST_SEED = 2**32 - 1  # NumPy's legacy generators, which pandas draws by, take no larger one

Settings = TypeVar("Settings")


def classes_of(task: str) -> tuple[str, ...]:
    """The classes of one of TASKS."""
    return tuple(task.split("+"))


@dataclass(frozen=True)
class Limits:
    """
    Range or names of one setting; of a list or mapping, of each of its values.

    Attributes
    ----------
    minimum, above, maximum, below
        Ends of the range, in it or not. A number is finite, unless `maximum` is infinite.
    multiple_of
        Of a whole number.
    choices
        The names that there are.
    key_choices
        The names that a mapping may use.
    pattern, form
        Regular expression of a whole text, and what it asks for, in words; beside `choices`, texts that are fine, too.
    """

    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None
    multiple_of: int | None = None
    choices: Collection[str] | None = None
    key_choices: Collection[str] | None = None
    pattern: str | None = None
    form: str = ""

    def __str__(self) -> str:
        if self.choices is not None or self.pattern is not None:
            names = [f"one of {', '.join(map(repr, self.choices))}"] if self.choices is not None else []
            return " or ".join(names + [self.form] * (self.pattern is not None))
        if self.minimum is not None and self.maximum is not None:
            said = [f"{self.minimum:g} to {self.maximum:g}"]
        else:
            words = {
                "at least": self.minimum,
                "more than": self.above,
                "at most": self.maximum,
                "less than": self.below,
            }
            said = [f"{word} {end:g}" for word, end in words.items() if end is not None]
        said += [f"a multiple of {self.multiple_of}"] if self.multiple_of else []
        return " and ".join(said)

    def allow(self, value: Any) -> bool:
        """Whether a value, of the right type, is among the names or in the range."""
        if isinstance(value, str):
            named, formed = self.choices is not None, self.pattern is not None
            by_form = formed and re.fullmatch(self.pattern, value) is not None
            return by_form or (value in self.choices if named else not formed)
        if isinstance(value, bool) or not isinstance(value, Real):
            return True
        # comparisons with NaN are false, whichever way they ask
        return (
            (math.isfinite(value) or value == self.maximum)
            and (self.minimum is None or value >= self.minimum)
            and (self.above is None or value > self.above)
            and (self.maximum is None or value <= self.maximum)
            and (self.below is None or value < self.below)
            and (self.multiple_of is None or value % self.multiple_of == 0)
        )


NO_LIMITS = Limits()  # but of numbers, to be finite


def limited(default: Any = MISSING, *, default_factory: Callable[[], Any] | None = None, **limits: Any) -> Any:
    """Field of a dataclass with its `Limits`."""
    if default_factory is not None:
        return field(default_factory=default_factory, metadata={"limits": Limits(**limits)})
    return field(default=default, metadata={"limits": Limits(**limits)})


def limits_of(settings: type) -> dict[str, Limits]:
    """Name -> limits of each field of a dataclass; NO_LIMITS where it states none."""
    return {item.name: item.metadata.get("limits", NO_LIMITS) for item in fields(settings)}


def check_fields(settings: Any) -> None:
    """
    Check all values of a dataclass against its annotations and limits.

    Raises
    ------
    ParameterError
        Names the field, says what was expected and what came, and gives the nearest known name.
    """
    hints = typing.get_type_hints(type(settings))
    for name, limits in limits_of(type(settings)).items():
        check_value(name, getattr(settings, name), hints[name], limits)


def check_value(name: str, value: Any, hint: Any = Any, limits: Limits = NO_LIMITS) -> None:
    """Check one value as `check_fields` does; `hint` is its annotation, `name` what a message calls it."""
    options = [option for option in _options(hint) if _is_a(value, option)]
    if not options:
        yaml = " (YAML reads 1e-4 as text: write 1.0e-4)" if isinstance(value, str) and _is_a(1.0, hint) else ""
        raise ParameterError(
            f"{name!r} is a {_in_words(hint)}, but {value!r:.200} of type {type(value).__name__} came{yaml}"
        )
    inner = typing.get_args(options[0]) or (Any,)
    if isinstance(value, Mapping):
        for key, item in value.items():
            if limits.key_choices is not None and key not in limits.key_choices:
                raise ParameterError(f"{name} has {unknown('name', key, limits.key_choices)}")
            check_value(f"{name}[{key!r}]", item, inner[-1], limits)
    elif isinstance(value, list | tuple):
        for item in value:
            check_value(name, item, inner[0], limits)
    elif value is not None and not limits.allow(value):
        near = f"; the nearest is {nearest(value, limits.choices)!r}" if limits.choices else ""
        raise ParameterError(f"{name} is {value!r}: expected {str(limits) or 'a finite number'}{near}.")


def settings_from(kind: type[Settings], values: Any, owner: str) -> Settings:
    """
    A dataclass from a mapping of its fields' names, such as a YAML file holds; whole numbers become floats where asked.

    Raises
    ------
    ParameterError
        Names `owner`, and what is wrong: no mapping, an unknown name (with the nearest), a name that is missing, a type
        or a range.
    """
    if not isinstance(values, Mapping):
        raise ParameterError(f"{owner}: expected `name: value`, got {values!r} of type {type(values).__name__}")
    hints = typing.get_type_hints(kind)
    check_names(owner, values, hints)
    needed = [i.name for i in fields(kind) if i.default is MISSING and i.default_factory is MISSING]
    if missing := [name for name in needed if name not in values]:
        raise ParameterError(f"{owner} needs {', '.join(map(repr, missing))}, got {dict(values)}")
    try:
        return kind(**{name: as_float(value) if hints[name] is float else value for name, value in values.items()})
    except ParameterError as error:
        raise ParameterError(f"{owner}: {error}") from error


def as_float(value: Any) -> Any:
    """A whole number as a float; anything else as it is."""
    return float(value) if type(value) is int else value


def check_names(owner: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise ParameterError for a name that `owner` doesn't know."""
    known = list(known)
    for name in names:
        if name not in known:
            raise ParameterError(f"{owner} has {unknown('parameter', name, known)}")


def unknown(what: str, name: Any, known: Iterable[str]) -> str:
    """Says that there is no such name, which is the nearest, and which there are."""
    known = sorted(known)
    return f"no {what} {name!r}; the nearest known one is {nearest(name, known)!r}, all are {known}"


def nearest(name: Any, known: Iterable[str]) -> str:
    """The known name that looks most like `name`."""
    return difflib.get_close_matches(str(name), list(known), n=1, cutoff=0)[0]


def _options(hint: Any) -> tuple[Any, ...]:
    """The types that an annotation allows."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _is_a(value: Any, hint: Any) -> bool:
    """Whether a value has the type of an annotation, whatever it holds; 3 is a float, True is no number."""
    if hint is Any:
        return True
    kind = typing.get_origin(hint) or hint
    if issubclass(kind, Sequence) and kind is not str:
        return isinstance(value, list | tuple)  # a text is no list of letters
    return isinstance(value, {float: Real, int: Integral}.get(kind, kind)) and (
        kind is bool or not isinstance(value, bool)
    )


def _in_words(hint: Any) -> str:
    """What an annotation asks for: "float or Mapping"."""
    return " or ".join((typing.get_origin(option) or option).__name__ for option in _options(hint))
