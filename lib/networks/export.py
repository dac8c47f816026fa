"""
A checkpoint as ONNX, for runtimes without PyTorch.

    python -m lib.networks.export runs/demo/two_stage/best.safetensors roads.onnx

The graph takes `image`, (N, bands, H, W) float32, RGB first, scaled to 0..1, normalises it, and gives `probability`,
(N, classes, H, W) float32, the classes in the order of the task's name. N, H and W are free, H and W multiples of 32
(PAN's from 128 px on). Its metadata says what the checkpoint says of itself: task, threshold, gsd_m, mean, std, and
where it comes from.
"""

import argparse
import copy
import json
import warnings
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim

from lib.errors import CheckpointError, run
from lib.networks.checkpoint import TrainedModel, load_model
from lib.networks.models import INPUT_MULTIPLE_PX, Logits
from lib.networks.published import weights_of
from lib.networks.skeleton import smallest_side_px
from lib.paths import file_to_write, write_whole

TOLERANCE = 1e-4  # of a probability, ONNX against PyTorch
LARGEST_PX = 65_536  # of H and W: a bound that the exporter asks for
TRACED = (2, 192, 256)  # N, H, W of the image that the exporter sees


def export_onnx(checkpoint: Path, path: Path) -> Path:
    """
    Write a checkpoint as one ONNX file, once ONNX Runtime has computed what PyTorch does.

    Parameters
    ----------
    checkpoint
        File written by `lib.networks.checkpoint.save_checkpoint`.
    path
        File to write, whole or not at all.

    Raises
    ------
    CheckpointError
        If the checkpoint can't be read, its network can't be exported, or the results differ by more than 1e-4.
    InputError
        If `path` is a folder, or lies below a file.
    """
    trained = load_model(checkpoint)
    file_to_write(Path(path))  # before what takes long
    probability = _Probability(trained).eval()
    least_px = smallest_side_px(trained.info.model)
    stated = {name: json.dumps(value) for name, value in asdict(trained.info).items()}
    try:
        model = convert(probability, probability.mean.shape[1], least_px, "probability")
        onnx.helper.set_model_props(model, stated | {"checkpoint_sha256": trained.digest})
        content = model.SerializeToString()
        worst = _difference(content, probability, least_px)
    except Exception as error:  # noqa: BLE001  torch.export, the exporter and ONNX Runtime raise what they like
        name = trained.info.model
        raise CheckpointError(
            f"{name.architecture} on {name.encoder_name} can't be exported to ONNX: {str(error)[:300]}"
        ) from error
    if not worst <= TOLERANCE:
        raise CheckpointError(f"ONNX Runtime's probabilities of {checkpoint} are {worst:.2g} off, above {TOLERANCE}.")
    return write_whole(Path(path), content)


class _Probability(Logits):
    """Network between its normalisation and a sigmoid."""

    def __init__(self, trained: TrainedModel) -> None:
        super().__init__(trained.network)
        self.register_buffer("mean", torch.tensor(trained.info.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(trained.info.std).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return super().forward((image - self.mean) / self.std).sigmoid()


class _CellMeans(nn.Module):
    """Adaptive average pooling as two products of matrices; the exporter takes the pooling for fixed sizes only."""

    def __init__(self, bins: int | tuple[int, int]) -> None:
        super().__init__()
        self.rows, self.columns = (bins, bins) if isinstance(bins, int) else bins

    def forward(self, x: Tensor) -> Tensor:
        return _averages(self.rows, x.shape[-2], x) @ x @ _averages(self.columns, x.shape[-1], x).T


def _averages(bins: int, side: int, like: Tensor) -> Tensor:
    """Matrix (bins, side) that averages over pixels floor(i side / bins) up to ceil((i + 1) side / bins)."""
    cell, pixel = torch.arange(bins)[:, None], torch.arange(side)
    inside = ((pixel >= cell * side // bins) & (pixel < ((cell + 1) * side + bins - 1) // bins)).to(like.dtype)
    return inside / inside.sum(dim=1, keepdim=True)


def convert(network: Logits, bands: int, least_px: int, output: str) -> onnx.ModelProto:
    """Graph from `image`, (N, bands, H, W), to (N, classes, H, W); N, H and W are free from `least_px` on."""
    network = copy.deepcopy(network)
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.AdaptiveAvgPool2d):
            network.set_submodule(name, _CellMeans(module.output_size))
    count, height, width = TRACED
    least, most = (side_px // INPUT_MULTIPLE_PX for side_px in (least_px, LARGEST_PX))
    free = {
        0: Dim("batch"),
        2: INPUT_MULTIPLE_PX * Dim("rows", min=least, max=most),
        3: INPUT_MULTIPLE_PX * Dim("columns", min=least, max=most),
    }
    image = torch.zeros(count, bands, height, width)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter's, on its own future
        # traced before the exporter comes in: smp's PSPNet computes something else where it does
        traced = torch.export.export(network, (image,), dynamic_shapes=(free,))
        program = torch.onnx.export(traced, input_names=["image"], output_names=[output], dynamo=True, verbose=False)
    return program.model_proto


def _difference(content: bytes, probability: nn.Module, least_px: int) -> float:
    """Largest difference between the two on images of noise: of the traced size, and of four others."""
    more_px = least_px + INPUT_MULTIPLE_PX
    session, worst = onnxruntime.InferenceSession(content), 0.0
    generator = torch.Generator().manual_seed(0)
    for count, height, width in (TRACED, (1, least_px, more_px), (3, more_px, least_px), (1, 320, 224), (2, 224, 352)):
        image = torch.rand(count, probability.mean.shape[1], height, width, generator=generator)
        with torch.inference_mode():
            expected = probability(image).numpy()
        found = session.run(None, {"image": image.numpy()})[0]
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description="Write a checkpoint as ONNX, checked against PyTorch.")
    parser.add_argument("checkpoint", type=weights_of, help="file of a training, or a network that ships with this")
    parser.add_argument("path", type=Path, help="the .onnx file to write")
    arguments = parser.parse_args()
    written = export_onnx(arguments.checkpoint, arguments.path)
    print(f"{written}: {written.stat().st_size / 2**20:.1f} MiB, within {TOLERANCE:g} of PyTorch")


if __name__ == "__main__":
    run(main)
