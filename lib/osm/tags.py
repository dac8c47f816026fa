"""What mappers mean by the values they write: OSM tag values -> numbers and words, each distinct one read once."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
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

HSTORE_PAIR = re.compile(r'"((?:[^"\\]|\\.)*)"\s*=>\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)

MISSING = ("", "None", "nan", "NaN", "NULL", "<NA>")  # how exports of tables spell a tag that is not there
NO = frozenset({"", "no", "false", "f", "0", "off", "n", *(word.lower() for word in MISSING)})

# lists that became text: ["a", "b"], ['a', 'b'], ['a' 'b'], {1, 2}; and of plain words {a,b} and (2:a,b)
LIST_MARKS = ("[", "(", "{", " ")
LIST_ITEM = re.compile(r"""'([^'\\]*)'|"([^"\\]*)"|([-+.\w]+)""")
LIST_TEXT = re.compile(
    r"""[\[({]\s*(?:(?:'[^'\\]*'|"[^"\\]*"|-?\d[\d.]*|True|False|None|nan|null|true|false)\s*,?\s*)*[\])}]"""
)
PLAIN_LIST = re.compile(r"\(\d+:(.*)\)|\{([\w.]+(?:,[\w.]+)*)\}")


def parse_width_m(text: str) -> float:
    """
    Metres of a `width` value; NaN where it names none.

    Wiki Key:width and Map features/Units: metres unless a unit follows, feet and inches as 12'6". Life adds
    decimal commas, lists ("6;7", of which the widest counts), ranges ("3-4", the mean), and "~" or "ca.".
    """
    text = re.sub("[’′`]", "'", str(text).strip().lower())
    text = re.sub("[”″“]|''", '"', text)
    text = re.sub(r"(?<=['t])\s*[-–]\s*(?=[\d.,]+\s*(?:\"|in))", " ", text)  # 16'-3" is no range
    text = re.sub(r"^(?:~|≈|±|<=?|>=?|c(?:irc)?a\.?|approx\.?|about)\s*", "", text)
    widths_m, unit = [], "m"
    for item in reversed(re.split(r"\s*[;|]\s*", text)):
        ends_m = []  # one number, or the two of a range
        for part in reversed(re.split(r"(?<=[\w'\"])\s*[-–]\s*(?=\d)", item)):
            if not part:
                continue
            # (number, unit) pairs: one, or feet and inches; a dot may follow a unit, and nothing else may be left over
            tokens = re.findall(r"(\d+(?:[.,]\d+)?|[.,]\d+)\s*([a-z]+|['\"])?\.?\s*", part)
            if not tokens or "".join(f"{n}{u}" for n, u in tokens) != re.sub(r"\s|(?<=[a-z])\.", "", part):
                return math.nan
            units = [token[1] for token in tokens]
            if len(tokens) == 2 and units[1] in ("", *INCHES) and METRES_BY_UNIT.get(units[0]) == FOOT_M:
                units[1] = '"'  # 12'6 and 12 ft 6 in
            elif len(tokens) != 1:
                return math.nan
            unit = units[0] = units[0] or unit  # "10-12 ft": a number without unit has that of the next
            if any(name not in METRES_BY_UNIT for name in units):
                return math.nan
            ends_m.append(
                sum(float(n.replace(",", ".")) * METRES_BY_UNIT[u] for (n, _), u in zip(tokens, units, strict=True))
            )
        widths_m += [sum(ends_m) / len(ends_m)] if ends_m else []
    width_m = max(widths_m, default=math.nan)
    return width_m if WIDTH_RANGE_M[0] <= width_m <= WIDTH_RANGE_M[1] else math.nan


def parse_lanes(text: str) -> float:
    """
    Lanes of a `lanes` value; NaN where it names none.

    Wiki Key:lanes: a whole number. Half lanes ("1.5") are written for roads that two cars pass with care; of a
    list ("2;3", a way whose lanes change) the most count, of a range ("2-3") the mean.
    """
    # a decimal comma: "1,5" and "3,5;4"; other commas part a list
    text = re.sub(r"(?<![\d.,])(\d+),5(?![\d.,])", r"\1.5", str(text).strip())
    items = [item for item in re.split(r"\s*[;|,/]\s*", text) if item]
    try:
        ranges = [[float(end) for end in re.split(r"(?<=\d)\s*-\s*(?=\d)", item)] for item in items]
    except ValueError:
        return math.nan
    if not ranges or not all(LANES_RANGE[0] <= end <= LANES_RANGE[1] for ends in ranges for end in ends):
        return math.nan
    return max(sum(ends) / len(ends) for ends in ranges)


def parse_number(text: str) -> float:
    """Number of a value such as `layer`, of a list the greatest; NaN where it is none."""
    try:
        return max(map(float, text.split(";")))
    except ValueError:
        return math.nan


def parse_whole_lanes(text: str) -> float:
    """As the release's int(text): whole positive numbers only."""
    return float(text) if re.fullmatch(r"\s*\+?\d+\s*", text) and int(text) > 0 else math.nan


def is_tagged(frame: pd.DataFrame, key: str) -> np.ndarray:
    """Whether each row has the tag, whatever it says; bool (n,), all False where there is no such column."""
    if key not in frame:
        return np.zeros(len(frame), dtype=bool)
    return (frame[key].notna() & ~frame[key].isin(MISSING)).to_numpy(dtype=bool)


def means_no(value: Any) -> bool:
    """Whether a tag is missing or says no: `no`, false, F, 0, 0.0, in any letters, as text, boolean or number."""
    return _is_no(value if isinstance(value, str) else tag_text(value))


@lru_cache(maxsize=1024)  # asked of each object of a file, and nearly all say the same few words
def _is_no(text: str) -> bool:
    return _word(tag_text(text)) in NO


def is_not_no(frame: pd.DataFrame, key: str, of_several: Callable[[Iterable[bool]], bool] = all) -> np.ndarray:
    """
    Whether each row has the tag with any value but `no`, such as tunnel=building_passage; bool (n,).

    Of several values `all` must be no `no`, or `any`.
    """
    codes, texts = _factorized(frame, key)
    flags = [of_several(_word(item) not in NO for item in text.split(";")) for text in texts]
    return np.array([*flags, False], dtype=bool)[codes]


def tag_texts(frame: pd.DataFrame, key: str) -> np.ndarray:
    """Values of a tag as `tag_text` has them, object (n,), "" where it is missing."""
    codes, texts = _factorized(frame, key)
    return np.array([*texts, ""], dtype=object)[codes]


def tag_words(frame: pd.DataFrame, key: str, rank: Callable[[str], float]) -> np.ndarray:
    """
    Values of a tag in small letters, "" where it is missing.

    Of several values the one of the highest rank, of equal ones the first in the alphabet: their order means nothing.
    """
    codes, texts = _factorized(frame, key)
    words = [min(map(_word, text.split(";")), key=lambda word: (-rank(word), word)) for text in texts]
    return np.array([*words, ""], dtype=object)[codes].astype(str) if len(codes) else np.empty(0, dtype=str)


def tag_numbers(frame: pd.DataFrame, key: str, parse: Callable[[str], float] = parse_number) -> np.ndarray:
    """Numbers of a tag, each distinct value parsed once; NaN where it is missing or names none."""
    codes, texts = _factorized(frame, key)
    return np.array([*map(parse, texts), np.nan], dtype=np.float64)[codes]


def tag_text(value: Any) -> str:
    """
    Text of a tag as OSM writes it: several values parted by ";", "" where it is missing.

    Merged ways, as osmnx leaves them, have a list, set or array; files keep it as JSON, or as the text of a Python
    list, of numpy's, or of GDAL's StringList. Such values are sorted: the order in which ways were merged is chance.
    """
    if isinstance(value, str):
        if value[:1] not in LIST_MARKS:
            return value
        text = value.strip()
        if LIST_TEXT.fullmatch(text):
            value = [a or b or c for a, b, c in LIST_ITEM.findall(text[1:-1])]
        elif plain := PLAIN_LIST.fullmatch(text):
            value = (plain[1] or plain[2]).split(",")
        else:
            return value
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        items = {item for part in value if (item := tag_text(part).strip()) not in MISSING}
        return ";".join(sorted(items))
    if isinstance(value, float | np.floating):  # files that store numbers say 2.0 where a mapper wrote 2
        return "" if math.isnan(value) else f"{value:g}"
    return "" if value is None or value is pd.NA or value is pd.NaT else str(value)


def _word(text: str) -> str:
    word = text.strip().lower()
    return word.removesuffix(".0") if word in ("0.0", "1.0", "-1.0") else word


def _factorized(frame: pd.DataFrame, key: str) -> tuple[np.ndarray, list[str]]:
    """Number of each row's text in the list of distinct values; -1 (the last of a table) where it is missing."""
    if key not in frame:
        return np.full(len(frame), -1), []
    column = frame[key].astype(object).to_numpy()
    try:
        codes, values = pd.factorize(column)
    except TypeError:  # lists have no hash
        codes, values = pd.factorize(np.array([tag_text(value) or None for value in column], dtype=object))
    return codes, [tag_text(value) for value in values]


def tags_of_nested(values: Iterable[Any], keys: Iterable[str] | None = None) -> pd.DataFrame:
    """
    Tags of a `tags` column of any make, as a table.

    Parameters
    ----------
    values
        One value a row: a dict, pairs of key and value (an Arrow map), their JSON text or that of a Python dict, or
        hstore text, as of GDAL's `other_tags` (`"lanes"=>"4"`); None or NaN where there are no tags. A Series keeps its
        index.
    keys
        Tags to keep, in this order; None for all that there are, in the order in which they come.

    Returns
    -------
    tags
        A row a value and a column a tag, dtype object: numbers and booleans as they are; None where a row lacks it.
    """
    rows = [_nested_pairs(value) for value in values]
    index = values.index if isinstance(values, pd.Series) else pd.RangeIndex(len(rows))
    columns = list(dict.fromkeys(key for row in rows for key in row) if keys is None else keys)
    table = {key: pd.Series([row.get(key) for row in rows], index, dtype=object) for key in columns}
    return pd.DataFrame(table, index, columns, dtype=object)


def _hstore_pairs(text: str) -> dict[str, str]:
    return {re.sub(r"\\(.)", r"\1", key): re.sub(r"\\(.)", r"\1", value) for key, value in HSTORE_PAIR.findall(text)}


def _nested_pairs(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(value)
                break
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
        else:
            return _hstore_pairs(value)
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items() if item is not None}
    if not isinstance(value, list | tuple | np.ndarray):
        return {}
    # Arrow: a list of pairs, or of structs with two fields such as "key" and "value"
    pairs = [tuple(pair.values()) if isinstance(pair, Mapping) else tuple(pair) for pair in value if np.size(pair)]
    return {str(pair[0]): pair[1] for pair in pairs if len(pair) == 2 and pair[1] is not None}
