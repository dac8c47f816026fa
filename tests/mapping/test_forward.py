"""Forward passes: windows together are what they are alone, and each view is undone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib.mapping.forward import probabilities
from lib.networks import devices
from lib.networks.checkpoint import CheckpointInfo, TrainedModel
from lib.networks.models import ModelConfig

MEAN, STD = (0.5, 0.25, 0.125), (0.25, 0.5, 1.0)  # powers of two: exact whatever the order


class Corner(nn.Module):
    """Logit of a pixel is its red and where it lies: no view gives what another does."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(x))
        assert x.shape[2] % 32 == 0 and x.shape[3] % 32 == 0 and x.is_contiguous(memory_format=torch.channels_last)
        rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
        return x[:, :1] + rows / 8 - columns / 16


def by_hand(window: np.ndarray, views: str) -> np.ndarray:
    """Probabilities of one window, sides multiples of 32, by numpy's turns."""
    logits = (window[..., 0].astype(np.float64) / 255 - MEAN[0]) / STD[0]
    found = []
    for turn, mirror in [(k, m) for k in range(4) for m in (False, True)] if views == "d4" else [(0, False)]:
        seen = np.rot90(logits[:, ::-1] if mirror else logits, turn)
        rows, columns = np.arange(seen.shape[0])[:, None], np.arange(seen.shape[1])
        back = np.rot90(1 / (1 + np.exp(-(seen + rows / 8 - columns / 16))), -turn)
        found.append(back[:, ::-1] if mirror else back)
    return np.mean(found, axis=0)


@settings(max_examples=20)
@given(
    st.integers(1, 3),
    st.sampled_from([32, 64]),
    st.sampled_from([32, 96]),
    st.sampled_from(["d4", "none"]),
    st.integers(1, 9),
)
def test_any_windows_in_any_batches(count, height, width, views, batch_size):
    windows = np.random.default_rng(count).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    network = Corner()
    model = TrainedModel(network, CheckpointInfo(ModelConfig(), "roads", MEAN, STD), "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "cpu_has_bf16", lambda: False)
        found = probabilities(model, windows, views, batch_size)
    assert found.shape == (count, height, width) and found.dtype == np.float32
    assert max(network.batches) <= batch_size and sum(network.batches) == count * (8 if views == "d4" else 1)
    for window, probability in zip(windows, found, strict=True):
        np.testing.assert_allclose(probability, by_hand(window, views), atol=1e-5)
