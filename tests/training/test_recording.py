"""Passes recorded as CUDA graphs: nothing but the speed changes."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lib.errors import PPLinkNetWarning
from lib.networks.models import ModelConfig
from lib.training import engine
from lib.training.recipe import TrainConfig
from lib.training.recording import record_passes
from lib.training.trainer import fit

SMALL = ModelConfig(encoder_name="resnet18")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


class WaitsForTheGpu(nn.Module):
    """A layer that asks for a number amid the pass, which can't be recorded."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))

    def forward(self, x):
        return self.layers(x) * max(float(x.detach().mean()), 0.5)


def statistics(network):
    return [buffer.clone() for buffer in network.buffers()]


def is_same(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_statistics_are_as_before(monkeypatch):
    """Recording runs the network a few times in training mode."""
    network, image = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), torch.rand(2, 3, 8, 8)
    before = statistics(network)
    called = []

    def run(network, images, **options):
        network(*images)
        called.append(torch.is_autocast_cache_enabled())
        assert not is_same(statistics(network), before)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", run)
    assert record_passes(network, image)
    assert called == [False]
    assert is_same(statistics(network), before)


def test_what_cannot_be_recorded_stays_as_it_was(monkeypatch):
    network, image = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), torch.rand(2, 3, 8, 8)
    before = statistics(network)

    def fail(network, images, **options):
        network(*images)
        raise torch.OutOfMemoryError("CUDA out of memory.\nDetails")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fail)
    with pytest.warns(PPLinkNetWarning, match=r"CUDA out of memory\. Each step takes"):
        assert not record_passes(network, image)
    assert is_same(statistics(network), before)


def test_on_a_cpu_nothing_is_recorded(make_chips, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "record_passes", lambda *arguments: pytest.fail("recorded"))
    chips = make_chips(tmp_path, 2)
    fit(chips, chips, tmp_path / "run", TrainConfig(1, 2, 32, 2, accelerator="cpu"), SMALL, progress=lambda _: None)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"freeze_encoder": True},
        {"ema_decay": 0.9, "clip_norm": 1.0},
        {"optimizer": "sgd", "normalisation": "imagenet"},
        {"precision": "bf16-mixed", "optimizer": "adamw", "workers": 2},
        {"precision": "16-mixed"},
    ],
    ids=lambda settings: " ".join(settings) or "default",
)
def test_a_recorded_training_learns_as_one_that_is_not(make_chips, tmp_path, monkeypatch, settings):
    """Half precision rounds a thousand sums otherwise from run to run, with and without."""
    chips = make_chips(tmp_path, 6, side_px=80)
    config = replace(TrainConfig(3, 2, 64, 12, precision="32-true", accelerator="gpu"), **settings)
    said = []
    record = engine.record_passes
    monkeypatch.setattr(engine, "record_passes", lambda *arguments: said.append(record(*arguments)))
    ours = fit(chips, chips[:2], tmp_path / "recorded", config, SMALL, progress=lambda _: None).history
    assert said == [True]
    monkeypatch.setattr(engine, "record_passes", lambda *arguments: None)
    theirs = fit(chips, chips[:2], tmp_path / "not", config, SMALL, progress=lambda _: None).history
    within = 1e-2 if config.precision == "32-true" else 5e-2
    np.testing.assert_allclose(ours["train_loss"], theirs["train_loss"], rtol=within)
    assert ours["train_loss"].iloc[-1] != ours["train_loss"].iloc[0]


@pytest.mark.gpu
@needs_gpu
def test_a_layer_that_waits_for_the_gpu_is_left_as_it_is():
    network, image = WaitsForTheGpu().cuda(), torch.rand(2, 3, 16, 16, device="cuda")
    before = statistics(network)
    with pytest.warns(PPLinkNetWarning, match="Each step takes"):
        assert not record_passes(network, image)
    assert is_same(statistics(network), before)
    nn.functional.dropout(network(image)).sum().backward()  # random numbers, too, are there
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


@pytest.mark.gpu
@needs_gpu
def test_recorded_gradients_are_those_of_the_batch_at_hand():
    """Of other images, after other weights, and in evaluation mode of another size."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1)).cuda()
    plain = copy.deepcopy(network)
    assert record_passes(network, torch.rand(2, 3, 16, 16, device="cuda"))
    for step in range(3):
        image = torch.rand(2, 3, 16, 16, device="cuda") + step
        for one in (network, plain):
            one.zero_grad()
            (one(image) ** 2).mean().backward()
        for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)
        with torch.no_grad():
            for one in (network, plain):
                for parameter in one.parameters():
                    parameter.mul_(0.9)
    larger = torch.rand(1, 3, 40, 24, device="cuda")
    torch.testing.assert_close(network.eval()(larger), plain.eval()(larger), rtol=1e-3, atol=1e-4)
