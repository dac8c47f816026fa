"""Prediction: views, windows, files."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.chips.manifest import write_png
from lib.errors import InputError, ParameterError
from lib.mapping.predict import predict_chips, predict_image, read_probability, window_starts, write_probability
from lib.networks import devices
from lib.networks.checkpoint import CheckpointInfo, TrainedModel
from lib.networks.models import ModelConfig, create_model

INFO = CheckpointInfo(ModelConfig(), "roads", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


class Brightness(nn.Module):
    """Logit of a pixel is its normalised red: every view and every window must agree on it."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(tuple(x.shape))
        return x[:, :1] * self.gain


class Column(Brightness):
    """Logit of a pixel is its column: knows left from right."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 0 + torch.arange(x.shape[3]) / 10


@pytest.fixture
def exact(monkeypatch):
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: False)


def trained(network: nn.Module, digest: str = "a") -> TrainedModel:
    return TrainedModel(network.eval(), INFO, digest)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def expected(image: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(image[..., 0] / 255 - 0.5) / 0.25))


@settings(max_examples=25)
@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.sampled_from([32, 64]),
    st.integers(0, 32),
    st.sampled_from(["d4", "none"]),
)
def test_any_size_in_any_windows(height, width, window_px, overlap_px, tta):
    overlap_px = min(overlap_px, window_px // 2)
    image = picture(height, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "cpu_has_bf16", lambda: False)
        probability = predict_image(trained(Brightness()), image, tta, window_px, overlap_px)
    assert probability.dtype == np.float32
    np.testing.assert_allclose(probability, expected(image), atol=1e-5)


@pytest.mark.usefixtures("exact")
def test_network_sees_multiples_of_32_and_bounded_windows():
    network = Brightness()
    predict_image(trained(network), picture(100, 300), "d4", window_px=128, overlap_px=32, batch_size=2)
    assert all(size[2] % 32 == 0 and size[3] % 32 == 0 for size in network.sizes)
    assert max(max(size[2:]) for size in network.sizes) == 128
    assert max(size[0] for size in network.sizes) == 2


@pytest.mark.usefixtures("exact")
def test_eight_views_take_the_mean_of_probabilities():
    side = 32
    probability = predict_image(trained(Column()), picture(side, side))
    ramp = 1 / (1 + np.exp(-np.arange(side) / 10))
    across = np.broadcast_to((ramp + ramp[::-1]) / 2, (side, side))
    np.testing.assert_allclose(probability, (across + across.T) / 2, atol=1e-6)


@pytest.mark.usefixtures("exact")
def test_eight_views_know_no_direction():
    model = trained(create_model("pp_linknet", "tu-mobilenetv3_small_050"))
    image = picture(64, 64)
    straight, turned = predict_image(model, image), predict_image(model, np.rot90(image).copy())
    np.testing.assert_allclose(np.rot90(straight), turned, atol=1e-5)


def test_bf16_is_close_to_float32(monkeypatch):
    torch.manual_seed(0)
    model = trained(create_model("pp_linknet", "tu-mobilenetv3_small_050"))
    image = picture(64, 64)
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: False)
    exact = predict_image(model, image)
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: True)
    np.testing.assert_allclose(predict_image(model, image), exact, atol=0.02)


@given(st.integers(1, 5000), st.integers(1, 40), st.integers(0, 640))
def test_windows_cover_everything_and_overlap(length, window, overlap):
    window *= 32
    overlap = min(overlap, window // 2)
    starts = window_starts(length, window, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(length - window, 0)
    assert all(0 < b - a <= window - overlap for a, b in zip(starts, starts[1:], strict=False))


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8)]
)
def test_images_of_another_form(image):
    with pytest.raises(InputError, match=r"Expected a uint8 image \(H, W, 3\)"):
        predict_image(trained(Brightness()), image)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tta": "d8"}, "tta is 'd8'"),
        ({"window_px": 100}, "multiple of 32"),
        ({"window_px": 64, "overlap_px": 33}, "half"),
    ],
)
def test_unknown_ways(values, message):
    with pytest.raises(ParameterError, match=message):
        predict_image(trained(Brightness()), picture(8, 8), **values)


def test_file_of_probabilities(tmp_path):
    probability = np.random.default_rng(0).random((5, 7), dtype=np.float32)
    back = read_probability(write_probability(tmp_path / "p.png", probability))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, probability, atol=0.5 / 255 + 1e-6)


def test_chips_are_predicted_once_by_the_same_checkpoint(tmp_path):
    rows = [(f"c{i}", str(write_png(tmp_path / f"c{i}.png", picture(40, 50, i)))) for i in range(3)]
    chips = pd.DataFrame(rows, columns=["chip", "image"], index=[5, 6, 7])
    first, lines = Brightness(), []
    paths = predict_chips(trained(first), chips, tmp_path / "out", progress=lines.append)
    assert list(paths.index) == [5, 6, 7]
    assert lines[-1] == "predicted 3 of 3 chips"
    np.testing.assert_allclose(read_probability(paths[6]), expected(picture(40, 50, 1)), atol=0.02)

    paths[6].unlink()
    again = Brightness()
    predict_chips(trained(again), chips, tmp_path / "out")
    assert len(again.sizes) * 3 == len(first.sizes), "only what is missing"

    other = Brightness()
    predict_chips(trained(other, digest="b"), chips, tmp_path / "out")
    assert len(other.sizes) == len(first.sizes), "another checkpoint"
    views = Brightness()
    predict_chips(replace(trained(views), digest="b"), chips, tmp_path / "out", tta="none")
    assert len(views.sizes) == 3, "other views"


def test_files_that_no_prediction_wrote_are_left_alone(tmp_path):
    path = write_png(tmp_path / "c0.png", picture(40, 50))
    before = path.read_bytes()
    chips = pd.DataFrame([("c0", str(path))], columns=["chip", "image"])
    with pytest.raises(InputError, match="not written by a prediction"):
        predict_chips(trained(Brightness()), chips, tmp_path)
    assert path.read_bytes() == before


def test_chips_are_written_into_the_folder_alone(tmp_path):
    chips = pd.DataFrame([("../c0", "c0.png")], columns=["chip", "image"])
    with pytest.raises(InputError, match="is no name of a chip"):
        predict_chips(trained(Brightness()), chips, tmp_path / "out")
    assert not list(tmp_path.glob("*.png"))


def test_damaged_probability_files_are_named_or_read(tmp_path, damages):
    path = write_probability(tmp_path / "p.png", np.random.default_rng(0).random((40, 30), np.float32))
    for what, data in damages(path.read_bytes(), 60):
        path.write_bytes(data)
        try:
            assert read_probability(path).ndim == 2
        except InputError as error:
            assert "p.png" in str(error), what
