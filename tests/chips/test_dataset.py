"""From scenes and vectors to chips: sources, no-data, mask images, resampling, shifts, what is kept."""

import cv2
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from lib.chips import sources
from lib.chips.dataset import ChipOptions, build_chips, chip_windows
from lib.chips.manifest import grid_of, load_manifest, read_image, read_mask
from lib.chips.sources import find_scenes, nodata_area, read_scene, read_vectors
from lib.errors import InputError, ParameterError
from lib.grid import Grid
from lib.osm.lanes import lane_profile
from lib.osm.layers import area_of_interest
from lib.trust.alignment import scene_offsets, shifts
from lib.trust.quality import label_agreement, summary

SIDE_PX, GSD_M = 400, 0.5
ORIGIN = (500_000.0, 6_700_000.0)


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


SOURCE = {"images": "*.tif", "osm": "osm.gpkg", "clean": "truth.gpkg"}


def build(area, source=SOURCE, out="chips", shifts_m=None, **options):
    options = ChipOptions(**{"chip_px": 100, "gsd_m": GSD_M} | options)
    scenes = find_scenes(source, area, options.gsd_m)
    layers = read_vectors(scenes, options.task)
    return load_manifest(build_chips(scenes, layers, area / out, options, lane_profile("metric"), shifts_m))


def test_chips_carry_masks_where_the_vectors_are(area):
    manifest = build(area, chip_px=400, test_share=0, val_share=0)
    clean = read_mask(manifest.loc[manifest.label == "clean", "mask"].iloc[0])
    rows = np.flatnonzero((clean == 255).all(axis=1))
    assert (rows[0], rows[-1]) == (192, 207)  # 8 m at 0.5 m, around the middle
    osm = read_mask(manifest.loc[manifest.label == "osm", "mask"].iloc[0])
    assert np.flatnonzero((osm == 255).all(axis=1))[0] == 192 - 12


def test_osm_moves_by_the_shift_and_clean_stays(area):
    manifest = build(area, shifts_m={"scene": (0.0, -6.0)}, chip_px=400, test_share=0, val_share=0)
    table = label_agreement(manifest)
    assert summary(table)["iou_pooled"] == 1.0
    assert summary(label_agreement(manifest[manifest.label == "osm"])) is None


def test_splits_and_labels(area):
    manifest = build(area, test_share=0.25, val_share=0.25, clean_chips=2)
    counts = manifest.groupby(["label", "split"]).size().to_dict()
    assert counts == {
        ("clean", "test"): 4,
        ("clean", "train"): 2,
        ("clean", "val"): 2,
        ("osm", "train"): 8,
        ("osm", "val"): 4,
    }
    for chip in manifest.itertuples():
        assert shapely.from_wkt(chip.footprint).is_valid
        assert grid_of(chip).crs == "EPSG:32635" and chip.gsd_m == GSD_M


def test_resampling_keeps_the_ground(area):
    manifest = build(area, gsd_m=1.0, chip_px=200, test_share=0, val_share=0)
    assert set(manifest["width"]) == {200}
    clean = read_mask(manifest.loc[manifest.label == "clean", "mask"].iloc[0])
    assert (clean == 255).sum() == 200 * 8


def test_made_again_only_when_something_changed(area):
    first = build(area)
    stamp = (area / "chips" / "manifest.csv").stat().st_mtime_ns
    assert build(area).equals(first) and (area / "chips" / "manifest.csv").stat().st_mtime_ns == stamp
    build(area, clean_chips=1)
    assert (area / "chips" / "manifest.csv").stat().st_mtime_ns != stamp


def test_mask_images_and_white_corners(tmp_path):
    for name, size in (("a", 120), ("b", 120), ("c", 120)):
        image = np.full((size, size, 3), 90, np.uint8)
        image[:40, :40] = 255  # a corner without data, and a white roof
        image[100:110, 100:110] = 255
        mask = np.zeros((size, size), np.uint8)
        mask[50:60] = 1
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
        (tmp_path / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "masks" / f"{name}.png"), mask)
    source = {"images": "*.jpg", "gsd_m": 1.0, "nodata": "white", "clean": "masks/{stem}.png"}
    manifest = build(tmp_path, source, gsd_m=1.0, chip_px=120, val_share=0.34, test_share=0.34)
    assert sorted(manifest.split) == ["test", "train", "val"] and set(manifest.crs) == {""}
    mask = read_mask(manifest["mask"][0])
    assert (mask[:39, :39] == 127).all() and (mask[100:110, 100:110] == 0).all() and (mask[50:60] == 255).all()


def test_scenes_that_are_called_alike(area):
    for x in (299_000, 299_001):
        path = area / "19" / str(x) / "151000.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.full((256, 256, 3), 90, np.uint8))
    tiles = find_scenes({"images": "19/*/*.png", "osm": "osm.gpkg"}, area, GSD_M)
    assert [s.name for s in tiles] == ["19-299000-151000", "19-299001-151000"]
    assert tiles[0].grid.crs == "EPSG:3857"
    twice = [scene for source in (SOURCE, SOURCE | {"nodata": "white"}) for scene in find_scenes(source, area, GSD_M)]
    with pytest.raises(InputError, match=r"scene\.tif and .*scene\.tif have one name"):
        build_chips(twice, {}, area / "chips", ChipOptions(), lane_profile("metric"))


def test_only_the_chosen_area_is_cut(area):
    grid = find_scenes(SOURCE, area, GSD_M)[0].grid
    left, bottom, right, top = area_of_interest(grid.window(90, 90, 120, 230)).bounds
    gpd.GeoDataFrame(geometry=[shapely.box(left, bottom, right, top)], crs="EPSG:4326").to_file(area / "part.geojson")
    for part in ([left, bottom, right, top], "part.geojson"):
        manifest = build(area, SOURCE | {"area": part}, test_share=0, val_share=0)
        assert set(manifest["chip"]) == {"scene_r00100_c00100", "scene_r00200_c00100"}
    with pytest.raises(InputError, match="no image lies in the area"):
        build(area, SOURCE | {"area": [0, 0, 1, 1]})
    with pytest.raises(InputError, match="no chip of .* lies in its area"):
        build(area, SOURCE | {"area": [left, bottom, (left + right) / 2, top]})


def test_a_gap_parts_houses(area):
    house = shapely.box(ORIGIN[0] + 20, ORIGIN[1] - 60, ORIGIN[0] + 40, ORIGIN[1] - 40)
    houses = gpd.GeoDataFrame(
        {"building": "yes"}, geometry=[house, shapely.affinity.translate(house, 20)], crs="EPSG:32635", index=[0, 1]
    )
    houses.to_file(area / "houses.gpkg")
    source = {"images": "*.tif", "osm": "houses.gpkg"}
    for gap_m, count in ((0.0, 1), (2.0, 2)):
        manifest = build(area, source, task="buildings", gap_m=gap_m, chip_px=400, val_share=0, test_share=0)
        mask = read_mask(manifest["mask"][0])
        assert cv2.connectedComponents(mask)[0] - 1 == count


def test_sources_that_cannot_work_say_why(area, tmp_path):
    with pytest.raises(ParameterError, match="knows the keys"):
        find_scenes({"images": "*.tif", "osmm": "x"}, area, 0.5)
    with pytest.raises(ParameterError, match="needs `images`"):
        find_scenes({"images": "*.tif"}, area, 0.5)
    with pytest.raises(InputError, match="is data_dir right"):
        find_scenes(SOURCE | {"images": "*.jp2"}, area, 0.5)
    cv2.imwrite(str(area / "bare.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(InputError, match="give its source a `gsd_m`"):
        find_scenes(SOURCE | {"images": "*.png"}, area, 0.5)
    bare = find_scenes(SOURCE | {"images": "*.png", "gsd_m": 1.0}, area, 0.5)
    with pytest.raises(InputError, match="not georeferenced"):
        read_vectors(bare, "roads")
    (area / "text.tif").write_text("hello")
    with pytest.raises(InputError, match=r"text\.tif"):
        find_scenes(SOURCE, area, 0.5)


def test_missing_and_wrong_sized_mask_images_are_named(area):
    source = {"images": "*.tif", "clean": "masks/{stem}.png"}
    with pytest.raises(InputError, match=r"scene\.tif has no mask"):
        build(area, source)
    (area / "masks").mkdir()
    cv2.imwrite(str(area / "masks" / "scene.png"), np.zeros((10, 10), np.uint8))
    with pytest.raises(InputError, match=r"\(10, 10\) px"):
        build(area, source)


def test_sixteen_bits_one_band_and_transparency_are_read(tmp_path):
    ramp = np.linspace(200, 2200, 64 * 64).reshape(64, 64).astype(np.uint16)
    options = {"driver": "GTiff", "width": 64, "height": 64, "dtype": "uint16"}
    with rasterio.open(tmp_path / "pan.tif", "w", count=1, nodata=0, **options) as file:
        ramp[:8] = 0  # 512 px: more than a speck
        ramp[40, 40] = 0
        file.write(ramp, 1)
    image, valid = read_scene(tmp_path / "pan.tif", (0, 0, 64, 64), (64, 64))
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8 and image[-1, -1].tolist() == [255] * 3
    assert not valid[:8].any() and valid[8:].all()  # the single dark pixel is image
    before = sources._stretch.cache_info().misses
    part, _ = read_scene(tmp_path / "pan.tif", (32, 32, 32, 32), (32, 32))
    assert np.array_equal(part, image[32:, 32:]) and sources._stretch.cache_info().misses == before


def test_white_area_must_be_large():
    image = np.full((60, 60, 3), 255, np.uint8)
    image[30:] = 10
    assert nodata_area(image, "white")[:30].all() and not nodata_area(image, "white")[30:].any()
    with pytest.raises(ParameterError):
        nodata_area(image, "pink")


@pytest.mark.parametrize(("length", "chip", "count"), [(512, 512, 1), (300, 512, 1), (1300, 512, 3), (1100, 512, 2)])
def test_windows_tile_a_scene_without_overlap(length, chip, count):
    windows = list(chip_windows(Grid((1, 0, 0, 0, -1, 0), None, length, chip), chip))
    assert len(windows) == count
    ends = [col + width for col, _, width, _ in windows]
    assert ends == sorted(ends) and ends[-1] <= length
    assert all(a == b for a, b in zip(ends, [w[0] for w in windows][1:], strict=False))


def test_offsets_are_measured_for_large_scenes_with_vectors_only(area):
    scenes = find_scenes(SOURCE, area, GSD_M)
    found = scene_offsets(scenes, read_vectors(scenes, "roads"), "roads", lane_profile("metric"))
    assert list(found["scene"]) == ["scene"]
    found["confidence"] = 0.1
    assert shifts(scenes, found) == {}
    assert shifts(scenes, found.assign(confidence=1.0, dx_m=1.0, dy_m=2.0), 0.5) == {"scene": (1.5, 2.0)}
    assert read_image(build(area)["image"][0]).shape == (100, 100, 3)
