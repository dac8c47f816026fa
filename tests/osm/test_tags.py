import json
import math

import numpy as np
import pandas as pd
import pytest

from lib.osm.tags import (
    is_not_no,
    is_tagged,
    means_no,
    parse_lanes,
    parse_width_m,
    tag_numbers,
    tag_text,
    tag_words,
    tags_of_nested,
)


@pytest.mark.parametrize(
    ("text", "metres"),
    [
        ("3.5", 3.5),
        ("3,5", 3.5),
        ("2 m", 2.0),
        ("2m", 2.0),
        ("5.5 metres", 5.5),
        ("12'", 12 * 0.3048),
        ("12'6\"", 12.5 * 0.3048),
        ("12'6", 12.5 * 0.3048),
        ("12 ft 6 in", 12.5 * 0.3048),
        ("16’3”", 16.25 * 0.3048),
        ("16'-3\"", 16.25 * 0.3048),
        ("12 ft - 0 in", 12 * 0.3048),
        ("10'-12'", 11 * 0.3048),
        ("20 ft", 20 * 0.3048),
        ("350 cm", 3.5),
        ("0.005 mi", 8.04672),
        ("6;7", 7.0),
        ("6 m; 7 m", 7.0),
        ("7;3-4", 7.0),
        ("3-4", 3.5),
        ("3 – 4 m", 3.5),
        ("10-12 ft", 11 * 0.3048),
        ("~5", 5.0),
        ("ca. 4", 4.0),
        ("<3", 3.0),
        (".8", 0.8),
        (" 7 ", 7.0),
    ],
)
def test_widths_as_mappers_write_them(text, metres):
    assert parse_width_m(text) == pytest.approx(metres)


@pytest.mark.parametrize(
    "text", ["wide", "", "-3", "0", "1000", "2 lanes", "3.5.2", "m", "narrow 3", "12 parsecs", "nan"]
)
def test_what_is_no_width(text):
    assert math.isnan(parse_width_m(text))


@pytest.mark.parametrize(
    ("text", "lanes"),
    [
        *(("2", 2), ("2;3", 3), ("3|2", 3), ("1.5", 1.5), ("2,3", 3), ("2-3", 2.5), ("3;1-2", 3), (" 4 ", 4)),
        *(("1,5", 1.5), ("3,5;4", 4), ("2;2,5", 2.5), ("2-3,5", 2.75), ("3,4,5", 5)),
    ],
)
def test_lanes_as_mappers_write_them(text, lanes):
    assert parse_lanes(text) == lanes


@pytest.mark.parametrize("text", ["-1", "many", "", "0", "99", "two", "nan", "2;x"])
def test_what_is_no_number_of_lanes(text):
    assert math.isnan(parse_lanes(text))


def rows(table):
    return [{key: value for key, value in row.items() if value is not None} for row in table.to_dict("records")]


def test_hstore_of_gdal():
    texts = pd.Series(
        [
            '"lanes"=>"4","name"=>"Ring \\"A\\" => \\\\, B","lanes:forward"=>"2"',
            None,
            '"layer" => "-1", "note"=>NULL, "oneway"=>"yes"',
            np.nan,
        ],
        index=[7, 3, 3, 1],
    )
    table = tags_of_nested(texts)
    assert rows(table) == [
        {"lanes": "4", "name": 'Ring "A" => \\, B', "lanes:forward": "2"},
        {},
        {"layer": "-1", "oneway": "yes"},
        {},
    ]
    assert table.index.tolist() == [7, 3, 3, 1]
    assert tags_of_nested(texts, ["layer", "width"]).to_numpy().tolist() == [[None, None]] * 2 + [["-1", None]] + [
        [None, None]
    ]
    assert tags_of_nested([None]).shape == (1, 0)
    assert tags_of_nested([], ["lanes"]).shape == (0, 1)


TAGS = {"highway": "residential", "lanes": "4", "name": 'a "b", c'}


@pytest.mark.parametrize(
    "value",
    [
        TAGS,
        json.dumps(TAGS),
        str(TAGS),
        list(TAGS.items()),
        np.array(list(TAGS.items()), dtype=object),
        [{"key": key, "value": value} for key, value in TAGS.items()],
        [list(pair) for pair in TAGS.items()],
        json.dumps(list(TAGS.items())),
        {**TAGS, "width": None},
    ],
)
def test_nested_tags_of_all_makes(value):
    assert rows(tags_of_nested([value, None, {}])) == [TAGS, {}, {}]


def test_nested_values_stay_what_they_are():
    (row,) = rows(tags_of_nested([{"oneway": True, "lanes": 2, "highway": ["service", "track"]}]))
    assert row == {"oneway": True, "lanes": 2, "highway": ["service", "track"]}
    assert rows(tags_of_nested(['"lanes"=>"4"', "no tags", "", np.nan, 3, "[[[[", '"text"'])) == [
        {"lanes": "4"},
        *[{}] * 6,
    ]


NOES = ["no", "No", " NO ", "false", "False", "F", "f", "0", "0.0", False, np.False_, 0, 0.0, None, np.nan, pd.NA, ""]
YESES = ["yes", "Yes", " YES ", "true", "True", "T", "1", "1.0", True, np.True_, 1, 1.0, "building_passage", "-1"]


@pytest.mark.parametrize("value", NOES)
def test_every_spelling_of_no(value):
    assert means_no(value)
    assert not is_not_no(pd.DataFrame({"tunnel": pd.Series([value], dtype=object)}), "tunnel").any()


@pytest.mark.parametrize("value", YESES)
def test_every_other_value_is_not_no(value):
    assert not means_no(value)
    assert is_not_no(pd.DataFrame({"tunnel": pd.Series([value], dtype=object)}), "tunnel").all()


@pytest.mark.parametrize("dtype", [object, "boolean", "float64", "string", "Int8", "category"])
def test_columns_of_all_types_with_a_gap(dtype):
    column = pd.Series([True, False, None], dtype=object)
    column = column.map(str, na_action="ignore") if dtype in ("string", "category") else column.astype("boolean")
    frame = pd.DataFrame({"tunnel": column.astype(dtype)})
    assert is_not_no(frame, "tunnel").tolist() == [True, False, False]
    assert is_tagged(frame, "tunnel").tolist() == [True, True, False]


LISTS = [
    ["service", "residential"],
    ("residential", "service"),
    {"residential", "service"},
    frozenset({"residential", "service"}),
    np.array(["service", "residential"]),
    np.array(["residential", "service"], dtype=object),
    ["service", None, "residential", np.nan],
    '["service", "residential"]',
    "['residential', 'service']",
    "{'service', 'residential'}",
    "['service' 'residential']",
    "['service', nan, 'residential']",
    "{residential,service}",
    "(2:residential,service)",
]


@pytest.mark.parametrize("value", LISTS)
def test_lists_of_all_makes_are_one_text(value):
    assert tag_text(value) == "residential;service"
    frame = pd.DataFrame({"highway": pd.Series([value, "track", None], dtype=object)})
    assert tag_words(frame, "highway", len).tolist() == ["residential", "track", ""]
    assert is_tagged(frame, "highway").tolist() == [True, True, False]


def test_lists_of_numbers_and_booleans():
    frame = pd.DataFrame({"lanes": pd.Series([["2", "3"], "[3, 2]", "['3', '2']", [2.0, 3.0], "3;2"], dtype=object)})
    assert tag_numbers(frame, "lanes", parse_lanes).tolist() == [3] * 5
    frame = pd.DataFrame({"tunnel": pd.Series([[True, False], "[True, True]", "no;yes", {"yes"}, []], dtype=object)})
    assert is_not_no(frame, "tunnel").tolist() == [False, True, False, True, False]
    assert is_not_no(frame, "tunnel", any).tolist() == [True, True, True, True, False]
    assert tag_numbers(pd.DataFrame({"layer": [["-1", "-2"], ["0", "-1"]]}), "layer").tolist() == [-1, 0]


@pytest.mark.parametrize("text", ["(old road)", "[Unnamed]", "{", "", "a;b", "Rue de l'Est", "12'6\""])
def test_texts_that_are_no_lists_stay(text):
    assert tag_text(text) == text
