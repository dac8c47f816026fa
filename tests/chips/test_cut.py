"""What is drawn on a chip: gaps between houses, the ignore band, weights of classes."""

import cv2
import geopandas as gpd
import numpy as np
import pytest
import shapely

from lib.chips.cut import ChipOptions
from lib.chips.manifest import WEIGHT_ONE, read_mask, read_weight_levels
from lib.errors import ParameterError

GSD_M = 0.5
ORIGIN = (500_000.0, 6_700_000.0)


@pytest.fixture
def tracks(area):
    """The area with other roads in OSM: a residential street along the middle, and a track in the north-west."""
    x, y = ORIGIN
    lines = [[(x - 50, y - 95), (x + 250, y - 95)], [(x + 10, y - 45), (x + 40, y - 45)]]
    classes = {"highway": ["residential", "track"]}
    roads = gpd.GeoDataFrame(classes, geometry=shapely.linestrings(lines), crs="EPSG:32635")
    roads.to_file(area / "osm.gpkg", layer="roads")
    return area


def test_a_gap_parts_houses(build, area):
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


def test_the_ignore_band_and_the_weights_are_in_the_files(build, tracks):
    manifest = build(tracks, ignore_band_m=1.0, class_weights={"track": 0.25, "residential": 2})
    rows = manifest[(manifest.label == "osm") & (manifest.chip == "scene_r00000_c00000")]
    mask, weights = read_mask(rows["mask"].iloc[0]), read_weight_levels(rows["weight"].iloc[0])
    column = mask[:, 50]  # the track: 2.75 m wide, 1 m either side of both edges is not known
    assert (column == 127).sum() * GSD_M == pytest.approx(3.75, abs=1.1) and (column == 255).sum() <= 2
    assert sorted(np.unique(weights)) == [0.25 * WEIGHT_ONE, WEIGHT_ONE]
    assert (manifest.loc[manifest.label == "clean", "weight"] == "").all()
    assert not any((read_mask(p) == 127).any() for p in manifest.loc[manifest.label == "clean", "mask"])
    again = build(tracks)
    assert (again["weight"] == "").all() and not (read_mask(again["mask"][0]) == 127).any()


@pytest.mark.parametrize("weights", [{"track": -1}, {"track": 256 / WEIGHT_ONE}, {"track": "x"}])
def test_weights_that_no_file_can_hold_are_refused(weights):
    with pytest.raises(ParameterError, match=r"class_weights\['track'\]"):
        ChipOptions(class_weights=weights)


def test_unknown_classes_are_refused(build, area):
    with pytest.raises(ParameterError, match="nearest known one is 'residential'"):
        build(area, class_weights={"residental": 2.0})
    with pytest.raises(ParameterError, match="have none"):
        ChipOptions(task="buildings", class_weights={"track": 2.0})
