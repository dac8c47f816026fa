"""Images and labels that share a part of their names: DeepGlobe's, SpaceNet's, anybody's."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.chips.manifest import read_mask
from lib.chips.naming import as_glob, fill, match
from lib.chips.options import check_source
from lib.chips.sources import find_scenes
from lib.errors import ParameterError
from lib.paths import ROOT

SHARED = ROOT.parent / "shared" / "data"


@pytest.mark.parametrize(
    ("images", "label", "name", "expected"),
    [
        ("train/{id}_sat.jpg", "train/{id}_mask.png", "train/104_sat.jpg", "train/104_mask.png"),
        (
            "PS-RGB/RGB-PanSharpen_{id}.tif",
            "geojson/buildings/buildings_{id}.geojson",
            "PS-RGB/RGB-PanSharpen_AOI_2_Vegas_img0.tif",
            "geojson/buildings/buildings_AOI_2_Vegas_img0.geojson",
        ),
        ("{city}/*/{city}_{n}.tif", "{city}/{n}.png", "oslo/a/oslo_7.tif", "oslo/7.png"),
        ("**/{id}.tif", "{id}.png", "x/y/7.tif", "7.png"),
        ("img[0-9]?.tif", "{stem}.png", "img12.tif", "img12.png"),
        ("a[[]1]/{id}.tif", "{id}.png", "a[1]/7.tif", "7.png"),
    ],
)
def test_the_label_of_an_image(images, label, name, expected):
    assert fill(label, match(images, name)) == expected


@pytest.mark.parametrize(
    ("images", "name"),
    [
        ("{id}_sat.jpg", "104_mask.png"),
        ("{city}/{city}.tif", "oslo/bergen.tif"),
        ("{id}.tif", "a/b.tif"),
        ("{id}[!a].tif", "xa.tif"),
    ],
)
def test_other_names_are_no_images(images, name):
    assert match(images, name) is None


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_any_text_can_be_a_part(text):
    assert match("a.+({id}).tif", f"a.+({text}).tif")["id"] == text
    assert as_glob("a/{id}.tif") == "a/*.tif"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"images": "{id}.jpg", "clean": "{name}.png"}, r"\{name\} is no part of images '\{id\}.jpg'; it knows \{id\}"),
        ({"images": "{stem}.jpg", "clean": "{stem}.png"}, "stem.* is what every image has"),
    ],
)
def test_a_part_that_nothing_names_is_refused(source, message):
    with pytest.raises(ParameterError, match=message):
        check_source(source)


def test_deepglobe_as_it_is_shipped(tmp_path, build):
    folder = SHARED / "deepglobe-roads" / "train"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    shutil.copytree(folder, tmp_path / "train")
    source = {"images": "train/{id}_sat.jpg", "clean": "train/{id}_mask.png", "gsd_m": 0.5}
    scenes = find_scenes(source, tmp_path, 0.5)
    assert [scene.name for scene in scenes] == ["104_sat", "113_sat"]
    manifest = build(tmp_path, source, chip_px=256)
    assert set(manifest["split"]) == {"train", "val", "test"} and set(manifest["label"]) == {"clean"}
    assert any((read_mask(path) == 255).any() for path in manifest["mask"])
