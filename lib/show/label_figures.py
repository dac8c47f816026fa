"""Pictures of labels: how far OSM lies off the image, how wide its roads are drawn, what surveyors saw instead."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import cv2
import geopandas as gpd
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.chips.imagery import read_pixels
from lib.chips.sources import Scene
from lib.chips.vectors import moved_at
from lib.masks.offset import LEAST_CONFIDENCE
from lib.osm.lanes import LaneProfile, chosen_lanes, highway_classes
from lib.osm.layers import OsmLayers
from lib.parameters import Settled
from lib.show.canvas import FN, FP, TP, error_rgb
from lib.show.charts import lane_dumbbells, widths_histogram
from lib.show.figures import overlay_grid
from lib.show.lane_panel import OFFSET_RANGE_M, PICTURE_PX, Ground, LanePanel, Look, Window
from lib.show.sheet import Sheet, patch, picture_axes, show_photo, strip_legend
from lib.trust.alignment import certain, close_up, shifts
from lib.trust.lane_fit import LaneFit, drawn_widths, road_drawer, widths_by_class
from lib.trust.noise_study import GSD_M, Pair

SCENE_PX = 4096  # longer side of a scene in the panel's memory: 50 MB
STUDY_COLUMNS = 4  # of pictures, in the figure of a noise study


def offset_figure(
    scene: Scene,
    layers: Mapping[str, OsmLayers],
    task: str,
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]],
) -> Figure:
    """The busiest part of a scene, of `lib.trust.alignment.close_up`: its OSM mask as it came, and as it will be."""
    dx_m, dy_m = shifts_m.get(scene.name, (0.0, 0.0))
    seen = close_up(scene, layers, task, profile, (dx_m, dy_m))
    titles = [f"{scene.name}: as OpenStreetMap has it", f"moved {dx_m:+.1f} m east, {dy_m:+.1f} m north"]
    return overlay_grid([seen.image] * 2, [seen.mask, seen.moved], titles=titles, gsd_m=seen.gsd_m, columns=2)


def suggestion_figure(found: LaneFit) -> Figure:
    """Width of a lane by class, before and after the fit."""
    (fit_before, fit_after), (before, after) = found.fit_iou, found.held_out_iou
    other = "no other chips to test it on" if np.isnan(before) else f"on others {before:.3f} to {after:.3f}"
    title = f"IoU of OSM and clean masks: {fit_before:.3f} to {fit_after:.3f} on the chips of the fit, {other}"
    return lane_dumbbells(found.classes, title=title)


def widths_figure(scenes: list[Scene], layers: Mapping[str, OsmLayers], profile: LaneProfile) -> Figure | None:
    """How wide the profile draws the OSM roads of the scenes, by highway class; None where there are none."""
    roads = drawn_widths(scenes, layers, profile)
    return None if roads.empty else widths_histogram(roads["width_m"], classes=roads["highway"])


def study_figure(pairs: list[Pair]) -> Figure:
    """Each place as a plan: what OSM and survey share after the shift, and what only one of them has."""
    columns = min(STUDY_COLUMNS, len(pairs))
    panel_in = 10.0 / columns
    height_in = -(-len(pairs) // columns) * (1.2 * panel_in + 0.3) + 0.4
    sheet = Sheet(10.0, height_in, f"OSM roads against surveyed ones at {len(pairs)} places.", photo=True)
    for ax, pair in zip(picture_axes(sheet, len(pairs), columns), pairs, strict=True):
        paper = np.full((*pair.surveyed.shape, 3), 255, np.uint8)
        title = f"{pair.name.split('_')[-1]}: moved {pair.row['offset_m']:.1f} m, "
        title += f"IoU {pair.row['iou']:.2f} → {pair.row['iou_moved']:.2f}"
        show_photo(ax, error_rgb(paper, pair.surveyed, pair.moved), pair.surveyed.shape, GSD_M, title)
        ax.title.set_fontsize(8)
    names = ("in both", "OpenStreetMap only", "survey only")
    strip_legend(sheet, [patch(color, name) for color, name in zip((TP, FP, FN), names, strict=True)])
    return sheet


def lane_panel(
    settled: Settled,
    scenes: Sequence[Scene],
    layers: Mapping[str, OsmLayers],
    measured: pd.DataFrame,
    fitted: LaneFit | None = None,
) -> LanePanel:
    """
    Sliders for lane widths, classes and offset over any of the scenes.

    Parameters
    ----------
    settled
        Parameters of notebook 1.
    scenes, layers
        Those with OSM vectors, and these.
    measured
        Offsets, from `lib.trust.alignment.scene_offsets`.
    fitted
        A suggestion to choose.
    """
    words = [settled[name] for name in ("profile", "lane_width_m", "lane_widths_m", "classes")]
    profile, by_class = chosen_lanes(*words), chosen_lanes(words[0], 0.0, *words[2:])
    own_classes = chosen_lanes(words[0], 0.0, {}, []).drawn
    table, own = widths_by_class(by_class), settled["lane_widths_m"]
    tables = {"by class: this run's": (table, own)}
    if fitted is not None and fitted.lane_widths_m:
        tables["by class: fitted"] = ({**table, **fitted.lane_widths_m}, {**own, **fitted.lane_widths_m})
    roads = {scene.label_sources["osm"]: layers[scene.label_sources["osm"]].roads for scene in scenes}
    there = {name for own_roads in roads.values() for name in highway_classes(own_roads)}
    return LanePanel(
        [_ground(scene, layers, profile, measured, settled["align"]) for scene in scenes],
        settled,
        classes=[name for name in dict.fromkeys((*own_classes, *profile.drawn)) if name in there or name == "all"],
        own_classes=own_classes,
        tables=tables,
        fixed_px=profile.lane_width_px is not None,
    )


def _ground(
    scene: Scene, layers: Mapping[str, OsmLayers], profile: LaneProfile, measured: pd.DataFrame, align: bool
) -> Ground:
    """A scene as the panel shows it, and what is known of its offset."""
    own = measured[measured["scene"] == scene.name]
    believed = certain(own)
    if not align:
        words = "off (align: false), adds nothing"
    elif len(believed):
        words = f"measured from the {believed['by'].iloc[0]}, confidence {believed['confidence'].iloc[0]:.2f}"
    elif len(own):
        words = f"not certain (confidence {own['confidence'].max():.2f}, {LEAST_CONFIDENCE} is needed), adds nothing"
    else:
        words = "the scene is too small or too coarse to measure one, adds nothing"
    offset_m = shifts([scene], own if align else None).get(scene.name, (0.0, 0.0))
    roads = layers[scene.label_sources["osm"]].roads
    fine = replace(scene, grid=scene.grid.resampled(*scene.own_px))
    opened = partial(_opened, fine, roads, offset_m, profile, scene.grid.gsd_m)
    return Ground(scene.name, scene.own_px, fine.grid.gsd_m, opened, offset_m, words)


def _opened(
    scene: Scene, roads: gpd.GeoDataFrame, offset_m: tuple[float, float], profile: LaneProfile, chip_gsd_m: float
) -> Callable[[Window], Look]:
    """
    Read a scene, on the grid of its own pixels, once; gives what looks at any window of it.

    It stays in memory, at most SCENE_PX a side; of a larger one, windows that ask for more are read from the file.
    """
    width, height = scene.grid.width, scene.grid.height
    whole = (0, 0, width, height)
    kept = _read(scene, whole, min(SCENE_PX, max(width, height)))
    share = kept.shape[1] / width
    near = moved_at(scene, roads, offset_m).to_crs(scene.grid.crs)

    def look(window: Window) -> Look:
        col, row, width, height = window
        if share < min(1, PICTURE_PX / max(width, height)):
            image = _read(scene, window, PICTURE_PX)
        else:
            left, top, right, bottom = (round(share * n) for n in (col, row, col + width, row + height))
            rows, columns = _shape(width, height, PICTURE_PX)
            how = cv2.INTER_AREA if columns < right - left else cv2.INTER_LINEAR
            image = cv2.resize(kept[top:bottom, left:right], (columns, rows), interpolation=how)
        grid = scene.grid.window(*window).resampled(*image.shape[1::-1])
        in_px = profile.lane_width_px and profile.lane_width_px * chip_gsd_m / grid.gsd_m
        return Look(image, road_drawer(near, grid, replace(profile, lane_width_px=in_px), OFFSET_RANGE_M[1]))

    return look


def _read(scene: Scene, window: Window, longest_px: int) -> np.ndarray:
    """Window of a scene on so many pixels along its longer side, uint8 (H, W, 3)."""
    file_window, _ = scene.in_file(window)
    image, _ = read_pixels(scene.path, file_window, _shape(*window[2:], longest_px), scene.bands, scene.nodata)
    return np.ascontiguousarray(image[..., :3])


def _shape(width: int, height: int, longest_px: int) -> tuple[int, int]:
    """(height, width) of a picture of a window so many pixels along its longer side."""
    scale = longest_px / max(width, height)
    return max(1, round(height * scale)), max(1, round(width * scale))
