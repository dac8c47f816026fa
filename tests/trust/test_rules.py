"""Rules that drop chips: what they say, and what they are not."""

import numpy as np
import pandas as pd
import pytest

from lib.errors import ParameterError
from lib.trust.rules import meets, named_chips, parse_rule


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("roadm < 5", "nearest known one is 'road_m'"),
        ("road_m", "a rule is a measure"),
        ("road_m < x", "a rule is a measure"),
        ("road_m < 5 or True", "a rule is a measure"),
        ("__import__('os') < 5", "a rule is a measure"),
        (5, "a rule is a measure"),
        ({"chip": "a"}, "needs 'reason'"),
        ({"chip": "a", "reason": "  "}, "expected words that say why"),
        ({"chip": "a/b", "reason": "x"}, "expected the name of a chip"),
        ({"chip": 3, "reason": "x"}, "'chip' is a str"),
        ({"chip": "a", "why": "x"}, "nearest known one is 'chip'"),
    ],
)
def test_a_rule_that_cannot_be_read_says_so(rule, message):
    with pytest.raises(ParameterError, match=message):
        parse_rule(rule)


def test_what_is_not_known_meets_no_rule():
    table = pd.DataFrame({"iou_clean": [np.nan, 0.2]})
    assert meets(table, "iou_clean != 0.3").tolist() == [False, True]
    assert meets(table, "iou_clean<3e-1").tolist() == [False, True]


def test_a_chip_is_named_with_a_reason():
    rules = ["road_m < 5", {"chip": "b", "reason": "clouds"}, {"chip": "b", "reason": "two\n lines"}]
    assert {chip: str(rule) for chip, rule in named_chips(rules).items()} == {"b": "by hand: two lines"}
    assert meets(pd.DataFrame({"chip": ["a", "b"]}), rules[1]).tolist() == [False, True]
