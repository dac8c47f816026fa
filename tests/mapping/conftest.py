"""What the tests of maps share: a network whose answer is known, and scenes on the ground."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from lib.networks import devices
from lib.networks.checkpoint import CheckpointInfo, TrainedModel
from lib.networks.models import ModelConfig

GSD_M = 0.5


class Blurred(nn.Module):
    """Logit of a pixel is the mean red of the 9 x 9 px around it: it sees 4 px far, and no border within a window."""

    REACH_PX = 4

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 1, 9, 9), 1 / 81))
        self.count = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += len(x)
        return nn.functional.conv2d(nn.functional.pad(x[:, :1].float(), (4,) * 4, "replicate"), self.weight)


class Red(Blurred):
    """Logit of a pixel is its red alone."""

    REACH_PX = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += len(x)
        return x[:, :1].float() + 0 * self.weight.sum()


@pytest.fixture
def exact(monkeypatch):
    """Float32 throughout, as probabilities are compared."""
    monkeypatch.setattr(devices, "cpu_has_bf16", lambda: False)


@pytest.fixture(scope="session")
def red() -> Callable[..., TrainedModel]:
    """Makes a model of `Red`, or of `Blurred`."""

    def make(reach: bool = False, digest: str = "a", gsd_m: float | None = GSD_M) -> TrainedModel:
        info = CheckpointInfo(ModelConfig(), "roads", (0.5, 0.4, 0.5), (0.25, 0.25, 0.25), gsd_m=gsd_m)
        return TrainedModel((Blurred if reach else Red)().eval(), info, digest)

    return make


@pytest.fixture(scope="session")
def expected() -> Callable[[np.ndarray], np.ndarray]:
    """What `Red` makes of an image (3, H, W): levels of 0 to 255, (H, W)."""
    return lambda image: np.rint(255 / (1 + np.exp(-(image[0] / 255.0 - 0.5) / 0.25)))


@pytest.fixture(scope="session")
def write_scene() -> Callable[..., Path]:
    """Writes (bands, H, W) as a GeoTIFF whose upper left corner is `shift_m` (east, south) of the first scenes'."""

    def write(
        path: Path,
        image: np.ndarray,
        gsd_m: float = GSD_M,
        shift_m: tuple[float, float] = (0, 0),
        crs: str | None = "EPSG:32635",
        transform: rasterio.Affine | None = None,
        **profile: object,
    ) -> Path:
        transform = transform or rasterio.Affine(gsd_m, 0, 500_000 + shift_m[0], 0, -gsd_m, 6_700_000 - shift_m[1])
        size = {"count": len(image), "height": image.shape[1], "width": image.shape[2], "dtype": image.dtype}
        with rasterio.open(path, "w", "GTiff", crs=crs, transform=transform, **size, **profile) as file:
            file.write(image)
        return path

    return write


@pytest.fixture(scope="session")
def smooth() -> Callable[..., np.ndarray]:
    """Makes an image (3, H, W) uint8 without sharp edges, never 0: resampled, it stays what it is."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        generator = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width]
        waves = [
            np.sin(x / generator.uniform(15, 30) + generator.uniform(0, 6)) * np.sin(y / generator.uniform(15, 30))
            for _ in range(3)
        ]
        return (np.stack(waves) * 100 + 128).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def levels() -> Callable[[Path], np.ndarray]:
    """Reads probability.tif, (H, W) float, NaN where nothing was seen."""

    def read(folder: Path) -> np.ndarray:
        with rasterio.open(folder / "probability.tif") as file:
            return file.read(1, masked=True).astype(float).filled(np.nan)

    return read
