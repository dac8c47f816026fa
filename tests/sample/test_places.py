"""The embedded sample: rendering, georeference, degradation, files."""

import json
from dataclasses import replace

import cv2
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

import lib.sample.places as sample
from lib.errors import ParameterError
from lib.grid import MASK_FOREGROUND
from lib.masks.rasterize import rasterize_roads
from lib.osm.layers import read_osm
from lib.sample import layers as paint
from lib.sample.degraded import Degradation, blur_tags, degrade
from lib.sample.layers import Sun
from lib.sample.scene import render_scene, to_pixels
from lib.sample.truth import eaves_heights, is_motor_road, true_widths

SIZE_PX = 448


@pytest.fixture(scope="module", params=list(sample.PLACES))
def place(request):
    """Name, true vectors, and degraded roads and buildings of each place."""
    return request.param, *sample.place_vectors(request.param, 0, Degradation())


@pytest.fixture(scope="module")
def town():
    """A window of the town: its grid and vectors."""
    vectors, _ = sample.place_vectors("town", 0, Degradation())
    return sample.PLACES["town"].grid().window(2000, 1200, SIZE_PX, SIZE_PX), vectors


@pytest.fixture
def small_places(monkeypatch):
    """The sample, cut down to one chip a scene."""
    windows = {"helsinki": (650, 1900), "town": (2000, 1200)}
    for name, (col, row) in windows.items():
        whole = sample.PLACES[name]
        left, top = whole.grid().pixel_to_world(np.array([[col, row]]))[0]
        small = replace(whole, left_m=left, top_m=top, width_px=SIZE_PX, height_px=SIZE_PX)
        monkeypatch.setitem(sample.PLACES, name, small)


def test_same_seed_same_picture(town):
    grid, vectors = town
    first, again, other = (render_scene(vectors, grid, seed) for seed in (0, 0, 1))
    assert first.shape == (SIZE_PX, SIZE_PX, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5
    assert 60 < first.mean() < 150 and first.std() > 20


def test_image_lies_where_the_truth_does(place):
    """Move the true roads about: they fit the greyness of the image best where they are."""
    name, vectors, _ = place
    col, row = {"helsinki": (0, 1700), "town": (1600, 900)}[name]
    grid = sample.PLACES[name].grid().window(col, row, 1024, 1024)
    bare = replace(vectors, buildings=vectors.buildings.iloc[:0], points=vectors.points.iloc[:0], style="town")
    cover = gpd.GeoDataFrame({"kind": ["pitch"]}, geometry=[shapely.box(*grid.bounds).buffer(50)], crs=sample.CRS)
    bare = replace(bare, cover=cover, paths=vectors.paths.iloc[:0])
    image = render_scene(bare, grid).astype(np.float32)
    greyness = -image.std(axis=2)
    mask = rasterize_roads(sample.truth_layers(vectors)[0], grid) == MASK_FOREGROUND
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
    road = rasterize_roads(sample.truth_layers(vectors)[0], grid) == MASK_FOREGROUND
    colour = image.max(axis=2) - image.min(axis=2)
    assert np.median(colour[road]) < 0.75 * np.median(colour[~road])
    # and yet grey alone does not give them away: roofs and yards are grey too
    grey = colour < np.percentile(colour[road], 75)
    assert grey[~road].mean() > 0.1 and (grey & ~road).sum() > (grey & road).sum()


def test_truth_is_the_visible_carriageway(place):
    _, vectors, _ = place
    roads = vectors.roads
    assert is_motor_road(roads).all() and roads.length.min() > 4
    assert roads["width_m"].between(2.4, 40).all()
    assert roads["width_m"].nunique() > 20
    walls = vectors.buildings.union_all().buffer(-0.5)
    surface = shapely.union_all(shapely.buffer(roads.geometry.to_numpy(), roads["width_m"].to_numpy() / 2))
    assert surface.intersection(walls).area < 0.01 * surface.area
    assert vectors.buildings["height_m"].between(2, 60).all()


def test_width_from_width_then_lanes_then_class():
    roads = pd.DataFrame(
        {
            "osm_id": ["way/1", "way/2", "way/3", "way/4", "way/5"],
            "name": [None, None, "Long Street", "Long Street", None],
            "highway": ["residential", "primary", "residential", "residential", "track"],
            "lanes": ["2", "4", None, None, "two"],
            "width": ["7.5", None, None, None, "wide"],
        }
    )
    widths = true_widths(roads, seed=3)
    assert widths[0] == 7.5
    assert 11.5 < widths[1] < 17
    assert widths[2] == widths[3], "a street keeps its width"
    assert 2 < widths[4] < 4.5
    assert (true_widths(roads, seed=4)[2:] != widths[2:]).all()


def test_heights_from_levels():
    houses = gpd.GeoDataFrame(
        {"osm_id": ["way/1", "way/2"], "building:levels": ["5", None]}, geometry=[shapely.box(0, 0, 20, 20)] * 2
    )
    heights = eaves_heights(houses, "city", 0)
    assert heights[0] == pytest.approx(16.5) and 14 <= heights[1] <= 23


def test_degraded_share_of_roads_and_houses(place):
    _, vectors, (roads, buildings) = place
    motor = roads[is_motor_road(roads)]
    true_ids = set(vectors.roads["osm_id"])
    missing = 1 - len(true_ids & set(motor["osm_id"])) / len(true_ids)
    assert 0.12 <= missing <= 0.15
    assert len(roads) > len(motor), "footways and tunnels stay: to leave them out is the rasteriser's work"
    absent = 1 - len(set(buildings["osm_id"])) / len(set(vectors.buildings["osm_id"]))
    assert 0.15 <= absent <= 0.24  # missing, or merged with another
    assert "width_m" not in roads


def test_offset_is_as_recorded(place):
    """The mean way from true to degraded vertices of the roads that remain."""
    name, _, (roads, _) = place
    raw = read_osm(sample.extract_path(sample.PLACES[name].extract)).roads.to_crs(sample.CRS)
    inside = raw.geometry.within(shapely.box(*sample.PLACES[name].grid().bounds))
    true = raw[inside & ~raw["osm_id"].duplicated(keep=False)].set_index("osm_id").geometry
    known = roads.drop_duplicates("osm_id", keep=False).set_index("osm_id").geometry
    both = true.index.intersection(known.index)
    moved = shapely.get_coordinates(known[both].to_numpy()) - shapely.get_coordinates(true[both].to_numpy())
    np.testing.assert_allclose(moved.mean(axis=0), sample.TRUE_OFFSETS_M[name], atol=0.25)
    assert 0.4 < moved.std(axis=0).mean() < 1.3


def test_junctions_hold():
    """Ways that meet in truth meet in the degraded map."""
    grid = sample.PLACES["town"].grid()
    left, top = grid.bounds[0] + 300, grid.bounds[3] - 300
    lines = [shapely.LineString([(left + 40 * i, top), (left + 40 * (i + 1), top - 7 * i)]) for i in range(3)]
    lines.append(shapely.LineString([(left + 40, top), (left + 40, top - 90)]))
    tags = {"osm_id": list("abcd"), "highway": "residential", "lanes": "2", "width": None, "tunnel": None}
    roads = gpd.GeoDataFrame(tags, geometry=lines, crs=sample.CRS)
    houses = gpd.GeoDataFrame({"osm_id": []}, geometry=[], crs=sample.CRS)
    nothing_lost = Degradation(roads_missing=0.0)
    moved, _ = degrade(roads, houses, grid, (3.0, -2.0), 0, nothing_lost)
    ends = shapely.get_coordinates(moved.geometry.iloc[[0, 3]].to_numpy())
    np.testing.assert_array_equal(ends[1], ends[2])
    assert (moved.geometry.iloc[0].distance(lines[0])) > 0


def test_tags_go_missing_and_wrong():
    roads = pd.DataFrame({"lanes": ["2"] * 4000, "width": ["8"] * 4000})
    blurred = blur_tags(roads, np.random.default_rng(0), Degradation())
    assert blurred["lanes"].isna().mean() == pytest.approx(0.5, abs=0.03)
    assert blurred["lanes"].isin(["1", "3"]).mean() == pytest.approx(0.1, abs=0.03)
    assert blurred["width"].isna().mean() == pytest.approx(0.7, abs=0.03)
    assert set(blurred["width"].dropna()) == {"8", "6.0", "10.0"}
    assert (roads["lanes"] == "2").all(), "the truth is untouched"


@pytest.mark.parametrize("wrong", [{"roads_missing": 1.2}, {"buildings_merged": -0.1}])
def test_a_share_is_a_share(wrong):
    with pytest.raises(ParameterError, match="share"):
        Degradation(**wrong)


def test_shadow_lies_opposite_the_sun_and_is_as_long_as_it_should():
    height = np.zeros((200, 200), np.uint16)
    height[95:105, 95:105] = 200  # a tower of 20 m
    sun = Sun(azimuth_deg=180.0, elevation_deg=45.0)
    dark = paint.cast_shadows(height, sun, gsd_m=0.5) > 0.5
    rows, cols = np.nonzero(dark)
    assert rows.max() < 95 and cols.min() >= 94 and cols.max() <= 105
    assert 95 - rows.min() == pytest.approx(20 / 0.5, abs=2)
    assert not dark[95:105, 95:105].any()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    ends=st.lists(st.floats(25, 75), min_size=4, max_size=4).filter(lambda p: np.hypot(p[0] - p[2], p[1] - p[3]) > 8),
    width=st.floats(5, 30),
)
def test_a_road_is_drawn_where_it_is_and_as_wide_as_it_is(ends, width):
    line = shapely.LineString(np.reshape(ends, (2, 2)))
    image = np.zeros((100, 100, 3), np.uint8)
    paint.fill_lines(image, np.array([line]), np.array([width / 2]), (255, 255, 255), smooth=True)
    surface = line.buffer(width / 2)
    assert image[..., 0].sum() / 255 == pytest.approx(surface.area, abs=0.15 * surface.length)
    middle = [np.average(index, weights=image[..., 0]) + 0.5 for index in np.indices((100, 100))[::-1]]
    np.testing.assert_allclose(middle, line.centroid.coords[0], atol=0.2)


@pytest.mark.parametrize("smooth", [False, True])
def test_an_outline_is_on_average_neither_too_large_nor_too_small(smooth):
    rng = np.random.default_rng(0)
    excess_px = []
    for _ in range(200):
        x, y = rng.uniform(40, 60, 2)
        house = shapely.affinity.rotate(shapely.box(x - 15, y - 10, x + 15, y + 10), rng.uniform(0, 180))
        image = np.zeros((100, 100, 3), np.uint8)
        paint.fill(image, [house], (255, 255, 255), smooth)
        excess_px.append((image[..., 0].sum() / 255 - house.area) / house.length)
    assert abs(np.mean(excess_px)) < 0.08


def test_pixels_of_the_scene_are_those_of_its_grid(town):
    grid, vectors = town
    pixels = to_pixels(vectors, grid)
    left, bottom, right, top = pixels.roads.total_bounds
    assert left < SIZE_PX and right > 0 and top > 0 and bottom < SIZE_PX
    assert 0 < len(pixels.roads) < len(vectors.roads)


def test_sample_is_written_whole_once(tmp_path, small_places):
    stages = []
    record = sample.make_sample(tmp_path / "demo", seed=0, progress=stages.append)
    files = sorted(str(path.relative_to(record.parent)) for path in record.parent.rglob("*") if path.is_file())
    expected = [f"images/{n}.tif" for n in sample.PLACES] + ["sample.json"]
    expected += [f"vectors/{n}_{kind}.gpkg" for n in sample.PLACES for kind in ("osm", "truth")]
    assert files == sorted(expected) and stages
    settings_ = json.loads(record.read_text(encoding="utf-8"))
    assert settings_["true_offsets_m"]["helsinki"] == [3.0, -2.0] and settings_["seed"] == 0
    assert "OpenStreetMap contributors" in settings_["attribution"]
    with rasterio.open(record.parent / "images/town.tif") as scene:
        assert scene.crs.to_epsg() == 32635 and scene.res == (0.5, 0.5) and scene.count == 3
        assert tuple(scene.transform)[:6] == sample.PLACES["town"].grid().transform
        assert scene.read().std() > 15
    truth = read_osm(record.parent / "vectors/town_truth.gpkg")
    assert truth.roads.crs.to_epsg() == 4326 and len(truth.buildings) > 2000
    assert pd.to_numeric(truth.roads["width"]).between(2.4, 40).all()
    known = gpd.read_file(record.parent / "vectors/town_osm.gpkg", layer="roads")
    assert {"osm_id", *sample.OSM_ROAD_TAGS} <= set(known.columns)

    before = {path: path.stat().st_mtime_ns for path in record.parent.rglob("*")}
    stages.clear()
    assert sample.make_sample(record.parent, seed=0, progress=stages.append) == record
    assert not stages and before == {path: path.stat().st_mtime_ns for path in record.parent.rglob("*")}

    again = sample.make_sample(tmp_path / "again", seed=0)
    for file in files:
        assert (again.parent / file).read_bytes() == (record.parent / file).read_bytes(), file


def test_broken_run_leaves_no_sample(tmp_path, small_places, monkeypatch):
    record = tmp_path / "sample.json"
    record.write_text('{"version": 0}')  # of an older sample
    monkeypatch.setattr(sample, "write_scene", _full_disk)
    with pytest.raises(OSError, match="disk"):
        sample.make_sample(tmp_path, seed=1)
    assert not record.exists()
    assert not [path for path in tmp_path.rglob(".*")], "no temporary file stays"


def _full_disk(*_):
    raise OSError("disk is full")
