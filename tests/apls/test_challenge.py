"""Parity with the challenge's scorer, on answers of the original program."""

import numpy as np
import pytest

from lib import apls
from lib.apls.routes import route_costs
from lib.apls.scoring import directions
from lib.errors import InputError

SETS = ["rv103201", "rvsolution", "vegasosm", "quirks", "synth"]
KEYS = ["gt2prop", "prop2gt", "harmonic"]  # columns of the answers

# A few answers of the original program, so that a fresh clone tests something: truth, proposal, scores.
ANSWERS = {
    "a crossing with and without a node": (
        [(0, 0, 100, 0, 200, 0), (100, -100, 100, 0, 100, 100)],
        [(0, 0, 200, 0), (100, -100, 100, 100)],
        (0.6, 1.0, 0.75),
    ),
    "a ring without junction": (
        [(0, 0, 300, 0, 300, 300, 0, 300, 0, 0)],
        [(5, 5, 305, 5, 305, 305, 5, 305, 5, 5)],
        (0.983630952381, 0.983630952381, 0.983630952381),
    ),
    "two arcs between the same junctions": (
        [(0, 0, 200, 100, 400, 0), (0, 0, 200, -100, 400, 0), (-100, 0, 0, 0), (400, 0, 500, 0)],
        [(0, 0, 200, 100, 400, 0), (0, 0, 200, -90, 400, 0), (-100, 0, 0, 0), (400, 0, 500, 0)],
        (0.990707729330, 0.991252671224, 0.990980125361),
    ),
    "a missing link": (
        [(0, 0, 300, 0), (0, 500, 300, 500), (300, 0, 300, 500)],
        [(0, 0, 300, 0), (0, 500, 300, 500)],
        (0.071428571429, 1.0, 0.133333333333),
    ),
    "near points of two cells": (
        [(0, 0, 100.04, 0, 200, 0), (100.06, 0, 300, 200)],
        [(0, 0, 100.04, 0, 200, 0), (100.04, 0, 300, 200)],
        (0.999841666042, 0.399915000112, 0.571315986065),
    ),
    "a dead end inside one cell": (
        [(0, 0, 100, 0, 200.01, 0, 200.04, 0)],
        [(0, 0, 200, 0)],
        (0.999950002500, 0.333316666667, 0.499975000312),
    ),
    "an edge shorter than a cell": (
        [(0, 0, 100.04, 0, 100.06, 0, 200, 0), (100.04, 0, 100, 100), (100.06, 0, 100, -100)],
        [(0, 0, 100, 0, 200, 0), (100, 0, 100, 100), (100, 0, 100, -100)],
        (0.952142808542, 0.699849979000, 0.806731275812),
    ),
    "hashes that collide": (
        [(0, 0, 300, 0), (4294.9, 6729.6, 4600, 6729.6)],
        [(0, 0, 300, 0)],
        (0.000698812020, 1.0, 0.001396648045),
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_of_the_original(name, road, three):
    *sides, expected = ANSWERS[name]
    truth, proposal = ([road(*line) for line in side] for side in sides)
    assert three(apls.score(truth, proposal)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", SETS)
def test_challenge_parity(name, three, cases_of, rows_of):
    rows = rows_of("expected", name)
    truth, proposal = cases_of(name)
    large = [row for row in rows if int(row["mid_gt"]) + int(row["mid_prop"]) > 3000]
    for row in rows:
        image = row["ImageId"]
        if row in large[1:]:  # one of them is enough for a test's patience; benchmarks/apls.py times them all
            continue
        if row["error_truth"] or row["error_prop"]:
            with pytest.raises(InputError, match="section"):
                apls.score(truth[image], proposal[image])
            continue
        got = three(apls.score(truth[image], proposal[image]))
        if row["stable"] == "1":
            assert got == pytest.approx([float(row[f"score_{key}"]) for key in KEYS], abs=1e-9), image
        else:
            for value, key in zip(got, KEYS, strict=True):
                assert float(row[f"min_{key}"]) - 1e-9 <= value <= float(row[f"max_{key}"]) + 1e-9, image


def test_starts_that_leave_distances_behind_cost_the_same_in_a_sample():
    """Roads so near to each other that snapped points are refused by the node set, and keep their distances."""
    rng = np.random.default_rng(19)
    spots = rng.uniform(0, 20, (30, 2))
    truth = list(np.stack([spots[:-1], spots[1:]], axis=1))
    proposal = [road + rng.normal(0, 0.3, road.shape) for road in truth]
    proposal += [np.array(road) + rng.normal(0, 0.05, (2, 2)) for road in zip(spots[::2], spots[1::2], strict=True)][:7]
    _, direction = directions(truth, proposal, check=False)
    assert direction.booked is not None
    costs, counts = route_costs(direction)
    for start in range(len(costs)):  # those before it are not summed, and still leave theirs
        cost, count = route_costs(direction, np.array([start]))
        assert (cost[0], count[0]) == (costs[start], counts[start])
    # of the sums that were found when every start was summed
    assert (costs.sum(), counts.sum()) == pytest.approx((38.909011937514244, 72), rel=1e-12)
