"""Rasters of a map, as GDAL and rasterio read them."""

import errno
import logging

import cv2
import numpy as np
import pyogrio
import pytest
import rasterio
from rasterio.enums import MaskFlags

from lib.errors import DiskFullError
from lib.grid import Grid
from lib.mapping.cogs import (
    _check_whole,
    _gdal_errors_raised,
    mask_cog,
    of_blocks,
    probability_cog,
    read_seen_px,
    write_block,
    write_cogs,
)

SIDE, GRID = 1200, Grid((0.5, 0, 500_000, 0, -0.5, 6_700_000), "EPSG:32635", 1200, 1200)


@pytest.fixture
def cogs(tmp_path):
    """Writes both rasters of a probability, (SIDE, SIDE) with NaN where nothing was seen, from four blocks."""

    def write(probability, threshold=0.5, grid=GRID):
        blocks, half = [], SIDE // 2
        for row in (0, half):
            for col in (0, half):
                path = tmp_path / f"block-{row}-{col}.tif"
                write_block(path, probability[row : row + half, col : col + half], (col, SIDE - row))
                blocks.append((path, (col, row, half, half)))
        paths, pieces = (tmp_path / "probability.tif", tmp_path / "mask.tif"), of_blocks(blocks)
        write_cogs(probability_cog(paths[0], grid, pieces), mask_cog(paths[1], grid, pieces, threshold))
        return paths

    return write


def roads(*angles_deg, width_px=6):
    """Roads through the middle, probability 0.9 on 0.1, (SIDE, SIDE)."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for number, angle in enumerate(angles_deg):
        middle = np.array([150 + number * 900 / max(len(angles_deg) - 1, 1), SIDE / 2])
        step = 450 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
        ends = [tuple(np.rint(end).astype(int).tolist()) for end in (middle - step, middle + step)]
        cv2.line(mask, *ends, 1, width_px)
    return np.where(mask, 0.9, 0.1).astype(np.float32)


def test_both_are_cogs_on_the_grid_with_an_internal_mask(cogs, tmp_path):
    probability = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    probability[:300, 100:700] = np.nan
    unseen = np.isnan(probability)
    for path in cogs(probability):
        assert not path.with_name(path.name + ".msk").exists() and not path.with_name(path.name + ".ovr").exists()
        with rasterio.open(path) as file:
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert (file.dtypes, file.nodata, file.shape) == (("uint8",), None, (SIDE, SIDE))
            assert file.crs.to_epsg() == 32635 and file.transform[:6] == GRID.transform
            assert file.mask_flag_enums == ([MaskFlags.per_dataset],)
            assert file.overviews(1) == [2, 4]
            np.testing.assert_array_equal(file.dataset_mask() == 0, unseen)
        with rasterio.open(path, overview_level=0) as file:
            np.testing.assert_array_equal(file.dataset_mask()[:150, 51:349], 0)
    with rasterio.open(tmp_path / "probability.tif") as file, rasterio.open(tmp_path / "mask.tif") as mask:
        levels = file.read(1)
        np.testing.assert_array_equal(levels[~unseen], np.rint(probability[~unseen] * 255))
        np.testing.assert_array_equal(mask.read(1)[~unseen] == 255, levels[~unseen] >= 127.5)


@pytest.mark.parametrize("threshold", [0.0, 1 / 255, 0.06, 0.5, 254.5 / 255, 1.0])
def test_the_mask_begins_at_the_threshold(cogs, threshold):
    levels = (np.arange(SIDE * SIDE) % 256).reshape(SIDE, SIDE)
    _, mask = cogs((levels / 255).astype(np.float32), threshold)
    with rasterio.open(mask) as file:
        np.testing.assert_array_equal(file.read(1), np.where(levels / 255 >= threshold, 255, 0))


def test_overviews_hold_no_greys_and_roads_keep_their_area(cogs):
    """Oblique roads of 6 px within a twentieth at factors 2 and 4; along the pixels, by less than factor / width."""
    for angles, bound in (((20, 35, 70), 0.05), ((0,), 4 / 6), ((90,), 4 / 6)):
        _, mask = cogs(roads(*angles))
        areas = []
        for level in (None, 0, 1):
            with rasterio.open(mask, **({} if level is None else {"overview_level": level})) as file:
                pixels = file.read(1)
            assert set(np.unique(pixels)) == {0, 255}
            areas.append((pixels == 255).mean())
        np.testing.assert_allclose(np.array(areas[1:]) / areas[0], 1, atol=bound)


def test_overviews_of_probabilities_are_means_of_what_was_seen(cogs):
    probability = roads(35)
    probability[:, :601] = np.nan
    path, _ = cogs(probability)
    with rasterio.open(path, overview_level=0) as file:
        small, seen = file.read(1), file.dataset_mask() > 0
    pairs = np.rint(probability * 255).reshape(SIDE // 2, 2, SIDE // 2, 2)
    whole = ~np.isnan(pairs).any(axis=(1, 3))
    assert seen[whole].all()
    np.testing.assert_allclose(small[whole], pairs.mean(axis=(1, 3))[whole], atol=1)
    edge = seen & ~whole
    assert (small[edge] > 10).all(), "what was not seen is no zero"


def test_ground_that_nobody_saw_takes_no_room(cogs):
    probability = np.full((SIDE, SIDE), np.nan, np.float32)
    probability[:10, :10] = 0.7
    path, mask = cogs(probability)
    assert path.stat().st_size < 10_000 and mask.stat().st_size < 10_000


def test_a_map_without_crs_states_none(cogs):
    path, _ = cogs(roads(35), grid=Grid((1, 0, 0, 0, 1, 0), None, SIDE, SIDE))
    with rasterio.open(path) as file:
        assert file.crs is None and file.transform.is_identity


def test_gdal_itself_lists_a_raster_layer(cogs):
    """pyogrio brings a GDAL of its own: it must take the file for a raster that holds no vectors."""
    path, _ = cogs(roads(35))
    with pytest.raises(pyogrio.errors.DataSourceError, match="not recognized|no layers|raster"):
        pyogrio.read_info(path)


def test_blocks_know_what_they_show(tmp_path):
    probability = np.full((30, 40), np.nan, np.float32)
    probability[:10] = 1
    assert write_block(tmp_path / "block.tif", probability, (0, 30)) == 400 == read_seen_px(tmp_path / "block.tif")


def test_a_raster_that_ends_too_early_is_a_full_disk(cogs, tmp_path):
    path, _ = cogs(np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32))
    _check_whole(path, path)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DiskFullError, match="No space left on the disk"):
        _check_whole(cut, path)


def test_a_full_disk_is_one_whatever_gdal_raises_and_frees(tmp_path):
    log, path = logging.getLogger("rasterio._env"), tmp_path / "a.tif"
    for logged, raised in (("a.tif: No space left on device", "failed"), ("failed", "TIFFAppendToStrip:Write error")):
        with (
            pytest.raises(OSError, match="No space left|Write error") as caught,
            _gdal_errors_raised(tmp_path / "a.tif"),
        ):
            log.error(logged)
            raise RuntimeError(raised)
        assert caught.value.errno == errno.ENOSPC and isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(RuntimeError, match="another"), _gdal_errors_raised(path):
        raise RuntimeError("another")


def test_what_gdal_merely_logs_is_raised(tmp_path):
    with pytest.raises(OSError, match="GDAL could not write it: No space"), _gdal_errors_raised(tmp_path / "a.tif"):
        logging.getLogger("rasterio._env").error("No space left on device")
