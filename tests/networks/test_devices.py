"""Precision by device, and memory that stays with the process."""

import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from lib.networks import devices
from lib.networks.devices import autocast, freed_memory_kept, precision_for, training_layout


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


@pytest.mark.skipif(sys.platform != "linux", reason="an option of glibc's")
def test_freed_memory_is_used_again_within_the_block_and_given_back_after_it():
    pages = 16 * 2**20 // resource.getpagesize()
    with freed_memory_kept():
        faults_of_tensors(16)
        assert faults_of_tensors(16) < pages
        held_gib = own_gib()
        torch.ones(2**28)
        assert own_gib() > held_gib + 0.9
    assert own_gib() < held_gib + 0.1
    with ThreadPoolExecutor(1) as thread:  # where GDAL's helpers are: each thread has a heap of its own
        thread.submit(faults_of_tensors, 1).result()
        assert thread.submit(faults_of_tensors, 1).result() <= pages / 8, "as glibc begins, and not as it would go on"


def faults_of_tensors(mib: int) -> int:
    """Pages that the system hands out for eight tensors, one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(mib * 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def own_gib() -> float:
    """Memory of this process but for pages of files, which the system takes back when others need room."""
    _, resident, of_files, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (resident - of_files) * resource.getpagesize() / 2**30
