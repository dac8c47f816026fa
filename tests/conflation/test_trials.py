"""Trials: what is hidden by lot and found again, judged by hand on a town of straight streets."""

import numpy as np
import pandas as pd
import pytest

from lib.conflation.trials import building_trials, hidden, precision_recall, road_trials
from lib.vectors.roadgraph import mask_to_graph, to_geodataframe


def test_a_perfect_map_finds_all_that_is_hidden(town, grid):
    extracted = to_geodataframe(mask_to_graph(town.probability, grid.gsd_m), grid)
    candidates, lacking = road_trials(extracted, town.roads, town.roads, town.ground, share=0.34, draws=3)
    assert set(candidates["draw"]) == set(lacking["draw"]) == {0, 1, 2}
    table = precision_recall(candidates, lacking)
    assert table["precision"].iloc[-1] > 0.97 and table["recall"].iloc[-1] > 0.97
    # of six streets two are hidden in each draw
    assert 3 * 2 * 280 - 40 < lacking["weight"].sum() < 3 * 2 * 400


def test_a_road_that_is_not_there_is_wrong_and_one_not_found_is_missed(town, grid, roads_frame):
    ghost = [(0, 130), (400, 130)]
    extracted = roads_frame([*town.lines[1:], ghost])  # street 0 was not extracted
    osm = town.roads.drop(index=[0, 1])
    candidates, lacking = road_trials(extracted, osm, town.roads, town.ground, share=0.0, draws=1)
    wrong = candidates["right"] == 0
    assert candidates.loc[wrong, "weight"].sum() == pytest.approx(400, abs=2)
    table = precision_recall(candidates, lacking)
    assert table["recall"].iloc[-1] == pytest.approx(0.5, abs=0.02)
    assert table["precision"].iloc[-1] == pytest.approx(0.5, abs=0.02)
    # the ghost lies where the network saw nothing: it is the last of the sure
    assert table["precision"].iloc[0] == pytest.approx(1.0, abs=0.02)


def test_precision_and_recall_by_hand():
    candidates = pd.DataFrame({"said": [0.9, 0.5, 0.5, 0.2], "right": [1.0, 1, 0, 0], "weight": [10.0, 20, 10, 40]})
    lacking = pd.DataFrame({"said": [0.9, 0.5, np.nan], "weight": [10.0, 20, 20]})
    table = precision_recall(candidates, lacking)
    assert table["confidence"].tolist() == [0.9, 0.5, 0.2]
    assert table["precision"].tolist() == pytest.approx([1.0, 30 / 40, 30 / 80])
    assert table["recall"].tolist() == pytest.approx([0.2, 0.6, 0.6])
    assert table["weight"].tolist() == [10, 40, 80]
    assert precision_recall(candidates.iloc[:0], lacking).empty


def test_houses_hidden_by_lot_are_found_again(grid, polygons_frame):
    from lib.conflation.ground import ground_of_arrays

    houses = polygons_frame([(20 + 60 * i, 20, 40 + 60 * i, 40) for i in range(6)])
    extracted = polygons_frame([(20 + 60 * i, 20, 40 + 60 * i, 40) for i in range(5)] + [(200, 200, 220, 220)])
    probability = np.full((grid.height, grid.width), 0.6, np.float32)
    ground = ground_of_arrays(grid, probability)
    candidates, lacking = building_trials(extracted, houses, ground, share=0.5, draws=4)
    assert len(lacking) == 4 * 3
    assert (candidates["right"] == 0).sum() == 4  # what stands where OSM has nothing, in each draw
    assert candidates["right"].sum() == lacking["said"].notna().sum() < 12


def test_the_lot_is_drawn_among_what_may_be_hidden(town):
    among = np.array([True, True, True, False, False, False])
    first, again = (hidden(town.roads, among, 0.7, seed=3) for _ in range(2))
    assert len(first) == 4 and first.equals(again) and {"way/3", "way/4", "way/5"} < set(first["osm_id"])
    assert len(hidden(town.roads, among, 0.0, seed=0)) == 6
