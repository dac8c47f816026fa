"""
Checkpoints in the Hugging Face hub's format: a folder, or a name on the hub, of config.json and model.safetensors.

`from_pretrained` reads what `save_pretrained` wrote here, and what any model of segmentation-models-pytorch (smp) wrote
with its own. Only safetensors are read: a stranger's pickle is never opened. To publish a folder:
`hf upload <user>/<name> <folder>`.

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

from lib.errors import CheckpointError, DownloadError
from lib.networks.checkpoint import CheckpointInfo, TrainedModel, is_checkpoint, load_model, read_info, trained_model
from lib.networks.encoders import IMAGENET
from lib.networks.models import ARCHITECTURES, ModelConfig
from lib.paths import write_whole

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
        word, and is fed with ImageNet's mean and deviation.
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
    return trained_model(CheckpointInfo(model, task, *IMAGENET, provenance={"pretrained": str(name)}), weights, device)


def save_pretrained(checkpoint: Path, folder: Path) -> Path:
    """
    Folder in the hub's format: the checkpoint itself under the hub's name, and a config.json that smp understands.

    Raises
    ------
    CheckpointError
        If the checkpoint is missing, damaged, or of another project.
    """
    model, folder = read_info(checkpoint).model, Path(folder)
    kind = ARCHITECTURES[model.architecture]
    values = {name: value for name, value in vars(model).items() if name in inspect.signature(kind).parameters}
    config = {**values, "encoder_weights": None, "_model_class": kind.__name__}
    write_whole(folder / WEIGHTS, Path(checkpoint).read_bytes())
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
        unreachable = isinstance(error, LocalEntryNotFoundError)
        if isinstance(error, EntryNotFoundError | HFValidationError) and not unreachable:
            raise CheckpointError(
                f"{name} is neither a folder here nor a model on the hub with {file}: give a folder, or user/name."
            ) from error
        raise DownloadError(
            f"{name} is no folder here, and the hub did not give it ({type(error).__name__}: {str(error)[:200]}). "
            "Correct the name, or fetch the folder elsewhere and give its path."
        ) from error


def _model_config(config: dict[str, Any], name: str | Path) -> ModelConfig:
    """What builds the network that smp's config.json describes; refuses options that a ModelConfig can't state."""
    kind = config.get("_model_class")
    architecture = next((known for known, one in ARCHITECTURES.items() if one.__name__ == kind), None)
    if architecture is None:
        known = sorted({one.__name__ for one in ARCHITECTURES.values()})
        raise CheckpointError(f"The config of {name} is of {kind!r}: expected one of {known}.")
    options = inspect.signature(ARCHITECTURES[architecture]).parameters
    # as JSON gives them back: tuples are lists there
    defaults = {key: list(p.default) if isinstance(p.default, tuple) else p.default for key, p in options.items()}
    stated = {"encoder_name": "resnet34", "in_channels": 3, "classes": 1, "context": "32"}
    fixed = defaults.keys() - {*stated, "encoder_weights"}
    other = {key: value for key, value in config.items() if key in fixed and value != defaults[key]}
    if other:
        raise CheckpointError(f"The config of {name} sets {other}, which a ModelConfig can't state: load it with smp.")
    return ModelConfig(architecture, **{key: (defaults | config).get(key, value) for key, value in stated.items()})
