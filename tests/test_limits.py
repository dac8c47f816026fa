"""Ranges and names beside the defaults: what they allow, and what they say."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import ParameterError
from lib.limits import Limits, check_fields, limited, limits_of, nearest, settings_from


@dataclass(frozen=True)
class Options:
    share: float = limited(0.5, minimum=0, below=1)
    side: int = limited(64, above=0, maximum=128, multiple_of=32)
    kind: str = limited("a", choices=("a", "bee"))
    odds: float = limited(2.0, minimum=1, maximum=math.inf)
    names: tuple[str, ...] = limited(("a",), choices=("a", "bee"))
    widths: float | Mapping[str, float] = limited(default_factory=dict, above=0, key_choices=("road", "track"))
    free: float = 0.0
    maybe: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)


def test_what_is_allowed():
    Options(share=0, side=32, odds=math.inf, names=["bee"], widths={"road": 1}, free=-1e300, maybe="")
    assert Options(widths=3.0).widths == 3.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": 1.0}, "share is 1.0: expected at least 0 and less than 1"),
        ({"share": math.nan}, "share is nan"),
        ({"share": True}, "'share' is a float, but True of type bool came"),
        ({"share": "1e-4"}, r"write 1\.0e-4"),
        ({"side": 0}, "more than 0 and at most 128 and a multiple of 32"),
        ({"side": 48}, "multiple of 32"),
        ({"side": 64.0}, "'side' is a int"),
        ({"kind": "be"}, "kind is 'be': expected one of 'a', 'bee'; the nearest is 'bee'"),
        ({"odds": -math.inf}, "odds is -inf"),
        ({"names": ["c"]}, "names is 'c'"),
        ({"names": "a"}, "'names' is a tuple"),
        ({"names": [1]}, "'names' is a str"),
        ({"widths": 0}, "widths is 0"),
        ({"widths": {"raod": 1.0}}, "widths has no name 'raod'; the nearest known one is 'road'"),
        ({"widths": {"road": -1}}, r"widths\['road'\] is -1: expected more than 0"),
        ({"widths": {"road": None}}, r"widths\['road'\]"),
        ({"widths": "3"}, "'widths' is a float or Mapping"),
        ({"free": math.inf}, "free is inf: expected a finite number"),
        ({"maybe": 3}, "'maybe' is a str or NoneType"),
        ({"shares": 1}, "the test has no parameter 'shares'; the nearest known one is 'share'"),
    ],
)
def test_what_is_refused_and_how(values, message):
    with pytest.raises(ParameterError, match=message):
        settings_from(Options, values, "the test")


def test_a_mapping_is_asked_for():
    with pytest.raises(ParameterError, match="the test: expected `name: value`, got 3"):
        settings_from(Options, 3, "the test")


@given(st.floats(), st.floats(-10, 10), st.floats(-10, 10))
def test_a_range_holds_what_lies_between_its_ends(value, low, high):
    assert Limits(minimum=low, maximum=high).allow(value) == (low <= value <= high)
    assert Limits(above=low, below=high).allow(value) == (low < value < high)


@given(st.text(max_size=20), st.lists(st.text(max_size=20), min_size=1))
def test_something_is_always_nearest(name, known):
    assert nearest(name, known) in known


def test_limits_are_found_by_name():
    assert str(limits_of(Options)["share"]) == "at least 0 and less than 1" and not str(limits_of(Options)["free"])
