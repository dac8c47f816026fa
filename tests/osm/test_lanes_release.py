"""Where the profile "paper" and the release's rasteriser differ: which values are drawn, and how wide."""

import pandas as pd
import pytest

from lib.osm.lanes import PAPER, is_drawn, road_lanes


def test_what_covers_no_ground_is_not_drawn():
    values = ["bus_stop", "corridor", "crossing", "elevator", "no", "razed"]
    assert not is_drawn(pd.DataFrame({"highway": values}), PAPER).any()


def test_raceways_and_open_ways_that_say_area_are_drawn():
    roads = pd.DataFrame({"highway": ["raceway", "service"], "area": [None, "yes"]})
    assert is_drawn(roads, PAPER).all()
    assert road_lanes(roads, PAPER).tolist() == [1, 1]


@pytest.mark.parametrize("lanes", ["0", "-1", "2;3", "1.5", "many", ""])
def test_lanes_that_are_no_whole_number_above_0_leave_the_class(lanes):
    roads = pd.DataFrame({"highway": ["primary", "track"], "lanes": [lanes, lanes]})
    assert road_lanes(roads, PAPER).tolist() == [1.5, 0.5]
