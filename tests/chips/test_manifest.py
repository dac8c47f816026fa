"""The manifest of chips, and reading and writing what it lists."""

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lib.chips.manifest import (
    COLUMNS,
    load_manifest,
    read_image,
    read_mask,
    read_weight_levels,
    select,
    windows_of,
    write_manifest,
    write_png,
)
from lib.errors import InputError
from lib.grid import Grid


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for i, split in enumerate(["train", "train", "val", "test"]):
        image = write_png(tmp_path / "images" / f"c{i}.png", rng.integers(0, 255, (40, 50, 3), dtype=np.uint8))
        mask = write_png(tmp_path / "masks_osm" / f"c{i}.png", np.full((40, 50), 255, np.uint8))
        numbers = {"gsd_m": 0.5, "crs": "", "transform": "", "width": 50, "height": 40, "footprint": ""}
        rows.append(
            {"chip": f"0{i}", "scene": "s", "image": image, "mask": mask, "label": "osm", "split": split} | numbers
        )
    write_manifest(pd.DataFrame(rows), tmp_path / "manifest.csv")
    return tmp_path


def test_manifest_round_trip_keeps_ids_as_text_and_paths_relative_in_the_file(folder):
    manifest = load_manifest(folder)
    assert list(manifest.columns) == list(COLUMNS)
    assert list(manifest["chip"]) == ["00", "01", "02", "03"]
    assert "images/c0.png" in (folder / "manifest.csv").read_text()
    assert str(folder) not in (folder / "manifest.csv").read_text()
    assert read_image(manifest["image"][0]).shape == (40, 50, 3)
    assert len(select(manifest, "osm", "train")) == 2
    with pytest.raises(InputError, match="the manifest holds"):
        select(manifest, "clean", "train")


def test_weights_are_optional_and_64_counts_once(folder):
    manifest = load_manifest(folder)
    assert list(manifest["weight"]) == [""] * 4
    manifest.loc[0, "weight"] = str(write_png(folder / "weights" / "c0.png", np.full((40, 50), 32, np.uint8)))
    write_manifest(manifest, folder / "manifest.csv")
    again = load_manifest(folder)
    assert list(again["weight"].map(bool)) == [True, False, False, False]
    assert (read_weight_levels(again["weight"][0]) == 32).all()
    with pytest.raises(InputError, match="weights"):
        read_weight_levels(folder / "nowhere.png")
    cv2.imwrite(str(folder / "deep.png"), np.full((4, 4), 64, np.uint16))
    with pytest.raises(InputError, match=r"deep\.png has weights of 16 bits: expected an 8-bit PNG, 64 for 1"):
        read_weight_levels(folder / "deep.png")


def test_manifest_errors_say_what_to_do(tmp_path, folder):
    with pytest.raises(InputError, match="01_rasterize_osm"):
        load_manifest(tmp_path / "nowhere")
    text = (folder / "manifest.csv").read_text()
    (folder / "manifest.csv").write_text(text.replace(",test,", ",exam,"))
    with pytest.raises(InputError, match="unknown split.*exam"):
        load_manifest(folder)
    (folder / "manifest.csv").write_text(text.replace("gsd_m", "gsd"))
    with pytest.raises(InputError, match="lacks the columns"):
        load_manifest(folder)


def with_cell(folder, column, value, row=0):
    """The manifest with one cell changed, as somebody else might have written it."""
    table = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    table.loc[row, column] = value
    table.to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("chip", "01", "01 is there twice"),
        ("mask", "", "00 has no mask"),
        ("image", "", "00 has no image"),
        ("gsd_m", "0,5", "gsd_m holds '0,5'; expected metres"),
    ],
)
def test_cells_that_a_hand_wrote_are_checked_before_anything_is_done(folder, column, value, said):
    with pytest.raises(InputError, match=said):
        load_manifest(with_cell(folder, column, value))


def test_one_chip_has_a_row_for_each_label(folder):
    table = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    both = pd.concat([table, table.assign(label="clean", gsd_m="")])
    both.to_csv(folder / "manifest.csv", index=False)
    assert load_manifest(folder)["gsd_m"].isna().sum() == 4


@pytest.mark.parametrize("name", ["..", "../c", "/c", "a/b", "", ".", "c/"])
@pytest.mark.parametrize("column", ["chip", "scene"])
def test_names_lead_nowhere(folder, column, name):
    with pytest.raises(InputError, match="is no name of a chip"):
        load_manifest(with_cell(folder, column, name))


@pytest.mark.parametrize("column", ["image", "mask", "weight"])
def test_files_lie_beside_the_manifest_unless_that_is_allowed(folder, column, tmp_path_factory):
    elsewhere = write_png(tmp_path_factory.mktemp("elsewhere") / "x.png", np.zeros((4, 4), np.uint8))
    (folder / "linked.png").symlink_to(elsewhere)
    inside = folder / "images" / ".." / "images" / "c1.png"
    assert load_manifest(with_cell(folder, column, str(inside)))[column][0] == str(inside.resolve())
    for path in (str(elsewhere), f"../{elsewhere.parent.name}/x.png", "linked.png", "..", f"{folder}2/x.png"):
        with pytest.raises(InputError, match=f"{column} names .* outside its folder"):
            load_manifest(with_cell(folder, column, path))
    allowed = load_manifest(with_cell(folder, column, str(elsewhere)), files_elsewhere=True)
    assert allowed[column][0] == str(elsewhere)
    write_manifest(allowed, folder / "again.csv")
    assert load_manifest(folder / "again.csv", files_elsewhere=True).equals(allowed)


def test_a_folder_that_is_a_link_is_the_manifests_own(folder, tmp_path_factory):
    link = tmp_path_factory.mktemp("link") / "chips"
    link.symlink_to(folder)
    assert load_manifest(link).equals(load_manifest(folder))


def test_colours_are_rgb_on_disk_and_back(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 200
    assert (read_image(write_png(tmp_path / "a.png", image)) == image).all()


@pytest.mark.parametrize("turned", [3, 6])
def test_chips_and_masks_lie_as_they_are_stored_whatever_a_camera_says(tmp_path, turned):
    image = np.zeros((8, 8, 3), np.uint8)
    image[:2] = 200
    image[:, :2, 0] = 255
    mask = np.where(image[..., 0] == 255, 255, 0).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turned
    Image.fromarray(image).save(tmp_path / "image.png", exif=exif)
    Image.fromarray(np.kron(image, np.ones((8, 8, 1), np.uint8))).save(tmp_path / "image.jpg", quality=100, exif=exif)
    Image.fromarray(mask).save(tmp_path / "mask.png", exif=exif)
    assert (read_image(tmp_path / "image.png") == image).all()
    assert np.abs(read_image(tmp_path / "image.jpg")[4::8, 4::8].astype(int) - image).max() < 60
    assert (read_mask(tmp_path / "mask.png") == mask).all()
    assert (read_weight_levels(tmp_path / "mask.png") == mask).all()


def test_a_tiff_that_opencv_would_turn_is_refused(tmp_path):
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "image.tif", tiffinfo={274: 3})
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "mask.tif", tiffinfo={274: 3})
    for read, name in ((read_image, "image"), (read_mask, "mask"), (read_weight_levels, "mask")):
        with pytest.raises(InputError, match=rf"{name}\.tif has the TIFF orientation 3: .* rio convert"):
            read(tmp_path / f"{name}.tif")


def test_bad_files_are_named(tmp_path):
    text = tmp_path / "text.tif"
    text.write_text("not an image")
    with pytest.raises(InputError, match=r"text\.tif"):
        read_image(text)
    with pytest.raises(InputError, match=r"text\.tif"):
        read_mask(text)
    grey = write_png(tmp_path / "grey.png", np.full((4, 4), 90, np.uint8))
    with pytest.raises(InputError, match=r"grey\.png holds the values 90"):
        read_mask(grey)


def test_strangers_masks_are_read_and_never_become_empty(tmp_path):
    road = np.zeros((4, 6), np.uint16)
    road[1] = 1
    for name, mask in (("bytes", road.astype(np.uint8)), ("sixteen_bits", road), ("two", 2 * road.astype(np.uint8))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), mask)
        assert (read_mask(tmp_path / f"{name}.png") == 255 * road).all(), name


def test_chips_are_found_again_in_their_scene():
    scene = Grid((0.5, 0, 500_000.0, 0, -0.5, 6_700_000.0), "EPSG:32635", 400, 300)
    windows = [(0, 0, 64, 64), (336, 200, 64, 50)]
    grids = [scene.window(*window) for window in windows]
    chips = pd.DataFrame(
        {
            "transform": [" ".join(f"{v:.12g}" for v in grid.transform) for grid in grids],
            "crs": [grid.crs for grid in grids],
            "width": [grid.width for grid in grids],
            "height": [grid.height for grid in grids],
        }
    )
    assert windows_of(chips, scene) == windows


def test_pngs_are_lossless_and_runs_in_them_cost_nothing(tmp_path):
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (96, 128, 3), np.uint8), 255 * rng.integers(0, 2, (96, 128), np.uint8)
    assert (read_image(write_png(tmp_path / "noise.png", image)) == image).all()
    assert (read_mask(write_png(tmp_path / "mask.png", mask)) == mask).all()
    for blank in (np.full((512, 512, 3), 200, np.uint8), np.zeros((512, 512), np.uint8)):
        assert write_png(tmp_path / "blank.png", blank).stat().st_size < 5000
