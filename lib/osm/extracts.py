"""Roads and buildings from OSM's own files (.osm.pbf, .osm, .osm.bz2), streamed through pyosmium."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.errors import InputError, PPLinkNetWarning, reading
from lib.grid import LONLAT
from lib.osm.areas import is_area_highway
from lib.osm.dialects import original_id, plain_file
from lib.osm.files import LAYER_KEYS, extent_of, joined
from lib.osm.tags import means_no

# of a multipolygon with no others its outer ways say what it is (the way of before 2017)
TAGS_OF_NOTHING = frozenset({"type", "source", "note", "fixme", "created_by", "comment"})
MULTIPOLYGONS = (("type", "multipolygon"), ("type", "boundary"))
EXPECTED = "an OSM file (.osm.pbf, .osm)"
OBJECTS_A_BATCH = 50_000  # held as text before they become geometries and are cut to the area


@dataclass
class _Batches:
    """Rows of one layer, turned to geometries and cut to the area batch by batch: a city never lies in memory."""

    tags: tuple[str, ...]
    polygon: shapely.Geometry | None
    rows: list[dict[str, Any]] = field(default_factory=list)  # of the batch that fills: `osm_id`, WKB, tags
    frames: list[gpd.GeoDataFrame] = field(default_factory=list)  # what is kept of the former batches
    extents: list[np.ndarray] = field(default_factory=list)  # of whole batches, also outside the area

    def add(self, rows: list[dict[str, Any]]) -> None:
        self.rows += rows
        if len(self.rows) >= OBJECTS_A_BATCH:
            self.flush()

    def flush(self) -> None:
        if not self.rows and self.frames:
            return
        frame = pd.DataFrame(self.rows, columns=["osm_id", "geometry", *self.tags])
        geometry = shapely.from_wkb(frame["geometry"].to_numpy(dtype=object))
        keep = slice(None) if self.polygon is None else shapely.intersects(self.polygon, geometry)
        self.frames.append(gpd.GeoDataFrame(frame, geometry=geometry, crs=LONLAT)[keep])
        self.extents.append(shapely.total_bounds(geometry) if len(geometry) else np.full(4, np.nan))
        self.rows = []


def read_extract(
    path: Path, polygon: shapely.Geometry | None, layer_tags: dict[str, tuple[str, ...]]
) -> tuple[dict[str, gpd.GeoDataFrame], tuple[float, ...] | None, str | None, int]:
    """
    Roads and buildings of an OSM file that touch the area.

    Multipolygon relations are assembled with their holes, also where their outer ways carry the tags; of ways whose
    nodes the extract has cut off, the part inside is kept, and a warning counts them. A closed road is a line unless
    `lib.osm.areas` calls it an area. Relations that are routes are no roads.

    Parameters
    ----------
    path
        The file; `lib.osm.dialects` says how editors and servers may have written it.
    polygon
        Area in longitude, latitude; None for all.
    layer_tags
        "roads" and/or "buildings", and the tags kept of each as columns.

    Returns
    -------
    layers
        GeoDataFrames in EPSG:4326, with `osm_id` such as "way/123".
    extent
        (left, bottom, right, top) in degrees of all that the file holds of these layers; None if nothing.
    date
        Time of the data from the file's header, else of its newest object; None where neither is stated.
    broken
        How many ways and areas of the file lack nodes or ways, or have rings that do not close, so that nothing of them
        is drawn.

    Raises
    ------
    InputError
        Names the file if it is damaged or cut short, holds changes instead of a map, or ways without their nodes alone.
    """
    if polygon is not None:
        shapely.prepare(polygon)
    stream = None
    while stream is None or stream.has_more:
        stream = _Stream(path, layer_tags, stream)
        batches = {layer: _Batches(tags, polygon) for layer, tags in layer_tags.items()}
        for layer, rows in stream.rows():
            batches[layer].add(rows)
    for batch in batches.values():
        batch.flush()
    extent = extent_of([extent for batch in batches.values() for extent in batch.extents])
    # libosmium makes no area of a way that lacks nodes, nor of a multipolygon that lacks ways
    broken = stream.not_at_all + max(stream.unassembled, 0) + len(stream.relations)
    why = "lack nodes or ways that the file does not hold, or have rings that do not close"
    if broken and extent is None:
        raise InputError(
            f"{path}: nothing can be drawn: its {broken} ways and areas {why}. If they lack some, ask Overpass for "
            "`out geom`, or for these as well: (._;>;);"
        )
    if broken or stream.in_part:
        warnings.warn(
            f"{path}: {broken + stream.in_part} ways and areas {why}: {stream.in_part} are drawn in part, {broken} not "
            "at all.",
            PPLinkNetWarning,
            stacklevel=2,
        )
    return {layer: joined(batch.frames) for layer, batch in batches.items()}, extent, stream.date, broken


class _Stream:
    """One reading of a file: what is drawn of it, object by object, and what was found out on the way."""

    def __init__(self, path: Path, layer_tags: dict[str, tuple[str, ...]], first: _Stream | None = None) -> None:
        import osmium

        self.path, self.layer_tags = path, layer_tags
        self.first = first  # the first reading, where this is the second
        self.factory = osmium.geom.WKBFactory()
        self.date: str | None = None
        # nodes that ways name and that did not come before them; what multipolygons name below 0
        self.missing: set[int] = set()
        self.is_mixed = False  # objects do not stand in the order of their kinds and ids, which libosmium needs
        self.looks = self.unassembled = 0  # ways that may come again as areas, and how many of them have not
        self.in_part = self.not_at_all = 0  # ways and areas that lack nodes, or whose rings do not close
        self.relations: set[int] = set()  # multipolygons that were asked for and have not come as areas
        self.relation_of: dict[int, int] = {}  # outer way -> multipolygon without tags of its own
        self.outers: dict[int, tuple[str, dict[str, Any], list[bytes]]] = {}  # such ways: layer, row, geometries

    @property
    def has_more(self) -> bool:
        """Whether a second reading would find more: this was the first, and nodes stood elsewhere than expected."""
        return self.first is None and (self.is_mixed or self.has_new_ids)

    @property
    def has_new_ids(self) -> bool:
        """Whether ways or multipolygons name ids below 0, as an editor numbers what is new."""
        return min(self.missing, default=0) < 0

    def rows(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Layer and rows of each object; libosmium is touched in here only, so that what it raises names the file."""
        import osmium

        newest = None
        known = (self.first.is_mixed, self.first.has_new_ids) if self.first else ()
        with reading(self.path, EXPECTED), plain_file(self.path, *known) as (file, header):
            self.date = header.get("osmosis_replication_timestamp") or None
            features = [header.get(f"pbf_optional_feature_{number}") for number in range(8)]
            objects = (
                osmium.FileProcessor(file)
                .with_areas(osmium.filter.TagFilter(*MULTIPOLYGONS), self)
                .with_locations(None if "LocationsOnWays" in features else "flex_mem")
                .with_filter(osmium.filter.EntityFilter(osmium.osm.WAY | osmium.osm.AREA))
                .with_filter(osmium.filter.KeyFilter(*(LAYER_KEYS[layer] for layer in self.layer_tags)))
            )
            try:
                for item in objects:
                    is_way = item.is_way()
                    if not is_way and not item.from_way():
                        self.relations.discard(item.orig_id())
                    layer = _layer_of(item, is_way)
                    if layer in self.layer_tags:
                        newest = max(newest, item.timestamp) if newest else item.timestamp
                        if rows := self._rows(item, layer, is_way):
                            yield layer, rows
                    elif layer is None and is_way:
                        self._look_at(item)
                locations = objects.node_location_storage
                yield from self._old_multipolygons(file, locations)
                self.is_mixed = any(_is_known(locations, ref) for ref in self.missing)
            except RuntimeError as error:
                if self.first or "out of order" not in str(error):
                    raise
                self.is_mixed = True
        if self.date is None and newest is not None and newest.year > 1970:  # files without times say 1970
            self.date = newest.isoformat().replace("+00:00", "Z")

    def relation(self, relation: Any) -> bool:
        """Libosmium asks of each multipolygon whether it is to be left out; those without tags are remembered."""
        tags = relation.tags
        is_asked_for = any(not means_no(tags.get(LAYER_KEYS[layer])) for layer in self.layer_tags)
        if is_asked_for:
            self.relations.add(relation.id)
        elif all(tag.k in TAGS_OF_NOTHING for tag in tags):
            ways = (member.ref for member in relation.members if member.type == "w" and member.role in ("outer", ""))
            self.relation_of.update(dict.fromkeys(ways, relation.id))
        else:
            return True
        self.missing.update(ref for ref in (relation.id, *(member.ref for member in relation.members)) if ref < 0)
        return not is_asked_for

    def _old_multipolygons(self, file: Any, locations: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Multipolygons that have their tags from an outer way, which is then not drawn without its holes."""
        import osmium

        of_relation = {self.relation_of[way]: (layer, row) for way, (layer, row, _) in self.outers.items()}
        done = set()
        if of_relation:
            areas = (
                osmium.FileProcessor(file)
                .with_areas(osmium.filter.IdFilter(of_relation))
                .with_locations(locations)
                .with_filter(osmium.filter.EntityFilter(osmium.osm.AREA))
                .with_filter(osmium.filter.IdFilter(2 * number + 1 for number in of_relation))  # libosmium's ids
            )
            for item in areas:
                layer, row = of_relation[item.orig_id()]
                for wkb in self._parts(item, False):
                    done.add(item.orig_id())
                    osm_id = f"relation/{original_id(item.orig_id())}"
                    yield layer, [{**row, "osm_id": osm_id, "geometry": wkb}]
        for way, (layer, row, parts) in self.outers.items():
            if self.relation_of[way] not in done and parts:
                yield layer, [{**row, "geometry": wkb} for wkb in parts]

    def _look_at(self, way: Any) -> None:
        """Note what can be told of a way only as long as it is no area yet: missing nodes, and tags of an outer way."""
        building = way.tags.get("building")
        if building is None or not means_no(building):
            self.unassembled += way.is_closed()
        # of many a sample: where nodes stand behind ways, many lack theirs
        self.looks += 1
        if self.looks < 100 or self.looks % 16 == 0:
            self.missing.update(node.ref for node in islice(way.nodes, 1) if not node.location.valid())
        if self.relation_of and way.id in self.relation_of and not means_no(building):
            self.outers[way.id] = "buildings", self._row(way, "buildings", True), []

    def _rows(self, item: Any, layer: str, is_way: bool) -> list[dict[str, Any]]:
        """Rows of a way or an area; none of an outer way that waits for its multipolygon."""
        row, parts = self._row(item, layer, is_way), self._parts(item, is_way)
        if not is_way and item.from_way():
            self.unassembled -= 1
            if self.relation_of and item.orig_id() in self.relation_of:
                self.outers[item.orig_id()] = layer, row, parts
                return []
        return [{**row, "geometry": wkb} for wkb in parts]

    def _row(self, item: Any, layer: str, is_way: bool) -> dict[str, Any]:
        """`osm_id` and tags of a way or an area."""
        given = item.tags
        tags = {key: given.get(key) for key in self.layer_tags[layer]}
        if is_way:
            return {"osm_id": f"way/{original_id(item.id)}", **tags}
        if layer == "roads":
            tags["area"] = "yes"
        return {"osm_id": f"{'way' if item.from_way() else 'relation'}/{original_id(item.orig_id())}", **tags}

    def _parts(self, item: Any, is_way: bool) -> list[bytes]:
        """Geometry (WKB) of a way or an area; more than one where an extract has cut nodes out of the middle."""
        import osmium

        try:
            return [self.factory.create_linestring(item) if is_way else self.factory.create_multipolygon(item)]
        except (RuntimeError, osmium.InvalidLocationError):
            # of an area whose rings do not close there is nothing that could be drawn
            parts = self._whole_stretches(item) if is_way else []
            self.in_part += bool(parts)
            self.not_at_all += not parts
            return parts

    def _whole_stretches(self, way: Any) -> list[bytes]:
        """Lines (WKB) through the runs of at least two distinct nodes of a way that all lie in the extract."""
        runs: list[list[tuple[float, float]]] = [[]]
        for node in way.nodes:
            if not node.location.valid():
                self.missing.add(node.ref)
                runs.append([])
            elif not runs[-1] or runs[-1][-1] != (node.lon, node.lat):
                runs[-1].append((node.lon, node.lat))
        return [shapely.to_wkb(shapely.LineString(run)) for run in runs if len(run) > 1]


def _is_known(locations: Any, ref: int) -> bool:
    """Whether the store of node locations has a node by now."""
    if locations is None or ref < 0:
        return False
    try:
        locations.get(ref)
    except KeyError:
        return False
    return True


def _layer_of(item: Any, is_way: bool) -> str | None:
    """Layer to which a way or an area belongs; None where it belongs to neither."""
    tags = item.tags
    if is_way:
        # closed ways that are areas come again as such
        is_line = "highway" in tags and not (item.is_closed() and is_area_highway(tags["highway"], tags.get("area")))
        return "roads" if is_line else None
    if not means_no(tags.get("building")):
        return "buildings"
    # a multipolygon is an area anyway
    is_area = "highway" in tags and (not item.from_way() or is_area_highway(tags["highway"], tags.get("area")))
    return "roads" if is_area else None
