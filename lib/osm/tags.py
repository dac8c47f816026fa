"""What mappers mean by the values they write: OSM tag values -> numbers and words, each distinct one read once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

FOOT_M = 0.3048
METRES_BY_UNIT = {
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres", "mtr", "mts"), 1.0),
    **{"cm": 0.01, "mm": 0.001, "km": 1000.0, "mi": 1609.344, "yd": 0.9144},
    **dict.fromkeys(("'", "ft", "feet", "foot"), FOOT_M),
    **dict.fromkeys(('"', "in", "inch", "inches"), FOOT_M / 12),
}
INCHES = ('"', "in", "inch", "inches")
WIDTH_RANGE_M = (0.5, 80.0)  # beyond it a width is a slip of the mapper: millimetres, or a square's side
LANES_RANGE = (0.25, 16.0)

MISSING = ("", "None", "nan", "NaN", "NULL", "<NA>")  # how exports of tables spell a tag that is not there


def parse_width_m(text: str) -> float:
    """
    Metres of a `width` value; NaN where it names none.

    Wiki Key:width and Map features/Units: metres unless a unit follows, feet and inches as 12'6". Life adds
    decimal commas, lists ("6;7") and ranges ("3-4"), of which the mean is taken, and "~" or "ca.".
    """
    text = re.sub("[’′`]", "'", str(text).strip().lower())
    text = re.sub("[”″“]|''", '"', text)
    text = re.sub(r"^(?:~|≈|±|<=?|>=?|c(?:irc)?a\.?|approx\.?|about)\s*", "", text)
    parts = [part for part in re.split(r"\s*[;|]\s*|(?<=[\w'\"])\s*[-–]\s*(?=\d)", text) if part]
    values_m, unit = [], "m"
    for part in reversed(parts):  # "10-12 ft": a number without unit has that of the next
        # (number, unit) pairs: one, or feet and inches; a dot may follow a unit, and nothing else may be left over
        tokens = re.findall(r"(\d+(?:[.,]\d+)?|[.,]\d+)\s*([a-z]+|['\"])?\.?\s*", part)
        if not tokens or "".join(f"{n}{u}" for n, u in tokens) != re.sub(r"\s|(?<=[a-z])\.", "", part):
            return math.nan
        units = [token[1] for token in tokens]
        if len(tokens) == 2 and units[1] in ("", *INCHES) and METRES_BY_UNIT.get(units[0]) == FOOT_M:
            units[1] = '"'  # 12'6 and 12 ft 6 in
        elif len(tokens) != 1:
            return math.nan
        unit = units[0] = units[0] or unit
        if any(name not in METRES_BY_UNIT for name in units):
            return math.nan
        values_m.append(
            sum(float(n.replace(",", ".")) * METRES_BY_UNIT[u] for (n, _), u in zip(tokens, units, strict=True))
        )
    width_m = sum(values_m) / len(values_m) if values_m else math.nan
    return width_m if WIDTH_RANGE_M[0] <= width_m <= WIDTH_RANGE_M[1] else math.nan


def parse_lanes(text: str) -> float:
    """
    Lanes of a `lanes` value; NaN where it names none.

    Wiki Key:lanes: a whole number. Half lanes ("1.5") are written for roads that two cars pass with care; of a
    list ("2;3", a way whose lanes change) the mean is taken.
    """
    text = re.sub(r"(?<=\d),5$", ".5", str(text).strip())  # a decimal comma: "1,5"; other commas part a list
    try:
        values = [float(part) for part in re.split(r"\s*[;|,/]\s*|(?<=\d)\s*-\s*(?=\d)", text) if part]
    except ValueError:
        return math.nan
    if not values or not all(LANES_RANGE[0] <= value <= LANES_RANGE[1] for value in values):
        return math.nan
    return sum(values) / len(values)


def parse_number(text: str) -> float:
    """Number of a value such as `layer`; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def parse_whole_lanes(text: str) -> float:
    """As the release's int(text): whole positive numbers only."""
    return float(text) if re.fullmatch(r"\s*\+?\d+\s*", text) and int(text) > 0 else math.nan


def is_tagged(frame: pd.DataFrame, key: str, *no_values: str) -> np.ndarray:
    """
    Whether each row has the tag, with none of the values given; bool (n,), all False where there is no such column.

    Values are compared as they are written, which a column of millions of rows can afford; `is_not_no` reads them.
    """
    if key not in frame:
        return np.zeros(len(frame), dtype=bool)
    return (frame[key].notna() & ~frame[key].isin((*MISSING, *no_values))).to_numpy(dtype=bool)


def is_not_no(roads: pd.DataFrame, key: str) -> np.ndarray:
    """Whether each row has the tag with any value but "no", such as tunnel=building_passage; bool (n,)."""
    return ~np.isin(tag_words(roads, key), ["", "no"])


def tag_words(roads: pd.DataFrame, key: str) -> np.ndarray:
    """Values of a tag in small letters, "" where it is missing; of a list the first."""
    codes, values = _factorized(roads, key)
    words = np.array([*(str(value).split(";")[0].strip().lower() for value in values), ""], dtype=object)
    return words[codes].astype(str) if len(codes) else np.empty(0, dtype=str)


def tag_numbers(roads: pd.DataFrame, key: str, parse: Callable[[str], float] = parse_number) -> np.ndarray:
    """Numbers of a tag, each distinct value parsed once; NaN where it is missing or names none."""
    codes, values = _factorized(roads, key)
    # files that store numbers say 2.0 where a mapper wrote 2
    texts = (f"{value:g}" if isinstance(value, float) else str(value) for value in values)
    return np.array([*map(parse, texts), np.nan], dtype=np.float64)[codes]


def _factorized(roads: pd.DataFrame, key: str) -> tuple[np.ndarray, list[Any]]:
    """Number of each row's value in the list of distinct ones; -1 (the last of a table) where it is missing."""
    if key not in roads:
        return np.full(len(roads), -1), []
    column = roads[key].astype(object)
    try:
        codes, values = pd.factorize(column.to_numpy())
    except TypeError:  # lists have no hash; osmnx leaves them as the tags of merged ways
        column = column.map(lambda value: tuple(value) if isinstance(value, list | set) else value)
        codes, values = pd.factorize(column.to_numpy())
    return codes, [";".join(map(str, value)) if isinstance(value, tuple) else value for value in values]
