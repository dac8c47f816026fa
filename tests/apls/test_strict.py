"""The strict mode: parity with its reference, and the tolerances it has."""

import numpy as np
import pytest

from lib import apls

SETS = ["rv103201", "rvsolution", "vegasosm", "synth"]
KEYS = ["gt2prop", "prop2gt", "harmonic"]  # columns of the answers
EXACT_TIE = 3e-5  # projections exactly as far from two edges, or exactly 0.1 px from an end


@pytest.mark.parametrize("name", SETS)
def test_strict_parity(name, three, cases_of, rows_of):
    rows = rows_of("strict", name)
    truth, proposal = cases_of(name)
    ties = []
    for row in rows:
        image = row["ImageId"]
        got = three(apls.score(truth[image], proposal[image], "strict"))
        expected = [float(row[f"score_{key}"]) for key in KEYS]
        assert got == pytest.approx(expected, abs=EXACT_TIE), image
        if got != pytest.approx(expected, abs=1e-9):
            ties.append(image)
    assert set(ties) <= {"syn206"}  # several of its points lie exactly 0.1 px from an end, or from two edges


def test_two_points_on_one_place_cost_one(road):
    """A hairpin of lanes 3 px apart against one lane: its ends snap to one place; its midpoint is 101.5 px away."""
    truth = [road(0, 0, 100, 0, 100, 3, 0, 3)]
    result = apls.score(truth, [road(0, 0, 100, 0)], "strict")
    assert result.truth_to_proposal == pytest.approx(1 - (1 + 2 * 1.5 / 101.5) / 3)


def test_a_network_smaller_than_the_tolerance_has_no_chain():
    speck = [np.array([[0, 1.44], [0.04, 1.44], [0.04, 1.48], [0, 1.44]])]
    for truth, proposal in ((speck, speck), (speck, [np.array([[0.0, 0], [300, 0]])])):
        assert 0 <= apls.score(truth, proposal, "strict").apls <= 1
