import json

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import ParameterError
from lib.osm.lanes import (
    METRIC,
    METRIC_LANES,
    PAPER,
    LaneProfile,
    is_drawn,
    lane_profile,
    profile_options,
    road_lanes,
    road_weights,
    road_widths_m,
)
from lib.osm.layers import read_osm
from lib.paths import ROOT


def width_m(profile=METRIC, **tags):
    frame = pd.DataFrame([{key.replace("__", ":"): value for key, value in tags.items()}])
    return float(road_widths_m(frame, profile).iloc[0])


@given(st.text(max_size=12))
def test_no_tag_value_stops_a_run(text):
    frame = pd.DataFrame({"highway": ["residential"], **{key: [text] for key in ("width", "lanes", "layer", "oneway")}})
    for profile in (METRIC, PAPER):
        assert np.isfinite(road_widths_m(frame, profile)).all()


def test_width_wins_over_estimate_over_lanes_over_class():
    assert width_m(highway="residential") == 6.5
    assert width_m(highway="residential", lanes="4") == 13.0
    assert width_m(highway="residential", lanes="4", est_width="9") == 9.0
    assert width_m(highway="residential", lanes="4", est_width="9", width="8") == 8.0
    assert width_m(highway="residential", width="12", width__carriageway="8") == 8.0
    assert width_m(highway="residential", lanes="many", width="wide") == 6.5


def test_lanes_by_direction_add_up():
    assert width_m(highway="tertiary", lanes__forward="2", lanes__backward="1") == 9.75
    assert width_m(highway="tertiary", lanes__forward="1", lanes__backward="1", lanes__both_ways="1") == 9.75
    assert width_m(highway="tertiary", lanes__forward="2") == width_m(highway="tertiary")
    assert width_m(highway="tertiary", lanes="2", lanes__forward="2", lanes__backward="1") == 6.5


@pytest.mark.parametrize("tags", [{"oneway": "yes"}, {"oneway": "-1"}, {"oneway": "1"}, {"junction": "roundabout"}])
def test_one_way_roads_are_narrower(tags):
    assert width_m(highway="residential", **tags) < width_m(highway="residential")
    assert width_m(highway="residential", lanes="2", **tags) == width_m(highway="residential")


def test_motorways_keep_two_lanes_in_their_one_direction():
    assert width_m(highway="motorway", oneway="yes") == width_m(highway="motorway") == 7.5
    assert width_m(highway="residential", junction="roundabout", oneway="no") == 6.5


@pytest.mark.parametrize(
    "tags",
    [
        {"tunnel": "yes"},
        {"tunnel": "building_passage"},
        {"covered": "yes"},
        {"layer": "-1"},
        {"layer": "-2", "tunnel": "yes", "width": "8"},
    ],
)
def test_what_lies_hidden_is_not_drawn(tags):
    assert width_m(highway="primary", **tags) == 0
    assert width_m(LaneProfile(draw_hidden=True), highway="primary", **tags) > 0


@pytest.mark.parametrize("tags", [{"tunnel": "no"}, {"layer": "1"}, {"bridge": "yes", "layer": "-1"}, {"layer": "?"}])
def test_bridges_and_plain_roads_are_drawn(tags):
    assert width_m(highway="primary", **tags) == 7.0


@pytest.mark.parametrize("highway", ["footway", "path", "cycleway", "steps", "pedestrian", "proposed", "construction"])
def test_footways_are_no_roads_unless_asked(highway):
    assert width_m(highway=highway) == 0
    asked = lane_profile({"drawn": [highway], "lanes": {highway: 1.0}})
    assert width_m(asked, highway=highway) == 3.25


def test_kinds_of_service_roads_and_surfaces():
    assert width_m(highway="service") == pytest.approx(4.875)
    assert width_m(highway="service", service="driveway") == 3.0
    assert width_m(highway="service", service="parking_aisle") == 5.0
    assert width_m(highway="service", service="driveway", lanes="2") == 6.5
    assert width_m(highway="residential", surface="gravel") == pytest.approx(6.5 * 0.85)
    assert width_m(highway="residential", surface="asphalt") == 6.5
    assert width_m(highway="residential", surface="gravel", lanes="2") == 6.5


def test_a_line_of_unknown_class_is_a_road():
    frame = pd.DataFrame({"highway": [None, np.nan, ""], "lanes": [2.0, np.nan, 3]})
    assert road_widths_m(frame).tolist() == [6.5, 6.5, 9.75]
    assert road_widths_m(pd.DataFrame(index=[4, 7])).tolist() == [6.5, 6.5]


def test_lists_of_merged_ways_are_read():
    frame = pd.DataFrame({"highway": [["residential", "service"], "residential"], "lanes": [["2", "3"], "2"]})
    assert road_lanes(frame).tolist() == [3.0, 2.0]


def test_the_frame_and_its_index_stay():
    frame = pd.DataFrame({"highway": ["primary", "footway"], "lanes": ["2", "1"]}, index=[9, 3])
    before = frame.copy(deep=True)
    widths = road_widths_m(frame)
    assert widths.index.tolist() == [9, 3]
    assert widths.dtype == np.float32
    assert frame.equals(before)
    assert road_widths_m(frame.iloc[:0]).empty


def test_the_papers_lanes():
    frame = pd.DataFrame(
        {
            "highway": ["primary", "motorway_link", "residential", "footway", "track", "living_street", "primary"],
            "lanes": [None, None, None, None, None, "2", "2;3"],
            "tunnel": ["yes", None, None, None, None, None, None],
            "width": ["9", None, None, None, None, None, None],
        }
    )
    assert road_lanes(frame, PAPER).tolist() == [1.5, 1.5, 1.0, 1.0, 0.5, 2.0, 1.5]
    assert is_drawn(pd.DataFrame({"highway": ["proposed", "steps"]}), PAPER).tolist() == [False, True]


def test_one_lane_width_for_all():
    assert width_m(lane_profile({"lane_width_m": 3.0}), highway="primary") == 6.0
    assert width_m(lane_profile({"lane_width_m": {"primary": 3.0}}), highway="primary") == 6.0
    assert width_m(lane_profile({"lane_width_m": {"primary": 3.0}}), highway="residential") == 6.5


@pytest.mark.parametrize("profile", [METRIC, PAPER, LaneProfile(name="mine", lane_width_m=3.0, drawn=("primary",))])
def test_a_profile_survives_its_yaml_file(profile):
    assert lane_profile(yaml.safe_load(yaml.safe_dump(profile_options(profile)))) == profile


def test_profiles_by_name_and_what_is_refused():
    assert lane_profile("paper") is PAPER
    assert lane_profile(METRIC) is METRIC
    for options, message in (
        ("papr", "profile is 'papr'.*nearest is 'paper'"),
        ({"lane_widht_m": 3.0}, "the nearest known one is 'lane_width_m'"),
        ({"lane_width_m": -1}, "lane_width_m is -1: expected more than 0"),
        ({"lane_width_m": "3"}, "lane_width_m"),
        ({"lane_width_m": True}, "lane_width_m"),
        ({"lanes": {"primary": "2"}}, r"lanes\['primary'\]"),
        ({"lanes": 2}, "'lanes' is a Mapping"),
        ({"drawn": []}, "draws no class"),
        ({"drawn": "primary"}, "'drawn' is a tuple"),
        ({"drawn": 5}, "'drawn' is a tuple"),
        ({"base": 3}, "one of metric, paper or a mapping; got 3"),
        ({"base": ["metric"]}, "one of metric, paper or a mapping"),
        ({"draw_hidden": 1}, "'draw_hidden' is a bool"),
        ({"use_lanes_tag": "yes"}, "use_lanes_tag"),
    ):
        with pytest.raises(ParameterError, match=message):
            lane_profile(options)


def test_weights_by_class():
    frame = pd.DataFrame({"highway": list(METRIC_LANES)})
    weights = road_weights(frame, {"track": 0.5, "default": 2.0})
    assert weights[frame["highway"] == "track"].tolist() == [0.5]
    assert (weights[frame["highway"] != "track"] == 2.0).all()


@pytest.mark.parametrize("make", [list, tuple, set, np.array, str, lambda items: json.dumps(list(items)), ";".join])
@pytest.mark.parametrize("turn", [1, -1])
def test_a_merged_street_has_one_width_by_all_routes(make, turn):
    def of(*items):
        return make(items[::turn])

    assert width_m(highway=of("residential", "service")) == 6.5
    assert width_m(highway=of("footway", "track")) == 2.75
    assert width_m(highway="residential", lanes=of("4", "2")) == 13.0
    assert width_m(highway="residential", width=of("5", "9")) == 9.0
    assert width_m(highway="residential", oneway=of("yes", "no")) == 6.5
    assert width_m(highway="residential", surface=of("gravel", "asphalt")) == 6.5
    assert width_m(highway="service", service=of("driveway", "parking_aisle")) == 5.0
    assert width_m(highway="residential", tunnel=of("yes", "no")) == 6.5
    assert width_m(highway="residential", tunnel=of("yes", "culvert")) == 0
    assert width_m(highway="residential", layer=of("-1", "-2")) == 0
    assert width_m(highway="residential", junction=of("roundabout", "filter")) == 6.5


ONE_WAY = ["yes", "Yes ", "true", True, 1, 1.0, "1", "1.0", "-1", -1, -1.0, "reverse", "T", "F", [True, True], "[True]"]
TWO_WAY = ["no", "false", False, 0, 0.0, "0", "B", None, np.nan, "reversible", [True, False], "[True, False]"]


@pytest.mark.parametrize("oneway", [*ONE_WAY, *TWO_WAY])
def test_oneway_in_all_spellings(oneway):
    expected = 1.25 * 3.25 if any(oneway is value for value in ONE_WAY) else 6.5
    assert width_m(highway="residential", oneway=oneway) == expected
    assert width_m(highway="motorway", oneway=oneway) == 7.5


@pytest.mark.parametrize("no", ["no", "F", "False", False, 0, 0.0, "0"])
def test_what_says_no_hides_nothing(no):
    assert width_m(highway="primary", tunnel=no, covered=no, bridge=no) == 7.0
    assert width_m(highway="primary", layer="-1", bridge=no) == 0


def test_a_oneway_column_of_floats_as_files_give_nullable_booleans():
    frame = pd.DataFrame({"highway": ["residential"] * 3, "oneway": [1.0, 0.0, np.nan]})
    assert road_lanes(frame).tolist() == [1.25, 2.0, 2.0]


def test_the_cases_of_shapefiles_and_booleans_from_the_field():
    folder = ROOT.parent / "shared/cases/labels"
    if not folder.is_dir():
        pytest.skip("../shared is absent")
    for name, widths in (
        ("01_geofabrik_roads_tunnel_F/input/gis_osm_roads_free_1.shp", [6.5, 7.0, 0.0]),
        ("17_booleans_and_nested_tags/input/booleans.geojson", [14.0, 6.5, 0.0]),
    ):
        assert road_widths_m(read_osm(folder / name).roads).tolist() == widths
