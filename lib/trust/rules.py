"""
Rules that take chips out: what they say, and which chips meet them.

A text such as "road_m < 50" keeps bad labels out of training; `{chip: NAME, reason: TEXT}` takes out one chip, whatever
its label and split: somebody has looked at it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lib.errors import ParameterError
from lib.limits import check_fields, limited, settings_from, unknown

MEASURES = (
    *("vectors", "road_m", "foreground", "ignored", "osm_age_years", "offset_m", "confidence", "iou_clean"),
    "iou_predicted",
)
COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
RULE = re.compile(rf"\s*(\w+)\s*({'|'.join(COMPARISONS)})\s*({NUMBER})\s*")


Rule = str | Mapping[str, str]


@dataclass(frozen=True)
class ByHand:
    """
    A chip that a person took out.

    Attributes
    ----------
    chip
        Its name in the manifest.
    reason
        Why, in words: it goes into the manifest and the report.
    """

    chip: str = limited(pattern=r"[^/]+", form="the name of a chip, as in the manifest")
    reason: str = limited(pattern=r"(?s).*\S.*", form="words that say why")

    def __post_init__(self) -> None:
        check_fields(self)

    def __str__(self) -> str:
        return f"by hand: {' '.join(self.reason.split())}"


def parse_rule(rule: Any) -> tuple[str, str, float] | ByHand:
    """
    Measure, comparison and number of a rule such as "road_m < 50"; or the chip that it names.

    Raises
    ------
    ParameterError
        If it is not of either form, or there is no such measure; names the nearest.
    """
    if isinstance(rule, Mapping):
        return settings_from(ByHand, rule, f"rule {dict(rule)!r:.200}")
    match = RULE.fullmatch(rule) if isinstance(rule, str) else None
    if match is None:
        raise ParameterError(
            f"a rule is a measure, one of {' '.join(COMPARISONS)}, and a number, such as 'road_m < 50', or names a "
            f"chip and says why, such as {{chip: town_r00000_c00256, reason: clouds}}; got {rule!r}"
        )
    name, comparison, number = match.groups()
    if name not in MEASURES:
        raise ParameterError(f"rule {rule!r}: {unknown('measure', name, MEASURES)}")
    return name, comparison, float(number)


def named_chips(rules: list[Rule]) -> dict[str, ByHand]:
    """The chips that rules take out by name, in their order; where one is named twice, its last reason counts."""
    return {parsed.chip: parsed for rule in rules if isinstance(parsed := parse_rule(rule), ByHand)}


def meets(table: pd.DataFrame, rule: Rule) -> pd.Series:
    """
    Which rows of the quality table (`lib.trust.quality`) meet a rule; bool, same index.

    Raises
    ------
    ParameterError
        As `parse_rule`.
    """
    parsed = parse_rule(rule)
    if isinstance(parsed, ByHand):
        return table["chip"] == parsed.chip
    name, comparison, number = parsed
    return table.eval(f"{name} {comparison} @number", local_dict={"number": number}) & table[name].notna()
