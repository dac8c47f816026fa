"""
From a map's rasters to its layers: map.gpkg, map.osm, and what other formats are asked for.

In: probability.tif and mask.tif of one grid, of several classes two for each, and map.json, which states the task. Out:
roads as a connected network, buildings as regularised polygons, with sizes on the ground and a confidence.

Houses are made right-angled by `lib.vectors.buildings`, not by the library buildingregulariser (0.2.5). On masks of
2080 known houses of the sample town at 0.3 m a pixel the two agree with the houses by an IoU of 0.958 and 0.950, with
the ragged edges of a prediction by 0.924 and 0.886, in 2.0 and 9.4 ms a house on one core; on 131 of Kampala by 0.944
and 0.933, in 1.4 and 5.7 ms: `python benchmarks/buildings.py`. The library also makes diagonals and circles.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lib.errors import InputError
from lib.grid import LONLAT, Grid, local_gsd_m, project
from lib.limits import TASKS, Limits, check_fields, check_value, limited
from lib.mapping import josm, stitch
from lib.mapping.formats import IN_DEGREES, WRITERS
from lib.mapping.geopackage import add_layers, read_layer
from lib.mapping.options import GEOPACKAGE, MAP, rasters_of
from lib.mapping.stitch import Progress, Read, Window
from lib.mapping.styles import STYLES, confidence_class, counts
from lib.mask_values import HALF
from lib.paths import is_written, locked, read_mapping, write_whole
from lib.vectors.buildings import BuildingOptions
from lib.vectors.roadgraph import GraphOptions

if TYPE_CHECKING:
    import geopandas as gpd

Curve = Callable[[np.ndarray], np.ndarray]  # probabilities to how often they are right

# beside map.gpkg: its layers as they were traced, from which a review takes what was rejected and gives it back; others
# for JOSM; the summary, which is written last
TRACED, OSM, SUMMARY = "traced.gpkg", "map.osm", "layers.json"


@dataclass(frozen=True)
class LayerOptions:
    """
    What becomes of a map's rasters.

    Attributes
    ----------
    formats
        Files beside map.gpkg and map.osm: GeoParquet, GeoJSON (RFC 7946, for small areas), FlatGeobuf, SpaceNet's CSV.
    highway
        OSM's class of the roads in map.osm; "road" says that nobody has looked yet.
    source
        OSM's tag `source` in map.osm.
    upload
        Whether JOSM may upload map.osm as it is; otherwise it is for looking and copying from.
    gsd_m
        Metres a pixel of an image without a place, where map.json's options don't state it.
    block_px
        Side of the blocks that rasters are worked through in: memory grows with its square, the result doesn't change.
    roads, buildings
        What is noise, what is a gap, how closely lines and walls follow the mask.
    """

    formats: tuple[str, ...] = limited((), choices=tuple(WRITERS))
    highway: str = limited("road", pattern="[a-z][a-z_]{1,40}", form="a value of OSM's key highway")
    source: str = limited("PP-LinkNet", pattern=r"[^\x00-\x1f\x7f]{1,255}", form="1 to 255 characters on one line")
    upload: bool = False
    gsd_m: float | None = limited(None, above=0, maximum=100)
    block_px: int = limited(4096, minimum=256, multiple_of=2)
    roads: GraphOptions = field(default_factory=GraphOptions)
    buildings: BuildingOptions = field(default_factory=lambda: BuildingOptions(right_angles=True))

    def __post_init__(self) -> None:
        check_fields(self)


DEFAULTS = LayerOptions()


class _Map(NamedTuple):
    """A map's rasters of one class, open: the class, the mask's file, grid, metres a pixel, readers of windows."""

    kind: str
    path: Path
    grid: Grid
    gsd_m: float
    mask: Read  # bool
    confidence: Read  # 0..1, NaN where nothing was seen

    @property
    def shape(self) -> tuple[int, int]:
        return self.grid.height, self.grid.width


def write_layers(
    out_dir: Path,
    options: LayerOptions = DEFAULTS,
    progress: Progress = lambda done, total: None,
    curve: Curve | Mapping[str, Curve] | None = None,
) -> dict[str, Any]:
    """
    Write the vector layers of a map's folder; what is there already and was made of the same rasters stays.

    map.gpkg holds `roads` (length_m, width_m, confidence, confidence_class), `buildings` (area_m2, confidence,
    confidence_class), or both, in the CRS of the grid. It is made anew only where rasters, tracing options or the curve
    have changed; layers that a comparison or a review has added stay, with what people decided in them. map.osm holds
    the same for JOSM; without a CRS there is none. traced.gpkg keeps what was traced. Each file is whole or not there.

    Parameters
    ----------
    out_dir
        Folder with the rasters of `lib.mapping.options.rasters_of`, and map.json, which states the task and `options`.
    options
        See `LayerOptions`.
    progress
        Called with the blocks of the mask that are traced, and how many there are.
    curve
        Turns probabilities into how often they are right, such as "pixels" of `lib.networks.calibration.read_curves`;
        of several classes by class. None, or of a class that is missing: confidence is the mean probability.

    Returns
    -------
    summary
        As in layers.json: `files` (names), `task`, `features`, `classes` (features by class of confidence), `length_km`
        or `area_m2`, `osm_nodes`, `seconds`, `made_of`. Of several classes `layers` has features, classes and sizes by
        class.

    Raises
    ------
    InputError
        Names the file, if rasters or map.json are missing, damaged, or of different grids; or if nobody says how large
        the pixels of an image without a place are.
    ParameterError
        If map.json names no known task.
    BusyError
        If another process writes these layers.
    DiskFullError
        If there is no room.
    """
    started_s = time.monotonic()
    with locked(out_dir / SUMMARY), _opened(out_dir, options, curve) as maps:
        kinds, grid = [one.kind for one in maps], maps[0].grid
        if grid.crs is None and (wanted := set(options.formats) & set(IN_DEGREES)):
            raise InputError(
                f"{maps[0].path} has no CRS, so that there is no {', '.join(sorted(wanted))} of it, which is in "
                "degrees. Leave that format out, or give the image its place."
            )
        traced_of, all_of = _made_of(out_dir, kinds, options, curve)
        if grid.crs is None:  # rasters don't hold it
            traced_of["tracing"]["gsd_m"] = maps[0].gsd_m
        former = read_mapping(out_dir / SUMMARY)
        others = [name for suffix in options.formats for name in _named(suffix, kinds).values()]
        files = [GEOPACKAGE, *[OSM] * (grid.crs is not None), *others]
        if former.get("made_of") == traced_of | all_of and all(is_written(out_dir / name) for name in [TRACED, *files]):
            return former
        is_there = all(is_written(out_dir / name) for name in (TRACED, GEOPACKAGE))
        is_traced = is_there and traced_of.items() <= former.get("made_of", {}).items()
        layers = {one.kind: read_layer(out_dir / GEOPACKAGE, one.kind) if is_traced else None for one in maps}
        if any(layer is None for layer in layers.values()):
            (out_dir / SUMMARY).unlink(missing_ok=True)  # from here on it would speak of other layers
            layers = {one.kind: trace(one, options, progress) for one in maps}
            for name in (TRACED, GEOPACKAGE):
                add_layers(out_dir / name, layers)
        summary = {"files": files, **write_files(out_dir, layers, grid, options)}
        for name in set(former.get("files", ())) - set(files):
            (out_dir / name).unlink(missing_ok=True)  # of a former map, which nobody asks for now
        summary |= {"seconds": round(time.monotonic() - started_s, 1), "made_of": traced_of | all_of}
        write_whole(out_dir / SUMMARY, json.dumps(summary, indent=1) + "\n")
        return summary


def write_files(
    out_dir: Path, layers: Mapping[str, "gpd.GeoDataFrame"], grid: Grid, options: LayerOptions
) -> dict[str, Any]:
    """map.osm and the formats asked for, of a map's layers by class; returns what `write_layers` says of them."""
    found = {kind: _amounts(kind, layer) for kind, layer in layers.items()}
    summary = {"task": "+".join(layers)} | (found[next(iter(found))] if len(found) == 1 else {"layers": found})
    if grid.crs is not None:
        own = {"roads": {"highway": options.highway}, "buildings": {"building": "yes"}}
        tags = [own[kind] | {"source": options.source} for kind, layer in layers.items() for _ in range(len(layer))]
        summary["osm_nodes"] = josm.write_osm(out_dir / OSM, _together(layers), tags, options.upload)
    for kind in options.formats:
        for name, path in _named(kind, list(layers)).items():
            WRITERS[kind](out_dir / path, layers[name], grid)
    return summary


def _amounts(kind: str, layer: "gpd.GeoDataFrame") -> dict[str, Any]:
    """How many features a layer has, in all and by class of confidence, and how long or large they are together."""
    amounts: dict[str, Any] = {"features": len(layer), "classes": counts(layer, STYLES[kind])}
    if kind == "roads":
        return amounts | {"length_km": round(float(layer["length_m"].sum()) / 1000, 3)}
    return amounts | {"area_m2": round(float(layer["area_m2"].sum()), 1)}


def _together(layers: Mapping[str, "gpd.GeoDataFrame"]) -> "gpd.GeoDataFrame":
    """The geometries of all layers, one after the other."""
    import pandas as pd

    return pd.concat([layer[["geometry"]] for layer in layers.values()], ignore_index=True)


def _named(suffix: str, kinds: list[str]) -> dict[str, str]:
    """Class -> name of its file in a format: these hold one layer."""
    return {kind: f"map.{suffix}" if len(kinds) == 1 else f"map_{kind}.{suffix}" for kind in kinds}


def trace(rasters: _Map, options: LayerOptions, progress: Progress) -> "gpd.GeoDataFrame":
    """The layer of a map's class, in the CRS of its grid."""
    return (_roads if rasters.kind == "roads" else _buildings)(rasters, options, progress)


def _roads(rasters: _Map, options: LayerOptions, progress: Progress) -> "gpd.GeoDataFrame":
    import geopandas as gpd
    import shapely

    grid, block_px = rasters.grid, options.block_px
    graph = stitch.trace_roads(rasters.mask, rasters.shape, rasters.gsd_m, options.roads, block_px, progress)
    length_m = _ground_lengths_m(graph.lines, rasters)
    is_line = length_m > 0
    lines = [line for line, keep in zip(graph.lines, is_line, strict=True) if keep]
    widths_px = stitch.widths_along(rasters.mask, rasters.shape, lines, rasters.gsd_m, block_px)
    confidence = stitch.mean_along(rasters.confidence, rasters.shape, lines, block_px)
    table = {
        "length_m": length_m[is_line].round(2),
        "width_m": (widths_px * rasters.gsd_m).round(2),
        "confidence": confidence.round(4),
        "confidence_class": confidence_class(confidence.round(4)),
    }
    geometry = [shapely.LineString(grid.pixel_to_world(line)) for line in lines]
    return gpd.GeoDataFrame(table, geometry=geometry, crs=grid.crs)


def _buildings(rasters: _Map, options: LayerOptions, progress: Progress) -> "gpd.GeoDataFrame":
    import geopandas as gpd
    import shapely

    grid, block_px = rasters.grid, options.block_px
    shapes = stitch.trace_footprints(rasters.mask, rasters.shape, rasters.gsd_m, options.buildings, block_px, progress)
    middles = shapely.get_coordinates(shapely.centroid(shapes))
    gsd_m = rasters.gsd_m if grid.crs is None or not shapes else local_gsd_m(grid, middles)
    confidence = stitch.mean_within(rasters.confidence, rasters.shape, shapes, block_px)
    table = {
        "area_m2": (shapely.area(shapes) * gsd_m**2).round(2),
        "confidence": confidence.round(4),
        "confidence_class": confidence_class(confidence.round(4)),
    }
    geometry = shapely.transform(np.array(shapes, object), grid.pixel_to_world)
    return gpd.GeoDataFrame(table, geometry=geometry, crs=grid.crs)


def _ground_lengths_m(lines: list[np.ndarray], rasters: _Map) -> np.ndarray:
    """Length of each line (N, 2), px, on the ellipsoid, metres; by the stated GSD where the grid has no CRS."""
    if not lines:
        return np.empty(0)
    xy, owner = np.vstack(lines), np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    begin = np.flatnonzero(owner[1:] == owner[:-1])
    if rasters.grid.crs is None:
        steps_m = np.hypot(*(xy[begin + 1] - xy[begin]).T) * rasters.gsd_m
    else:
        import pyproj

        lonlat = project(rasters.grid.pixel_to_world(xy), rasters.grid.crs, LONLAT)
        steps_m = np.asarray(pyproj.Geod(ellps="WGS84").inv(*lonlat[begin].T, *lonlat[begin + 1].T)[2])
    return np.bincount(owner[begin], steps_m, len(lines))


@contextmanager
def _opened(out_dir: Path, options: LayerOptions, curve: Curve | Mapping[str, Curve] | None) -> Iterator[list[_Map]]:
    """The maps of each class of a folder."""
    facts = read_mapping(out_dir / MAP)
    if not facts:
        raise InputError(f"{out_dir / MAP}: expected a map's JSON with its `task`, found none; make the map first.")
    check_value(f"task of {out_dir / MAP}", facts.get("task"), str, Limits(choices=TASKS))
    rasters = rasters_of(facts["task"])
    with ExitStack() as stack:
        maps = [
            stack.enter_context(_opened_class(kind, out_dir, pair, facts, options, _curve_of(curve, kind)))
            for kind, pair in rasters.items()
        ]
        if len({one.grid for one in maps}) > 1:
            raise InputError(
                f"{out_dir}: expected one grid, the rasters of its classes have several; make the map anew."
            )
        yield maps


def _curve_of(curve: Curve | Mapping[str, Curve] | None, kind: str) -> Curve | None:
    return curve.get(kind) if isinstance(curve, Mapping) else curve


@contextmanager
def _opened_class(
    kind: str, out_dir: Path, names: tuple[str, str], facts: dict[str, Any], options: LayerOptions, curve: Curve | None
) -> Iterator[_Map]:
    """The map of one class, of the names of its two rasters."""
    from rasterio.windows import Window as RasterWindow

    from lib.rasters import opened, read_grid

    first, second = names
    grids = [read_grid(out_dir / name, require_crs=False, by_name=False) for name in names]
    if grids[0] != grids[1]:
        raise InputError(f"{out_dir}: expected one grid, got {grids[0]} of {first} and {grids[1]} of {second}.")
    gsd_m = _unplaced_gsd_m(grids[0], facts, options) if grids[0].crs is None else grids[0].gsd_m
    if gsd_m is None:
        raise InputError(
            f"{out_dir / second} has no CRS, so that the size of its pixels is unknown: give gsd_m, metres a pixel."
        )
    levels = _levels(curve)
    with opened(out_dir / first) as probability, opened(out_dir / second) as mask:

        def window(place: Window) -> RasterWindow:
            left, top, right, bottom = place
            return RasterWindow(left, top, right - left, bottom - top)

        def said(place: Window) -> np.ndarray:
            return (mask.read(1, window=window(place)) > HALF) & (mask.read_masks(1, window=window(place)) > 0)

        def sure(place: Window) -> np.ndarray:
            values = levels[probability.read(1, window=window(place))]
            values[probability.read_masks(1, window=window(place)) == 0] = np.nan
            return values

        yield _Map(kind, out_dir / second, grids[0], float(gsd_m), said, sure)


def _unplaced_gsd_m(grid: Grid, facts: dict[str, Any], options: LayerOptions) -> float | None:
    """Metres a pixel of a map without CRS; None where nobody has said how many a pixel of its image has."""
    stated = facts.get("options")
    image_m = options.gsd_m or (stated.get("gsd_m") if isinstance(stated, dict) else None)
    # in pixels of the image; rasters without CRS don't hold to what they were resampled, map.json does
    a, b, _, d, e, _ = facts["grid"]["transform"] if "grid" in facts else grid.transform
    return None if image_m is None else image_m * abs(a * e - b * d) ** 0.5


def _levels(curve: Curve | None) -> np.ndarray:
    """Confidence of each value of probability.tif, float64 (256,)."""
    said = np.arange(256) / 255
    return said if curve is None else np.asarray(curve(said), float)


def _made_of(
    out_dir: Path, kinds: list[str], options: LayerOptions, curve: Curve | Mapping[str, Curve] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What decides the traced layers, and what else decides the files; JSON's own types."""
    task, digests = "+".join(kinds), {}
    for kind, (probability, mask) in rasters_of(task).items():
        digests[kind] = {"curve": hashlib.sha256(_levels(_curve_of(curve, kind)).tobytes()).hexdigest()}
        for name in (probability, mask):
            with (out_dir / name).open("rb") as file:
                digests[kind][name] = hashlib.file_digest(file, "sha256").hexdigest()
    settings = json.loads(json.dumps(asdict(options)))
    tracing = {name: settings.pop(name) for name in ("roads", "buildings")}
    stated = {"gsd_m": settings.pop("gsd_m")}
    settings.pop("block_px")  # the result doesn't depend on it
    one = len(kinds) == 1
    traced = {"rasters": digests[task], "tracing": tracing[task]} if one else {"rasters": digests, "tracing": tracing}
    return {"task": task} | traced | {"tracing": traced["tracing"] | stated}, {"writing": settings}
