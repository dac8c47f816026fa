"""Distances between junctions: the shortest, whole or in blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import apls
from lib.apls import paths as apls_paths
from lib.apls import rows as apls_rows


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(0, 200))
def test_rows_of_distances_are_the_shortest(seed, count, arcs):
    """Against Floyd and Warshall; arcs of one way only, loops, parallel ones and lengths of 0 among them."""
    rng = np.random.default_rng(seed)
    tail, head = np.sort(rng.integers(0, count, arcs)), rng.integers(0, count, arcs)
    length = np.round(rng.uniform(0, 9, arcs)) * rng.choice([1, np.pi])
    expected = np.full((count, count), np.inf)
    np.minimum.at(expected, (tail, head), length)
    np.fill_diagonal(expected, 0)
    for k in range(count):
        expected = np.minimum(expected, expected[:, k : k + 1] + expected[k])
    junctions = apls_paths.Junctions(np.searchsorted(tail, np.arange(count + 1)), head, length)
    for wanted in (np.arange(count), rng.integers(0, count, 2)):
        rows, index = apls_rows.DistanceRows(junctions).get(wanted)
        np.testing.assert_allclose(rows[index[wanted]], expected[wanted], atol=1e-12)


def test_streaming_in_blocks_gives_the_same_score(monkeypatch, three, random_network):
    truth = random_network(1)
    proposal = [line for k, line in enumerate(truth) if k % 7]
    for mode in ("challenge", "strict"):
        whole = apls.score(truth, proposal, mode)
        with monkeypatch.context() as small:
            small.setattr(apls_rows.DistanceRows.__init__, "__defaults__", (20_000,))
            assert three(apls.score(truth, proposal, mode)) == pytest.approx(three(whole), abs=1e-12)
