"""Whatever happens to the bytes of an image or of what lies beside it: a result, or an error that names the file."""

import shutil
import time

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import Affine

from lib.chips.imagery import read_scene
from lib.chips.mask_images import mask_reader
from lib.chips.sources import find_scenes
from lib.errors import InputError

SIDE, DAMAGES = 160, 48
TRANSFORM = Affine(1, 0, 385_000, 0, -1, 6_671_000)
PIXELS = np.random.default_rng(0).integers(0, 255, (3, SIDE, SIDE), dtype=np.uint8)
WORLD = "1.0\n0.0\n0.0\n-1.0\n385000.5\n6670999.5\n"
TILES = '<?xml version="1.0"?><TileMap><Title>a</Title><SRS>EPSG:3857</SRS><TileSets profile="mercator"/></TileMap>'


def geotiff(path, pixels=PIXELS, **more):
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": len(pixels), "dtype": pixels.dtype}
    with rasterio.open(path, "w", crs="EPSG:32635", transform=TRANSFORM, **profile | more) as file:
        file.write(pixels)


def tiled_jpeg(path):
    geotiff(path, tiled=True, blockxsize=64, blockysize=64, compress="jpeg", photometric="ycbcr")


def palette(path):
    geotiff(path, PIXELS[:1] // 64, photometric="palette", compress="lzw")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {n: (60 * n, 255 - n, 9, 255) for n in range(4)})


def picture(path):
    image = Image.fromarray(np.moveaxis(PIXELS, 0, -1))
    (image.quantize(64) if path.stem == "palette" else image).save(path)


FORMATS = {
    "strips.tif": lambda path: geotiff(path, compress="deflate"),
    "floats.tif": lambda path: geotiff(path, PIXELS.astype(np.float32), compress="deflate", predictor=3),
    "tiled.tif": tiled_jpeg,
    "numbers.tif": palette,
    "image.png": picture,
    "palette.png": picture,
    "image.jpg": picture,
}


def read_all(folder, name, own_gsd=True):
    """Everything that cutting reads of an image and its mask; None where it was skipped, each file named."""
    skipped = {}
    mask = folder / "mask" / name
    mask.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / name, mask)  # no file is a scene and its own label
    source = {"images": name, "clean": f"mask/{name}"} | ({"gsd_m": 1.0} if own_gsd else {})
    for scene in find_scenes(source, folder, 0.8, skipped):
        window = (0, 0, min(scene.grid.width, 256), min(scene.grid.height, 256))
        try:
            image, valid = read_scene(scene, window)
            assert image.shape == (*valid.shape, 3) and image.dtype == np.uint8
            mask_reader(scene, "clean")(window)
        except InputError as error:
            assert name in str(error)
    assert all(name.split(".")[0] in reason or "tilemapresource" in reason for reason in skipped.values())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_images(tmp_path, damages, name):
    FORMATS[name](tmp_path / name)
    read_all(tmp_path, name)
    whole, started_s = (tmp_path / name).read_bytes(), time.process_time()
    head = [
        (what, data + whole[len(data) :]) for what, data in damages(whole[:600], DAMAGES)
    ]  # where sizes are declared
    for what, data in [*damages(whole, DAMAGES), *head]:
        (tmp_path / name).write_bytes(data)
        try:
            read_all(tmp_path, name)
        except Exception as error:
            raise AssertionError(f"{name}, {what}") from error
    assert time.process_time() - started_s < 60


@pytest.mark.parametrize("name", ["a.jgw", "a.prj", "tilemapresource.xml"])
def test_damaged_files_beside_an_image(tmp_path, damages, name):
    image = tmp_path / "17/74616/93131.png" if name.endswith("xml") else tmp_path / "a.jpg"
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (256, 256)).save(image)
    (tmp_path / "a.jgw").write_text(WORLD)
    (tmp_path / "a.prj").write_text(rasterio.crs.CRS.from_epsg(32635).to_wkt())
    (tmp_path / "tilemapresource.xml").write_text(TILES)
    whole = (tmp_path / name).read_bytes()
    for what, data in damages(whole, 2 * DAMAGES):
        (tmp_path / name).write_bytes(data)
        try:
            read_all(tmp_path, str(image.relative_to(tmp_path)), own_gsd=False)
        except Exception as error:
            raise AssertionError(f"{name}, {what}") from error
