"""Other runtimes: compute what PyTorch does, or say that they can't."""

import importlib.util
import sys

import numpy as np
import pytest
import torch

from lib.errors import CheckpointError, ParameterError
from lib.mapping.forward import probabilities
from lib.networks import backends, devices
from lib.networks.backends import backend_for, with_backend
from lib.networks.checkpoint import CheckpointInfo, TrainedModel
from lib.networks.models import ModelConfig, build_model

RUNTIMES = [
    "onnxruntime",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="OpenVINO isn't installed"),
    ),
]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
    network = build_model(config).eval()
    with torch.no_grad():
        network.segmentation_head[-1].weight *= 20  # probabilities that differ from pixel to pixel
    return TrainedModel(network, CheckpointInfo(config, "roads", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), "a")


@pytest.fixture(scope="module")
def others():
    """Each runtime's model, made once."""
    return {}


def in_float32(model, backend, others, monkeypatch):
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: False)
    if backend not in others:
        others[backend] = with_backend(model, backend)
    return others[backend]


@pytest.mark.parametrize("backend", RUNTIMES)
def test_the_same_probabilities_at_any_size_and_batch(model, backend, others, monkeypatch):
    other = in_float32(model, backend, others, monkeypatch)
    assert other.network is not model.network and (other.digest, other.info) == (model.digest, model.info)
    for size, views in (((2, 70, 100), "none"), ((1, 160, 224), "d4"), ((3, 32, 96), "d4")):
        windows = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        expected = probabilities(model, windows, views)
        assert expected.std() > 0.01
        np.testing.assert_allclose(probabilities(other, windows, views), expected, atol=1e-3)


@pytest.mark.parametrize("backend", RUNTIMES)
def test_a_runtime_that_computes_something_else_is_refused(model, backend, others, monkeypatch):
    right = in_float32(model, backend, others, monkeypatch).network

    def wrong_where_large(x: np.ndarray) -> np.ndarray:
        return right(torch.from_numpy(x)).numpy() + (0.02 if x.shape[2] > 300 else 0)

    monkeypatch.setattr(backends, f"_in_{backend}", lambda *_: (wrong_where_large, wrong_where_large))
    with pytest.raises(CheckpointError, match=f"{backend} computes other probabilities of pp_linknet"):
        with_backend(model, backend)


@pytest.mark.parametrize("backend", RUNTIMES[1:])
def test_bfloat16_rounds_no_more_than_pytorch_does(model, backend):
    windows = np.random.default_rng(0).integers(0, 256, (1, 96, 64, 3), dtype=np.uint8)
    found = probabilities(with_backend(model, backend), windows)
    np.testing.assert_allclose(found, probabilities(model, windows), atol=0.03)


def test_auto_stays_with_pytorch_where_the_other_fails_and_says_so(model, monkeypatch):
    def fails(*_: object) -> None:
        raise RuntimeError("no such operation")

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(backends, "_in_openvino", fails)
    with pytest.warns(UserWarning, match="Stays with PyTorch.*can't be computed by openvino: no such operation"):
        assert with_backend(model, "auto") is model
    with pytest.raises(CheckpointError, match="no such operation"):
        with_backend(model, "openvino")


def test_nothing_is_imported_that_is_not_chosen(model, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert with_backend(model, "torch") is model and with_backend(model) is model
    with pytest.raises(ParameterError, match="pip install"):
        with_backend(model, "openvino")
    with pytest.raises(ParameterError, match="backend is 'tensorrt'"):
        with_backend(model, "tensorrt")


def test_a_model_elsewhere_stays_there(model):
    away = TrainedModel(torch.nn.Conv2d(3, 1, 1, device="meta"), model.info, "")
    assert with_backend(away) is away
    with pytest.raises(ParameterError, match="the model is on meta"):
        with_backend(away, "onnxruntime")


def test_auto_converts_where_that_pays():
    few, many = 24 * 1024**2, 60 * 1024**2
    assert [backend_for("auto", pixels) for pixels in (few, many)] == ["torch", "auto"]
    assert backend_for("openvino", few) == "openvino"
