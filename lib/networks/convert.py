"""
Weights that others trained, as a checkpoint of this project.

    python -m lib.networks.convert PPLinknet_psp64_phase1.th roads.safetensors --network DinkNet34_psp64
    python -m lib.networks.convert log01_dink34.th roads.safetensors --network DinkNet34
    python -m lib.networks.convert unet.pth buildings.safetensors --network unet --encoder resnet50 --task buildings

Read are the state dicts of the paper's release and of D-LinkNet, by the names of their classes, and those of
segmentation-models-pytorch (smp), by the names of its architectures. What torch.save wrote is a pickle: it is read with
`weights_only`, so that it can hold tensors and runs nothing.

In the release a network sees blue, green, red, and the pyramid joins its pooled maps before the map that they are of;
here it is red, green, blue, and the map comes first. Tensors that are mapped by name and shape alone fit, and find
something else.
"""

import argparse
import copy
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lib.errors import CheckpointError, InputError, reading, run
from lib.limits import TASKS, Limits, check_value
from lib.networks.checkpoint import CheckpointInfo, file_digest, provenance, save_checkpoint
from lib.networks.config import ARCHITECTURE_NAMES, OWN_NAMES, ModelConfig
from lib.networks.fields import check_classes
from lib.networks.skeleton import skeleton
from lib.networks.tensors import bare_names, finite, read_tensors

COUNTER = "num_batches_tracked"  # of a batch norm, which PyTorch writes since 0.4.1 and nothing here reads


# Mean and deviation that the release's scripts feed all networks with, red, green, blue, values scaled to 0..1
RELEASE_STATISTICS = (0.41451698, 0.39206991, 0.3262061), (0.14105087, 0.1211441, 0.11344261)


@dataclass(frozen=True)
class Release:
    """One class of the release: how to build its network here, and what it was fed, red, green, blue."""

    architecture: str
    context: str
    mean: tuple[float, ...] = RELEASE_STATISTICS[0]
    std: tuple[float, ...] = RELEASE_STATISTICS[1]
    threshold: float = 0.25  # of the mean of eight views


RELEASES = {
    "DinkNet34_psp": Release("pp_linknet", "32"),
    "DinkNet34_psp64": Release("pp_linknet", "64"),
    "DinkNet34_psp128": Release("pp_linknet", "128"),
    "DinkNet34_psp64_hdc": Release("pp_linknet", "64 hdc"),
    # D-LinkNet's: 3.2 x - 1.6
    "DinkNet34": Release("d_linknet", "32", (0.5, 0.5, 0.5), (0.3125, 0.3125, 0.3125), 0.5),
    # the same with the release's loss and statistics, and logits for an output
    "DinkNet34_logits": Release("d_linknet", "32", threshold=0.5),
}
SMP = tuple(name for name in ARCHITECTURE_NAMES if name not in OWN_NAMES)
NETWORKS = (*RELEASES, *SMP)
CONTEXTS = ("DinkNet34_psp", "DinkNet34_psp64", "DinkNet34_psp128")  # whose tensors have the same names and shapes

# name there, as a regular expression -> name here
_BLOCK = {"conv1": 0, "norm1": 1, "deconv2": 3, "norm2": 4, "conv3": 6, "norm3": 7}
_NAMES: list[tuple[str, Callable[[re.Match[str]], str]]] = [
    (r"first(conv|bn)\.", lambda m: f"encoder.{m[1]}1."),
    (r"encoder(\d)\.", lambda m: f"encoder.layer{m[1]}."),
    (r"(?:dblock|psp)\.stages\.(\d)\.1\.", lambda m: f"decoder.centre.levels.{m[1]}.1."),
    (r"(?:dblock|psp)\.bottleneck\.", lambda m: "decoder.centre.mix."),
    (r"dblock\.dilate(\d)\.", lambda m: f"decoder.centre.stages.{int(m[1]) - 1}."),
    (r"decoder(\d)\.(\w+?)\.", lambda m: f"decoder.blocks.{4 - int(m[1])}.{_BLOCK.get(m[2], m[2])}."),
    (r"final(?:de)?conv(\d)\.", lambda m: f"segmentation_head.{2 * int(m[1]) - 2}."),
]


def convert_weights(
    weights: Path, out: Path, network: str | None = None, task: str = "roads", encoder: str = "resnet34"
) -> CheckpointInfo:
    """
    Write the weights of a file as a checkpoint, whole or not at all.

    Parameters
    ----------
    weights
        State dict, written by torch.save or as safetensors; also one under the key "state_dict", as Lightning has it.
    out
        Checkpoint to write.
    network
        One of `NETWORKS`: the class in the release, or the architecture of smp. None takes the one class of the release
        that has such tensors, where it is one.
    task
        What the network finds; no file says so. Of several classes the outputs are taken in the order of its name.
    encoder
        Of an architecture of smp.

    Returns
    -------
    info
        Of the checkpoint. Its mean and deviation are those of the release's scripts, of D-LinkNet's, or of the encoder.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, holds more than tensors, or is of another network than stated; says which.
    ParameterError
        If a name is unknown.
    """
    from lib.networks.encoders import encoder_statistics

    check_value("network", network, str | None, Limits(choices=NETWORKS))
    check_value("task", task, str, Limits(choices=TASKS))
    state = read_state(weights)
    name = network or _recognised(state, weights)
    if name in RELEASES:
        release = RELEASES[name]
        model = ModelConfig(release.architecture, "resnet34", context=release.context)
        _check_class(state, name, network, weights)
        state, statistics, threshold = released(state), (release.mean, release.std), release.threshold
    else:
        classes = state["segmentation_head.0.bias"].shape[0] if "segmentation_head.0.bias" in state else 1
        bands = next((t.shape[1] for key, t in state.items() if key.startswith("encoder.") and t.ndim == 4), 3)
        model = ModelConfig(name, encoder, context="32", in_channels=bands, classes=classes)
        statistics, threshold = encoder_statistics(encoder, bands=bands), 0.5 if classes == 1 else (0.5,) * classes
    check_classes(task, model, str(weights))
    built = _filled(model, state, name, weights)
    source = {"file": Path(weights).name, "sha256": file_digest(weights), "network": name}
    info = CheckpointInfo(model, task, *statistics, threshold, provenance=provenance(converted=source))
    save_checkpoint(out, built, info)
    return info


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a file by their bare names. Raises CheckpointError where it is missing, damaged, or holds others."""
    from lib.networks.encoders import SUFFIX

    path = Path(path)
    try:
        if path.suffix == SUFFIX:
            state = read_tensors(path)
        else:
            with (
                warnings.catch_warnings(),
                reading(path, "tensors that torch.save wrote, and nothing else (read with weights_only)"),
            ):
                warnings.simplefilter("ignore")  # torch's, on pickles that it then refuses
                state = torch.load(path, map_location="cpu", weights_only=True)
    except InputError as error:
        raise CheckpointError(str(error)) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not state or not all(isinstance(t, Tensor) for t in state.values()):
        kind = type(state).__name__ if not isinstance(state, dict) else f"a dict of {[*state][:5]}"
        raise CheckpointError(f"{path} holds {kind}: expected a state dict, names and tensors.")
    try:
        finite(state, path)
    except InputError as error:
        raise CheckpointError(f"{error}: convert another.") from error
    return {bare: state[name] for name, bare in bare_names(state).items()}


def released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """
    The release's tensors as the network here has them.

    Parameters
    ----------
    state
        Of one of the classes in `RELEASES`, by bare names.
    """
    if any(name.startswith("psp.") for name in state):  # what its class inherits and never calls
        state = {name: tensor for name, tensor in state.items() if not name.startswith("dblock.")}
    found = {_here(name): tensor for name, tensor in state.items()}
    found["encoder.conv1.weight"] = found["encoder.conv1.weight"].flip(1)
    if (mix := found.get("decoder.centre.mix.weight")) is not None:
        pooled = mix.shape[1] // 2  # (out, pooled maps then the map, 1, 1)
        found["decoder.centre.mix.weight"] = torch.cat([mix[:, pooled:], mix[:, :pooled]], dim=1)
    return found


def _here(name: str) -> str:
    """What a tensor of the release is called here; one that nobody knows keeps its name."""
    for pattern, rename in _NAMES:
        if match := re.match(pattern, name):
            return rename(match) + name[match.end() :]
    return name


def _recognised(state: dict[str, Tensor], path: Path) -> str:
    """The one class of the release with such tensors; raises CheckpointError where they leave it open."""
    starts = {name.split(".")[0] for name in state}
    if "firstconv" not in starts:
        raise CheckpointError(
            f"{path} holds {sorted(starts)[:6]}, no network of the paper's release: for one of smp say which, by "
            "--network and --encoder."
        )
    if "psp" in starts:
        return "DinkNet34_psp64_hdc"
    open_to = CONTEXTS if any(name.startswith("dblock.stages") for name in state) else ("DinkNet34", "DinkNet34_logits")
    raise CheckpointError(
        f"{path}: the tensors of {', '.join(open_to)} are alike, but not what they find: say which it is, by --network "
        f"({'the scripts of the release train DinkNet34_psp64' if open_to == CONTEXTS else 'D-LinkNet is DinkNet34'})."
    )


def _check_class(state: dict[str, Tensor], name: str, stated: str | None, path: Path) -> None:
    """Raise CheckpointError where tensors are those of a class that is not, or can't be, the one that was stated."""
    reason = ""
    if "firstconv.weight" not in state:
        reason = "it lacks firstconv, with which they begin"
    elif ("psp.bottleneck.weight" in state) != (name == "DinkNet34_psp64_hdc"):
        reason = "psp beside dblock is in DinkNet34_psp64_hdc alone"
    elif "dblock.dilate5.weight" in state:
        reason = "a fifth dilation is in DinkNet50, DinkNet101 and DinkNet34_less_pool, which are not built here"
    elif "decoder4.conv1.weight" in state and state["decoder4.conv1.weight"].shape[1] != 512:
        reason = "1024 channels reach the decoder in DinkNet34_context, which is not built here"
    elif name != "DinkNet34" and not any(key.endswith(COUNTER) for key in state):
        reason = "norms without num_batches_tracked are in its classes with abn, whose activations leak; not built here"
    if reason:
        raise CheckpointError(f"{path} is no {name}{'' if stated else ' either'}: {reason}.")


def _filled(model: ModelConfig, state: dict[str, Tensor], name: str, path: Path) -> torch.nn.Module:
    """The network with these tensors, all of them; raises CheckpointError where they are others by name or shape."""
    wanted = skeleton(model).state_dict()
    state = {key: torch.zeros((), dtype=torch.int64) for key in wanted if key.endswith(COUNTER)} | state
    differing = [f"lacks {key}" for key in wanted if key not in state]
    differing += [f"has {key}, which is not known" for key in state if key not in wanted]
    for key in wanted.keys() & state.keys():
        if (given := tuple(state[key].shape)) != (expected := tuple(wanted[key].shape)):
            differing.append(f"has {key} of {given}, expected {expected}")
    if differing:
        raise CheckpointError(f"{path} does not hold the weights of {name}: it {'; '.join(differing[:3])}.")
    network = copy.deepcopy(skeleton(model))
    network.load_state_dict({key: state[key].to(wanted[key].dtype) for key in wanted}, assign=True)
    return network


def main(arguments: list[str] | None = None) -> None:
    """Convert from the command line."""
    parser = argparse.ArgumentParser(description="Write weights that others trained as a checkpoint of this project.")
    parser.add_argument("weights", type=Path, help=".th, .pth or .pt of torch.save, or .safetensors")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    parser.add_argument("--network", choices=NETWORKS, metavar="NAME", help=f"one of {', '.join(NETWORKS)}")
    parser.add_argument("--task", choices=TASKS, default="roads", help="what it finds (default: roads)")
    parser.add_argument("--encoder", default="resnet34", help="of a network of smp (default: resnet34)")
    options = parser.parse_args(arguments)
    info = convert_weights(options.weights, options.out, options.network, options.task, options.encoder)
    model = info.model
    print(f"{options.out}: {model.architecture} {model.context} on {model.encoder_name}, finds {info.task}")


if __name__ == "__main__":
    run(main)
