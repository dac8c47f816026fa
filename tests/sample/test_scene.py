"""Rendered scenes: the same for the same seed, true to the vectors, and as hard as imagery."""

from dataclasses import replace

import cv2
import geopandas as gpd
import numpy as np
import shapely

from lib.grid import MASK_FOREGROUND
from lib.masks.rasterize import rasterize_roads
from lib.sample.places import CRS, PLACES, truth_layers
from lib.sample.scene import render_scene, to_pixels


def test_same_seed_same_picture(town):
    grid, vectors = town
    first, again, other = (render_scene(vectors, grid, seed) for seed in (0, 0, 1))
    assert first.shape == (grid.height, grid.width, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    assert 60 < first.mean() < 150 and first.std() > 20


def test_image_lies_where_the_truth_does(place):
    """Move the true roads about: they fit the greyness of the image best where they are."""
    name, vectors, _ = place
    col, row = {"helsinki": (0, 1700), "town": (1600, 900)}[name]
    grid = PLACES[name].grid().window(col, row, 1024, 1024)
    bare = replace(vectors, buildings=vectors.buildings.iloc[:0], points=vectors.points.iloc[:0], style="town")
    cover = gpd.GeoDataFrame({"kind": ["pitch"]}, geometry=[shapely.box(*grid.bounds).buffer(50)], crs=CRS)
    bare = replace(bare, cover=cover, paths=vectors.paths.iloc[:0])
    image = render_scene(bare, grid).astype(np.float32)
    greyness = -image.std(axis=2)
    mask = rasterize_roads(truth_layers(vectors)[0], grid) == MASK_FOREGROUND
    assert 0.03 < mask.mean() < 0.35

    def fit(dx: int, dy: int) -> float:
        moved = cv2.warpAffine(mask.astype(np.uint8), np.float64([[1, 0, dx], [0, 1, dy]]), mask.shape[::-1])
        return float(np.corrcoef(moved[8:-8, 8:-8].ravel(), greyness[8:-8, 8:-8].ravel())[0, 1])

    centre = fit(0, 0)
    assert centre > 0.5
    for axis in ((1, 0), (0, 1)):
        before, after = fit(-axis[0], -axis[1]), fit(*axis)
        peak_px = 0.5 * (before - after) / (before - 2 * centre + after)
        assert abs(peak_px) < 0.25


def test_roads_look_like_asphalt_among_gardens(town):
    grid, vectors = town
    image = render_scene(vectors, grid).astype(np.float32)
    road = rasterize_roads(truth_layers(vectors)[0], grid) == MASK_FOREGROUND
    colour = image.max(axis=2) - image.min(axis=2)
    assert np.median(colour[road]) < 0.75 * np.median(colour[~road])
    # and yet grey alone does not give them away: roofs and yards are grey too
    grey = colour < np.percentile(colour[road], 75)
    assert grey[~road].mean() > 0.1 and (grey & ~road).sum() > (grey & road).sum()


def test_pixels_of_the_scene_are_those_of_its_grid(town):
    grid, vectors = town
    pixels = to_pixels(vectors, grid)
    left, bottom, right, top = pixels.roads.total_bounds
    assert left < grid.width and right > 0 and top > 0 and bottom < grid.height
    assert 0 < len(pixels.roads) < len(vectors.roads)
