"""
Checkpoints in the Hugging Face hub's format: a folder, or a name on the hub, of config.json and model.safetensors.

`from_pretrained` reads what `save_pretrained` wrote here, and what any model of segmentation-models-pytorch (smp) wrote
with its own. Only safetensors are read: a stranger's pickle is never opened. To publish a folder:
`hf upload <user>/<name> <folder>`.
"""

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from lib.errors import CheckpointError, DownloadError
from lib.networks.checkpoint import (
    CheckpointInfo,
    TrainedModel,
    file_digest,
    is_checkpoint,
    load_model,
    load_state,
    read_info,
)
from lib.networks.encoders import IMAGENET
from lib.networks.models import OWN_ARCHITECTURES, ModelConfig, build_model
from lib.paths import whole_file, write_whole

WEIGHTS, CONFIG = "model.safetensors", "config.json"


def from_pretrained(name: str | Path, task: str = "roads", device: str | torch.device = "cpu") -> TrainedModel:
    """
    Network ready to predict, in one line: `from_pretrained("user/name")`.

    Parameters
    ----------
    name
        Folder that holds config.json and model.safetensors, or a name on the hub; such a one is downloaded once into
        the cache of huggingface_hub, whose variables (HF_ENDPOINT, HF_HOME, HF_TOKEN) hold.
    task
        What the network finds. A checkpoint of this project must say the same; one of smp says nothing, is taken at its
        word, and is fed with ImageNet's mean and deviation unless its encoder states its own.
    device
        Where the network shall live.

    Raises
    ------
    CheckpointError
        If there is no such model, it has other weights than safetensors, or they do not fit its config.
    DownloadError
        If the hub can't be reached.
    """
    weights = _file(name, WEIGHTS)
    if is_checkpoint(weights):
        return load_model(weights, device, task)
    model = _model_config(json.loads(_file(name, CONFIG).read_text()), name)
    network = build_model(model)
    load_state(network, weights)
    mean, std = _statistics(model.encoder_name)
    info = CheckpointInfo(model, task, mean, std, provenance={"pretrained": str(name)})
    return TrainedModel(network.to(device).eval(), info, file_digest(weights))


def save_pretrained(checkpoint: Path, folder: Path) -> Path:
    """
    Folder in the hub's format: the checkpoint itself under the hub's name, and a config.json that smp understands.

    Raises
    ------
    CheckpointError
        If the checkpoint is missing, damaged, or of another project.
    """
    info, folder = read_info(checkpoint), Path(folder)
    own = OWN_ARCHITECTURES.get(info.model.architecture)
    kind = own or smp.MODEL_ARCHITECTURES_MAPPING[info.model.architecture]
    values = {name: value for name, value in vars(info.model).items() if name in inspect.signature(kind).parameters}
    config = {**values, "encoder_weights": None, "_model_class": kind.__name__}
    with whole_file(folder / WEIGHTS) as temporary:
        shutil.copyfile(checkpoint, temporary)
    write_whole(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True))
    return folder


def _file(name: str | Path, file: str) -> Path:
    """One file of a model: from its folder, or from the hub's cache, where it is fetched to first."""
    folder = Path(name)
    if folder.is_dir():
        if not (folder / file).is_file():
            held = sorted(path.name for path in folder.iterdir())[:8]
            raise CheckpointError(f"{folder} lacks {file}: expected it, as save_pretrained writes it; it holds {held}.")
        return folder / file
    try:
        return Path(hf_hub_download(str(name), file))
    except (EntryNotFoundError, HFValidationError, HfHubHTTPError, OSError) as error:
        answered = isinstance(error, EntryNotFoundError | HFValidationError)
        if answered and not isinstance(error, LocalEntryNotFoundError):
            raise CheckpointError(
                f"{name} is neither a folder here nor a model on the hub with {file}: give a folder, or user/name."
            ) from error
        raise DownloadError(
            f"{name} is no folder here, and the hub did not give it ({type(error).__name__}: {str(error)[:200]}). "
            "Correct the name, or fetch the folder elsewhere and give its path."
        ) from error


def _model_config(config: dict[str, Any], name: str | Path) -> ModelConfig:
    """What builds the network that smp's config.json describes; refuses options that a ModelConfig can't state."""
    kinds = {**OWN_ARCHITECTURES, **smp.MODEL_ARCHITECTURES_MAPPING}
    kind = config.get("_model_class")
    architecture = next((known for known, one in kinds.items() if one.__name__ == kind), None)
    if architecture is None:
        raise CheckpointError(
            f"The config of {name} is of {kind!r}: expected one of {sorted({k.__name__ for k in kinds.values()})}."
        )
    defaults = {p.name: p.default for p in inspect.signature(kinds[architecture]).parameters.values()}
    stated = {"encoder_name": "resnet34", "in_channels": 3, "classes": 1, "context": "32"}
    values = {key: config.get(key, defaults.get(key, value)) for key, value in stated.items()}
    other = {
        key: value
        for key, value in config.items()
        if key in defaults and key not in (*stated, "encoder_weights") and value != _plain(defaults[key])
    }
    if other:
        raise CheckpointError(f"The config of {name} sets {other}, which a ModelConfig can't state: load it with smp.")
    return ModelConfig(architecture, **values)


def _plain(value: Any) -> Any:
    """Value as JSON gives it back: tuples are lists there."""
    return list(value) if isinstance(value, tuple) else value


def _statistics(encoder_name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation that an encoder was trained with, ImageNet's where smp knows of none."""
    settings = smp.encoders.encoders.get(encoder_name, {}).get("pretrained_settings", {}).get("imagenet", {})
    mean, std = settings.get("mean", IMAGENET[0]), settings.get("std", IMAGENET[1])
    return tuple(mean), tuple(std)
