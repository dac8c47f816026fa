"""The sample's vectors as OpenStreetMap would have them: incomplete, roughly tagged, and a few metres off."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.errors import ParameterError
from lib.grid import Grid
from lib.sample.layers import generator, value_noise
from lib.sample.truth import is_motor_road


@dataclass(frozen=True)
class Degradation:
    """
    How far the degraded OpenStreetMap stays behind the truth; shares are of ways or of buildings.

    The classes that volunteers map last go missing first (`missing_weights`).
    """

    roads_missing: float = 0.135  # share of the roads
    lanes_missing: float = 0.5  # share of the lanes tags that is dropped
    lanes_wrong: float = 0.1  # share of the lanes tags that is one off
    widths_missing: float = 0.7  # share of the width tags that is dropped
    widths_wrong: float = 0.15  # share of the width tags that is off by a quarter
    drift_m: float = 0.8  # spread of how far the mapper's hand strays, metres an axis; smooth, junctions hold
    drift_wave_m: float = 60.0  # distance over which it does
    buildings_missing: float = 0.17  # share of the buildings
    buildings_shifted: float = 0.25  # share that stands elsewhere
    buildings_shift_m: float = 2.0  # spread of how far, metres an axis
    buildings_merged: float = 0.05  # share drawn as one with its neighbour
    missing_weights: tuple[tuple[str, float], ...] = (
        *(("service", 4.0), ("track", 4.0), ("residential", 2.0), ("living_street", 2.0)),
        *(("unclassified", 1.0), ("tertiary", 0.3)),
    )  # how readily a class goes missing; 0.1 for the others

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not name.endswith(("_m", "weights")) and not 0 <= value <= 1:
                raise ParameterError(f"Degradation.{name} is a share from 0 to 1; got {value}.")


def degrade(
    roads: gpd.GeoDataFrame,
    buildings: gpd.GeoDataFrame,
    grid: Grid,
    offset_m: tuple[float, float],
    seed: int,
    degradation: Degradation,
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """
    Roads and buildings as OpenStreetMap would have them.

    Some motor roads are missing, tags are missing or wrong, some houses are missing, moved, or drawn as one with
    their neighbour, and everything is off by the offset and by a hand that strays.

    Parameters
    ----------
    roads, buildings
        All ways and outlines of the place, in the CRS of the grid, metres.
    offset_m
        Degraded minus true, metres east and north.
    """
    drift = smooth_drift(grid, generator(seed, "drift", *offset_m), degradation, offset_m)
    roads = drop_roads(roads, generator(seed, "roads", *offset_m), degradation)
    roads = blur_tags(roads, generator(seed, "tags", *offset_m), degradation)
    buildings = degrade_buildings(buildings, generator(seed, "buildings", *offset_m), degradation)
    return tuple(
        frame.set_geometry(shapely.transform(frame.geometry.to_numpy(), drift), crs=frame.crs)
        for frame in (roads, buildings)
    )


def smooth_drift(
    grid: Grid, rng: np.random.Generator, degradation: Degradation, offset_m: tuple[float, float]
) -> Callable[[np.ndarray], np.ndarray]:
    """
    A function that moves points (n, 2), in metres, by the offset and a smooth random field without a mean.

    The field has no mean over the scene, so the offset is what a registration should find.
    """
    cell_m = 8.0
    left, bottom, right, top = grid.bounds
    rows, cols = int((top - bottom) / cell_m) + 40, int((right - left) / cell_m) + 40  # 20 cells of margin around
    fields = [value_noise(rng, (rows, cols), degradation.drift_wave_m / cell_m) for _ in range(2)]
    drift_m = np.stack([(field - field.mean()) / field.std() * degradation.drift_m for field in fields], -1)

    def move(xy: np.ndarray) -> np.ndarray:
        cells = (xy - (left, top)) / (cell_m, -cell_m) + 20
        col, row = np.clip(cells, 0, (cols - 1, rows - 1)).astype(int).T
        return xy + np.array(offset_m) + drift_m[row, col]

    return move


def drop_roads(roads: gpd.GeoDataFrame, rng: np.random.Generator, degradation: Degradation) -> gpd.GeoDataFrame:
    """Without the share of motor roads that nobody has mapped; the other ways stay."""
    motor = np.flatnonzero(is_motor_road(roads))
    weights = roads["highway"].iloc[motor].map(dict(degradation.missing_weights)).fillna(0.1).to_numpy(float)
    count = round(degradation.roads_missing * len(motor))
    gone = rng.choice(motor, count, replace=False, p=weights / weights.sum())
    return roads.drop(roads.index[gone]).reset_index(drop=True)


def blur_tags(roads: gpd.GeoDataFrame, rng: np.random.Generator, degradation: Degradation) -> gpd.GeoDataFrame:
    """With `lanes` and `width` missing or wrong on a share of the ways that have them."""
    shares = {"lanes": (degradation.lanes_missing, degradation.lanes_wrong)}
    shares["width"] = (degradation.widths_missing, degradation.widths_wrong)
    roads = roads.copy()
    for tag, (missing_share, wrong_share) in shares.items():
        values, chance = pd.to_numeric(roads[tag], errors="coerce"), rng.random(len(roads))
        if tag == "lanes":
            others = np.maximum(values + rng.choice([-1, 1], len(roads)), 1).map("{:.0f}".format)
        else:
            others = (values * rng.choice([0.75, 1.25], len(roads))).map("{:.1f}".format)
        wrong = values.notna() & (chance > 1 - wrong_share)
        roads.loc[wrong, tag] = others[wrong]
        roads.loc[chance < missing_share, tag] = None
    return roads


def degrade_buildings(
    buildings: gpd.GeoDataFrame, rng: np.random.Generator, degradation: Degradation
) -> gpd.GeoDataFrame:
    """With some buildings missing, some moved, some merged with the nearest one within 8 m."""
    true = buildings.geometry.to_numpy()
    shifted = rng.random(len(true)) < degradation.buildings_shifted
    shift_m = rng.normal(0, degradation.buildings_shift_m, (len(true), 2)) * shifted[:, None]
    xy, owner = shapely.get_coordinates(true, return_index=True)
    outlines = shapely.set_coordinates(true.copy(), xy + shift_m[owner])
    kept = np.ones(len(true), bool)
    kept[rng.choice(len(true), round(degradation.buildings_missing * len(true)), replace=False)] = False
    centres, tree = shapely.centroid(true), shapely.STRtree(true)
    for i in rng.permutation(np.flatnonzero(kept))[: round(degradation.buildings_merged * len(true))]:
        others = [k for k in tree.query(true[i], "dwithin", distance=8.0) if k != i and kept[k]]
        if kept[i] and others:
            nearest = others[np.argmin(shapely.distance(centres[i], centres[others]))]
            outlines[i] = shapely.union(outlines[i], outlines[nearest]).convex_hull
            kept[nearest] = False
    return buildings.set_geometry(outlines, crs=buildings.crs)[kept].reset_index(drop=True)
