"""Offsets of scenes: measured where there is enough to see, and believed where certain."""

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

from lib.chips.sources import find_scenes
from lib.chips.vectors import read_vectors
from lib.grid import LONLAT, Grid, project
from lib.masks.offset import LEAST_CONFIDENCE, shift
from lib.masks.rasterize import rasterize_roads
from lib.osm.lanes import METRIC
from lib.sample.places import TRUE_OFFSETS_M, make_sample
from lib.trust.alignment import OFFSET_COLUMNS, certain, close_up, scene_offsets, shifts


def test_offsets_are_measured_for_large_scenes_with_vectors_only(built):
    _, scenes, layers = built
    found = scene_offsets(scenes, layers, "roads", METRIC)
    assert list(found["scene"]) == ["scene"]
    assert scene_offsets(scenes, {}, "roads", METRIC).empty
    found["confidence"] = 0.1
    assert shifts(scenes, found) == {}
    assert shifts(scenes, found.assign(confidence=1.0, dx_m=1.0, dy_m=2.0), 0.5) == {"scene": (1.5, 2.0)}


def test_pixels_larger_than_any_offset_show_none(built):
    _, (scene,), layers = built
    coarse, said = replace(scene, grid=scene.grid.resampled(10, 10), size_px=(10, 10)), []  # 20 m a pixel
    assert list(scene_offsets([coarse, scene], layers, "roads", METRIC, progress=said.append)["by"]) == ["image"]
    assert "1 views have pixels larger than 15 m" in said[0]


def test_a_close_up_shows_the_mask_before_and_after_the_move(built):
    _, scenes, layers = built
    seen = close_up(scenes[0], layers, "roads", METRIC, (0.0, 5.0))
    assert seen.image.shape == (*seen.mask.shape, 3) and seen.mask.shape == seen.moved.shape and seen.gsd_m == 0.5
    assert np.array_equal(seen.moved[:-10], seen.mask[10:])  # 5 m north, at 0.5 m


@pytest.mark.slow
def test_offsets_of_the_sample_are_right_within_a_pixel_though_chips_are_coarser(tmp_path):
    make_sample(tmp_path)
    source = {"images": "images/*.tif", "osm": "vectors/{stem}_osm.gpkg"}
    scenes = find_scenes(source, tmp_path, 1.0)  # chips of 1 m: the offset is measured in the file's pixels, 0.5 m
    found = scene_offsets(scenes, read_vectors(scenes, "roads"), "roads", METRIC)
    assert len(found) == len(scenes) == 2
    for row in found.itertuples():
        east_m, north_m = TRUE_OFFSETS_M[row.scene]
        assert np.hypot(row.dx_m + east_m, row.dy_m + north_m) < 0.5
        assert row.confidence > LEAST_CONFIDENCE


def test_predictions_are_believed_before_the_image_and_only_where_certain():
    columns = ["scene", "by", *OFFSET_COLUMNS]
    rows = [["a", "prediction", 1, 2, 0.9, 0], ["a", "image", 3, 4, 0.9, 0]]
    rows += [["b", "prediction", 1, 2, 0.1, 0], ["b", "image", 3, 4, 0.9, 0], ["c", "image", 1, 1, 0.2, 0]]
    found = certain(pd.DataFrame(rows, columns=columns))
    assert found["dx_m"].to_dict() == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    "turn, crs, place",
    [
        ("north up", "EPSG:32635", (27.0, 60.0)),
        ("south up", "EPSG:32635", (27.0, 60.0)),
        ("west up", "EPSG:32635", (27.0, 60.0)),
        ("north up", "EPSG:3035", (-21.9, 64.1)),  # the grid's north is 28 degrees west of the true one
        ("north up", "EPSG:3413", (-156.8, 71.3)),  # and 112 degrees
    ],
)
def test_offsets_are_east_and_north_however_the_image_is_turned(tmp_path, turn, crs, place):
    side = 600
    left, top = project(np.array([place]), LONLAT, crs)[0].tolist()
    roads = [[(0.1, 0.3), (0.9, 0.35)], [(0.2, 0.1), (0.35, 0.9)], [(0.5, 0.05), (0.8, 0.95)]]
    north_up = Grid((0.5, 0, left, 0, -0.5, top), crs, side, side)
    lines = [shapely.LineString(north_up.pixel_to_world(np.array(road) * side)) for road in roads]
    frame = gpd.GeoDataFrame({"highway": ["residential"] * 3, "width": ["8"] * 3}, geometry=lines, crs=crs)
    image = np.random.default_rng(0).integers(0, 60, (side, side), dtype=np.uint8)
    image += rasterize_roads(frame, north_up) // 2
    shift(frame, 4.0, -3.0).to_file(tmp_path / "osm.gpkg")
    pixels, transform = {
        "north up": (image, north_up.transform),
        "south up": (image[::-1], (0.5, 0, left, 0, 0.5, top - side / 2)),
        "west up": (image.T, (0, 0.5, left, -0.5, 0, top)),
    }[turn]
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 1, "dtype": "uint8", "crs": crs}
    with rasterio.open(tmp_path / "a.tif", "w", transform=rasterio.Affine(*transform), **profile) as file:
        file.write(pixels, 1)
    scenes = find_scenes({"images": "*.tif", "osm": "osm.gpkg"}, tmp_path, 0.5)
    layers = read_vectors(scenes, "roads")
    (found,) = scene_offsets(scenes, layers, "roads", METRIC).itertuples()
    assert (found.dx_m, found.dy_m) == pytest.approx((-4.0, 3.0), abs=0.3)
    seen = close_up(scenes[0], layers, "roads", METRIC, (found.dx_m, found.dy_m))
    on_road = [seen.image[..., 0][mask == 255].mean() for mask in (seen.mask, seen.moved)]
    assert on_road[1] > 140 > on_road[0]
