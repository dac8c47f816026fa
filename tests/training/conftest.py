"""A finished run that several files look at, and how two runs are compared."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lib.networks.checkpoint import load_model
from lib.networks.models import ModelConfig
from lib.training.recipe import TrainConfig
from lib.training.trainer import FitResult, fit

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
QUICK = TrainConfig(epochs=3, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true")


@pytest.fixture(scope="session")
def finished(chips, tmp_path_factory) -> tuple[FitResult, list[str]]:
    """Three quick epochs, and the lines that they printed."""
    torch.set_num_threads(1)
    lines = []
    result = fit(*chips, tmp_path_factory.mktemp("run"), QUICK, SMALL, progress=lines.append)
    return result, lines


@pytest.fixture(scope="session")
def weights() -> Callable[[Path], dict[str, torch.Tensor]]:
    """Reads the weights of a checkpoint."""
    return lambda path: load_model(path).network.state_dict()


@pytest.fixture(scope="session")
def same_weights(weights) -> Callable[[Path, Path], bool]:
    """Says whether two checkpoints hold the same weights, bit for bit."""

    def same(first: Path, second: Path) -> bool:
        return all(torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))

    return same


@pytest.fixture(scope="session")
def same_history() -> Callable[[FitResult, FitResult], bool]:
    """Says whether two runs went alike, but for the time that they took."""
    return lambda first, second: first.history.drop(columns="seconds").equals(second.history.drop(columns="seconds"))
