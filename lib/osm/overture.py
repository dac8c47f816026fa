"""
Overture's transportation segments and buildings -> rows with the tags of OpenStreetMap.

https://docs.overturemaps.org/schema/reference: a segment says by rules what holds along it, each of the whole or
`between` two shares of its length. A segment whose tunnel, width or direction changes becomes several roads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from shapely.ops import substring

SEGMENT_COLUMNS = {"subtype", "class"}
# a table of buildings has at least one of these; land use and infrastructure have subtype and class, too
BUILDING_COLUMNS = {"has_parts", "is_underground", "num_floors", "roof_shape", "facade_material"}
TELLING_COLUMNS = {"connectors", "road_flags", "road_surface", *BUILDING_COLUMNS}
MAKER_COLUMNS = {"sources", "theme", "bbox", *TELLING_COLUMNS}
OSM_COLUMNS = {"highway", "building"}
LINK_CLASSES = ("motorway", "trunk", "primary", "secondary", "tertiary")
SERVICES = ("driveway", "parking_aisle", "alley")  # subclasses that OSM writes as `service`
FLAG_TAGS = {"is_bridge": "bridge", "is_tunnel": "tunnel", "is_covered": "covered", "is_indoor": "covered"}
RULE_TAGS = {"width_rules": "width", "road_surface": "surface", "level_rules": "layer"}
MOTOR_MODES = {"vehicle", "motor_vehicle", "car"}
ONEWAYS = {frozenset({"backward"}): "yes", frozenset({"forward"}): "-1"}  # by the headings that are denied

Rule = dict[str, Any]


def is_overture(frame: gpd.GeoDataFrame) -> bool:
    """Whether a table has the columns of an Overture theme; mappers use some as tags, beside those no theme has."""
    columns = set(frame.columns)
    return columns >= SEGMENT_COLUMNS and bool(columns & MAKER_COLUMNS) and not columns & OSM_COLUMNS


def with_osm_tags(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """
    The rows of an Overture table, with `highway` or `building` and the tags that say how they are drawn.

    Parameters
    ----------
    frame
        Lines of type segment or polygons of type building or building_part; nested columns as dicts and arrays
        (GeoParquet), or as JSON text (GeoJSON, GeoPackage).

    Returns
    -------
    tagged
        The same CRS; `highway` is None for railways and waterways, `building` for tables of other themes. One row a
        piece of a segment along which nothing changes.
    """
    dimension = shapely.get_dimensions(frame.geometry.to_numpy())
    buildings = frame[(dimension == 2) & bool(BUILDING_COLUMNS & set(frame.columns))]
    roads = frame[(dimension == 1) & frame["subtype"].isin(["road"])]
    is_geographic = frame.crs is not None and frame.crs.is_geographic
    rows = [_building(row) for row in buildings.to_dict("records")]
    rows += [piece for row in roads.to_dict("records") for piece in _pieces(row, is_geographic)]
    columns = dict.fromkeys(key for row in rows for key in row) or ("highway", "building")
    table = {key: [row.get(key) for row in rows] for key in columns if key != "geometry"}
    geometry = np.array([row["geometry"] for row in rows], dtype=object)
    return gpd.GeoDataFrame({"highway": None, "building": None, **table}, geometry=geometry, crs=frame.crs)


def _building(row: Mapping[str, Any]) -> dict[str, Any]:
    kind = next((row[key] for key in ("class", "subtype") if isinstance(row.get(key), str)), "yes")
    tags = {"osm_id": row.get("id"), "building": kind, "name": _primary_name(row.get("names"))}
    if row.get("is_underground") in (True, 1, "true"):
        tags["location"] = "underground"
    return {**tags, "building:levels": row.get("num_floors"), "layer": row.get("level"), "geometry": row["geometry"]}


def _pieces(row: Mapping[str, Any], is_geographic: bool) -> list[dict[str, Any]]:
    """The roads of a segment: cut where one of the rules that decide how it is drawn begins or ends."""
    rules = {key: _rules(row.get(key)) for key in (*RULE_TAGS, "road_flags", "subclass_rules")}
    rules["denied"] = [rule for rule in _rules(row.get("access_restrictions")) if _denied_heading(rule)]
    shares = {share for own in rules.values() for rule in own for share in _between(rule)}
    ends = sorted({0.0, 1.0, *shares})
    common = {"osm_id": row.get("id"), "name": _primary_name(row.get("names"))}
    pieces = []
    for start, end in zip(ends[:-1], ends[1:], strict=True):
        here = {key: [r for r in own if _holds(r, start, end)] for key, own in rules.items()}
        line = row["geometry"] if len(ends) == 2 else _part(row["geometry"], start, end, is_geographic)
        pieces.append({**common, **_tags(row, here), "geometry": line})
    return pieces


def _tags(row: Mapping[str, Any], rules: Mapping[str, list[Rule]]) -> dict[str, Any]:
    """OSM's tags of a piece, from the segment's class and the rules that hold along it."""
    flags = {flag for rule in rules["road_flags"] for flag in _listed(rule.get("values"))}
    subclasses = {rule.get("value") for rule in rules["subclass_rules"]} | {row.get("subclass")}
    road_class = row.get("class")
    highway = road_class if isinstance(road_class, str) and road_class != "unknown" else "road"
    if highway in LINK_CLASSES and ("is_link" in flags or "link" in subclasses):
        highway += "_link"
    if "is_under_construction" in flags:
        highway = "construction"
    elif "is_abandoned" in flags:
        highway = "abandoned"
    values = {tag: next((rule.get("value") for rule in rules[key]), None) for key, tag in RULE_TAGS.items()}
    return {
        "highway": highway,
        "service": next((name for name in SERVICES if name in subclasses), None),
        "oneway": ONEWAYS.get(frozenset(map(_denied_heading, rules["denied"]))),
        **values,
        **{tag: "yes" for flag, tag in FLAG_TAGS.items() if flag in flags},
    }


def _denied_heading(rule: Rule) -> str | None:
    """The one heading, forward or backward, that a rule denies to motor vehicles, at all times and to everybody."""
    when = rule.get("when") if isinstance(rule.get("when"), Mapping) else {}
    modes = set(_listed(when.get("mode")))
    others = any(len(_listed(when.get(key))) for key in ("during", "using", "recognized", "vehicle"))
    is_denied = rule.get("access_type") == "denied" and not others and (not modes or modes & MOTOR_MODES)
    return when.get("heading") if is_denied else None


def _rules(value: Any) -> list[Rule]:
    """A list of rules; a plain value or a list of flags, as older releases have them, is a rule of the whole."""
    value = _parsed(value)
    rules = [_parsed(rule) for rule in _listed(value)]
    plain = [rule for rule in rules if isinstance(rule, str | int | float)]
    return [r for r in rules if isinstance(r, Mapping)] + ([{"value": plain[0], "values": plain}] if plain else [])


def _parsed(value: Any) -> Any:
    """What a nested column holds, also where a file keeps it as JSON text; other text as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _listed(value: Any) -> list[Any]:
    if isinstance(value, list | tuple | np.ndarray):
        return [item for item in value if item is not None]
    return [] if value is None or value != value else [value]  # NaN is not itself


def _between(rule: Rule) -> list[float]:
    """Start and end of a rule's stretch as shares of the length; none where it holds along the whole."""
    shares = _listed(rule.get("between"))
    valid = len(shares) == 2 and all(isinstance(s, int | float) and 0 <= s <= 1 for s in shares)
    return [float(share) for share in shares] if valid else []


def _holds(rule: Rule, start: float, end: float) -> bool:
    shares = _between(rule)
    return not shares or shares[0] <= start and end <= shares[1]


def _part(line: shapely.Geometry, start: float, end: float, is_geographic: bool) -> shapely.Geometry:
    """Stretch of a line between two shares of its length on the ground."""
    squeeze = np.array([np.cos(np.radians(line.centroid.y)) if is_geographic else 1.0, 1.0])
    flat = shapely.transform(line, lambda xy: xy * squeeze)
    return shapely.transform(substring(flat, start, end, normalized=True), lambda xy: xy / squeeze)


def _primary_name(names: Any) -> str | None:
    names = _parsed(names)
    return names.get("primary") if isinstance(names, Mapping) else None
