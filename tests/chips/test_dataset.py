"""From scenes and vectors to chips: splits, labels, resampling, shifts, areas, what is kept."""

import os
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from lib.chips.cut import ChipOptions
from lib.chips.dataset import build_chips
from lib.chips.manifest import grid_of, read_image, read_mask
from lib.chips.plan import chip_windows
from lib.chips.sources import find_scenes
from lib.errors import BusyError, InputError
from lib.grid import Grid
from lib.osm.lanes import lane_profile
from lib.osm.layers import area_of_interest
from lib.paths import locked

GSD_M = 0.5
SOURCE = {"images": "*.tif", "osm": "osm.gpkg", "clean": "truth.gpkg"}


def test_chips_carry_masks_where_the_vectors_are(build, area):
    manifest = build(area, chip_px=400, test_share=0, val_share=0)
    clean = read_mask(manifest.loc[manifest.label == "clean", "mask"].iloc[0])
    rows = np.flatnonzero((clean == 255).all(axis=1))
    assert (rows[0], rows[-1]) == (192, 207)  # 8 m at 0.5 m, around the middle
    osm = read_mask(manifest.loc[manifest.label == "osm", "mask"].iloc[0])
    assert np.flatnonzero((osm == 255).all(axis=1))[0] == 192 - 12


def test_osm_moves_by_the_shift_and_clean_stays(build, area):
    manifest = build(area, shifts_m={"scene": (0.0, -6.0)}, chip_px=400, test_share=0, val_share=0)
    osm, clean = (read_mask(manifest.loc[manifest.label == label, "mask"].iloc[0]) for label in ("osm", "clean"))
    assert np.array_equal(osm, clean) and (clean == 255).any()


def test_splits_and_labels(build, area):
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


def test_resampling_keeps_the_ground(build, area):
    manifest = build(area, gsd_m=1.0, chip_px=200, test_share=0, val_share=0)
    assert set(manifest["width"]) == {200}
    clean = read_mask(manifest.loc[manifest.label == "clean", "mask"].iloc[0])
    assert (clean == 255).sum() == 200 * 8


def test_made_again_only_when_something_changed(build, area):
    first = build(area)
    manifest = area / "chips" / "manifest.csv"
    os.utime(manifest, (0, 0))
    assert build(area).equals(first) and manifest.stat().st_mtime_ns == 0
    build(area, clean_chips=1)
    assert manifest.stat().st_mtime_ns > 0


def test_two_processes_do_not_cut_into_one_folder(build, area):
    build(area)
    before = (area / "chips" / "manifest.csv").read_bytes()
    with locked(area / "chips" / "manifest.csv"), pytest.raises(BusyError, match="Wait for it"):
        build(area, clean_chips=1)
    assert (area / "chips" / "manifest.csv").read_bytes() == before


def test_workers_of_a_killed_run_stop_where_another_one_cuts(build, area, monkeypatch):
    results = []

    def run_later(work, jobs, *_):
        blocks = list(jobs)
        (area / "chips" / "manifest.csv.lock").write_text("1")  # as another process does
        results.extend(work(block) for block in blocks)
        raise KeyboardInterrupt

    monkeypatch.setattr("lib.chips.dataset.run_jobs", run_later)
    with pytest.raises(KeyboardInterrupt):
        build(area)
    assert results == [{}] and not (area / "chips" / "images").exists()


def test_files_of_a_power_cut_are_made_again(build, area):
    manifest = build(area)
    chip = manifest.iloc[0]
    before = Path(chip["mask"]).read_bytes()
    Path(chip["mask"]).write_bytes(b"")
    (area / "chips" / "records" / f"{manifest['chip'].iloc[-1]}.json").write_text("[]")
    assert build(area).equals(manifest) and Path(chip["mask"]).read_bytes() == before


def test_hidden_files_are_no_scenes(area):
    for name in ("._scene.tif", ".scene.0123456789ab.tmp.tif"):
        (area / name).write_bytes(b"of another system, or of a writer that was killed")
    assert [scene.name for scene in find_scenes(SOURCE, area, GSD_M)] == ["scene"]


def test_only_the_chosen_area_is_cut(build, area):
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


def test_scenes_of_one_name_are_refused(area):
    twice = [scene for source in (SOURCE, SOURCE | {"nodata": "white"}) for scene in find_scenes(source, area, GSD_M)]
    with pytest.raises(InputError, match=r"scene\.tif and .*scene\.tif have one name"):
        build_chips(twice, {}, area / "chips", ChipOptions(), lane_profile("metric"))


@pytest.mark.parametrize(("length", "chip", "count"), [(512, 512, 1), (300, 512, 1), (1300, 512, 3), (1100, 512, 2)])
def test_windows_tile_a_scene_without_overlap(length, chip, count):
    windows = list(chip_windows(Grid((1, 0, 0, 0, -1, 0), None, length, chip), chip))
    assert len(windows) == count
    ends = [col + width for col, _, width, _ in windows]
    assert ends == sorted(ends) and ends[-1] <= length
    assert all(a == b for a, b in zip(ends, [w[0] for w in windows][1:], strict=False))


def test_the_share_that_is_no_number_is_said_and_ignored(build, tmp_path, capsys):
    pixels = np.random.default_rng(0).random((3, 200, 200), dtype=np.float32)
    pixels[0, ::5, ::5] = np.inf
    profile = {"driver": "GTiff", "width": 200, "height": 200, "count": 3, "dtype": "float32", "crs": "EPSG:32635"}
    with rasterio.open(tmp_path / "a.tif", "w", transform=rasterio.Affine(1, 0, 5e5, 0, -1, 6.7e6), **profile) as file:
        file.write(pixels)
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((200, 200), np.uint8))
    shares = {"val_share": 0.0, "test_share": 0.0, "chip_px": 200}
    manifest = build(tmp_path, {"images": "a.tif", "clean": "mask.png", "empty": True}, gsd_m=1.0, **shares)
    assert "a.tif: 4 % of its pixels are no numbers (NaN, inf): ignored" in capsys.readouterr().out
    mask = read_mask(manifest["mask"][0])
    assert (mask[::5, ::5] == 127).all() and (mask == 127).mean() == pytest.approx(0.04)
    assert read_image(manifest["image"][0]).std() > 60
