import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import InputError, ParameterError
from lib.vectors.buildings import BuildingOptions, building_f1, mask_to_polygons, score_buildings

EVERYTHING = BuildingOptions(min_area_m2=0, min_hole_m2=0, tolerance_m=0)
BOXES = st.lists(
    st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(1, 9)] * 2).map(
        lambda b: shapely.box(b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    max_size=8,
)


def drawn(polygon: shapely.Polygon, size: int = 120) -> np.ndarray:
    """Pixels whose centre lies in the polygon."""
    y, x = np.mgrid[:size, :size] + 0.5
    return shapely.contains_xy(polygon, x, y)


def iou(a: shapely.Polygon, b: shapely.Polygon) -> float:
    return a.intersection(b).area / a.union(b).area


def test_polygon_runs_along_the_outer_edges_of_pixels():
    mask = np.zeros((20, 30), np.uint8)
    mask[5:9, 10:18] = 255
    (polygon,) = mask_to_polygons(mask, 1.0, EVERYTHING)
    assert polygon.equals(shapely.box(10, 5, 18, 9))


def test_holes_stay_and_small_ones_are_filled():
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    mask[20:30, 20:30] = False
    mask[40:42, 40:42] = False
    (polygon,) = mask_to_polygons(mask, 0.5, BuildingOptions(min_hole_m2=6))
    assert len(polygon.interiors) == 1
    assert polygon.area == 1600 - 100


def test_probabilities_and_small_patches():
    probability = np.zeros((40, 40), np.float32)
    probability[5:20, 5:20], probability[30:32, 30:32] = 0.8, 0.9
    assert len(mask_to_polygons(probability, 0.5)) == 1
    assert len(mask_to_polygons(probability, 0.5, BuildingOptions(min_area_m2=0))) == 2
    assert mask_to_polygons(probability, 0.5, BuildingOptions(threshold=0.95)) == []


def test_touching_buildings_are_separated_where_asked_for():
    mask = np.zeros((60, 100), bool)
    mask[10:50, 10:45] = mask[10:50, 48:90] = True
    mask[28:31, 45:48] = True
    assert len(mask_to_polygons(mask, 0.5)) == 1
    left, right = mask_to_polygons(mask, 0.5, BuildingOptions(neck_m=3))
    assert iou(left, shapely.box(10, 10, 45, 50)) > 0.98
    assert iou(right, shapely.box(48, 10, 90, 50)) > 0.98
    narrow = np.zeros((30, 30), bool)
    narrow[10:13, 2:28] = True
    assert len(mask_to_polygons(narrow, 0.5, BuildingOptions(neck_m=3))) == 1


@pytest.mark.parametrize("neck_m", [0, 2])
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (5, 5)])
def test_a_mask_of_nothing_has_no_buildings(shape, neck_m):
    assert mask_to_polygons(np.zeros(shape, np.uint8), 1.0, BuildingOptions(neck_m=neck_m)) == []


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_polygons_cover_the_mask(seed):
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.random((6, 6)) < 0.5, np.ones((4, 4))).astype(bool)
    polygons = mask_to_polygons(mask, 1.0, EVERYTHING)
    assert all(polygon.is_valid for polygon in polygons)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    covered = sum((shapely.contains_xy(polygon, x, y) for polygon in polygons), np.zeros(mask.shape, bool))
    assert (covered == mask).all()


def test_each_building_is_found_once_and_the_first_takes_it():
    truth = [shapely.box(0, 0, 10, 10), shapely.box(20, 0, 30, 10)]
    proposed = [shapely.box(0, 0, 10, 6), shapely.box(0, 0, 10, 10), shapely.box(22, 0, 32, 10)]
    score = building_f1(truth, proposed)
    assert (score.tp, score.fp, score.fn) == (2, 1, 0)
    assert score.matches.tolist() == [0, -1, 1]
    assert score.f1 == pytest.approx(0.8)
    confident = building_f1(truth, proposed, confidence=[0.1, 0.9, 0.5])
    assert confident.matches.tolist() == [-1, 0, 1]


def test_the_best_free_building_is_taken_and_the_threshold_counts():
    truth = [shapely.box(0, 0, 10, 10), shapely.box(0, 0, 10, 12)]
    assert building_f1(truth, [shapely.box(0, 0, 10, 12)]).matches.tolist() == [1]
    half = [shapely.box(0, 0, 10, 5)]
    assert building_f1(truth[:1], half).tp == 1
    assert building_f1(truth[:1], half, iou_threshold=0.51).tp == 0


def test_empty_sides():
    box = [shapely.box(0, 0, 1, 1)]
    assert building_f1([], []).f1 == 1
    assert building_f1(box, []).f1 == building_f1([], box).f1 == 0
    assert np.isnan(building_f1(box, []).precision)


@settings(max_examples=60)
@given(BOXES, BOXES)
def test_counts_add_up_and_a_stricter_threshold_finds_no_more(truth, proposed):
    loose, strict = building_f1(truth, proposed, 0.3), building_f1(truth, proposed, 0.7)
    for score in (loose, strict):
        assert score.tp + score.fp == len(proposed)
        assert score.tp + score.fn == len(truth)
        matched = score.matches[score.matches >= 0]
        assert len(set(matched)) == len(matched) == score.tp
        assert 0 <= score.f1 <= 1
    assert building_f1(truth, truth).f1 == 1


def test_scores_by_image_city_and_total():
    boxes = [shapely.box(10 * i, 0, 10 * i + 8, 8) for i in range(4)]
    truth = {"vegas_1": boxes, "vegas_2": boxes[:2], "paris_1": boxes[:1]}
    proposed = {"vegas_1": boxes[:2], "paris_1": boxes[:1], "paris_2": boxes[:1]}
    images, cities, total = score_buildings(truth, proposed, city_of=lambda image: image.split("_")[0])
    assert images["fn"].tolist() == [2, 2, 0, 0]
    assert cities.set_index("city")["f1"].to_dict() == pytest.approx({"paris": 2 / 3, "vegas": 0.5})
    assert total["f1"] == pytest.approx(6 / 11)
    assert total["f1_mean_over_cities"] == pytest.approx(7 / 12)


def test_refusals():
    with pytest.raises(ParameterError, match="gsd_m"):
        mask_to_polygons(np.zeros((4, 4), bool), 0)
    with pytest.raises(InputError, match=r"\(H, W\)"):
        mask_to_polygons(np.zeros((4, 4, 3), np.uint8), 1)
    with pytest.raises(ParameterError, match="neck_m"):
        BuildingOptions(neck_m=-1)
    with pytest.raises(ParameterError, match="iou_threshold"):
        building_f1([], [], 0)
    with pytest.raises(InputError, match="confidence"):
        building_f1([], [shapely.box(0, 0, 1, 1)], confidence=[])
    with pytest.raises(InputError, match="No image"):
        score_buildings({}, {})


def test_empty_polygons_and_none_are_no_buildings():
    house, nothing = shapely.box(0, 0, 9, 9), [None, shapely.Polygon(), shapely.from_wkt("POLYGON EMPTY")]
    score = building_f1([house, *nothing], [*nothing, house])
    assert (score.tp, score.fp, score.fn) == (1, 0, 0) and score.matches.tolist() == [-1, -1, -1, 0]
    assert building_f1(nothing, []).f1 == building_f1([], nothing).f1 == 1.0
