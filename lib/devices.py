"""What a device computes in."""

import torch


def precision_for(precision: str = "auto", accelerator: str = "auto") -> str:
    """
    Precision by Lightning's name; "auto" is bfloat16 where the device computes in it faster than in float32.

    On a CPU that takes AVX-512 with bf16, or AMX; on a GPU compute capability 8 or more. Elsewhere float32.
    """
    if precision != "auto":
        return precision
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.get_device_capability() >= (8, 0) else "16-mixed"
    return (
        "bf16-mixed"
        if cpu_has_bf16() and not (accelerator == "auto" and torch.backends.mps.is_available())
        else "32-true"
    )


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
