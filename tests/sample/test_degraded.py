"""The degraded map: what is missing, wrong or moved, and by how much."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from lib.errors import ParameterError
from lib.osm.layers import read_osm
from lib.sample.degraded import Degradation, blur_tags, degrade
from lib.sample.places import CRS, PLACES, TRUE_OFFSETS_M
from lib.sample.truth import extract_path, is_motor_road


def test_degraded_share_of_roads_and_houses(place):
    _, vectors, (roads, buildings) = place
    motor = roads[is_motor_road(roads)]
    true_ids = set(vectors.roads["osm_id"])
    missing = 1 - len(true_ids & set(motor["osm_id"])) / len(true_ids)
    assert 0.12 <= missing <= 0.15
    assert len(roads) > len(motor), "footways and tunnels stay: to leave them out is the rasteriser's work"
    absent = 1 - len(set(buildings["osm_id"])) / len(set(vectors.buildings["osm_id"]))
    assert 0.15 <= absent <= 0.24  # missing, or merged with another
    assert "width_m" not in roads


def test_offset_is_as_recorded(place):
    """The mean way from true to degraded vertices of the roads that remain."""
    name, _, (roads, _) = place
    raw = read_osm(extract_path(PLACES[name].extract)).roads.to_crs(CRS)
    inside = raw.geometry.within(shapely.box(*PLACES[name].grid().bounds))
    true = raw[inside & ~raw["osm_id"].duplicated(keep=False)].set_index("osm_id").geometry
    known = roads.drop_duplicates("osm_id", keep=False).set_index("osm_id").geometry
    both = true.index.intersection(known.index)
    moved = shapely.get_coordinates(known[both].to_numpy()) - shapely.get_coordinates(true[both].to_numpy())
    np.testing.assert_allclose(moved.mean(axis=0), TRUE_OFFSETS_M[name], atol=0.25)
    assert 0.4 < moved.std(axis=0).mean() < 1.3


def test_junctions_hold():
    """Ways that meet in truth meet in the degraded map."""
    grid = PLACES["town"].grid()
    left, top = grid.bounds[0] + 300, grid.bounds[3] - 300
    lines = [shapely.LineString([(left + 40 * i, top), (left + 40 * (i + 1), top - 7 * i)]) for i in range(3)]
    lines.append(shapely.LineString([(left + 40, top), (left + 40, top - 90)]))
    tags = {"osm_id": list("abcd"), "highway": "residential", "lanes": "2", "width": None, "tunnel": None}
    roads = gpd.GeoDataFrame(tags, geometry=lines, crs=CRS)
    houses = gpd.GeoDataFrame({"osm_id": []}, geometry=[], crs=CRS)
    nothing_lost = Degradation(roads_missing=0.0)
    moved, _ = degrade(roads, houses, grid, (3.0, -2.0), 0, nothing_lost)
    ends = shapely.get_coordinates(moved.geometry.iloc[[0, 3]].to_numpy())
    np.testing.assert_array_equal(ends[1], ends[2])
    assert (moved.geometry.iloc[0].distance(lines[0])) > 0


def test_tags_go_missing_and_wrong():
    roads = pd.DataFrame({"lanes": ["2"] * 4000, "width": ["8"] * 4000})
    blurred = blur_tags(roads, np.random.default_rng(0), Degradation())
    assert blurred["lanes"].isna().mean() == pytest.approx(0.5, abs=0.03)
    assert blurred["lanes"].isin(["1", "3"]).mean() == pytest.approx(0.1, abs=0.03)
    assert blurred["width"].isna().mean() == pytest.approx(0.7, abs=0.03)
    assert set(blurred["width"].dropna()) == {"8", "6.0", "10.0"}
    assert (roads["lanes"] == "2").all(), "the truth is untouched"


@pytest.mark.parametrize("wrong", [{"roads_missing": 1.2}, {"buildings_merged": -0.1}])
def test_a_share_is_a_share(wrong):
    with pytest.raises(ParameterError, match="share"):
        Degradation(**wrong)
