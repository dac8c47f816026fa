"""
Checkpoints in the Hugging Face hub's format: a folder, or a name on the hub, of config.json and model.safetensors.

`from_pretrained` reads what `save_pretrained` wrote here, and what any model of segmentation-models-pytorch (smp) wrote
with its own. Only safetensors are read: a stranger's pickle is never opened. To publish a folder:
`hf upload <user>/<name> <folder>`. Networks that ship with this project (`lib.networks.published`) are read from there.

huggingface_hub's mixin, which smp's models inherit, is not used: it opens pickles where there are no safetensors, and
its files say nothing of task, threshold and normalisation.
"""

import inspect
import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors.torch import save

from lib.errors import CheckpointError, DownloadError, InputError, ParameterError, reading
from lib.limits import classes_of
from lib.networks.checkpoint import CheckpointInfo, TrainedModel, is_checkpoint, load_model, read_info, trained_model
from lib.networks.encoders import encoder_statistics
from lib.networks.fields import MODEL_FIELDS, TASKS, checked, model_config, parsed
from lib.networks.models import ARCHITECTURES, ModelConfig
from lib.networks.published import WEIGHTS, published, weights_of
from lib.networks.tensors import read_header, read_tensors
from lib.paths import write_whole

CONFIG = "config.json"
LARGEST_CONFIG = 2**20  # bytes
OLD_OPTIONS = {"decoder_use_batchnorm": True}  # what smp's default was called before


def from_pretrained(name: str | Path, task: str = "roads", device: str | torch.device = "cpu") -> TrainedModel:
    """
    Network ready to predict, in one line: `from_pretrained("massachusetts-roads")`.

    Parameters
    ----------
    name
        One of `lib.networks.published.published()`, whatever the working directory; a folder that holds config.json and
        model.safetensors; or a name on the hub, "user/name": such a one is downloaded once into the cache of
        huggingface_hub, whose variables (HF_ENDPOINT, HF_HOME, HF_TOKEN) hold. Weights of half precision are float32 in
        memory.
    task
        What the network finds. A checkpoint of this project must say the same, or find it among others; one of smp says
        nothing, is taken at its word, and is fed with the mean and deviation that its encoder was pretrained with.
    device
        Where the network shall live.

    Raises
    ------
    CheckpointError
        If there is no such model, it has other weights than safetensors, they do not fit its config, or a field of the
        config is not what it has to be; also where it gives other classes than the task's.
    ParameterError
        If the task is unknown.
    DownloadError
        If the hub can't be reached.
    """
    if task not in TASKS:
        raise ParameterError(f"task is {task!r}: expected one of {TASKS}.")
    weights = _file(name, WEIGHTS)
    if is_checkpoint(weights):
        return load_model(weights, device, task)
    path = _file(name, CONFIG)
    config = parsed(_read_text(path), str(path))
    model = _model_config(config, str(path))
    statistics = encoder_statistics(model.encoder_name, config.get("encoder_weights"), model.in_channels)
    classes = len(classes_of(task))
    halves = 0.5 if classes == 1 else (0.5,) * classes
    info = CheckpointInfo(model, task, *statistics, halves, provenance={"pretrained": str(name)})
    return trained_model(info, weights, device)


def _read_text(path: Path) -> str:
    """Text of a config, no larger than one can be."""
    if path.stat().st_size > LARGEST_CONFIG:
        raise CheckpointError(f"{path} has {path.stat().st_size} bytes: expected a config of at most {LARGEST_CONFIG}.")
    try:
        with reading(path, "a config of JSON in UTF-8"):
            return path.read_text("utf-8")
    except InputError as error:
        raise CheckpointError(str(error)) from error


def save_pretrained(checkpoint: Path, folder: Path, half: bool = False) -> Path:
    """
    Folder in the hub's format: the checkpoint itself under the hub's name, and a config.json that smp understands.

    Parameters
    ----------
    checkpoint
        File written by `save_checkpoint`.
    folder
        Made if it isn't there.
    half
        Store weights of convolutions in half precision, for half the size. What is small and spans many powers of ten
        stays as it is: biases, and the scales and statistics of norms.

    Raises
    ------
    CheckpointError
        If the checkpoint is missing, damaged, or of another project, or a weight is too large for half precision.
    """
    model, folder = read_info(checkpoint).model, Path(folder)
    kind = ARCHITECTURES[model.architecture]
    values = {name: value for name, value in vars(model).items() if name in inspect.signature(kind).parameters}
    config = {**values, "encoder_weights": None, "_model_class": kind.__name__}
    write_whole(folder / WEIGHTS, _halved(Path(checkpoint)) if half else Path(checkpoint).read_bytes())
    write_whole(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True))
    return folder


def _halved(checkpoint: Path) -> bytes:
    """The checkpoint with float16 for float32 where a tensor has more than one axis."""
    tensors = read_tensors(checkpoint)
    wide = [name for name, tensor in tensors.items() if tensor.ndim > 1 and tensor.dtype == torch.float32]
    halves = {name: tensors[name].half() for name in wide}
    if infinite := [name for name, tensor in halves.items() if not bool(torch.isfinite(tensor).all())]:
        raise CheckpointError(
            f"{checkpoint}: {infinite[:3]} hold weights beyond {torch.finfo(torch.float16).max:g}, the largest number "
            "of half precision: publish it in full."
        )
    return save(tensors | halves, metadata=read_header(checkpoint)[0])


def _file(name: str | Path, file: str) -> Path:
    """One file of a model: one that ships with this project, of a folder, or of the hub's cache, fetched first."""
    folder = weights_of(name).parent if str(name) in published() else Path(name)
    if folder.is_dir():
        if not (folder / file).is_file():
            held = sorted(path.name for path in folder.iterdir())[:8]
            raise CheckpointError(f"{folder} lacks {file}: expected it, as save_pretrained writes it; it holds {held}.")
        return folder / file
    try:
        return Path(hf_hub_download(str(name), file))
    except (EntryNotFoundError, HFValidationError, HfHubHTTPError, OSError) as error:
        unreachable = isinstance(error, LocalEntryNotFoundError)
        if isinstance(error, EntryNotFoundError | HFValidationError) and not unreachable:
            raise CheckpointError(
                f"{name} is neither a folder here nor a model on the hub with {file}: give a folder, or user/name."
            ) from error
        raise DownloadError(
            f"{name} is no folder here, and the hub did not give it ({type(error).__name__}: {str(error)[:200]}). "
            "Correct the name, or fetch the folder elsewhere and give its path."
        ) from error


def _model_config(config: Any, owner: str) -> ModelConfig:
    """What builds the network that smp's config.json describes; refuses options that a ModelConfig can't state."""
    kinds = {one.__name__: name for name, one in reversed(ARCHITECTURES.items())}  # the first name of each
    known = {"_model_class": (f"one of {sorted(kinds)}", lambda v: isinstance(v, str) and v in kinds)}
    architecture = kinds[checked(config, known, {"_model_class"}, owner)["_model_class"]]
    options = inspect.signature(ARCHITECTURES[architecture]).parameters
    # as JSON gives them back: tuples are lists there
    defaults = {key: list(p.default) if isinstance(p.default, tuple) else p.default for key, p in options.items()}
    stated = {"encoder_name": "resnet34", "in_channels": 3, "classes": 1, "context": "32"}
    fixed = (defaults | OLD_OPTIONS).items()
    free = {*stated, "encoder_weights"}
    plain = {key: value for key, value in config.items() if not key.startswith("_") and key not in free}
    other = {key: value for key, value in plain.items() if (key, value) not in fixed}
    if other:
        raise CheckpointError(f"{owner} sets {str(other)[:200]}, which a ModelConfig can't state: load it with smp.")
    values = {key: (defaults | config).get(key, value) for key, value in stated.items()}
    return model_config({"architecture": architecture, **checked(values, MODEL_FIELDS, set(), owner)}, owner)
