"""Highway tags -> width in metres: the lane profile, and what mappers mean by the values they write."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd

from lib.errors import ParameterError
from lib.limits import Limits, check_fields, check_names, check_value, limited, limits_of, unknown
from lib.osm.tags import is_not_no, parse_lanes, parse_whole_lanes, parse_width_m, tag_numbers, tag_words

# fmt: off
# Wiki Key:lanes: all lanes of a way are counted, of both directions where it has two. How many there are where the tag
# is missing is this project's judgement: two, a link one, a service road or living street less than two marked ones
METRIC_LANES = {
    "motorway": 2.0, "trunk": 2.0, "primary": 2.0, "secondary": 2.0, "tertiary": 2.0,
    "motorway_link": 1.0, "trunk_link": 1.0, "primary_link": 1.0, "secondary_link": 1.0, "tertiary_link": 1.0,
    "unclassified": 2.0, "residential": 2.0, "road": 2.0, "living_street": 1.5, "service": 1.5, "track": 1.0,
    "busway": 1.0, "bus_guideway": 1.0,
}
# Wiki Key:lanes: of a dual carriageway each direction is a way with lanes of its own. A motorway or trunk way is
# taken to have two; others lose one of two, but keep the room to pass a parked car
METRIC_ONEWAY_LANES = {
    "motorway": 2.0, "trunk": 2.0, "primary": 1.5, "secondary": 1.5, "tertiary": 1.25,
    "unclassified": 1.25, "residential": 1.25, "road": 1.25, "living_street": 1.0, "service": 1.0,
}
# Lane and its share of the verge that looks like road from above; a single-lane link carries two shoulders
METRIC_LANE_WIDTH_M = {
    "default": 3.25, "motorway": 3.75, "trunk": 3.75, "primary": 3.5, "secondary": 3.5, "track": 2.75,
    "motorway_link": 5.0, "trunk_link": 4.75, "primary_link": 4.5, "secondary_link": 4.25, "tertiary_link": 4.0,
}
# Wiki Key:service: what kind of service road it is
METRIC_SERVICE_WIDTH_M = {
    "driveway": 3.0, "parking_aisle": 5.0, "alley": 3.5, "drive-through": 3.0, "emergency_access": 3.5,
}
# fmt: on
MAIN_ROADS = ("motorway", "trunk", "primary", "secondary", "tertiary")
PAPER_LANES = {
    **dict.fromkeys((*MAIN_ROADS, *(f"{name}_link" for name in MAIN_ROADS)), 1.5),
    **{"track": 0.5, "living_street": 0.5},
}
# Wiki Key:highway, "Lifecycle" and what stands beside roads: no ground is covered by a carriageway
# fmt: off
NOT_ROADS = frozenset({
    "abandoned", "bus_stop", "construction", "corridor", "crossing", "elevator", "no", "planned", "platform",
    "proposed", "razed",
})
# Wiki Key:surface, "unpaved" and its kinds
UNPAVED = frozenset({
    "unpaved", "compacted", "fine_gravel", "gravel", "shells", "rock", "pebblestone", "ground", "dirt", "earth",
    "grass", "mud", "sand", "woodchips",
})
# fmt: on
# Wiki Key:highway: what else can be a way; and "default" for the classes that a table doesn't name
HIGHWAYS = (
    *METRIC_LANES,
    *("pedestrian", "footway", "path", "cycleway", "bridleway", "steps", "via_ferrata", "raceway", "escape"),
    *("services", "rest_area", "emergency_bay", "traffic_island", "ladder"),
    *sorted(NOT_ROADS),
)
CLASS_NAMES = (*HIGHWAYS, "default")


def _by_class(table: Mapping[str, float], maximum: float) -> Any:
    """Field that is a table of numbers above 0 by highway class, or, if its type says so, one number for all."""
    return limited(default_factory=lambda: dict(table), above=0, maximum=maximum, key_choices=CLASS_NAMES)


# wiki Key:oneway; "t" and "f" are the two directions of Geofabrik's shapefiles, "b" is both
ONEWAY = ("yes", "true", "1", "-1", "reverse", "t", "f")
BOTH_WAYS = ("no", "false", "0", "b")
ROUNDABOUTS = ("roundabout", "circular")


@dataclass(frozen=True)
class LaneProfile:
    """
    How wide a road is drawn, and which are drawn at all.

    Parameters
    ----------
    name
        Name that a report shows.
    lanes
        Lanes of a (two-way) road by highway class; "default" for the classes not named.
    oneway_lanes
        The same for a one-way road; a class not named keeps its `lanes`.
    lane_width_m
        Width of a lane by highway class, metres, "default" for those not named; or one number for all.
    service_width_m
        Whole width of a `highway=service` by its `service` tag, metres.
    drawn
        Highway classes that are roads; ("all",) for every class that is built and a way at all. Roads without
        a class count as "road".
    use_width_tag
        Whether `width:carriageway`, `width` and `est_width` win over the lanes.
    use_lanes_tag
        Whether `lanes` and `lanes:forward/backward` win over the class: "number", "integer" (whole numbers
        only, as the paper's release reads them), or "no".
    draw_hidden
        Whether tunnels, covered ways and layers below ground are drawn.
    draw_areas
        Whether roads mapped as polygons (wiki Key:area, `area=yes`) are filled.
    unpaved_share
        Share of the class width that an unpaved road without width and lanes has.
    lane_width_px
        If given, thickness is int(lanes x this) in pixels whatever the pixel size, as in the paper.
    """

    name: str = "metric"
    lanes: Mapping[str, float] = _by_class(METRIC_LANES, maximum=50)
    oneway_lanes: Mapping[str, float] = _by_class(METRIC_ONEWAY_LANES, maximum=50)
    lane_width_m: float | Mapping[str, float] = _by_class(METRIC_LANE_WIDTH_M, maximum=50)
    service_width_m: Mapping[str, float] = limited(
        default_factory=lambda: dict(METRIC_SERVICE_WIDTH_M), above=0, maximum=100
    )
    drawn: tuple[str, ...] = limited(tuple(METRIC_LANES), choices=(*HIGHWAYS, "all"))
    use_width_tag: bool = True
    use_lanes_tag: str = limited("number", choices=("number", "integer", "no"))
    draw_hidden: bool = False
    draw_areas: bool = True
    unpaved_share: float = limited(0.85, above=0, maximum=1)
    lane_width_px: float | None = limited(None, above=0, maximum=1000)

    def __post_init__(self) -> None:
        if isinstance(self.drawn, list):
            object.__setattr__(self, "drawn", tuple(self.drawn))
        if not self.drawn:
            raise ParameterError("The lane profile draws no class at all; name some in `drawn`, or ('all',).")
        check_fields(self)


METRIC = LaneProfile()
PAPER = LaneProfile(
    name="paper",
    lanes={"default": 1.0, **PAPER_LANES},
    oneway_lanes={},
    service_width_m={},
    drawn=("all",),
    use_width_tag=False,
    use_lanes_tag="integer",
    draw_hidden=True,
    draw_areas=False,
    unpaved_share=1.0,
    lane_width_px=8.0,
)
PROFILES = {"metric": METRIC, "paper": PAPER}


def lane_profile(options: str | Mapping[str, Any] | LaneProfile = "metric") -> LaneProfile:
    """
    Lane profile from its name, or from the mapping of a YAML file.

    Parameters
    ----------
    options
        "metric", "paper", or a mapping with any field of LaneProfile; `base` names the profile that it changes.
        Tables are merged class by class: `{"lane_width_m": {"residential": 2.75}}` leaves the others. With
        `base: null` the tables stand alone.

    Raises
    ------
    ParameterError
        If a name is unknown (the nearest known one is given), or a value is of the wrong kind.
    """
    if isinstance(options, LaneProfile):
        return options
    if isinstance(options, str):
        check_value("profile", options, str, Limits(choices=PROFILES))
        return PROFILES[options]
    if not isinstance(options, Mapping):
        raise ParameterError(f"A lane profile is one of {', '.join(PROFILES)} or a mapping; got {options!r}.")
    changes = dict(options)
    base_name = changes.pop("base", "metric")
    base = lane_profile("metric" if base_name is None else base_name)
    check_names("Lane profile", changes, [item.name for item in fields(LaneProfile)])
    if base_name is not None:  # tables are merged class by class
        tables = {key: getattr(base, key) for key in changes if isinstance(getattr(base, key), Mapping)}
        changes |= {k: table | changes[k] for k, table in tables.items() if isinstance(changes[k], Mapping)}
    return replace(base, **changes)


def chosen_lanes(
    profile: str, lane_width_m: float, lane_widths_m: Mapping[str, float], classes: Sequence[str]
) -> LaneProfile:
    """
    The lane profile that a notebook's parameters describe.

    Parameters
    ----------
    profile
        Name of the profile that is changed.
    lane_width_m
        One lane width for all classes, metres; 0 takes `lane_widths_m`.
    lane_widths_m
        Lane widths by highway class, metres; the profile's own for those not named.
    classes
        Highway classes to draw; the profile's own where empty.

    Raises
    ------
    ParameterError
        If a name is unknown, a class is given a width but not drawn, or a width is out of range.
    """
    limits = limits_of(LaneProfile)
    check_value("classes", classes, Sequence[str], limits["drawn"])
    check_value("lane_widths_m", lane_widths_m, Mapping[str, float], limits["lane_width_m"])
    widths = {"lane_width_m": lane_width_m or lane_widths_m}
    lanes = lane_profile({"base": profile} | widths | ({"drawn": tuple(classes)} if classes else {}))
    check_classes(lane_widths_m, lanes, "lane_widths_m")
    return lanes


def profile_options(profile: LaneProfile) -> dict[str, Any]:
    """The profile as plain dicts, lists and numbers for a YAML file; `lane_profile` reads it back."""
    return {"base": None, **asdict(profile), "drawn": list(profile.drawn)}


def road_widths_m(roads: pd.DataFrame, profile: LaneProfile = METRIC) -> pd.Series:
    """
    Width of each road, metres, from its tags and the lane profile.

    `width:carriageway` (from kerb to kerb: wiki Key:width:carriageway) wins over `width`, which may count pavements
    in, `width` over `est_width`, that over `lanes`, and `lanes` over the highway class (wiki Key:width, Key:lanes).
    With a profile in pixels the metres have no meaning: use `road_lanes`.

    Parameters
    ----------
    roads
        One row an OSM way; reads the columns that `lib.osm.layers.ROAD_TAGS` names, where present.
    profile
        Lanes by class, width of a lane, and what is drawn.

    Returns
    -------
    widths_m
        float32, same index as `roads`; 0 where the road is not drawn.
    """
    # all arrays hold one entry a road; widths in metres, from the weakest source to the strongest
    highway = highway_classes(roads)
    lanes, from_tag = _lanes_and_source(roads, profile)
    lane_width_m = profile.lane_width_m
    table = lane_width_m if isinstance(lane_width_m, Mapping) else {"default": lane_width_m}
    widths = lanes * _lookup(highway, table, table.get("default", METRIC_LANE_WIDTH_M["default"]))
    # wiki Key:service: driveways and aisles have no marked lanes, their kind tells more than their class
    service = tag_words(roads, "service", lambda kind: METRIC_SERVICE_WIDTH_M.get(kind, math.inf))
    by_service = _lookup(service, profile.service_width_m, np.nan)
    widths = np.where(~from_tag & (highway == "service") & np.isfinite(by_service), by_service, widths)
    # wiki Key:surface: an unpaved road has no verge of asphalt and rarely two full lanes; tracks count it in
    unpaved = np.isin(tag_words(roads, "surface", lambda kind: kind not in UNPAVED), list(UNPAVED))
    unpaved &= highway != "track"
    widths = np.where(unpaved & ~from_tag, widths * profile.unpaved_share, widths)
    if profile.use_width_tag:
        for key in ("est_width", "width", "width:carriageway"):  # the later wins
            tagged = tag_numbers(roads, key, parse_width_m)
            widths = np.where(np.isfinite(tagged), tagged, widths)
    widths = np.where(is_drawn(roads, profile), widths, 0.0)
    return pd.Series(widths.astype(np.float32), index=roads.index, name="width_m")


def road_lanes(roads: pd.DataFrame, profile: LaneProfile = METRIC) -> pd.Series:
    """Lanes of each road, both directions together, float32; 0 where the road is not drawn."""
    lanes, _ = _lanes_and_source(roads, profile)
    lanes = np.where(is_drawn(roads, profile), lanes, 0.0)
    return pd.Series(lanes.astype(np.float32), index=roads.index, name="lanes")


def road_weights(roads: pd.DataFrame, weights: Mapping[str, float], default: float = 1.0) -> pd.Series:
    """Training weight of each road by its highway class, float32; `default` for the classes not named."""
    values = _lookup(highway_classes(roads), weights, weights.get("default", default))
    return pd.Series(values.astype(np.float32), index=roads.index, name="weight")


def check_classes(names: Iterable[str], profile: LaneProfile, what: str) -> None:
    """Raise ParameterError if a name is no class that the profile draws, nor "default"; gives the nearest."""
    known = CLASS_NAMES if "all" in profile.drawn else ("default", *profile.drawn)
    for name in names:
        if name not in known:
            raise ParameterError(f"{what}: {unknown('drawn highway class', name, known)}")


def is_drawn(roads: pd.DataFrame, profile: LaneProfile = METRIC) -> np.ndarray:
    """Whether each road is of a drawn class and can be seen from above; bool (n,)."""
    draws_all = "all" in profile.drawn
    drawn = np.isin(highway_classes(roads), list(NOT_ROADS) if draws_all else profile.drawn, invert=draws_all)
    if profile.draw_hidden:
        return drawn
    # wiki Key:tunnel, Key:covered: any value but "no" roofs the road over; Key:layer: what passes below ground has
    # one below 0, and a bridge is never hidden by its own
    below = (tag_numbers(roads, "layer") < 0) & ~is_not_no(roads, "bridge", any)
    return drawn & ~(is_not_no(roads, "tunnel") | is_not_no(roads, "covered") | below)


def is_seen(buildings: pd.DataFrame) -> np.ndarray:
    """
    Whether each building can be seen from above; bool (n,).

    Wiki Key:location says what lies underground; a layer below 0 alone is an order (Key:layer, "Things to avoid").
    """
    return tag_words(buildings, "location", lambda word: word != "underground") != "underground"


def _lanes_and_source(roads: pd.DataFrame, profile: LaneProfile) -> tuple[np.ndarray, np.ndarray]:
    """Lanes of each road, and whether a tag of its own says so."""
    highway = highway_classes(roads)
    by_class = _lookup(highway, profile.lanes, profile.lanes.get("default", 1.0))
    oneway_lanes = _lookup(highway, profile.oneway_lanes, np.nan)
    by_class = np.where(_is_oneway(roads, highway) & np.isfinite(oneway_lanes), oneway_lanes, by_class)
    if profile.use_lanes_tag == "no":
        return by_class, np.zeros(len(roads), dtype=bool)
    if profile.use_lanes_tag == "integer":
        tagged = tag_numbers(roads, "lanes", parse_whole_lanes)
    else:
        # wiki Key:lanes: `lanes` counts both directions; where only the directions are tagged, their sum does, with
        # the turning lane that they share (wiki Key:lanes:both_ways)
        forward, backward, shared = (
            tag_numbers(roads, f"lanes:{way}", parse_lanes) for way in ("forward", "backward", "both_ways")
        )
        both = forward + backward + np.nan_to_num(shared)  # NaN unless both directions are there
        tagged = tag_numbers(roads, "lanes", parse_lanes)
        tagged = np.where(np.isfinite(tagged), tagged, both)
    from_tag = np.isfinite(tagged)
    return np.where(from_tag, tagged, by_class), from_tag


def _is_oneway(roads: pd.DataFrame, highway: np.ndarray) -> np.ndarray:
    """
    Whether a way carries one direction only; its pair of a dual carriageway is a way of its own.

    Wiki Key:oneway: yes, 1, true, -1, reverse; implied by motorways and roundabouts unless "no".
    """
    oneway = tag_words(roads, "oneway", lambda word: word not in ONEWAY)
    rounds = tag_words(roads, "junction", lambda word: word not in ROUNDABOUTS)
    implied = (highway == "motorway") | np.isin(rounds, ROUNDABOUTS)
    return np.isin(oneway, ONEWAY) | implied & ~np.isin(oneway, BOTH_WAYS)


def highway_classes(roads: pd.DataFrame) -> np.ndarray:
    """
    Highway class, of several the widest; a line of which nobody says what it is counts as "road".

    Wiki Tag:highway=road. Which class is wide is METRIC's judgement, and the same in every profile.
    """
    highway = tag_words(roads, "highway", _class_width_m)
    return np.where(highway == "", "road", highway)


def _class_width_m(highway: str) -> float:
    """Width of a class in METRIC, metres; less than any where no road is drawn."""
    lanes = METRIC_LANES.get(highway, -1.0 if highway in NOT_ROADS else 0.0)
    return lanes * METRIC_LANE_WIDTH_M.get(highway, METRIC_LANE_WIDTH_M["default"])


def _lookup(keys: np.ndarray, table: Mapping[str, float], default: float) -> np.ndarray:
    """The table's number of each key, float64 (n,); `default` for keys that it does not name."""
    codes, names = pd.factorize(keys)
    return np.array([table.get(str(name), default) for name in names], dtype=np.float64)[codes]
