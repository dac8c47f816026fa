"""Maps of whole scenes: what the windows make, in bounded memory, resumed where it stopped."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import DiskFullError, InputError, ParameterError
from lib.mapping.area import ahead, map_rasters
from lib.mapping.memory import views_at_once
from lib.mapping.options import MapOptions
from lib.mapping.predict import predict_image

SMALL = MapOptions(window_px=64, overlap_px=16, views="none")


@pytest.fixture(autouse=True)
def _exact(exact):
    """All is compared with float32."""


def changed(**values):
    return MapOptions(**{"window_px": 64, "overlap_px": 16, "views": "none"} | values)


@settings(max_examples=12)
@given(data=st.data())
def test_any_windows_make_what_the_whole_image_makes(data, tmp_path_factory, red, smooth, write_scene, levels):
    folder = tmp_path_factory.mktemp("map")
    height, width = data.draw(st.integers(33, 200)), data.draw(st.integers(33, 200))
    window_px = data.draw(st.sampled_from([32, 64, 96]))
    overlap_px = data.draw(st.integers(0, window_px // 2))
    image, model = smooth(height, width, seed=height), red(reach=True)
    scene = write_scene(folder / "a.tif", image)
    options = MapOptions(window_px=window_px, overlap_px=overlap_px, views=data.draw(st.sampled_from(["d4", "none"])))
    map_rasters(model, [scene], folder / "out", options, progress=lambda line: None)
    found, rows = levels(folder / "out"), np.moveaxis(image, 0, -1)
    same = predict_image(model, rows, options.views, window_px, overlap_px)
    np.testing.assert_array_equal(found, np.rint(same * 255))  # of the array's windows, bit for bit

    # away from borders: pixels whose neighbourhood lies in all of their windows
    whole = predict_image(model, rows, options.views, 256, 0)
    reach = model.network.REACH_PX
    inner = np.ones((height, width), bool)
    for axis, length in enumerate((height, width)):
        edges = np.zeros(length, bool)
        for start in [*range(0, max(length - window_px, 0), window_px - overlap_px), max(length - window_px, 0)]:
            for edge in (start, min(start + window_px, length)):
                edges[max(edge - reach, 0) : edge + reach] = True
        inner &= ~(edges[:, None] if axis == 0 else edges[None])
    np.testing.assert_allclose(same[inner], whole[inner], atol=1e-3)
    assert np.abs(same - whole).max() < 0.1


def test_windows_without_image_are_skipped(tmp_path, red, write_scene, levels, expected, smooth):
    image = np.zeros((3, 640, 640), np.uint8)
    image[:, 300:340, 300:340] = smooth(40, 40)
    scene = write_scene(tmp_path / "a.tif", image, nodata=0)
    model, lines = red(), []
    made = map_rasters(model, [scene], tmp_path / "out", SMALL, lines.append)
    assert model.network.count <= 9 and made["windows"] == 169
    found = levels(tmp_path / "out")
    np.testing.assert_array_equal(np.isnan(found), image[0] == 0)
    np.testing.assert_allclose(found[300:340, 300:340], expected(image)[300:340, 300:340], atol=1)
    assert made["seen_px"] == 1600 and made["km2"] == pytest.approx(1600 * 0.25e-6)
    assert "km2/h, 0 s left" in lines[-2]


def test_what_is_finished_is_not_made_again(tmp_path, red, write_scene, smooth, levels):
    scene = write_scene(tmp_path / "a.tif", smooth(200, 300))
    out, model, lines = tmp_path / "out", red(), []
    made = map_rasters(model, [scene], out, SMALL, lines.append)
    assert sorted(path.name for path in out.iterdir()) == [".map.lock", "map.json", "mask.tif", "probability.tif"]
    assert json.loads((out / "map.json").read_text()) == json.loads(json.dumps(made))
    count, first = model.network.count, (out / "probability.tif").read_bytes()
    map_rasters(model, [scene], out, SMALL, lines.append)
    assert model.network.count == count and "finished already" in lines[-1]

    made = map_rasters(model, [scene], out, changed(threshold=0.75), lines.append)
    assert model.network.count == count and (out / "probability.tif").read_bytes() == first
    with rasterio.open(out / "mask.tif") as file:
        np.testing.assert_array_equal(file.read(1) == 255, levels(out) >= 0.75 * 255)

    map_rasters(red(digest="b"), [scene], out, SMALL, lines.append)
    assert json.loads((out / "map.json").read_text())["checkpoint"] == "b"
    map_rasters(model, [scene], out, changed(overlap_px=8), lines.append)
    assert model.network.count > count


class StoppedError(Exception):
    """Stands for a process that ends here."""


def test_a_map_that_stops_goes_on_with_what_is_missing(tmp_path, red, write_scene, smooth, monkeypatch):
    scene = write_scene(tmp_path / "a.tif", smooth(200, 300))
    whole = red()
    map_rasters(whole, [scene], tmp_path / "whole", SMALL, lambda line: None)
    for number in (0, 2, 7, 16):
        out, model = tmp_path / f"out{number}", red()
        forward = model.network.forward

        def stopping(x, forward=forward, model=model, number=number):
            if model.network.count >= number:
                raise StoppedError
            return forward(x)

        monkeypatch.setattr(model.network, "forward", stopping)
        with pytest.raises(StoppedError):
            map_rasters(model, [scene], out, SMALL, lambda line: None)
        assert not (out / "probability.tif").exists() and not (out / "map.json").exists()
        rest = red()
        map_rasters(rest, [scene], out, SMALL, lambda line: None)
        lost = rest.network.count - (whole.network.count - model.network.count)
        assert 0 <= lost < 8, "but for the windows that went through the network together, all is kept"
        for name in ("probability.tif", "mask.tif"):
            assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("out", [".", "maps/town"])
def test_a_map_in_the_folder_of_its_images_is_none_of_them(tmp_path, red, write_scene, smooth, monkeypatch, out):
    out, lines = tmp_path / out, []
    write_scene(tmp_path / "a.tif", smooth(100, 150))
    monkeypatch.setattr("lib.mapping.area.write_cogs", lambda *_: (_ for _ in ()).throw(StoppedError))
    with pytest.raises(StoppedError):
        map_rasters(red(), [tmp_path], out, SMALL, lambda line: None)
    assert list((out / "parts").glob("*.tif"))
    monkeypatch.undo()
    for _ in range(2):
        map_rasters(red(), [tmp_path], out, SMALL, lines.append)
    assert "finished already" in lines[-1] and sum("m a pixel" in line for line in lines) == 2


def test_another_checkpoint_takes_nothing_of_an_unfinished_map(tmp_path, red, write_scene, smooth, monkeypatch, levels):
    scene, out, model = write_scene(tmp_path / "a.tif", smooth(200, 300)), tmp_path / "out", red(reach=True, digest="b")
    monkeypatch.setattr("lib.mapping.area.write_cogs", lambda *_: (_ for _ in ()).throw(StoppedError))
    with pytest.raises(StoppedError):
        map_rasters(model, [scene], out, SMALL, lambda line: None)
    monkeypatch.undo()
    map_rasters(red(), [scene], out, SMALL, lambda line: None)
    map_rasters(red(), [scene], tmp_path / "alone", SMALL, lambda line: None)
    np.testing.assert_array_equal(levels(out), levels(tmp_path / "alone"))


def test_a_truncated_scene_keeps_what_is_finished(tmp_path, red, write_scene, smooth, levels):
    first = write_scene(tmp_path / "a.tif", smooth(128, 256))
    second = write_scene(
        tmp_path / "b.tif", smooth(128, 256, 1), shift_m=(0, 64), tiled=True, blockxsize=64, blockysize=64
    )
    whole = second.read_bytes()
    map_rasters(red(), [first, second], tmp_path / "whole", SMALL, lambda line: None)
    second.write_bytes(whole[: len(whole) // 2])
    out, model = tmp_path / "out", red()
    with pytest.raises(InputError, match=r"b\.tif: expected an image") as error:
        map_rasters(model, [first, second], out, SMALL, lambda line: None)
    assert "windows are kept: the same call goes on" in error.value.__notes__[0]
    assert not (out / "probability.tif").exists()

    shutil.copytree(out, tmp_path / "on")
    on = map_rasters(red(), [first, second], tmp_path / "on", changed(go_on=True), lambda line: None)
    assert list(on["skipped"]) == [str(second)] and "expected an image" in on["skipped"][str(second)]
    found = levels(tmp_path / "on")
    np.testing.assert_array_equal(found[:128], levels(tmp_path / "whole")[:128])
    assert np.isnan(found[-1]).any()

    second.write_bytes(whole)  # mended, and of the first scene nothing is made again
    rest = red()
    map_rasters(rest, [first, second], out, SMALL, lambda line: None)
    assert 0 < rest.network.count < 18
    np.testing.assert_array_equal(levels(out), levels(tmp_path / "whole"))


def test_a_full_disk_keeps_what_is_finished(tmp_path, red, write_scene, smooth, full_after):
    scene, out, model = write_scene(tmp_path / "a.tif", smooth(200, 300)), tmp_path / "out", red()
    full = pytest.raises(DiskFullError, match=r"No space left on the disk of .*parts")
    with full_after(10), full as error:
        map_rasters(model, [scene], out, SMALL, lambda line: None)
    assert "9 of 24 windows are kept" in error.value.__notes__[0]
    rest = red()
    map_rasters(rest, [scene], out, SMALL, lambda line: None)
    assert 0 < rest.network.count <= 24 - 9


def test_rasters_of_somebody_else_are_left_alone(tmp_path, red, write_scene, smooth):
    scene, out = write_scene(tmp_path / "a.tif", smooth(64, 64)), tmp_path / "out"
    out.mkdir()
    (out / "mask.tif").write_bytes(b"mine")
    with pytest.raises(InputError, match="written by no map"):
        map_rasters(red(), [scene], out, SMALL)
    assert (out / "mask.tif").read_bytes() == b"mine"
    (out / "mask.tif").unlink()
    (out / "parts").mkdir()
    (out / "parts/mine.tif").write_bytes(b"mine")
    with pytest.raises(InputError, match="holds files that no map wrote"):
        map_rasters(red(), [scene], out, SMALL)


def test_memory_decides_how_many_views_go_together(monkeypatch):
    assert views_at_once(MapOptions(memory_gib=64), device="mps") == 8
    assert 1 <= views_at_once(MapOptions(memory_gib=3), device="mps") < 4
    free_gib = {"cuda:0": 40, "cuda:1": 4, "cuda:2": 0.5}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_gib[device] * 2**30, 2**40))
    assert views_at_once(MapOptions(), device="cuda:0") == 8  # views are not the host's to hold
    assert 1 < views_at_once(MapOptions(), device="cuda:1") < 8
    with pytest.raises(ParameterError, match=r"windows of 1024 px take 1.0 GiB of cuda:2, 0.5 are free"):
        views_at_once(MapOptions(), device="cuda:2")
    assert [views_at_once(MapOptions(memory_gib=64, window_px=side)) for side in (256, 512, 1024, 1536)] == [8, 4, 1, 1]
    with pytest.raises(ParameterError, match=r"windows of 4096 px take .* GiB, memory_gib is 4: give more"):
        views_at_once(MapOptions(window_px=4096))


def test_results_come_in_order_and_what_waits_is_finished():
    done = []

    def items():
        yield from range(5)
        raise StoppedError

    with pytest.raises(StoppedError):
        list(ahead(done.append, items(), 2))
    assert done == [0, 1, 2, 3, 4]
    assert list(ahead(str, range(7), 3)) == list("0123456")


MEMORY = """
import resource, sys
import numpy as np, rasterio, torch
from lib.mapping.area import map_rasters
from lib.mapping.options import MapOptions
from lib.networks.checkpoint import CheckpointInfo, TrainedModel
from lib.networks.models import ModelConfig
class Red(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
    def forward(self, x):
        return x[:, :1] * self.weight
torch.set_num_threads(1)
side, out = int(sys.argv[1]), sys.argv[2]
profile = {"count": 3, "dtype": "uint8", "width": side, "height": side, "nodata": 0}
profile |= {"tiled": True, "sparse_ok": True, "bigtiff": "yes"}
transform = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 6_700_000)
with rasterio.open(f"{out}/a.tif", "w", "GTiff", crs="EPSG:32635", transform=transform, **profile) as file:
    for place in range(0, side, 2048):  # a diagonal of image
        window = rasterio.windows.Window(place, place, min(1024, side - place), min(1024, side - place))
        file.write(np.full((3, window.height, window.width), 200, np.uint8), window=window)
info = CheckpointInfo(ModelConfig(), "roads", (0.5, 0.4, 0.5), (0.25, 0.25, 0.25), gsd_m=0.5)
model = TrainedModel(Red().eval(), info, "a")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
map_rasters(model, [f"{out}/a.tif"], f"{out}/map", MapOptions(backend="torch", views="none", memory_gib=3), print)
print(before / 2**20, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def test_memory_goes_by_the_windows_and_not_by_the_scene(tmp_path):
    """A scene of 6,144 px has 0.11 GB of pixels; sums and weights of all would take 0.3 GB."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEMORY, "6144", tmp_path], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    before_gib, peak_gib = map(float, run.stdout.split()[-2:])
    assert peak_gib - before_gib < 0.6, run.stdout
    with rasterio.open(tmp_path / "map/probability.tif") as file:
        assert file.shape == (6144, 6144) and (tmp_path / "map/probability.tif").stat().st_size < 2e6
