"""APLS: what holds of any pair of networks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import apls
from lib.vectors import roadio


def networks():
    """Roads over a small grid: shared nodes, crossings, rings, dead ends, points that fall into one cell."""
    spots = [(70.0 * i + 0.3 * j, 55.0 * j - 0.04 * i) for i, j in itertools.product(range(5), range(4))]
    spots += [(70.04, 55.0), (141.0, 60.0), (141.05, 60.02)]
    return st.lists(st.lists(st.sampled_from(spots), min_size=2, max_size=5).map(np.array), min_size=1, max_size=8)


@settings(max_examples=60)
@given(networks(), networks(), st.randoms(use_true_random=False))
def test_strict_does_not_depend_on_the_order_of_its_input(truth, proposal, random):
    def shuffled(roads):
        roads = [line[::-1] if random.random() < 0.5 else line for line in roads]
        random.shuffle(roads)
        return roads

    expected = apls.score(truth, proposal, "strict")
    assert apls.score(shuffled(truth), shuffled(proposal), "strict") == expected
    assert 0 <= expected.apls <= 1


@settings(max_examples=40)
@given(networks(), networks())
def test_roles_are_symmetric(three, one, two):
    there, back = apls.score(one, two, "strict"), apls.score(two, one, "strict")
    assert three(there) == pytest.approx((back.proposal_to_truth, back.truth_to_proposal, back.apls), abs=1e-12)


@settings(max_examples=40)
@given(networks(), networks())
def test_challenge_mode_scores_what_passes_its_checks(one, two):
    one, two = roadio.without_repeats(one), roadio.without_repeats(two)
    assert 0 <= apls.score(one, two).apls <= 1 + 1e-12


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 7), st.sampled_from(["challenge", "strict"]))
def test_a_network_is_like_itself(three, random_network, seed, size, mode):
    """Where no two roads overlap, every control point finds its own place again."""
    network = random_network(seed, size)
    assert three(apls.score(network, network, mode)) == pytest.approx((1, 1, 1))
