"""Maps of more or fewer than three bands: which are read, and what doesn't fit."""

import numpy as np
import pytest
import rasterio
import torch

from lib.errors import InputError
from lib.grid import Grid
from lib.mapping.area import map_rasters, opened_ground
from lib.mapping.ground import Ground, place
from lib.mapping.options import MapOptions
from lib.mapping.scenes import open_scenes
from lib.networks.checkpoint import CheckpointInfo, TrainedModel
from lib.networks.models import ModelConfig

MEAN, STD = (0.5, 0.4, 0.5, 0.3, 0.6), (0.25, 0.25, 0.25, 0.2, 0.3)


class Picked(torch.nn.Module):
    """Logit of a pixel is one band of what the network is fed."""

    def __init__(self, band):
        super().__init__()
        self.band, self.weight = band, torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x[:, self.band : self.band + 1].float() * self.weight


@pytest.fixture
def picked(exact):
    """Makes a model of `bands` bands that answers with one of them."""

    def make(band, bands=5):
        info = CheckpointInfo(ModelConfig(in_channels=bands), "roads", MEAN[:bands], STD[:bands], gsd_m=0.5)
        return TrainedModel(Picked(band).eval(), info, f"{band} of {bands}")

    return make


@pytest.fixture
def six(smooth):
    """An image of six bands, (6, 100, 130)."""
    return np.concatenate([smooth(100, 130, 1), smooth(100, 130, 2)])


def made(model, scenes, out, **options):
    options = MapOptions(window_px=64, overlap_px=16, views="none", **options)
    return map_rasters(model, scenes, out, options, lambda line: None)


def expected(values, band):
    return np.rint(255 / (1 + np.exp(-(values / 255.0 - MEAN[band]) / STD[band])))


@pytest.mark.parametrize("band", [0, 3, 4])
def test_each_band_arrives_where_the_network_learned_it(tmp_path, picked, six, write_scene, levels, band):
    named = (6, 2, 1, 5, 3)
    scene = write_scene(tmp_path / "a.tif", six)
    made(picked(band), [scene], tmp_path / "out", bands=named)
    np.testing.assert_array_equal(levels(tmp_path / "out"), expected(six[named[band] - 1], band))
    # the same ground, its rows stored as columns, so that it is interpolated; pixel on pixel here
    stored = np.ascontiguousarray(six.transpose(0, 2, 1))
    turned = write_scene(tmp_path / "b.tif", stored, transform=rasterio.Affine(0, 0.5, 500_000, -0.5, 0, 6_700_000))
    model, image = picked(band), np.moveaxis(six[np.array(named) - 1], 0, -1)
    (scene,) = open_scenes([turned], model.info, MapOptions(bands=named), tmp_path, say=lambda line: None)
    grid = Grid((0.5, 0, 500_000, 0, -0.5, 6_700_000), "EPSG:32635", 130, 100)
    shown, seen = Ground(grid, [place(scene, grid)]).read((0, 0, 130, 100))
    assert seen.all()
    np.testing.assert_array_equal(shown, image)


def test_all_bands_of_an_image_are_read_where_they_are_as_many(tmp_path, picked, six, write_scene, levels):
    scene = write_scene(tmp_path / "a.tif", six[:5], photometric="rgb")
    made(picked(4), [scene], tmp_path / "out")
    np.testing.assert_array_equal(levels(tmp_path / "out"), expected(six[4], 4))


@pytest.mark.parametrize("named", [(4,), (2, 6), ()])
@pytest.mark.parametrize("bands", [1, 2])
def test_networks_of_fewer_bands_than_three_read_as_many(tmp_path, picked, six, write_scene, levels, named, bands):
    """Those that are named, or all of an image that has no more; of one named, a network of two has none."""
    image, model = six if named else six[:bands], picked(bands - 1, bands)
    scene = write_scene(tmp_path / "a.tif", image)
    if named and len(named) != bands:
        with pytest.raises(InputError, match=f"the checkpoint learned from {bands}: name as many"):
            made(model, [scene], tmp_path / "out", bands=named)
        return
    made(model, [scene], tmp_path / "out", bands=named)
    shown = image[named[-1] - 1 if named else -1]
    np.testing.assert_allclose(levels(tmp_path / "out"), expected(shown, bands - 1), atol=1)  # some lie at a half
    with opened_ground([scene], model.info, MapOptions(bands=named)) as ground:
        assert ground.read((0, 0, 130, 100))[0].shape == (100, 130, 3)


def test_another_number_of_bands_is_refused_before_the_first_window(tmp_path, picked, six, write_scene):
    scene, out = write_scene(tmp_path / "a.tif", six), tmp_path / "out"
    for model, options, said in (
        (picked(0), {}, "a.tif gives 6 bands, the checkpoint learned from 5: name as many in `bands`"),
        (picked(0), {"bands": (1, 2, 3)}, "gives 3 bands, the checkpoint learned from 5"),
        (picked(0), {"bands": (1,)}, "gives 1 band, the checkpoint learned from 5"),
        (picked(0, 3), {"bands": (1, 2, 3, 4)}, "gives 4 bands, the checkpoint learned from 3"),
        (picked(0, 3), {"bands": (1, 2)}, "gives 2 bands, the checkpoint learned from 3"),
        (picked(0, 1), {}, "gives 6 bands, the checkpoint learned from 1"),
        (picked(0), {"bands": (1, 2, 3, 4, 7)}, "a.tif has 6 bands, and no band 7"),
    ):
        with pytest.raises(InputError, match=said):
            made(model, [scene], out, **options)
        assert sorted(path.name for path in out.iterdir()) == [".map.lock"]
