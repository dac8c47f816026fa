"""Roads against OSM's: what is missing, what is not seen, and what neither may depend on."""

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.conflation.ground import ground_of_arrays
from lib.conflation.roads import MISSING_COLUMNS, UNSEEN_COLUMNS, RoadRules, compare_roads
from lib.errors import InputError, ParameterError
from lib.masks.offset import shift
from lib.networks.calibration import Curve
from lib.vectors.roadgraph import mask_to_graph, to_geodataframe


@pytest.fixture(scope="module")
def extracted(town, grid):
    return to_geodataframe(mask_to_graph(town.probability, grid.gsd_m), grid)


def test_nothing_is_missing_or_unseen_where_both_agree(town, extracted):
    found = compare_roads(extracted, town.roads, town.ground)
    assert not len(found.missing) and not len(found.unseen)
    assert found.totals.set_index("highway").loc["all", "osm_km"] == pytest.approx(3 * 0.4 + 3 * 0.28, abs=0.01)


def test_a_removed_street_is_one_candidate_that_names_the_road_it_would_join(town, extracted):
    osm = town.roads.drop(index=1)  # the street across the middle, which two others cross
    found = compare_roads(extracted, osm, town.ground)
    assert tuple(found.missing.columns[:-1]) == MISSING_COLUMNS and found.missing.crs == extracted.crs
    assert found.missing["length_m"].sum() == pytest.approx(400, abs=12)
    assert found.missing["confidence"].between(0.85, 0.92).all()
    assert set(found.missing["joins"]) <= {"way/3", "way/4", "way/5"} and set(found.missing["status"]) == {"open"}
    true = town.roads.geometry[1]
    assert found.missing.distance(true).max() < 1
    totals = found.totals.set_index("highway")
    assert totals.loc["residential", "missing_pct"] == pytest.approx(100 * 400 / 1640, abs=1)


def test_the_straight_line_through_a_junction_that_osm_lacks_is_one_candidate(grid, roads_frame, town, extracted):
    found = compare_roads(extracted, town.roads.iloc[:0], town.ground)
    assert found.missing["length_m"].sum() == pytest.approx(2040, abs=30)
    assert set(found.missing["joins"]) == {""}
    assert list(found.missing["candidate"]) == list(range(len(found.missing)))
    assert found.missing["confidence"].is_monotonic_decreasing


def test_a_road_of_osm_that_no_image_shows_is_unseen_and_a_tunnel_is_not(town, extracted, roads_frame):
    lines = [*town.lines, [(0, 130), (400, 130)], [(0, 270), (400, 270)]]
    tunnel = [None] * 7 + ["yes"]
    found = compare_roads(extracted, roads_frame(lines, tunnel=tunnel, name="High Street"), town.ground)
    assert tuple(found.unseen.columns[:-1]) == UNSEEN_COLUMNS
    assert set(found.unseen["osm_id"]) == {"way/6"} and set(found.unseen["name"]) == {"High Street"}
    # not where the three streets cross it, of which each is seen for SMOOTH_M and its own width
    assert 280 < found.unseen["length_m"].sum() < 400
    assert found.unseen["confidence"].max() < 0.2 and set(found.unseen["reason"]) == {""}


def test_unseen_ends_where_the_map_was_not_seen(town, grid, extracted, roads_frame):
    probability = town.probability.copy()
    probability[:, 250:] = np.nan
    ground = ground_of_arrays(grid, probability, town.image)
    found = compare_roads(extracted, roads_frame([*town.lines, [(0, 130), (400, 130)]]), ground)
    assert found.unseen.total_bounds[2] <= grid.pixel_to_world(np.array([[251.0, 0]]))[0, 0]
    assert found.totals.set_index("highway").loc["all", "osm_km"] == pytest.approx(1.56, abs=0.01)


def test_the_offset_is_measured_and_undone(town, extracted):
    moved = shift(town.roads.drop(index=1), 9.0, -7.0)
    found = compare_roads(extracted, moved, town.ground)
    # the vectors lie 9 m east and 7 m south: they move back, to the left and up
    assert (found.offset.dx_m, found.offset.dy_m) == pytest.approx((-9, 7), abs=0.5)
    assert found.missing["length_m"].sum() == pytest.approx(400, abs=12)
    assert not len(found.unseen)


@pytest.mark.parametrize("turn_deg, up", [(0, -1), (0, 1), (30, -1)], ids=["north up", "south up", "turned"])
def test_what_was_undone_is_told_in_metres_east_and_north(town, extracted, turn_deg, up):
    cos, sin = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    grid = replace(town.ground.grid, transform=(cos, -up * sin, 5e5, sin, up * cos, 6.7e6))

    def on_grid(frame):
        pixels = shapely.transform(frame.geometry.to_numpy(), town.ground.grid.world_to_pixel)
        return frame.set_geometry(shapely.transform(pixels, grid.pixel_to_world), crs=grid.crs)

    roads = on_grid(town.roads)
    osm = shift(roads.drop(index=1), 9.0, -7.0)
    found = compare_roads(on_grid(extracted), osm, ground_of_arrays(grid, town.probability))
    assert found.shift_m == pytest.approx((-9, 7), abs=0.7)
    assert shift(osm, *found.shift_m).geometry.hausdorff_distance(roads.geometry.drop(index=1)).max() < 1


def test_a_candidate_is_a_road_by_direction_too(town, extracted, roads_frame):
    """A street that crosses many others is near to OSM's roads everywhere, and along none of them."""
    ladder = [[(x, 180), (x, 220)] for x in range(4, 400, 8)]
    found = compare_roads(extracted, roads_frame([*town.lines[:1], *town.lines[2:], *ladder]), town.ground)
    assert found.missing["length_m"].sum() == pytest.approx(400, abs=20)


def test_a_path_explains_what_runs_along_it_and_not_the_street_beside_it(town, extracted, roads_frame):
    for by_m, metres in ((2.0, 0.0), (7.0, 400.0)):
        path = [(0, 200 + by_m), (400, 200 + by_m)]
        osm = roads_frame([town.lines[0], path, *town.lines[2:]], highway=["residential", "footway"] + 4 * ["service"])
        found = compare_roads(extracted, osm, town.ground)
        assert found.missing["length_m"].sum() == pytest.approx(metres, abs=12)


def test_areas_and_multilines_of_osm_are_roads(town, extracted, grid):
    parts = [shapely.LineString(grid.pixel_to_world(np.array(line, float))) for line in town.lines[:1] + town.lines[2:]]
    square = shapely.box(0, 190, 400, 210)
    geometry = [shapely.MultiLineString(parts), shapely.transform(square, grid.pixel_to_world)]
    table = {"osm_id": ["relation/1", "way/2"], "highway": ["residential", "service"], "area": [None, "yes"]}
    found = compare_roads(extracted, gpd.GeoDataFrame(table, geometry=geometry, crs=grid.crs), town.ground)
    assert not len(found.missing)


def test_confidence_is_calibrated_where_a_curve_is_given(town, extracted):
    curve = Curve((0.0, 1.0), (0.3, 0.3), 10)
    found = compare_roads(extracted, town.roads.drop(index=1), town.ground, curve=curve)
    assert set(found.missing["confidence"]) == {0.3}


def test_any_crs_gives_the_same_metres(town, extracted):
    osm = town.roads.drop(index=1)
    first, other = (compare_roads(extracted.to_crs(crs), osm.to_crs(crs), town.ground) for crs in (32635, 3857))
    assert first.missing["length_m"].sum() == pytest.approx(other.missing["length_m"].sum(), rel=1e-3)
    assert other.missing.crs == town.ground.grid.crs


def test_a_map_of_pixels_larger_than_any_offset_is_compared_where_it_lies(town, extracted):
    grid = town.ground.grid.resampled(20, 20)  # 20 m a pixel
    found = compare_roads(extracted, town.roads, ground_of_arrays(grid, np.full((20, 20), 0.9, np.float32)))
    assert found.shift_m == (0, 0) and not len(found.missing)


def test_no_roads_and_no_osm_are_no_error(town, extracted):
    none = compare_roads(extracted.iloc[:0], town.roads.iloc[:0], town.ground)
    assert not len(none.missing) and not len(none.unseen) and list(none.totals["highway"]) == ["all"]
    assert len(compare_roads(extracted.iloc[:0], town.roads, town.ground).missing) == 0


def test_frames_without_crs_and_rules_out_of_range_are_refused(town, extracted):
    with pytest.raises(InputError, match="no CRS"):
        compare_roads(extracted.set_crs(None, allow_override=True), town.roads, town.ground)
    with pytest.raises(ParameterError, match="max_angle_deg"):
        RoadRules(max_angle_deg=0)


@settings(max_examples=12)
@given(gone=st.sets(st.integers(0, 5)))
def test_missing_is_never_longer_than_what_is_gone(town, extracted, gone):
    found = compare_roads(extracted, town.roads.drop(index=list(gone)), town.ground)
    lengths = town.roads.length.to_numpy()
    assert found.missing["length_m"].sum() == pytest.approx(lengths[list(gone)].sum(), abs=12 * len(gone) + 1e-6)
