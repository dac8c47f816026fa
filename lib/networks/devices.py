"""What a device computes in."""

import platform
import re
from pathlib import Path

import torch
from torch import nn


def precision_for(precision: str = "auto", accelerator: str = "auto") -> str:
    """
    Precision by Lightning's name; "auto" is bfloat16 where the device computes in it faster than in float32.

    On a CPU that takes AVX-512 with bf16, or AMX; on a GPU that has it in hardware, NVIDIA's from compute capability 8.
    Half precision on other GPUs, elsewhere float32.
    """
    if precision != "auto":
        return precision
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available())
    return "bf16-mixed" if on_cpu and cpu_has_bf16() else "32-true"


def training_layout(channels_last: bool = True, accelerator: str = "auto") -> torch.memory_format:
    """
    Order of a training's tensors in memory: contiguous if not `channels_last`, and where a CPU has AVX2 alone.

    There oneDNN's convolutions and their gradients in float32 are 5 to 12 % faster in contiguous order, by network;
    forward passes alone, and CPUs with AVX-512, are faster in channels-last order.
    """
    on_cpu = accelerator == "cpu" or accelerator == "auto" and precision_for(accelerator=accelerator) == "32-true"
    if not channels_last or on_cpu and torch.backends.cpu.get_cpu_capability() == "AVX2":
        return torch.contiguous_format
    return torch.channels_last


def autocast(device: torch.device) -> torch.autocast:
    """What a network computes in on a device, as `precision_for` has it."""
    dtypes = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    dtype = dtypes.get(precision_for(accelerator=device.type))
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)


def device_of(network: nn.Module) -> torch.device:
    """Where a network lives; the CPU for one without parameters."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def device_name() -> str:
    """What PyTorch computes on, as the system names it: the GPU, or the CPU's model."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    return found[1] if found else platform.processor()
