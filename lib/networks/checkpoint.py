"""
Checkpoints: one safetensors file that carries weights, and how to build, feed and trust them.

The header's metadata holds, as JSON, all of `CheckpointInfo`. One file is whole or not there at all, and reading
it runs nobody's code.
"""

import contextlib
import hashlib
import json
import subprocess
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

from lib.errors import CheckpointError
from lib.networks.models import ModelConfig, build_model
from lib.paths import ROOT, write_whole

FORMAT = "pp-linknet-1"  # the only key of the metadata: with more, their order in the file would be random
PACKAGES = ("torch", "segmentation-models-pytorch", "lightning", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class CheckpointInfo:
    """
    What a checkpoint says of itself.

    Attributes
    ----------
    model
        How to build the network.
    task
        What a foreground pixel is: "roads" or "buildings".
    mean, std
        Of each band of the training images, pixel values scaled to 0..1; the network is fed (x - mean) / std.
    threshold
        Probability above which a pixel is foreground: the best one on the validation chips.
    gsd_m
        Ground sampling distance of the training images, metres; None where it is unknown or mixed.
    training
        Parameters of the training.
    provenance
        Where it comes from: revision, package versions, data, first weights, best epoch and its scores.
    """

    model: ModelConfig
    task: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    threshold: float = 0.5
    gsd_m: float | None = None
    training: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedModel:
    """A network in evaluation mode with what its checkpoint says, ready for `lib.mapping.predict`."""

    network: nn.Module
    info: CheckpointInfo
    digest: str  # SHA-256 of the file, "" for a network that was never saved


def save_checkpoint(path: Path, network: nn.Module, info: CheckpointInfo) -> Path:
    """
    Write weights and `info` to one file, whole or not at all.

    The same weights and info give the same bytes: a digest identifies a result.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    header = json.dumps(asdict(info), sort_keys=True)
    return write_whole(Path(path), save(tensors, metadata={FORMAT: header}))


def read_info(path: Path) -> CheckpointInfo:
    """
    What a checkpoint says of itself, without reading its weights.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or of another project.
    """
    header = _header(Path(path))
    if FORMAT not in header:
        raise CheckpointError(
            f"{path} is not a checkpoint of this project: expected {FORMAT!r} in its header, got {sorted(header)}."
        )
    values, known = json.loads(header[FORMAT]), {item.name for item in fields(CheckpointInfo)}
    try:
        values |= {"model": ModelConfig(**values["model"]), "mean": tuple(values["mean"]), "std": tuple(values["std"])}
        return CheckpointInfo(**{name: value for name, value in values.items() if name in known})
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"The header of {path} does not describe a network: {error}.") from error


def _header(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise CheckpointError(f"No checkpoint at {path}: train one first, or correct the path.")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}); copy or train it again.") from error


def load_model(path: Path, device: str | torch.device = "cpu", task: str | None = None) -> TrainedModel:
    """
    Network of a checkpoint, ready to predict.

    Parameters
    ----------
    path
        File written by `save_checkpoint`.
    device
        Where the network shall live.
    task
        If given, the task that the checkpoint must be for.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, of another project or of another task.
    """
    path = Path(path)
    info = read_info(path)
    if task is not None and info.task != task:
        raise CheckpointError(f"{path} finds {info.task}, {task} were asked for: give a checkpoint of that task.")
    return trained_model(info, path, device)


def trained_model(info: CheckpointInfo, weights: Path, device: str | torch.device = "cpu") -> TrainedModel:
    """Network that `info` describes, with the weights of a safetensors file; raises CheckpointError as `load_model`."""
    network = build_model(replace(info.model, encoder_weights=None))
    _load_state(network, weights)
    return TrainedModel(network.to(device).eval(), info, file_digest(weights))


def load_weights(network: nn.Module, path: Path, model: ModelConfig, task: str) -> CheckpointInfo:
    """
    Copy the weights of a checkpoint into a network, so that training goes on from them.

    Parameters
    ----------
    network
        Built from `model`; changed in place.
    path
        Checkpoint to start from.
    model, task
        What is going to be trained; the checkpoint must agree with both.

    Returns
    -------
    info
        Of the checkpoint.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, or its architecture, encoder, context, bands, classes or task
        differ.
    """
    info = read_info(path)
    wanted, present = ({**asdict(config), "encoder_weights": None} for config in (model, info.model))
    differing = {name: (present[name], wanted[name]) for name in wanted if present[name] != wanted[name]}
    if info.task != task:
        differing["task"] = (info.task, task)
    if differing:
        listed = ", ".join(f"{name} is {old!r}, expected {new!r}" for name, (old, new) in differing.items())
        raise CheckpointError(f"{path} does not fit what is to be trained: {listed}. Change one or the other.")
    _load_state(network, path)
    return info


def is_checkpoint(path: Path) -> bool:
    """Whether a safetensors file is one that `save_checkpoint` wrote. Raises CheckpointError where it is damaged."""
    return FORMAT in _header(Path(path))


def _load_state(network: nn.Module, path: Path) -> None:
    """Copy the weights of a safetensors file into the network. Raises CheckpointError where they do not fit."""
    try:
        network.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise CheckpointError(f"The weights of {path} do not fit what it says of itself: {str(error)[:300]}") from error


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def provenance(**facts: Any) -> dict[str, Any]:
    """Given facts beside the revision of this code ("" outside git) and the versions of the packages used."""
    versions = {}
    for name in sorted(PACKAGES):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {"revision": _git_revision(), "packages": versions, **facts}


def _git_revision() -> str:
    """Commit of this checkout, with "+" where files differ from it; "" outside git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
