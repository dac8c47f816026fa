"""True widths and heights: from tags where they are, and what walls leave of a road."""

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from lib.sample.truth import eaves_heights, is_motor_road, true_widths


def test_truth_is_the_visible_carriageway(place):
    _, vectors, _ = place
    roads = vectors.roads
    assert is_motor_road(roads).all() and roads.length.min() > 4
    assert roads["width_m"].between(2.4, 40).all()
    assert roads["width_m"].nunique() > 20
    walls = vectors.buildings.union_all().buffer(-0.5)
    surface = shapely.union_all(shapely.buffer(roads.geometry.to_numpy(), roads["width_m"].to_numpy() / 2))
    assert surface.intersection(walls).area < 0.01 * surface.area
    assert vectors.buildings["height_m"].between(2, 60).all()


def test_width_from_width_then_lanes_then_class():
    roads = pd.DataFrame(
        {
            "osm_id": ["way/1", "way/2", "way/3", "way/4", "way/5"],
            "name": [None, None, "Long Street", "Long Street", None],
            "highway": ["residential", "primary", "residential", "residential", "track"],
            "lanes": ["2", "4", None, None, "two"],
            "width": ["7.5", None, None, None, "wide"],
        }
    )
    widths = true_widths(roads, seed=3)
    assert widths[0] == 7.5
    assert 11.5 < widths[1] < 17
    assert widths[2] == widths[3], "a street keeps its width"
    assert 2 < widths[4] < 4.5
    assert (true_widths(roads, seed=4)[2:] != widths[2:]).all()


def test_heights_from_levels():
    houses = gpd.GeoDataFrame(
        {"osm_id": ["way/1", "way/2"], "building:levels": ["5", None]}, geometry=[shapely.box(0, 0, 20, 20)] * 2
    )
    heights = eaves_heights(houses, "city", 0)
    assert heights[0] == pytest.approx(16.5) and 14 <= heights[1] <= 23
