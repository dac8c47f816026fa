"""
What the JSON of a checkpoint or of a hub's config may say, field by field.

Anybody may have written it, so that nothing is built, read or fetched by a value that is not checked here first.
"""

import json
from collections.abc import Callable
from typing import Any

from lib.errors import CheckpointError, ParameterError
from lib.limits import TASKS, classes_of, limits_of
from lib.networks.config import ARCHITECTURE_NAMES, CONTEXT_STRIDE, ModelConfig

Fields = dict[str, tuple[str, Callable[[Any], bool]]]  # name -> what it has to be, in words and as a test


def _number(value: Any, least: float, most: float) -> bool:
    """Whether a value is a number of that range; true and NaN are none."""
    return type(value) in (int, float) and least <= value <= most


def _bands(value: Any, least: float, most: float) -> bool:
    return isinstance(value, list) and bool(value) and all(_number(one, least, most) for one in value)


def _provenance(value: Any) -> bool:
    seen = value.get("seen", {}) if isinstance(value, dict) else None
    return isinstance(seen, dict) and all(
        isinstance(one, list) and all(isinstance(text, str) for text in one) for one in seen.values()
    )


def _is_encoder(value: Any) -> bool:
    from lib.networks.encoders import (
        is_encoder,  # with all of smp and timm: seconds that only reading such a file takes
    )

    return isinstance(value, str) and is_encoder(value)


def _whole_number(name: str) -> tuple[str, Callable[[Any], bool]]:
    """A whole number in the range that ModelConfig states for its field."""
    limits = limits_of(ModelConfig)[name]
    return f"a whole number from {limits.minimum} to {limits.maximum}", lambda v: type(v) is int and limits.allow(v)


MODEL_FIELDS: Fields = {
    "architecture": (f"one of {list(ARCHITECTURE_NAMES)}", lambda v: v in ARCHITECTURE_NAMES),
    "encoder_name": ('an encoder of smp, or of timm as "tu-<name>"', _is_encoder),
    "encoder_weights": ("text or null", lambda v: v is None or isinstance(v, str)),
    "context": (f"one of {list(CONTEXT_STRIDE)}", lambda v: isinstance(v, str) and v in CONTEXT_STRIDE),
    "in_channels": _whole_number("in_channels"),
    "classes": _whole_number("classes"),
}
INFO_FIELDS: Fields = {
    "model": ("an object", lambda v: isinstance(v, dict)),
    "task": (f"one of {list(TASKS)}", lambda v: v in TASKS),
    "mean": ("a list of numbers from 0 to 1, one a band", lambda v: _bands(v, 0, 1)),
    "std": ("a list of numbers from 0.0001 to 1, one a band", lambda v: _bands(v, 1e-4, 1)),
    "threshold": ("a number from 0 to 1, or a list of one a class", lambda v: _number(v, 0, 1) or _bands(v, 0, 1)),
    "gsd_m": ("metres from 0.001 to 10000, or null", lambda v: v is None or _number(v, 1e-3, 1e4)),
    "training": ("an object", lambda v: isinstance(v, dict)),
    "provenance": ("an object in which `seen` holds lists of text", _provenance),
}


def check_classes(task: str, model: ModelConfig, owner: str) -> None:
    """Raise CheckpointError unless a network has an output for each class of its task."""
    classes = len(classes_of(task))
    if model.classes != classes:
        wanted = "one class" if classes == 1 else f"{classes} classes"
        raise CheckpointError(
            f"{owner} takes {model.in_channels} bands and gives {model.classes} classes; maps of {task} are made by a "
            f"network of {wanted}. Train one with classes={classes}, predict with smp itself, or save the network "
            "again with the outputs that are wanted in its last layer."
        )


def parsed(text: str, owner: str) -> Any:
    """Values of a JSON text. Raises CheckpointError, with `owner` before what is wrong, where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{owner} is not JSON ({str(error)[:100]}): copy or write it again.") from error


def checked(values: Any, known: Fields, needed: set[str], owner: str) -> dict[str, Any]:
    """
    Those of the values that `known` names, all of them what they have to be.

    Raises
    ------
    CheckpointError
        If the values are no object, lack one of `needed`, or one is not what it has to be; names `owner` and field.
    """
    if not isinstance(values, dict):
        raise CheckpointError(f"{owner} is {values!r:.100}, expected an object of {sorted(known)}.")
    if lacking := sorted(needed - values.keys()):
        raise CheckpointError(f"{owner} does not describe a network, it lacks {lacking}: copy or write it again.")
    for name, (expected, right) in known.items():
        if name in values and not right(values[name]):
            raise CheckpointError(f"{owner}: {name} is {values[name]!r:.100}, expected {expected}.")
    return {name: value for name, value in values.items() if name in known}


def model_config(values: dict[str, Any], owner: str) -> ModelConfig:
    """What builds a network, from values that are `checked`; raises CheckpointError where they do not go together."""
    try:
        return ModelConfig(**values)
    except ParameterError as error:
        raise CheckpointError(f"{owner}: {error}") from error
