import math

import pytest

from lib.osm.tags import parse_lanes, parse_width_m


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
        ("20 ft", 20 * 0.3048),
        ("350 cm", 3.5),
        ("0.005 mi", 8.04672),
        ("6;7", 6.5),
        ("6 m; 7 m", 6.5),
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
    [("2", 2), ("2;3", 2.5), ("2|3", 2.5), ("1.5", 1.5), ("1,5", 1.5), ("2,3", 2.5), ("2-3", 2.5), (" 4 ", 4)],
)
def test_lanes_as_mappers_write_them(text, lanes):
    assert parse_lanes(text) == lanes


@pytest.mark.parametrize("text", ["-1", "many", "", "0", "99", "two", "nan", "2;x"])
def test_what_is_no_number_of_lanes(text):
    assert math.isnan(parse_lanes(text))
