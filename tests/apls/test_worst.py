"""The routes that a score was lost on."""

import numpy as np
import pytest

from lib import apls


def test_explain_says_what_was_lost(road):
    truth = [road(0, 0, 100, 0), road(0, 300, 100, 300), road(0, 0, 0, 300)]
    table = apls.explain(truth, [road(0, 0, 100, 0), road(0, 300, 100, 300)])
    assert set(table["reason"]) <= {"no snap", "no route"}
    assert (table["cost"] == 1).all()
    first = table.iloc[0]
    assert first["truth_m"] == pytest.approx(0.31 * np.hypot(*np.diff(first["line"], axis=0).T).sum())
    result = apls.score(truth, [road(0, 0, 100, 0), road(0, 300, 100, 300)], "strict")
    lost = table.attrs["reasons"].groupby("direction")["lost"].sum()
    assert 1 - lost["truth_to_proposal"] == pytest.approx(result.truth_to_proposal)
    assert len(apls.explain(truth, truth)) == 0
    assert len(apls.explain([], [])) == 0


@pytest.mark.parametrize("mode", ["challenge", "strict"])
def test_explain_finds_the_detour(mode, road):
    square = [road(0, 0, 100, 0), road(100, 0, 100, 50), road(100, 50, 0, 50), road(0, 50, 0, 0), road(0, 0, -40, 0)]
    square += [road(100, 0, 140, 0), road(100, 50, 140, 50), road(0, 50, -40, 50)]
    table = apls.explain(square, square[1:], mode)
    worst = table[table["direction"] == "truth_to_proposal"].iloc[0]
    assert (worst["reason"], worst["cost"]) == ("detour", 1.0)
    assert {worst["source_x"], worst["target_x"]} == {0.0, 100.0}
    assert (worst["truth_m"], worst["proposal_m"]) == pytest.approx((31.0, 62.0))
    assert worst["line"].tolist() in ([[0, 0], [100, 0]], [[100, 0], [0, 0]])
