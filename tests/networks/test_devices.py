"""Precision by device, and memory that stays with the process."""

import resource
import sys
from pathlib import Path

import pytest
import torch

from lib.networks import devices
from lib.networks.devices import freed_memory_kept, precision_for


@pytest.mark.parametrize(
    ("gpu", "capability", "cpu_bf16", "accelerator", "expected"),
    [
        (True, (9, 0), False, "auto", "bf16-mixed"),
        (True, (7, 5), True, "auto", "16-mixed"),
        (True, (9, 0), False, "cpu", "32-true"),
        (False, None, True, "auto", "bf16-mixed"),
        (False, None, False, "auto", "32-true"),
    ],
)
def test_precision_is_what_the_device_is_fast_in(monkeypatch, gpu, capability, cpu_bf16, accelerator, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: cpu_bf16)
    assert precision_for("auto", accelerator) == expected
    assert precision_for("32-true", accelerator) == "32-true"


@pytest.mark.skipif(sys.platform != "linux", reason="an option of glibc's")
def test_freed_memory_is_used_again_within_the_block_and_given_back_after_it():
    def faults_of_large_tensors() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(8):
            torch.ones(4 * 2**20)  # 16 MiB: more than any limit of glibc's own leaves to the process
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    pages = 16 * 2**20 // resource.getpagesize()
    with freed_memory_kept():
        faults_of_large_tensors()
        assert faults_of_large_tensors() < pages
        held_gib = resident_gib()
        torch.ones(2**28)
        assert resident_gib() > held_gib + 0.9
    assert resident_gib() < held_gib + 0.1


def resident_gib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 2**20
