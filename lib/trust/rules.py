"""Rules such as "road_m < 50", which keep bad labels out of training: what they say, and which chips meet them."""

import re
from typing import Any

import pandas as pd

from lib.errors import ParameterError
from lib.limits import unknown

MEASURES = (
    *("vectors", "road_m", "foreground", "ignored", "osm_age_years", "offset_m", "confidence", "iou_clean"),
    "iou_predicted",
)
COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
RULE = re.compile(rf"\s*(\w+)\s*({'|'.join(COMPARISONS)})\s*({NUMBER})\s*")


def parse_rule(rule: Any) -> tuple[str, str, float]:
    """
    Measure, comparison and number of a rule such as "road_m < 50".

    Raises
    ------
    ParameterError
        If it is not of that form, or there is no such measure; names the nearest.
    """
    match = RULE.fullmatch(rule) if isinstance(rule, str) else None
    if match is None:
        raise ParameterError(
            f"a rule is a measure, one of {' '.join(COMPARISONS)}, and a number, such as 'road_m < 50'; got {rule!r}"
        )
    name, comparison, number = match.groups()
    if name not in MEASURES:
        raise ParameterError(f"rule {rule!r}: {unknown('measure', name, MEASURES)}")
    return name, comparison, float(number)


def meets(table: pd.DataFrame, rule: str) -> pd.Series:
    """
    Which rows of the quality table (`lib.trust.quality`) meet a rule; bool, same index.

    Raises
    ------
    ParameterError
        As `parse_rule`.
    """
    name, comparison, number = parse_rule(rule)
    return table.eval(f"{name} {comparison} @number", local_dict={"number": number}) & table[name].notna()
