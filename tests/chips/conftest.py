"""An area to cut: a scene with a road, and what OSM makes of it."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from lib.chips.cut import ChipOptions
from lib.chips.dataset import build_chips
from lib.chips.manifest import load_manifest
from lib.chips.merging import find_all_scenes
from lib.chips.vectors import read_vectors
from lib.osm.lanes import lane_profile

SIDE_PX, GSD_M = 400, 0.5
ORIGIN = (500_000.0, 6_700_000.0)
SOURCE = {"images": "*.tif", "osm": "osm.gpkg", "clean": "truth.gpkg"}


@pytest.fixture
def area(tmp_path):
    """A GeoTIFF of 200 m a side with a road 8 m wide along its middle row, and OSM that has it 6 m too far north."""
    rng = np.random.default_rng(0)
    image = rng.integers(60, 120, (3, SIDE_PX, SIDE_PX), dtype=np.uint8)
    profile = {"driver": "GTiff", "width": SIDE_PX, "height": SIDE_PX, "count": 3, "dtype": "uint8"}
    transform = rasterio.Affine(GSD_M, 0, ORIGIN[0], 0, -GSD_M, ORIGIN[1])
    with rasterio.open(tmp_path / "scene.tif", "w", crs="EPSG:32635", transform=transform, **profile) as file:
        file.write(image)
    middle = ORIGIN[1] - SIDE_PX * GSD_M / 2
    for name, north in (("truth", 0.0), ("osm", 6.0)):
        line = shapely.LineString([(ORIGIN[0] - 50, middle + north), (ORIGIN[0] + 250, middle + north)])
        roads = gpd.GeoDataFrame({"highway": ["residential"], "width": ["8"]}, geometry=[line], crs="EPSG:32635")
        roads.to_file(tmp_path / f"{name}.gpkg", layer="roads")
    return tmp_path


@pytest.fixture
def build():
    """Makes the chips of a folder, by default of 100 px at 0.5 m; returns their manifest."""

    def make(folder, source=SOURCE, shifts_m=None, **options):
        options = ChipOptions(**{"chip_px": 100, "gsd_m": GSD_M} | options)
        scenes = find_all_scenes(source if isinstance(source, list) else [source], folder, options.gsd_m)
        layers = read_vectors(scenes, options.task)
        return load_manifest(build_chips(scenes, layers, folder / "chips", options, lane_profile("metric"), shifts_m))

    return make
