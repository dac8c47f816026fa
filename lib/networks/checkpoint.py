"""
Checkpoints: one safetensors file that carries weights, and how to build, feed and trust them.

The header's metadata holds, as JSON, all of `CheckpointInfo`. One file is whole or not there at all. Reading it runs
nobody's code and believes nothing: every field is checked, and then the tensors' shapes, before a network is built.
"""

import contextlib
import copy
import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from lib.errors import CheckpointError, InputError, ParameterError
from lib.limits import classes_of
from lib.networks.config import ModelConfig
from lib.networks.fields import INFO_FIELDS, MODEL_FIELDS, check_classes, checked, model_config, parsed
from lib.networks.skeleton import skeleton
from lib.networks.tensors import bare_names, read_header, read_tensors
from lib.paths import ROOT, write_whole

FORMAT = "pp-linknet-1"  # the only key of the metadata: with more, their order in the file would be random
PICKLES = (b"PK\x03\x04", b"\x80\x02\x8a\x0a")  # how a file of torch.save starts, and how one did before PyTorch 1.6
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
        What a foreground pixel is, one of `lib.limits.TASKS`: "roads", "buildings", or one output for each of them.
    mean, std
        Of each band of the training images, pixel values scaled to 0..1; the network is fed (x - mean) / std.
    threshold
        Probability above which a pixel is foreground: the best one on the validation chips; of several classes one for
        each.
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
    threshold: float | tuple[float, ...] = 0.5
    gsd_m: float | None = None
    training: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def thresholds(self) -> dict[str, float]:
        """Class -> its threshold, in the order of the network's outputs."""
        each = self.threshold if isinstance(self.threshold, tuple) else (self.threshold,)
        return dict(zip(classes_of(self.task), each, strict=True))


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
        If the file is missing, damaged, or of another project, or a field of its header is not what it has to be.
    """
    header = _header(Path(path))[0]
    if FORMAT not in header:
        raise CheckpointError(
            f"{path} is not a checkpoint of this project: expected {FORMAT!r} in its header, got {sorted(header)[:8]}."
        )
    owner = f"The header of {path}"
    values = checked(parsed(header[FORMAT], owner), INFO_FIELDS, {"model", "task", "mean", "std"}, owner)
    if unknown := sorted(values["model"].keys() - MODEL_FIELDS.keys()):
        raise CheckpointError(f"{owner}: model has {unknown[:5]}, which is not known here: update this project.")
    stated = checked(values["model"], MODEL_FIELDS, {"architecture", "encoder_name"}, f"{owner}: model")
    model = model_config(stated, f"{owner}: model")
    for name in ("mean", "std"):
        if len(values[name]) != model.in_channels:
            raise CheckpointError(
                f"{owner}: {name} has {len(values[name])} numbers, expected one for each of {model.in_channels} bands."
            )
    threshold = values.get("threshold", 0.5)
    classes = len(classes_of(values["task"]))
    if isinstance(threshold, list) != (classes > 1) or (classes > 1 and len(threshold) != classes):
        raise CheckpointError(f"{owner}: threshold is {threshold}, expected one for each class of {values['task']}.")
    threshold = tuple(threshold) if isinstance(threshold, list) else threshold
    lists = {"mean": tuple(values["mean"]), "std": tuple(values["std"]), "threshold": threshold}
    return CheckpointInfo(**values | {"model": model} | lists)


@contextlib.contextmanager
def _of_a_checkpoint() -> Iterator[None]:
    """What is wrong with a file is wrong with a checkpoint here."""
    try:
        yield
    except InputError as error:
        raise CheckpointError(f"{error}: copy or train it again.") from error


def _header(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    if not path.is_file():
        raise CheckpointError(f"No checkpoint at {path}: train one first, or correct the path.")
    with path.open("rb") as file:
        if file.read(len(PICKLES[0])) in PICKLES:
            raise CheckpointError(
                f"{path} is a file of torch.save, a pickle, and those are not opened here. Where it holds weights of"
                f" the paper's release, of D-LinkNet or of smp, `python -m lib.networks.convert {path} OUT.safetensors`"
                " makes a checkpoint of it."
            )
    with _of_a_checkpoint():
        return read_header(path)


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
        If given, the task that the checkpoint must be for; of a network of several classes also one of them, which is
        then all that it gives.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, of another project or of another task, or its network gives other classes than
        those of its task.
    """
    path = Path(path)
    info = read_info(path)
    if task is not None and task != info.task and task not in classes_of(info.task):
        raise CheckpointError(f"{path} finds {info.task}, {task} were asked for: give a checkpoint of that task.")
    model = trained_model(info, path, device)
    return model if task is None else for_class(model, task)


def trained_model(info: CheckpointInfo, weights: Path, device: str | torch.device = "cpu") -> TrainedModel:
    """Network that `info` describes, with the weights of a safetensors file; raises CheckpointError as `load_model`."""
    model = info.model
    check_classes(info.task, model, str(weights))
    state = _fitting_state(weights, model)
    from lib.networks.models import build_model  # see `lib.networks.skeleton`

    network = build_model(replace(model, encoder_weights=None))
    network.load_state_dict(state)
    return TrainedModel(network.to(device).eval(), info, file_digest(weights))


def for_class(model: TrainedModel, kind: str) -> TrainedModel:
    """
    A network of several classes as one of a single class, its weights being those of that output; or the model itself.

    Parameters
    ----------
    kind
        The model's task, or one of its classes.
    """
    info = model.info
    if info.task == kind:
        return model
    place = list(info.thresholds).index(kind)
    network = copy.deepcopy(model.network)
    name = [name for name, part in network.segmentation_head.named_modules() if isinstance(part, nn.Conv2d)][-1]
    last = network.segmentation_head.get_submodule(name)
    last.weight, last.bias = (
        nn.Parameter(part.detach()[place : place + 1].clone()) for part in (last.weight, last.bias)
    )
    last.out_channels = 1
    of_one = {"model": replace(info.model, classes=1), "task": kind, "threshold": info.thresholds[kind]}
    return TrainedModel(network, replace(info, **of_one), model.digest and f"{model.digest}:{kind}")


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
    network.load_state_dict(_fitting_state(path, info.model))
    return info


def is_checkpoint(path: Path) -> bool:
    """Whether a safetensors file is one that `save_checkpoint` wrote. Raises CheckpointError where it is damaged."""
    return FORMAT in _header(Path(path))[0]


def _fitting_state(path: Path, model: ModelConfig) -> dict[str, Tensor]:
    """
    Tensors of a safetensors file under the names of a network, which is not built for it.

    Raises CheckpointError where the model can't be built, or its tensors are others by name or shape.
    """
    names = bare_names(shapes := _header(path)[1])
    try:
        with torch.device("meta"):
            skeleton(model).load_state_dict({bare: torch.empty(shapes[name]) for name, bare in names.items()})
    except (ParameterError, RuntimeError) as error:
        said = " ".join(str(error).split())[:300]
        raise CheckpointError(f"The weights of {path} do not fit what it says of itself: {said}") from error
    with _of_a_checkpoint():
        tensors = read_tensors(path)
    return {bare: tensors[name] for name, bare in names.items()}


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
