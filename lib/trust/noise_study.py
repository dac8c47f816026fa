"""How noisy OSM roads are where others surveyed the same ground: IoU, APLS and offset of pairs of vector files."""

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd

from lib.apls.scoring import score
from lib.errors import InputError
from lib.grid import Grid, crs_text
from lib.masks.offset import estimate_offset, shift
from lib.masks.pixel_shapes import in_pixels, line_starts
from lib.masks.rasterize import rasterize_roads
from lib.osm.files import PARTS
from lib.osm.lanes import METRIC, LaneProfile, is_drawn
from lib.osm.layers import read_osm
from lib.scores.metrics import PixelScores

GSD_M = 0.3  # of the masks that are compared
COMPANIONS = {ending for endings in PARTS.values() for ending in endings}  # of files that are no vectors by themselves


@dataclass(frozen=True)
class Pair:
    """
    One place: masks at GSD_M, uint8 (H, W), and its row of the table.

    Attributes
    ----------
    name
        Of its files, without suffix.
    surveyed, osm, moved
        Masks of the surveyed roads, of OSM's as they came, and of OSM's moved onto the surveyed ones.
    row
        Column of `table` -> value.
    """

    name: str
    surveyed: np.ndarray
    osm: np.ndarray
    moved: np.ndarray
    row: dict[str, float | str]


def study(folder: Path, profile: LaneProfile = METRIC) -> list[Pair]:
    """
    Compare OSM roads with surveyed ones, place by place.

    Both are what the profile draws: footways count in no number. The shift that brings one onto the other is measured
    by `estimate_offset`, from the surveyed mask in the place of a model's prediction. APLS (strict) and kilometres are
    of the lines themselves, without areas. A place without any road is left out, and said.

    Parameters
    ----------
    folder
        Holds `osm` and one other folder; vector files of the same name in both are a pair.

    Raises
    ------
    InputError
        If the folder is not so, or holds no pair.
    """
    others = sorted(path for path in folder.glob("*") if path.is_dir() and path.name != "osm")
    if len(others) != 1 or not (folder / "osm").is_dir():
        raise InputError(f"{folder}: expected the folder `osm` and one other, of surveyed roads; got {others}")
    files = (path for path in sorted((folder / "osm").iterdir()) if (others[0] / path.name).is_file())
    paths = [path for path in files if not path.name.startswith(".") and path.suffix.lower() not in COMPANIONS]
    pairs = [pair for path in paths if (pair := _pair(path, others[0] / path.name, profile))]
    if not pairs:
        raise InputError(f"{folder}: no file of osm/ with roads has its namesake in {others[0].name}/")
    return pairs


def _pair(osm_path: Path, surveyed_path: Path, profile: LaneProfile) -> Pair | None:
    """Masks and scores of two vector files of one place; None where neither has a road."""
    both = [read_osm(path, layers=("roads",)).roads for path in (osm_path, surveyed_path)]
    osm, surveyed = (roads[is_drawn(roads, profile)] for roads in both)
    if osm.empty and surveyed.empty:
        print(f"{osm_path.name}: no road in either file, left out", flush=True)
        return None
    # one grid over all roads of both, in metres
    crs = (osm if surveyed.empty else surveyed).estimate_utm_crs()
    osm, surveyed = osm.to_crs(crs), surveyed.to_crs(crs)
    left, bottom, right, top = pd.concat([osm.geometry, surveyed.geometry]).total_bounds
    width, height = (int(np.ceil(side_m / GSD_M)) for side_m in (right - left, top - bottom))
    grid = Grid((GSD_M, 0.0, left, 0.0, -GSD_M, top), crs_text(crs), width, height)
    # the surveyed mask takes the place of what a model would predict
    truth, before = rasterize_roads(surveyed, grid, profile), rasterize_roads(osm, grid, profile)
    found = estimate_offset(truth.astype(np.float32) / 255, before, GSD_M)
    east_m, north_m = (found.dx_m, found.dy_m) @ grid.axes
    moved = shift(osm, east_m, north_m)
    after = rasterize_roads(moved, grid, profile)
    scores = PixelScores()
    for mask in (before, after):
        scores.update(mask, truth)
    iou_before, iou_after = scores.table()["iou"]
    row = {
        "place": osm_path.stem,
        "iou": iou_before,
        "iou_moved": iou_after,
        "apls": _apls(surveyed, osm, grid),
        "apls_moved": _apls(surveyed, moved, grid),
        "east_m": east_m,
        "north_m": north_m,
        "offset_m": float(np.hypot(found.dx_m, found.dy_m)),
        "confidence": found.confidence,
        "osm_km": _lines(osm).length.sum() / 1000,
        "surveyed_km": _lines(surveyed).length.sum() / 1000,
    }
    return Pair(osm_path.stem, truth, before, after, row)


def _lines(roads: gpd.GeoDataFrame) -> gpd.GeoSeries:
    """Single lines of roads, without those that are areas."""
    parts = roads.geometry.explode()
    return parts[parts.geom_type == "LineString"]


def _apls(truth: gpd.GeoDataFrame, proposal: gpd.GeoDataFrame, grid: Grid) -> float:
    """APLS (strict) between the lines themselves, in pixels of the grid."""
    lines = []
    for frame in (truth, proposal):
        xy_px, starts = line_starts(in_pixels(_lines(frame).to_numpy(), frame.crs, grid))
        lines.append(np.split(xy_px, starts[1:-1]))
    return score(*lines, mode="strict", gsd_m=GSD_M).apls


def table(pairs: list[Pair]) -> pd.DataFrame:
    """One row a place: iou, iou_moved, apls, apls_moved, east_m, north_m, offset_m, confidence, osm_km, surveyed_km."""
    return pd.DataFrame([pair.row for pair in pairs])
