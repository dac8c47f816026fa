"""
Other runtimes for a network on a CPU: ONNX Runtime and OpenVINO beside PyTorch, each checked against it when made.

A CPU with bfloat16 computes PP-LinkNet on ResNet-34 about three times as fast in OpenVINO as plain PyTorch in float32,
and 1.05 to 1.3 times as fast as PyTorch in bfloat16; without bfloat16 OpenVINO is 1.6 times as fast as plain PyTorch
(docs/performance.md). Making one takes seconds: for a few images PyTorch is done sooner.
"""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from lib.errors import CheckpointError, ParameterError
from lib.limits import BACKENDS, Limits, check_value
from lib.networks.checkpoint import TrainedModel
from lib.networks.config import INPUT_MULTIPLE_PX
from lib.networks.devices import autocast, device_of, precision_for
from lib.networks.skeleton import smallest_side_px

TOLERANCE = 1e-3  # of a probability, against PyTorch
# Pixels of input from which "auto" is worth it: 3.5 s of a CPU for making one, 0.08 s less for each 1024 x 1024 px
WORTH_PX = 45 * 1024**2
TRACED = (2, 192, 256)  # N, H, W of the image that the tracer sees

Compute = Callable[[np.ndarray], np.ndarray]  # (N, C, H, W) float32 normalised to (N, classes, H, W) float32 logits


def with_backend(model: TrainedModel, backend: str = "auto") -> TrainedModel:
    """
    The same model, computed by another runtime.

    Parameters
    ----------
    model
        On the CPU, except for "auto" and "torch".
    backend
        "torch": as it is. "onnxruntime": float32. "openvino", an optional extra of this project: bfloat16 where the
        CPU multiplies it in hardware, else float32. "auto": OpenVINO on a CPU where it is installed, else PyTorch.

    Returns
    -------
    model
        Its network takes and gives what PyTorch's does, and can't be trained.

    Raises
    ------
    ParameterError
        If the runtime is unknown or not installed, or the model is not on the CPU.
    CheckpointError
        If the network can't be converted, or its probabilities at one of three sizes are more than 1e-3 off PyTorch's.
        With "auto" that is a warning, and the model stays as it is.
    """
    check_value("backend", backend, str, Limits(choices=BACKENDS))
    on_cpu, installed = device_of(model.network).type == "cpu", importlib.util.find_spec("openvino") is not None
    if backend == "torch" or (backend == "auto" and not (on_cpu and installed)):
        return model
    if not on_cpu:
        raise ParameterError(f"backend {backend!r} computes on a CPU, the model is on {device_of(model.network)}.")
    chosen = "openvino" if backend == "auto" else backend
    if chosen == "openvino" and not installed:
        raise ParameterError("backend 'openvino' is not installed: pip install 'openvino>=2025.0', or take 'auto'.")
    try:
        return replace(model, network=_Other(_made(model, chosen)).eval())
    except CheckpointError as error:
        if backend != "auto":
            raise
        warnings.warn(f"Stays with PyTorch: {error}", stacklevel=2)
        return model


def backend_for(backend: str, pixels: int) -> str:
    """The backend for so many pixels of input: of "auto" PyTorch where another one would cost more than it saves."""
    return "torch" if backend == "auto" and pixels < WORTH_PX else backend


class _Other(nn.Module):
    """What another runtime computes, as a module."""

    def __init__(self, compute: Compute) -> None:
        super().__init__()
        self._compute = compute

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes, H, W) float32 of normalised images (N, C, H, W)."""
        return torch.from_numpy(self._compute(np.ascontiguousarray(x.float().numpy())))


def _made(model: TrainedModel, backend: str) -> Compute:
    """The network in a runtime, once it computes there what it does in PyTorch."""
    from lib.networks.models import Logits

    stated, logits = model.info.model, Logits(model.network).eval()
    name, least_px = f"{stated.architecture} on {stated.encoder_name}", smallest_side_px(stated)
    make = _in_onnxruntime if backend == "onnxruntime" else _in_openvino
    try:
        exact, fast = make(logits, stated.in_channels, least_px)
        error, rounding = _errors(exact, fast, logits, stated.in_channels, least_px)
    except Exception as caught:  # noqa: BLE001  tracers, converters and runtimes raise what they like
        raise CheckpointError(f"{name} can't be computed by {backend}: {str(caught)[:300]}") from caught
    if not (error <= TOLERANCE and rounding <= TOLERANCE):
        raise CheckpointError(
            f"{backend} computes other probabilities of {name} than PyTorch: {error:.2g} off in float32, "
            f"{rounding:.2g} more than PyTorch itself on average in bfloat16; expected {TOLERANCE:g}."
        )
    return fast


def _errors(exact: Compute, fast: Compute, logits: nn.Module, bands: int, least_px: int) -> tuple[float, float]:
    """
    How far a runtime is off PyTorch at three sizes, on noise.

    The first number is the largest difference of a probability in float32. bfloat16 has eight bits: PyTorch's own are
    up to 0.03 off float32. So the second number is by how much the mean error of `fast` exceeds PyTorch's in the same
    precision.
    """
    worst, excess, generator = 0.0, 0.0, torch.Generator().manual_seed(0)
    more_px = least_px + INPUT_MULTIPLE_PX
    for count, height, width in ((1, least_px, more_px), (2, more_px + 96, more_px), (1, 320, 352)):
        x = torch.randn(count, bands, height, width, generator=generator)
        with torch.inference_mode():
            truth = logits(x).sigmoid()
            with autocast(x.device):
                rounded = (logits(x).float().sigmoid() - truth).abs().mean()
        found, fast_found = (torch.from_numpy(compute(x.numpy())).sigmoid() for compute in (exact, fast))
        worst = max(worst, float((found - truth).abs().max()))
        excess = max(excess, float((fast_found - truth).abs().mean() - rounded))
    return worst, excess


def _in_onnxruntime(logits: nn.Module, bands: int, least_px: int) -> tuple[Compute, Compute]:
    import onnxruntime

    from lib.networks.export import convert

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(convert(logits, bands, least_px, "logits").SerializeToString(), options)

    def compute(x: np.ndarray) -> np.ndarray:
        return session.run(["logits"], {"image": x})[0]

    return compute, compute


def _in_openvino(logits: nn.Module, bands: int, least_px: int) -> tuple[Compute, Compute]:
    """In float32, and in what this CPU is fastest in."""
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    count, height, width = TRACED[0], *(max(side_px, least_px) for side_px in TRACED[1:])
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing is deprecated; OpenVINO's other way in takes twice as long
        traced = torch.jit.trace(logits, torch.zeros(count, bands, height, width), check_trace=False)
        # openvino.convert_model does the same, but reports each use to its maker, unless one has opted out
        front_end, decoder = FrontEndManager().load_by_framework("pytorch"), TorchScriptPythonDecoder(traced)
        graph = front_end.convert(front_end.load(decoder))  # reads the decoder until it is converted
    core, fast = openvino.Core(), "bf16" if precision_for(accelerator="cpu") == "bf16-mixed" else "f32"
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}

    def compiled(precision: str) -> Compute:
        request = core.compile_model(graph, "CPU", options | {"INFERENCE_PRECISION_HINT": precision})
        request = request.create_infer_request()
        return lambda x: request.infer([x], share_inputs=True)[0]

    exact = compiled("f32")
    return exact, exact if fast == "f32" else compiled(fast)
