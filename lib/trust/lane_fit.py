"""The lane widths that agree best with clean masks: fitted on some chips, judged on others, or chosen by eye."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import geopandas as gpd
import numpy as np
import pandas as pd

from lib.chips.manifest import read_mask, windows_of
from lib.chips.sources import Scene
from lib.chips.vectors import moved_at
from lib.errors import ParameterError
from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND, MASK_IGNORE, Grid
from lib.masks.offset import shift
from lib.masks.pixel_shapes import lengths_in_windows
from lib.masks.rasterize import RoadIndex, Window, draw_roads, index_roads, rasterize_roads
from lib.masks.scanline import SUBPIXELS
from lib.osm.files import near_windows
from lib.osm.lanes import METRIC_LANE_WIDTH_M, LaneProfile, highway_classes, is_drawn, road_widths_m
from lib.osm.layers import OsmLayers
from lib.trust.alignment import with_vectors

FACTORS = np.round(np.geomspace(0.5, 2.0, 29), 3)  # of the profile's lane width: steps of 5 %
LEAST_ROAD_M = 400.0  # a class with less road than this on the chips, tags aside, keeps the common factor
LEAST_GAIN = 1e-3  # of IoU on the chips: less does not earn a class a width of its own
BROAD_ROAD_M = 40.0  # no carriageway is broader: roads farther than this outside an image do not reach it
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


@dataclass(frozen=True)
class _Roads:
    """
    The OSM roads of a scene over the clean masks of its chips; their lanes are widened without a new index.

    A road is `fixed_m + factor * lanes_m` wide: tags and kinds of service road fix a width, else it goes by the lanes.

    Attributes
    ----------
    index
        Of the roads at their widest, so that none is missed for its box.
    highway, fixed_m, lanes_m, px_per_m
        (lines,) of the index: highway class; width that stays, and width of the profile's lanes, metres; pixels a
        metre there.
    windows, clean
        Chips in pixels of the scene, and the clean mask of each, uint8 (height, width).
    """

    index: RoadIndex
    highway: pd.Categorical
    fixed_m: np.ndarray
    lanes_m: np.ndarray
    px_per_m: np.ndarray
    windows: list[Window]
    clean: list[np.ndarray]


def _roads_under(
    chips: pd.DataFrame,
    scenes: list[Scene],
    layers: Mapping[str, OsmLayers],
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]],
) -> list[_Roads]:
    """Roads and masks of each scene that has some of the chips, rows of a manifest with clean masks."""
    found = []
    for scene in scenes:
        own = chips[chips["scene"] == scene.name]
        if own.empty:
            continue
        roads = moved_at(scene, layers[scene.label_sources["osm"]].roads, shifts_m.get(scene.name))
        roads = roads[is_drawn(roads, profile)]
        index = index_roads(roads, scene.grid, _scaled(profile, FACTORS[-1]))
        # a straight line through the widths at two factors; lines of the index, of which a road may have several
        once_m, twice_m, widest_m = (
            road_widths_m(roads, _scaled(profile, factor)).to_numpy(np.float64)[index.rows]
            for factor in (1.0, 2.0, FACTORS[-1])
        )
        found.append(
            _Roads(
                index=index,
                highway=pd.Categorical(highway_classes(roads)[index.rows]),
                fixed_m=2 * once_m - twice_m,
                lanes_m=twice_m - once_m,
                px_per_m=2 * index.half_widths_px / widest_m,
                windows=windows_of(own, scene.grid),
                clean=[read_mask(path) for path in own["mask"]],
            )
        )
    return found


def _iou(scenes: list[_Roads], factors: Mapping[str, float], common: float) -> float:
    """
    IoU of the OSM masks and the clean ones, all pixels pooled; NaN where there is no road.

    Lanes are so many times as wide as the profile's: by class as in `factors`, and `common` for those not named.
    """
    both = either = 0
    for roads in scenes:
        factor = np.array([factors.get(name, common) for name in roads.highway.categories])[roads.highway.codes]
        half_widths_px = (roads.fixed_m + roads.lanes_m * factor) * roads.px_per_m / 2
        index = replace(roads.index, half_widths_px=half_widths_px)
        for window, clean in zip(roads.windows, roads.clean, strict=True):
            drawn, true = draw_roads(index, window) == MASK_FOREGROUND, clean == MASK_FOREGROUND
            both += np.count_nonzero(drawn & true)
            either += np.count_nonzero((drawn | true) & (clean != MASK_IGNORE))
    return float(both / either) if either else float("nan")


def _road_m(scenes: list[_Roads]) -> pd.Series:
    """Length of the roads on the chips whose width goes by the lanes, by highway class, metres; longest first."""
    parts = []
    for roads in scenes:
        _, line, length_px = lengths_in_windows(roads.index.xy / SUBPIXELS, roads.index.starts, roads.windows)
        by_lanes = roads.lanes_m[line] > 0
        length_m = length_px[by_lanes] * roads.index.grid.gsd_m
        parts.append(pd.Series(length_m, index=np.asarray(roads.highway)[line[by_lanes]], name="road_m"))
    return pd.concat(parts).groupby(level=0).sum().sort_values(ascending=False, kind="stable")


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
    ground, unseen = (_roads_under(chips, scenes, layers, profile, shifts_m or {}) for chips in (fit, held_out))
    before = _iou(ground, {}, 1.0)
    if np.isnan(before):
        return None
    # one factor for all first, unless it gains too little
    common = float(max(FACTORS, key=lambda factor: _iou(ground, {}, factor)))
    best = _iou(ground, {}, common)
    if best < before + LEAST_GAIN:
        common, best = 1.0, before
    # then class by class, those with the most road first; `best` is always the IoU with `factors` and `common`
    factors: dict[str, float] = {}
    road_m = _road_m(ground)
    for name in [*road_m.index[road_m >= LEAST_ROAD_M]] * ROUNDS:
        scores = {float(factor): _iou(ground, {**factors, name: factor}, common) for factor in FACTORS}
        factor = max(scores, key=scores.get)
        if scores[factor] >= best + LEAST_GAIN:
            factors[name], best = factor, scores[factor]
    widths = widths_by_class(profile)
    before_m = {name: float(widths.get(name, widths["default"])) for name in road_m.index}
    after_m = {name: round(width * factors.get(name, common), 2) for name, width in before_m.items()}
    classes = pd.DataFrame({"road_m": road_m, "before_m": before_m, "after_m": after_m})
    classes["own"] = classes.index.isin(list(factors))
    changed = {name: width for name, width in after_m.items() if width != round(before_m[name], 2)}
    # judged is what is suggested: classes that the fit has not seen keep their width
    shares = {name: width / before_m[name] for name, width in changed.items()}
    held_out_iou = (_iou(unseen, {}, 1.0), _iou(unseen, shares, 1.0))
    return LaneFit(changed, classes.rename_axis("highway").reset_index(), (before, best), held_out_iou)


def drawn_widths(scenes: list[Scene], layers: Mapping[str, OsmLayers], profile: LaneProfile) -> pd.DataFrame:
    """Roads that the profile draws of the scenes' OSM sources, one row each: highway, width_m (metres)."""
    names = sorted({scene.label_sources["osm"] for scene in with_vectors(scenes, layers)})
    roads = pd.concat([pd.DataFrame({"highway": []}), *(layers[name].roads for name in names)], ignore_index=True)
    table = pd.DataFrame({"highway": roads["highway"], "width_m": road_widths_m(roads, profile)})
    return table[table["width_m"] > 0]


def widths_by_class(profile: LaneProfile) -> dict[str, float]:
    """Width of a lane by highway class, metres; "default" stands for the classes not named."""
    table = profile.lane_width_m
    return {"default": METRIC_LANE_WIDTH_M["default"], **table} if isinstance(table, Mapping) else {"default": table}


def _scaled(profile: LaneProfile, factor: float) -> LaneProfile:
    """The profile with each lane so many times as wide."""
    return replace(profile, lane_width_m={name: width * factor for name, width in widths_by_class(profile).items()})


def road_drawer(
    roads: gpd.GeoDataFrame, grid: Grid, profile: LaneProfile, max_offset_m: float
) -> Callable[[float | Mapping[str, float], tuple[str, ...], float, float], np.ndarray]:
    """
    Function that draws the roads of one image at any lane width, choice of classes and offset, as sliders ask for it.

    Parameters
    ----------
    roads
        As `lib.osm.layers` reads them; projected once, and those far from the image are put aside.
    grid
        Of the image; it needs a CRS, for metres to the east have no meaning without one.
    profile
        What is changed: the lane width and the classes drawn. Tags win as they did before.
    max_offset_m
        Largest offset to the east and to the north that will be asked for.

    Returns
    -------
    draw
        (lane width in metres, of all classes or by class; classes; metres east; metres north) -> mask, uint8 (H, W).

    Raises
    ------
    ParameterError
        If the grid has no CRS.
    """
    if grid.crs is None:
        raise ParameterError("Expected a grid with a CRS, to move roads by metres; this image has none.")
    whole = (0, 0, grid.width, grid.height)
    near = near_windows(roads, grid, [whole], 2 * max_offset_m + BROAD_ROAD_M).to_crs(grid.crs)
    x, y = grid.pixel_to_world(np.array([grid.width / 2, grid.height / 2]))
    centre = gpd.GeoDataFrame(geometry=gpd.points_from_xy([x], [y]), crs=grid.crs)

    def draw(
        lane_width_m: float | Mapping[str, float], classes: tuple[str, ...], dx_m: float, dy_m: float
    ) -> np.ndarray:
        if not classes:
            return np.full((grid.height, grid.width), MASK_BACKGROUND, np.uint8)
        # the image moved one way is the roads moved the other, in one step instead of one a road
        there = shift(centre, dx_m, dy_m).geometry.iloc[0]
        a, b, c, d, e, f = grid.transform
        moved = replace(grid, transform=(a, b, c - (there.x - x), d, e, f - (there.y - y)))
        return rasterize_roads(near, moved, replace(profile, lane_width_m=lane_width_m, drawn=classes))

    return draw
