"""Roads and buildings from OSM's own files (.osm.pbf, .osm, .osm.bz2), streamed through pyosmium."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.errors import InputError
from lib.grid import LONLAT
from lib.osm.files import LAYER_KEYS, extent_of, joined

OSM_SUFFIXES = (".osm", ".pbf", ".osm.bz2", ".osm.gz", ".o5m")
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
        frame = pd.DataFrame(self.rows, columns=["osm_id", "geometry", *self.tags])
        geometry = shapely.from_wkb(frame["geometry"].to_numpy())
        keep = slice(None) if self.polygon is None else shapely.intersects(self.polygon, geometry)
        self.frames.append(gpd.GeoDataFrame(frame, geometry=geometry, crs=LONLAT)[keep])
        self.extents.append(shapely.total_bounds(geometry))
        self.rows = []


def read_extract(
    path: Path, polygon: shapely.Geometry | None, layer_tags: dict[str, tuple[str, ...]]
) -> tuple[dict[str, gpd.GeoDataFrame], tuple[float, ...] | None, str | None]:
    """
    Roads and buildings of an OSM file that touch the area.

    Multipolygon relations are assembled with their holes; of ways whose nodes the extract has cut off, the part
    inside is kept.

    Parameters
    ----------
    path
        The file.
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

    Raises
    ------
    InputError
        Names the file if it is damaged or cut short.
    """
    import osmium

    if polygon is not None:
        shapely.prepare(polygon)
    batches = {layer: _Batches(tags, polygon) for layer, tags in layer_tags.items()}
    keys = [LAYER_KEYS[layer] for layer in layer_tags]
    factory = osmium.geom.WKBFactory()
    newest = None
    try:
        objects = (
            osmium.FileProcessor(str(path))
            .with_areas(osmium.filter.KeyFilter(*keys))
            .with_filter(osmium.filter.EntityFilter(osmium.osm.WAY | osmium.osm.AREA))
            .with_filter(osmium.filter.KeyFilter(*keys))
        )
        date = objects.header.get("osmosis_replication_timestamp") or None
        for item in objects:
            layer = _layer_of(item)
            if layer in batches:
                batches[layer].add(_rows(item, layer, layer_tags[layer], factory))
                newest = max(newest, item.timestamp) if newest else item.timestamp
    except RuntimeError as error:
        raise InputError(f"{path}: expected an OSM file, but it is damaged or cut short: {error}") from error
    for batch in batches.values():
        batch.flush()
    extent = extent_of([extent for batch in batches.values() for extent in batch.extents])
    if date is None and newest is not None and newest.year > 1970:  # files without times say 1970
        date = newest.isoformat().replace("+00:00", "Z")
    return {layer: joined(batch.frames) for layer, batch in batches.items()}, extent, date


def _layer_of(item: Any) -> str | None:
    """Layer to which a way or an area belongs; None where it belongs to neither."""
    tags = item.tags
    if item.is_way():
        # closed ways with area=yes come again as areas
        return "roads" if "highway" in tags and not (item.is_closed() and tags.get("area") == "yes") else None
    if tags.get("building", "no") != "no":
        return "buildings"
    # wiki Key:area: a closed highway is a line unless it says area=yes; a multipolygon relation is one anyway
    return "roads" if "highway" in tags and (tags.get("area") == "yes" or not item.from_way()) else None


def _rows(item: Any, layer: str, keys: tuple[str, ...], factory: Any) -> list[dict[str, Any]]:
    """The row of a way or an area; more than one where an extract has cut nodes out of the middle of a way."""
    import osmium

    tags = {key: item.tags.get(key) for key in keys}
    if item.is_area():
        osm_id = f"{'way' if item.from_way() else 'relation'}/{item.orig_id()}"
        if layer == "roads":
            tags["area"] = "yes"
    else:
        osm_id = f"way/{item.id}"
    try:
        parts = [factory.create_multipolygon(item) if item.is_area() else factory.create_linestring(item)]
    except (RuntimeError, osmium.InvalidLocationError):
        # of an area whose rings do not close there is nothing that could be drawn
        parts = [] if item.is_area() else _whole_stretches(item)
    return [{"osm_id": osm_id, **tags, "geometry": wkb} for wkb in parts]


def _whole_stretches(way: Any) -> list[bytes]:
    """Lines (WKB) through the runs of at least two distinct nodes of a way that all lie in the extract."""
    runs: list[list[tuple[float, float]]] = [[]]
    for node in way.nodes:
        if not node.location.valid():
            runs.append([])
        elif not runs[-1] or runs[-1][-1] != (node.lon, node.lat):
            runs[-1].append((node.lon, node.lat))
    return [shapely.to_wkb(shapely.LineString(run)) for run in runs if len(run) > 1]
