"""Precision by device; what needs a GPU is tried where there is one."""

import resource
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lib.chips.manifest import write_png
from lib.networks import devices
from lib.networks.checkpoint import load_model
from lib.networks.devices import freed_memory_kept, precision_for
from lib.networks.models import ModelConfig
from lib.training.recipe import TrainConfig
from lib.training.trainer import fit

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
needs_two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices here")


@pytest.fixture
def chips(tmp_path):
    generator, rows = np.random.default_rng(0), []
    for number in range(4):
        image = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        mask = np.where(image.mean(axis=2) > 128, 255, 0).astype(np.uint8)
        rows.append([str(write_png(tmp_path / f"{kind}{number}.png", a)) for kind, a in (("i", image), ("m", mask))])
    return pd.DataFrame(rows, columns=["image", "mask"])


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


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_step_on_the_cpu_in_either_precision(chips, tmp_path, precision):
    config = TrainConfig(1, 2, 32, 4, accelerator="cpu", precision=precision)
    history = fit(chips, chips[:1], tmp_path / "run", config, SMALL, progress=lambda _: None).history
    assert np.isfinite(history["train_loss"]).all()


@pytest.mark.gpu
@needs_gpu
def test_learns_on_a_gpu_and_predicts_on_a_cpu(chips, tmp_path):
    config = TrainConfig(2, 2, 32, 4, accelerator="gpu", workers=2)
    result = fit(chips, chips[:1], tmp_path / "run", config, SMALL, progress=lambda _: None)
    assert np.isfinite(result.history["train_loss"]).all()
    assert next(load_model(result.checkpoint).network.parameters()).device.type == "cpu"


@pytest.mark.gpu
@needs_two_gpus
def test_two_gpus_learn_as_one(chips, tmp_path):
    config = TrainConfig(2, 4, 32, 8, accelerator="gpu", precision="32-true", augmentation="flips")
    one = fit(chips, chips[:2], tmp_path / "one", config, SMALL, progress=lambda _: None)
    pair = TrainConfig(**{**vars(config), "devices": 2, "strategy": "ddp_spawn"})
    two = fit(chips, chips[:2], tmp_path / "two", pair, SMALL, progress=lambda _: None)
    np.testing.assert_allclose(one.history["train_loss"], two.history["train_loss"], rtol=1e-3)


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
