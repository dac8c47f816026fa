"""
Tensors of safetensors files, which come from anybody: whole or refused, under the names that a network has for them.

The header states names and shapes, so that they can be compared with a network before any tensor takes memory.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from lib.errors import InputError, reading

WRAPPERS = ("module.", "model.")  # DataParallel and torch's averaged models; Lightning's modules
COMPILED = "_orig_mod."  # torch.compile, before the name of whatever was compiled
EXPECTED = "a whole safetensors file"


def read_header(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Metadata of a file, and the shape of each tensor by name. Raises InputError where it is missing or damaged."""
    with reading(path, EXPECTED), safe_open(path, framework="pt") as file:
        return file.metadata() or {}, {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a file by name. Raises InputError where it is missing or damaged, or a value is no finite number."""
    with reading(path, EXPECTED):
        tensors = load_file(path)
    finite(tensors, path)
    return tensors


def finite(tensors: dict[str, Tensor], path: Path) -> None:
    """Raise InputError, which names the file, where a value is no finite number."""
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor.float()).all())]
    if broken:
        raise InputError(
            f"{path}: {broken[:3]} hold values that are no finite numbers (a training that diverged, or a damaged file)"
        )


def bare_names(names: Iterable[str]) -> dict[str, str]:
    """Name -> the same without what wrappers of a network put before it; a wrapper's own counter is left out."""
    bare = {name: name.replace(COMPILED, "") for name in names if name != "n_averaged"}
    while prefix := next((p for p in WRAPPERS if bare and all(name.startswith(p) for name in bare.values())), None):
        bare = {name: short.removeprefix(prefix) for name, short in bare.items()}
    return bare
