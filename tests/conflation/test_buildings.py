"""Buildings against OSM's: missing, vanished, changed; and rows of houses that are no change."""

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.conflation.buildings import BuildingRules, compare_buildings
from lib.conflation.ground import ground_of_arrays
from lib.errors import InputError, ParameterError
from lib.masks.offset import Offset, shift

HOUSES = [(20 + 60 * i, 20 + 60 * j, 40 + 60 * i, 34 + 60 * j) for i in range(6) for j in range(6)]


@pytest.fixture(scope="module")
def ground(grid):
    probability = np.full((grid.height, grid.width), 0.03, np.float32)
    for left, top, right, bottom in HOUSES:
        probability[top:bottom, left:right] = 0.85
    image = np.full((grid.height, grid.width, 3), 130, np.uint8)
    return ground_of_arrays(grid, probability, image)


def test_the_same_houses_are_no_change(ground, polygons_frame):
    found = compare_buildings(polygons_frame(HOUSES), polygons_frame(HOUSES), ground)
    assert not len(found.missing) and not len(found.vanished) and not len(found.changed)


def test_a_house_that_osm_lacks_is_missing_and_one_that_is_gone_has_vanished(ground, polygons_frame):
    gone = (360, 380, 390, 395)
    osm = polygons_frame([*HOUSES[1:], gone])
    found = compare_buildings(polygons_frame(HOUSES), osm, ground)
    assert list(found.missing.columns) == ["candidate", "area_m2", "confidence", "status", "geometry"]
    assert found.missing[["candidate", "area_m2", "status"]].to_numpy().tolist() == [[0, 280, "open"]]
    assert found.missing["confidence"].item() == pytest.approx(0.85, abs=0.03)
    assert found.missing.geometry[0].equals(polygons_frame(HOUSES[:1]).geometry[0])
    assert list(found.vanished.columns) == ["osm_id", "area_m2", "confidence", "reason", "geometry"]
    assert found.vanished["osm_id"].tolist() == [f"way/{len(HOUSES) - 1}"]
    assert found.vanished["confidence"].item() == pytest.approx(0.97, abs=0.01)
    assert not len(found.changed)


def test_what_is_underground_has_not_vanished_and_explains_no_house(ground, polygons_frame):
    osm = polygons_frame([*HOUSES, (360, 380, 390, 395)])
    osm["location"] = ["underground"] + [None] * (len(HOUSES) - 1) + ["underground"]
    found = compare_buildings(polygons_frame(HOUSES), osm, ground)
    assert len(found.missing) == 1 and not len(found.vanished)


def test_a_house_that_is_seen_but_was_not_drawn_has_not_vanished(ground, polygons_frame):
    found = compare_buildings(polygons_frame(HOUSES[1:]), polygons_frame(HOUSES), ground)
    assert not len(found.vanished)


def test_another_outline_is_a_change_by_its_iou(ground, polygons_frame):
    left, top, right, bottom = HOUSES[7]
    osm = polygons_frame([*HOUSES[:7], (left, top, left + 8, bottom), *HOUSES[8:]])  # 8 of 20 m are drawn
    found = compare_buildings(polygons_frame(HOUSES), osm, ground)
    assert list(found.changed.columns)[:3] == ["candidate", "osm_id", "iou"]
    assert found.changed[["candidate", "osm_id"]].to_numpy().tolist() == [[0, "way/7"]]
    assert found.changed["iou"].item() == pytest.approx(0.4) and not len(found.missing)
    loose = compare_buildings(polygons_frame(HOUSES), osm, ground, BuildingRules(same_iou=0.35))
    assert not len(loose.changed)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_mapping_buildings_twice_changes_no_candidate(ground, polygons_frame, data):
    """Of half of the houses OSM has a part, some of them twice, and one that lies over it."""
    widths = data.draw(st.lists(st.integers(1, 24), min_size=18, max_size=18))
    parts = zip(HOUSES[:18], widths, strict=True)
    osm = polygons_frame([(left, top, left + width, bottom) for (left, top, _, bottom), width in parts])
    again = osm.iloc[data.draw(st.lists(st.integers(0, 17), unique=True))]
    once, twice = (
        compare_buildings(polygons_frame(HOUSES), frame, ground, offset=Offset(0, 0, 0, 0, 0))
        for frame in (osm, pd.concat([osm, again, again.buffer(-0.2).to_frame("geometry").assign(osm_id="way/x")]))
    )
    assert once.missing.geom_equals(twice.missing).all() and len(once.missing) == len(twice.missing)
    assert once.changed["iou"].to_numpy() == pytest.approx(twice.changed["iou"].to_numpy())
    assert once.changed["iou"].between(0, 1).all()


def test_a_house_over_a_shed_of_osm_is_missing_and_asked_about_once(ground, polygons_frame):
    left, top, right, bottom = HOUSES[0]
    osm = polygons_frame([(left, top, left + 3, bottom), *HOUSES[1:]])  # 3 of 20 m are drawn
    found = compare_buildings(polygons_frame(HOUSES), osm, ground)
    assert len(found.missing) == 1 and not len(found.changed) and not len(found.vanished)


def test_a_row_of_houses_drawn_as_one_is_no_change(ground, polygons_frame):
    left, top, right, bottom = HOUSES[0]
    row = [(left + 5 * i, top, left + 5 * i + 5, bottom) for i in range(4)]
    for own, theirs in ((HOUSES, [*row, *HOUSES[1:]]), ([*row, *HOUSES[1:]], HOUSES)):
        found = compare_buildings(polygons_frame(own), polygons_frame(theirs), ground)
        assert not len(found.changed) and not len(found.missing) and not len(found.vanished)


def test_the_offset_is_undone_and_what_lies_elsewhere_has_not_vanished(ground, polygons_frame):
    elsewhere = (5000, 5000, 5020, 5020)
    osm = shift(polygons_frame([*HOUSES[1:], elsewhere]), 5.0, 4.0)
    found = compare_buildings(polygons_frame(HOUSES), osm, ground)
    assert found.shift_m == pytest.approx((-5, -4), abs=0.5)
    assert len(found.missing) == 1 and not len(found.vanished) and not len(found.changed)


def test_a_leaf_roof_may_hide_a_vanished_house(ground, grid, polygons_frame):
    image = np.full((grid.height, grid.width, 3), 130, np.uint8)
    image[380:396, 360:392] = (60, 95, 50)
    green = ground_of_arrays(grid, ground.probability((0, 0, grid.width, grid.height)), image)
    found = compare_buildings(polygons_frame(HOUSES), polygons_frame([*HOUSES, (360, 380, 390, 395)]), green)
    assert found.vanished["reason"].tolist() == ["tree cover"]


def test_sheds_and_empty_frames(ground, polygons_frame):
    shed = (200, 5, 203, 8)
    found = compare_buildings(polygons_frame([*HOUSES, shed]), polygons_frame(HOUSES), ground)
    assert not len(found.missing)
    empty = polygons_frame(HOUSES).iloc[:0]
    assert len(compare_buildings(empty, empty, ground).vanished) == 0
    assert len(compare_buildings(empty, polygons_frame(HOUSES), ground).missing) == 0
    assert len(compare_buildings(polygons_frame(HOUSES), empty, ground).missing) == len(HOUSES)


def test_crossing_rings_are_mended_and_a_frame_without_crs_is_refused(ground, polygons_frame, grid):
    import shapely

    osm = polygons_frame(HOUSES)
    left, top, right, bottom = HOUSES[0]
    bow = shapely.Polygon([(left, top), (right, bottom), (right, top), (left, bottom)])
    osm.loc[0, "geometry"] = shapely.transform(bow, grid.pixel_to_world)
    for own, theirs in ((polygons_frame(HOUSES), osm), (osm, polygons_frame(HOUSES))):
        found = compare_buildings(own, theirs, ground)
        assert len(found.changed) <= 1 and not len(found.missing)
    with pytest.raises(InputError, match="no CRS"):
        compare_buildings(osm.set_crs(None, allow_override=True), osm, ground)
    with pytest.raises(ParameterError, match="same_iou"):
        BuildingRules(same_iou=0)


def test_polygons_of_a_mask_are_compared_as_they_come(grid, polygons_frame, ground):
    import geopandas as gpd
    import shapely

    from lib.vectors.buildings import mask_to_polygons

    probability = cv2.GaussianBlur(ground.probability((0, 0, grid.width, grid.height)), (0, 0), 0.7)
    shapes = shapely.transform(np.array(mask_to_polygons(probability, grid.gsd_m), object), grid.pixel_to_world)
    found = compare_buildings(gpd.GeoDataFrame(geometry=shapes, crs=grid.crs), polygons_frame(HOUSES[5:]), ground)
    assert len(found.missing) == 5 and not len(found.changed) and not len(found.vanished)
