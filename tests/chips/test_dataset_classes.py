"""Chips of several classes: rows of a manifest by class, the same masks as of each class alone, and labels of one."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from lib.chips.manifest import CLASS, load_manifest, of_class, of_task, rows_by_chip, select, write_manifest, write_png
from lib.chips.options import check_source, sources_of
from lib.errors import InputError, ParameterError
from tests.chips.conftest import ORIGIN, SIDE_PX, SOURCE

BOTH = "roads+buildings"
NAMES = ["chip", "label", "split"]


@pytest.fixture
def town(area):
    """The area, with a house of 30 m in each of its chips as a layer of both files."""
    for name in ("truth", "osm"):
        corners = [(x, y) for x in range(10, 200, 50) for y in range(10, 200, 50)]
        houses = [shapely.box(ORIGIN[0] + x, ORIGIN[1] - y - 30, ORIGIN[0] + x + 30, ORIGIN[1] - y) for x, y in corners]
        frame = gpd.GeoDataFrame({"building": ["yes"] * len(houses)}, geometry=houses, crs="EPSG:32635")
        frame.to_file(area / f"{name}.gpkg", layer="buildings")
    return area


def contents(rows) -> list[bytes]:
    return [Path(path).read_bytes() for path in rows["mask"]]


def test_two_classes_have_the_masks_that_each_has_alone(town, build):
    both = build(town, task=BOTH, clean_chips=2, class_weights={"residential": 2.0}, ignore_band_m=1.0)
    assert not (both.groupby(["chip", "label"])[CLASS].agg(tuple) != ("roads", "buildings")).any()
    assert both.groupby("chip")["image"].nunique().max() == 1
    for kind in ("roads", "buildings"):
        weights = {"class_weights": {"residential": 2.0}} if kind == "roads" else {}
        alone = build(town, task=kind, clean_chips=2, ignore_band_m=1.0, **weights)
        own = of_task(both, kind)
        assert CLASS not in alone and CLASS not in own
        assert own[NAMES].values.tolist() == alone[NAMES].values.tolist()
        assert contents(own) == contents(alone)
        assert (own["weight"] != "").tolist() == (alone["weight"] != "").tolist()
        with pytest.raises(InputError, match="no masks of"):
            of_task(alone, BOTH)


def test_a_manifest_of_classes_is_written_and_read_as_it_is(town, build, tmp_path):
    both = build(town, task=BOTH)
    again = load_manifest(write_manifest(both, town / "chips" / "again.csv"))
    assert again.equals(both) and list(again.columns).count(CLASS) == 1
    chips = rows_by_chip(select(both, "osm", "train"), BOTH)
    assert all(road.chip == house.chip and road.mask != house.mask for road, house in chips)
    with pytest.raises(InputError, match="there are chips of 'buildings'"):
        rows_by_chip(both, "roads")
    with pytest.raises(InputError, match="unknown class"):
        write_manifest(both.assign(**{CLASS: "trees"}), town / "chips" / "wrong.csv")
        load_manifest(town / "chips" / "wrong.csv")


def test_a_file_without_a_class_is_refused_until_it_says_what_it_holds(area, build):
    with pytest.raises(InputError, match=r"no buildings of `osm`.*the class that it holds: `osm: \{CLASS: FILE\}`"):
        build(area, task=BOTH)


def test_a_label_that_knows_one_class_leaves_the_other_out(town, build):
    source = {"images": "*.tif", "osm": "osm.gpkg", "clean": {"roads": "truth.gpkg"}}
    both = build(town, source, task=BOTH)
    assert set(both.loc[both["label"] == "clean", CLASS]) == {"roads"}
    assert set(both.loc[both["label"] == "osm", CLASS]) == {"roads", "buildings"}
    clean = rows_by_chip(both[both["label"] == "clean"], BOTH)
    assert all(house is None for _, house in clean)
    assert len(of_class(both, "roads")) > len(of_class(both, "buildings"))
    with pytest.raises(ParameterError, match="no source has labels of buildings"):
        build(town, {"images": "*.tif", "clean": {"roads": "truth.gpkg"}}, task=BOTH)


@pytest.mark.filterwarnings("ignore:No chip of")
def test_a_mask_image_says_of_which_class_it_is(town, build):
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    mask[::50] = 255
    write_png(town / "drawn.png", mask)
    with pytest.raises(ParameterError, match=r"a mask image is of one class.*clean: \{roads: 'drawn.png'\}"):
        build(town, SOURCE | {"clean": "drawn.png"}, task=BOTH)
    both = build(
        town, SOURCE | {"clean": {"buildings": "drawn.png", "roads": "truth.gpkg"}}, task=BOTH, chip_px=SIDE_PX
    )
    drawn = both[(both["label"] == "clean") & (both[CLASS] == "buildings")]
    assert contents(drawn) == [write_png(town / "same.png", mask).read_bytes()]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"clean": {"trees": "a.gpkg"}}, "no name 'trees'"),
        ({"clean": {}}, "needs `osm` or `clean`"),
        ({"osm": "a.gpkg", "clean": {}}, "expected a file for a class"),
        ({"clean": {"roads": "{place}.gpkg"}}, "no part of images"),
        ({"clean": {"roads": "a.gpkg", "buildings": "b.gpkg"}, "clean_area": "hull"}, "files of their own"),
        ({"clean": {"roads": "{stem}.png"}, "clean_area": "hull"}, "mask images"),
    ],
)
def test_sources_of_classes_that_cannot_be_meant_are_refused(keys, message):
    with pytest.raises(ParameterError, match=message):
        check_source({"images": "*.tif"} | keys)


def test_a_source_of_one_file_is_the_same_for_each_class():
    assert all(own is SOURCE for own in sources_of(SOURCE, BOTH).values())
    one = sources_of(SOURCE | {"clean": {"buildings": "houses.gpkg"}}, "buildings")
    assert one == {"buildings": SOURCE | {"clean": "houses.gpkg"}}
