"""An area whose OSM labels are narrower than the clean ones, and a network that needs no training."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import torch

from lib.chips.cut import ChipOptions
from lib.chips.dataset import build_chips
from lib.chips.sources import find_scenes
from lib.chips.vectors import read_vectors
from lib.networks.checkpoint import CheckpointInfo, TrainedModel
from lib.networks.models import ModelConfig
from lib.osm.lanes import METRIC

SIDE_PX, GSD_M = 400, 0.5
ORIGIN = (500_000.0, 6_700_000.0)
SOURCE = {"images": "*.tif", "osm": "osm.gpkg", "clean": "truth.gpkg"}


@pytest.fixture
def area(tmp_path):
    """200 m a side: a residential street along the middle, truly 10 m wide, and a track that only the west has."""
    image = np.random.default_rng(0).integers(60, 120, (3, SIDE_PX, SIDE_PX), dtype=np.uint8)
    options = {"driver": "GTiff", "width": SIDE_PX, "height": SIDE_PX, "count": 3, "dtype": "uint8"}
    transform = rasterio.Affine(GSD_M, 0, ORIGIN[0], 0, -GSD_M, ORIGIN[1])
    with rasterio.open(tmp_path / "scene.tif", "w", crs="EPSG:32635", transform=transform, **options) as file:
        file.write(image)
    x, middle = ORIGIN[0], ORIGIN[1] - 95.0
    street = shapely.LineString([(x - 50, middle), (x + 250, middle)])
    track = shapely.LineString([(x + 10, middle + 50), (x + 40, middle + 50)])
    lines = {"highway": ["residential", "track"]}
    gpd.GeoDataFrame(lines, geometry=[street, track], crs="EPSG:32635").to_file(tmp_path / "osm.gpkg", layer="roads")
    truth = gpd.GeoDataFrame(lines | {"width": ["10", "3"]}, geometry=[street, track], crs="EPSG:32635")
    truth.to_file(tmp_path / "truth.gpkg", layer="roads")
    return tmp_path


@pytest.fixture
def built(area):
    """Chips of 50 m cut from the area: path of their manifest, scenes, layers."""
    scenes = find_scenes(SOURCE, area, GSD_M)
    layers = read_vectors(scenes, "roads")
    options = ChipOptions(chip_px=100, gsd_m=GSD_M, val_share=0.25, test_share=0.25)
    return build_chips(scenes, layers, area / "chips", options, METRIC), scenes, layers


class Brightness(torch.nn.Module):
    """Sees a street wherever the image is bright."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(8.0))

    def forward(self, x):
        return self.gain * (x.mean(dim=1, keepdim=True) - 0.5)


@pytest.fixture
def bright_model():
    """Makes a model that sees a street wherever the image is bright."""

    def make(threshold: float) -> TrainedModel:
        info = CheckpointInfo(ModelConfig(), "roads", (0.0,) * 3, (1.0,) * 3, threshold=threshold)
        return TrainedModel(Brightness().eval(), info, "x")

    return make
