"""Precision by device."""

import pytest
import torch

from lib.networks import devices
from lib.networks.devices import autocast, precision_for, training_layout


@pytest.mark.parametrize(
    ("gpu", "gpu_bf16", "cpu_bf16", "accelerator", "expected"),
    [
        (True, True, False, "auto", "bf16-mixed"),
        (True, False, True, "auto", "16-mixed"),
        (True, False, True, "cuda", "16-mixed"),
        (True, True, False, "cpu", "32-true"),
        (False, None, True, "auto", "bf16-mixed"),
        (False, None, True, "mps", "32-true"),
        (False, None, False, "auto", "32-true"),
    ],
)
def test_precision_is_what_the_device_is_fast_in(monkeypatch, gpu, gpu_bf16, cpu_bf16, accelerator, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu_bf16)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: cpu_bf16)
    assert precision_for("auto", accelerator) == expected
    assert precision_for("32-true", accelerator) == "32-true"


@pytest.mark.parametrize(
    ("capability", "gpu", "asked", "channels_last"),
    [
        ("AVX2", False, True, False),
        ("AVX512", False, True, True),
        ("DEFAULT", False, True, True),
        ("AVX2", True, True, True),
        ("AVX512", False, False, False),
    ],
)
def test_training_is_laid_out_as_the_device_is_fast_in(monkeypatch, capability, gpu, asked, channels_last):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert (training_layout(asked) == torch.channels_last) is channels_last
    assert (training_layout(asked, "cpu") == torch.channels_last) is (asked and capability != "AVX2")


@pytest.mark.parametrize(("cpu_bf16", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_prediction_computes_in_what_training_does(monkeypatch, cpu_bf16, expected):
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: cpu_bf16)
    with autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected
