"""What lies beneath vectors: looked up by windows, as if it were one array."""

import json

import numpy as np
import pytest
import rasterio

from lib.conflation import ground as grounds
from lib.conflation.ground import Ground, ground_of_arrays, ground_of_map
from lib.errors import InputError
from lib.grid import Grid


@pytest.fixture
def wide():
    """Probabilities over several windows, and some points with the pixels below them."""
    grid = Grid((0.5, 0, 5e5, 0, -0.5, 6.7e6), "EPSG:32635", 2500, 1300)
    probability = np.random.default_rng(0).random((1300, 2500), np.float32)
    xy_px = np.random.default_rng(1).uniform((0, 0), (2500, 1300), (500, 2))
    return grid, probability, xy_px


def test_points_are_looked_up_window_by_window(wide):
    grid, probability, xy_px = wide
    windows = []

    def read(window):
        col, row, width, height = window
        windows.append(window)
        return probability[row : row + height, col : col + width]

    found = Ground(grid, read).probabilities_at(xy_px * grid.gsd_m)
    column, row = np.floor(xy_px).astype(int).T
    np.testing.assert_array_equal(found, probability[row, column])
    assert len(windows) == len(set(windows)) == 6 and max(w * h for *_, w, h in windows) <= grounds.TILE_PX**2


def test_beyond_the_grid_nothing_is_known(wide):
    grid, probability, _ = wide
    ground = ground_of_arrays(grid, probability)
    edges = np.array([[-0.1, 5.0], [5.0, -0.1], [1250.0, 5.0], [5.0, 650.0], [1249.9, 649.9]])
    assert np.isfinite(ground.probabilities_at(edges)).tolist() == [False, False, False, False, True]
    assert np.isnan(ground.colours_at(edges)).all()
    assert ground.probabilities_at(np.empty((0, 2))).shape == (0,)


def test_metres_of_the_grid_and_back(wide, roads_frame):
    frame = roads_frame([[(0, 0), (100, 50)]])
    turned = Grid((0.3, 0.4, 5e5, 0.4, -0.3, 6.7e6), "EPSG:32635", 100, 100)  # north is not up
    for grid in (wide[0], turned):
        ground = ground_of_arrays(grid, np.zeros((grid.height, grid.width), np.float32))
        lines = ground.in_metres(frame.to_crs("EPSG:4326"))
        assert lines[0].length == pytest.approx(np.hypot(100, 50), abs=1e-6)
        assert ground.to_world(lines)[0].equals_exact(frame.geometry[0], 1e-6)


def test_a_folder_of_a_map_is_read_with_what_was_not_seen(wide, tmp_path):
    grid, probability, xy_px = wide
    seen = np.full(probability.shape, 255, np.uint8)
    seen[:, :700] = 0
    profile = {"driver": "GTiff", "width": grid.width, "height": grid.height, "count": 1, "dtype": "uint8"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            tmp_path / "probability.tif", "w", **profile, crs=grid.crs, transform=rasterio.Affine(*grid.transform)
        ) as file,
    ):
        file.write(np.rint(probability * 255).astype(np.uint8), 1)
        file.write_mask(seen)
    (tmp_path / "map.json").write_text(json.dumps({}))
    ground = ground_of_map(tmp_path)
    found, unseen = ground.probabilities_at(xy_px * grid.gsd_m), xy_px[:, 0] < 700
    assert ground.grid == grid and np.isnan(found[unseen]).all()
    column, row = np.floor(xy_px[~unseen]).astype(int).T
    np.testing.assert_allclose(found[~unseen], probability[row, column], atol=0.5 / 255 + 1e-6)


def test_what_does_not_fit_is_refused(wide, tmp_path):
    grid, probability, _ = wide
    with pytest.raises(InputError, match="1300 x 2500 pixels"):
        ground_of_arrays(grid, probability[1:])
    with pytest.raises(InputError, match="with a CRS"):
        ground_of_arrays(Grid(grid.transform, None, 2500, 1300), probability)
    with pytest.raises(InputError, match="probability.tif"):
        ground_of_map(tmp_path)
