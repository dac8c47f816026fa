"""The lane widths that agree best with clean masks: fitted on some chips, judged on others."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lib.chips.manifest import grid_of, read_mask
from lib.chips.sources import Scene, source_name
from lib.errors import ParameterError
from lib.grid import MASK_FOREGROUND, MASK_IGNORE
from lib.masks.offset import shift
from lib.masks.pixel_shapes import lengths_in_windows
from lib.masks.rasterize import RoadIndex, Window, draw_roads, index_roads
from lib.masks.scanline import SUBPIXELS
from lib.osm.lanes import METRIC_LANE_WIDTH_M, LaneProfile, highway_classes, is_drawn, road_widths_m
from lib.osm.layers import OsmLayers
from lib.trust.alignment import with_vectors

FACTORS = np.round(np.geomspace(0.5, 2.0, 29), 3)  # of the profile's lane width: steps of 5 %
LEAST_ROAD_M = 400.0  # a class with less road than this on the chips, tags aside, keeps the common factor
LEAST_GAIN = 1e-3  # of IoU on the chips: less does not earn a class a width of its own
ROUNDS = 2  # over the classes, as one's width changes what another's covers


@dataclass(frozen=True)
class LaneFit:
    """
    Lane widths fitted to clean masks.

    Attributes
    ----------
    lane_widths_m
        Suggested width of a lane by highway class, metres; the classes not named keep the profile's.
    classes
        One row a class seen: highway, road_m (length on the chips of the fit, without roads of tagged width),
        before_m, after_m (width of a lane), own (whether it was fitted by itself).
    fit_iou, held_out_iou
        IoU of OSM masks and clean masks, pooled, before and after: on the chips of the fit, and on others; NaN where
        there are none.
    """

    lane_widths_m: dict[str, float]
    classes: pd.DataFrame
    fit_iou: tuple[float, float]
    held_out_iou: tuple[float, float]

    @property
    def helps(self) -> bool:
        """Whether the suggestion agrees better than the profile on chips that the fit has not seen."""
        return self.held_out_iou[1] > self.held_out_iou[0]

    def record(self) -> dict[str, object]:
        """Plain JSON values for a report; a number that is not known is None."""
        held_out = None if np.isnan(self.held_out_iou[0]) else list(self.held_out_iou)
        return {"lane_widths_m": self.lane_widths_m, "fit_iou": list(self.fit_iou), "held_out_iou": held_out}


class _Ground:
    """
    Clean masks of some chips and the OSM roads over them, whose lane widths can be changed without a new index.

    A road's width is linear in the width of a lane: `constant_m + lanes * lane width`, with 0 lanes where a tag or the
    kind of service road gives the width.
    """

    def __init__(
        self,
        chips: pd.DataFrame,
        scenes: list[Scene],
        layers: Mapping[str, OsmLayers],
        profile: LaneProfile,
        shifts_m: Mapping[str, tuple[float, float]],
    ):
        self.windows: list[tuple[int, Window, np.ndarray]] = []  # which index, where, the clean mask
        self.indices: list[RoadIndex] = []
        self.constant_m, self.lanes, self.pixels_a_metre, self.highway = [], [], [], []
        for scene in scenes:
            own = chips[chips["scene"] == scene.name]
            if own.empty:
                continue
            roads = shift(layers[source_name(scene, "osm")].roads, *shifts_m.get(scene.name, (0.0, 0.0)))
            roads = roads[is_drawn(roads, profile)]
            # the index knows each road's box at its widest, so that no narrower one is missed
            one, two, widest = (_widths_m(roads, profile, factor) for factor in (1.0, 2.0, FACTORS[-1]))
            index = index_roads(roads, scene.grid, _scaled(profile, FACTORS[-1]))
            self.pixels_a_metre.append(2 * index.half_widths_px / widest[index.rows])
            self.lanes.append((two - one)[index.rows])
            self.constant_m.append((2 * one - two)[index.rows])
            self.highway.append(highway_classes(roads)[index.rows])
            for chip in own.itertuples():
                origin = grid_of(chip).transform[2], grid_of(chip).transform[5]
                col, row = np.rint(scene.grid.world_to_pixel(np.array([origin]))[0]).astype(int).tolist()
                self.windows.append((len(self.indices), (col, row, chip.width, chip.height), read_mask(chip.mask)))
            self.indices.append(index)

    def iou(self, factors: Mapping[str, float], common: float) -> float:
        """IoU of the OSM masks and the clean ones, all pixels pooled, with the lanes so many times as wide."""
        both = either = 0
        drawn = [
            replace(index, half_widths_px=(constant + lanes * _factor(highway, factors, common)) * scale / 2)
            for index, constant, lanes, highway, scale in zip(
                self.indices, self.constant_m, self.lanes, self.highway, self.pixels_a_metre, strict=True
            )
        ]
        for which, window, clean in self.windows:
            road, known = draw_roads(drawn[which], window) == MASK_FOREGROUND, clean != MASK_IGNORE
            truth = clean == MASK_FOREGROUND
            both += np.count_nonzero(road & truth)
            either += np.count_nonzero((road | truth) & known)
        return float(both / either) if either else float("nan")

    def road_m(self) -> pd.Series:
        """Length of the roads whose width hangs on the lanes, by highway class, metres; the longest first."""
        frames = []
        for which, index in enumerate(self.indices):
            windows = [window for number, window, _ in self.windows if number == which]
            _, line, length_px = lengths_in_windows(index.xy / SUBPIXELS, index.starts, windows)
            loose = self.lanes[which][line] > 0
            frame = {"highway": self.highway[which][line[loose]], "road_m": length_px[loose] * index.grid.gsd_m}
            frames.append(pd.DataFrame(frame))
        return pd.concat(frames).groupby("highway")["road_m"].sum().sort_values(ascending=False, kind="stable")


def fit_lane_widths(
    fit: pd.DataFrame,
    held_out: pd.DataFrame,
    scenes: list[Scene],
    layers: Mapping[str, OsmLayers],
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]] | None = None,
) -> LaneFit | None:
    """
    Lane widths with which the OSM roads cover the clean masks best.

    One factor for all classes first; then each class with at least LEAST_ROAD_M of road on the chips gets its own,
    where that gains LEAST_GAIN of IoU. Tags that state a width are believed throughout.

    Parameters
    ----------
    fit, held_out
        Clean rows of a manifest: those to fit to, and those on which the gain is measured.
    scenes, layers
        From `lib.chips.sources`; scenes whose OSM labels are no vectors are left out.
    profile
        Where the search starts; what is drawn, and how many lanes a road has.
    shifts_m
        Scene -> metres by which its vectors are moved before they are drawn.

    Returns
    -------
    fit
        None where no chip has both OSM vectors and a clean mask with road.

    Raises
    ------
    ParameterError
        If the profile's widths are pixels.
    """
    if profile.lane_width_px is not None:
        raise ParameterError(
            f"The profile {profile.name!r} draws lanes in pixels; fit one in metres, such as 'metric'."
        )
    scenes = with_vectors(scenes, layers)
    ground = _Ground(fit, scenes, layers, profile, shifts_m or {})
    before = ground.iou({}, 1.0) if ground.windows else float("nan")
    if not np.isfinite(before):
        return None
    common = float(max(FACTORS, key=lambda factor: ground.iou({}, factor)))
    best = ground.iou({}, common)
    if best < before + LEAST_GAIN:
        common, best = 1.0, before
    factors: dict[str, float] = {}
    road_m = ground.road_m()
    for name in [name for name in road_m.index if road_m[name] >= LEAST_ROAD_M] * ROUNDS:
        scores = {factor: ground.iou({**factors, name: factor}, common) for factor in FACTORS}
        factor = float(max(scores, key=scores.get))
        if scores[factor] >= best + LEAST_GAIN:
            factors[name], best = factor, scores[factor]
    other = _Ground(held_out, scenes, layers, profile, shifts_m or {})
    held_out_iou = (other.iou({}, 1.0), other.iou(factors, common)) if other.windows else (float("nan"),) * 2
    widths = widths_by_class(profile)
    before_m = {name: float(widths.get(name, widths["default"])) for name in road_m.index}
    after_m = {name: round(width * factors.get(name, common), 2) for name, width in before_m.items()}
    classes = pd.DataFrame({"road_m": road_m, "before_m": before_m, "after_m": after_m})
    classes["own"] = classes.index.isin(list(factors))
    changed = {name: width for name, width in after_m.items() if width != round(before_m[name], 2)}
    return LaneFit(changed, classes.rename_axis("highway").reset_index(), (before, best), held_out_iou)


def widths_by_class(profile: LaneProfile) -> dict[str, float]:
    """Width of a lane by highway class, metres; "default" stands for the classes not named."""
    table = profile.lane_width_m
    return {"default": METRIC_LANE_WIDTH_M["default"], **table} if isinstance(table, Mapping) else {"default": table}


def _scaled(profile: LaneProfile, factor: float) -> LaneProfile:
    """The profile with each lane so many times as wide."""
    return replace(profile, lane_width_m={name: width * factor for name, width in widths_by_class(profile).items()})


def _widths_m(roads: pd.DataFrame, profile: LaneProfile, factor: float) -> np.ndarray:
    return road_widths_m(roads, _scaled(profile, factor)).to_numpy(np.float64)


def _factor(highway: np.ndarray, factors: Mapping[str, float], common: float) -> np.ndarray:
    """Factor of each road's lanes."""
    result = np.full(len(highway), common)
    for name, factor in factors.items():
        result[highway == name] = factor
    return result
