"""What users name as images, and whether it fits a checkpoint."""

import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import rasterio

from lib.errors import InputError, ParameterError
from lib.grid import tile_grid
from lib.mapping.ground import open_ground
from lib.mapping.images import find_images, without_query
from lib.mapping.options import MapOptions
from lib.mapping.scenes import open_scenes
from lib.paths import locked


@pytest.fixture
def scenes(red, tmp_path):
    """Scenes of images for a checkpoint of 0.5 m, and what is said of them."""

    def make(*images, gsd_m=0.5, skipped=None, info=None, **options):
        lines, info = [], info or red(gsd_m=gsd_m).info
        return open_scenes(images, info, MapOptions(**options), tmp_path, skipped, lines.append), lines

    return make


def test_the_checkpoint_decides_the_gsd_and_it_is_said(tmp_path, scenes, write_scene, smooth):
    fine = write_scene(tmp_path / "fine.tif", smooth(100, 200), gsd_m=0.25)
    (scene,), lines = scenes(fine)
    assert (scene.grid.width, scene.grid.height, scene.grid.gsd_m) == (100, 50, 0.5)
    assert lines == [f"{fine}: 0.25 m a pixel, resampled to 0.5 m, 100 x 50 px"]
    (scene,), lines = scenes(write_scene(tmp_path / "near.tif", smooth(100, 200), gsd_m=0.495))
    assert scene.grid.width == 200 and "0.495 m a pixel, kept" in lines[0]
    (scene,), lines = scenes(fine, gsd_m=None)
    assert scene.grid.width == 200 and "kept" in lines[0]
    both, _ = scenes(fine, tmp_path / "near.tif", gsd_m=None)
    assert both[1].grid.gsd_m == pytest.approx(0.25, rel=0.01), "the first one's, where the checkpoint states none"


def test_an_image_that_does_not_fit_is_refused_unless_the_user_says_so(tmp_path, red, scenes, write_scene, smooth):
    coarse = write_scene(tmp_path / "coarse.tif", smooth(80, 80), gsd_m=1.1)
    with pytest.raises(InputError, match=r"has 1.1 m a pixel, the checkpoint learned from 0.5 m: more than 2"):
        scenes(coarse)
    with pytest.raises(InputError, match="more than 2 times off"):
        scenes(write_scene(tmp_path / "fine.tif", smooth(80, 80), gsd_m=0.2))
    (scene,), _ = scenes(coarse, allow_gsd=True)
    assert scene.grid.width == 176
    grey = write_scene(tmp_path / "grey.tif", smooth(80, 80)[:1])
    with pytest.raises(InputError, match="has 1 band, and the checkpoint learned from red, green and blue"):
        scenes(grey)
    assert scenes(grey, bands=(1,))[0][0].bands == (1,)
    assert scenes(grey, info=replace(red().info, mean=(0.5, 0.5, 0.5)))[0], "a network that learned from grey"


def test_without_crs_an_image_needs_a_gsd_or_a_crs_and_lies_beside_no_other(tmp_path, red, scenes, write_scene, smooth):
    cv2.imwrite(str(tmp_path / "a.png"), np.moveaxis(smooth(60, 80), 0, -1))
    for gsd_m in (0.5, None):  # the checkpoint's
        with pytest.raises(InputError, match=r"a\.png has no CRS, .*: give gsd_m \(--gsd\), metres a pixel"):
            scenes(tmp_path / "a.png", gsd_m=gsd_m)
    (tmp_path / "a.pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n6699999.75\n")
    (scene,), _ = scenes(tmp_path / "a.png", crs="EPSG:32635")
    assert scene.grid.crs == "EPSG:32635" and scene.grid.transform == (0.5, 0, 500_000, 0, -0.5, 6_700_000)
    unknown = MapOptions(gsd_m=0.25)
    (scene,) = open_scenes([tmp_path / "a.png"], red().info, unknown, tmp_path, say=lambda line: None)
    assert scene.grid.crs is None and scene.grid.transform == (2, 0, 0, 0, 2, 0), "in pixels of the image"
    placed = write_scene(tmp_path / "b.tif", smooth(60, 80))
    with pytest.raises(InputError, match=r"a\.png'\] state no place, and can't be laid beside others"):
        open_scenes([placed, tmp_path / "a.png"], red().info, MapOptions(gsd_m=0.5), tmp_path, say=lambda line: None)


def test_the_users_gsd_counts_where_an_image_has_none(tmp_path, red, smooth):
    cv2.imwrite(str(tmp_path / "a.png"), np.moveaxis(smooth(60, 80), 0, -1))
    options, lines = MapOptions(gsd_m=0.25), []
    (scene,) = open_scenes([tmp_path / "a.png"], red().info, options, tmp_path, None, lines.append)
    assert scene.grid.crs is None and (scene.grid.width, scene.grid.height) == (40, 30)
    with pytest.raises(InputError, match="has 2 m a pixel"):
        open_scenes([tmp_path / "a.png"], red().info, MapOptions(gsd_m=2.0), tmp_path, None, lines.append)


def test_bad_images_are_named_and_the_others_go_on_when_asked_to(tmp_path, scenes, write_scene, smooth):
    good, bad = write_scene(tmp_path / "a.tif", smooth(60, 80)), tmp_path / "b.tif"
    bad.write_bytes(good.read_bytes()[:100])
    with pytest.raises(InputError, match=r"b\.tif"):
        scenes(good, bad)
    skipped = {}
    none = tmp_path / "none.tif"
    found, _ = scenes(good, bad, none, skipped=skipped)
    assert [scene.path for scene in found] == [good]
    assert list(skipped) == [str(bad), str(none)] and "no such image" in skipped[str(none)]
    with pytest.raises(InputError, match=r"No image is left to map: .*b\.tif"):
        scenes(bad, skipped={})


@pytest.mark.parametrize("kind", ["rgb", "alpha", "palette", "grey"])
def test_a_folder_of_tiles_is_one_scene(tmp_path, scenes, smooth, kind):
    """The four tiles of a square, one of them missing, and a coarser zoom that doesn't fit."""
    zoom, x, y = 18, 148_000, 76_000
    picture = np.moveaxis(smooth(512, 512), 0, -1)
    if kind == "grey":
        picture = picture[..., :1].repeat(3, axis=2)
    if kind == "palette":
        picture = np.array([[9, 8, 7], [200, 100, 50]], np.uint8)[(picture[..., 0] > 128).astype(int)]
    for column, row in ((0, 0), (1, 0), (0, 1)):
        path = tmp_path / f"tiles/{zoom}/{x + column}/{y + row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = np.moveaxis(picture[row * 256 : row * 256 + 256, column * 256 : column * 256 + 256], -1, 0)
        pixels = {"rgb": part, "grey": part[:1], "palette": (part[:1] > 128).astype(np.uint8)}.get(kind)
        if kind == "alpha":
            pixels = np.concatenate([part, np.full((1, 256, 256), 255, np.uint8)])
        with rasterio.open(path, "w", "PNG", width=256, height=256, count=len(pixels), dtype="uint8") as file:
            file.write(pixels)
            if kind == "palette":
                file.write_colormap(1, {0: (9, 8, 7, 255), 1: (200, 100, 50, 255)})
    coarse = tmp_path / f"tiles/{zoom - 3}/{x // 8}/{y // 8}.png"
    coarse.parent.mkdir(parents=True)
    cv2.imwrite(str(coarse), picture[:256, :256])
    gsd_m = tile_grid(x, y, zoom).gsd_m
    (scene,), lines = scenes(tmp_path / "tiles", gsd_m=gsd_m)
    assert scene.name == str(tmp_path / "tiles") and "kept, 512 x 512 px" in lines[0]
    assert scene.grid.transform == pytest.approx(tile_grid(x, y, zoom).transform)
    shown, seen = open_ground([scene]).read((0, 0, 512, 512))
    assert seen[:256].all() and seen[:, :256].all() and not seen[256:, 256:].any()
    np.testing.assert_array_equal(shown[seen], picture[seen])


def test_a_folder_of_images_is_so_many_scenes(tmp_path, scenes, write_scene, smooth):
    (tmp_path / "in").mkdir()
    paths = [write_scene(tmp_path / f"in/{name}.tif", smooth(60, 80)) for name in "ba"]
    found, _ = scenes(tmp_path / "in")
    assert [scene.path for scene in found] == sorted(paths)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no image in this folder"):
        scenes(tmp_path / "empty")


def test_an_image_at_an_address(tmp_path, scenes, write_scene, smooth):
    image = smooth(100, 120)
    image[:, :40, :40] = 0
    path = write_scene(tmp_path / "a.tif", image, nodata=0, tiled=True, blockxsize=64, blockysize=64)
    # a process of its own: GDAL asks it while it holds Python's lock
    command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", tmp_path, "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, **pipes) as server:
        try:
            address = f"http://127.0.0.1:{server.stdout.readline().split('port ')[1].split()[0]}"
            (scene,), lines = scenes(f"{address}/{path.name}?signature=secret")
            shown, seen = open_ground([scene]).read((0, 0, 120, 100))
            with pytest.raises(InputError, match=r"none\.tif: expected an image .* at this address") as error:
                scenes(f"{address}/none.tif?signature=secret")
        finally:
            server.kill()
    np.testing.assert_array_equal(seen, image[0] > 0)
    np.testing.assert_array_equal(shown, np.moveaxis(image, 0, -1))
    assert scene.name == f"{address}/a.tif" and "secret" not in lines[0] + str(error.value)


def test_signatures_stay_out_of_names():
    assert without_query("https://host/a.tif?X-Amz-Signature=1&b=2\n") == "https://host/a.tif"
    assert without_query("/data/a.tif") == "/data/a.tif"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"overlap_px": 600}, "overlap_px is 600: expected at most half of window_px, 512"),
        ({"window_px": 100}, "multiple of 32"),
        ({"views": "d8"}, "views"),
        ({"bands": (0,)}, "bands"),
        ({"threshold": 1.5}, "threshold"),
        ({"memory_gib": 0.5}, "memory_gib"),
    ],
)
def test_options_that_cannot_be_meant(values, message):
    with pytest.raises(ParameterError, match=message):
        MapOptions(**values)


def test_patterns_of_images_mean_no_chips(tmp_path, write_scene, smooth):
    for folder in ("photos", "chips/images", "chips/masks_osm"):
        (tmp_path / folder).mkdir(parents=True)
        write_scene(tmp_path / folder / "a.tif", smooth(40, 40))
    with locked(tmp_path / "chips" / "manifest.csv"):  # as notebook 1 does, which leaves its lock there
        pass
    assert find_images(["*", "*/*.tif"], tmp_path) == [str(tmp_path / "photos"), str(tmp_path / "photos" / "a.tif")]
    with pytest.raises(InputError, match="no such image"):
        find_images(["*/images", "*/*/*.tif"], tmp_path)
