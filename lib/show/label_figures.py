"""Pictures of labels: how far OSM lies off the image, how wide its roads are drawn, what surveyors saw instead."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lib.chips.imagery import read_scene
from lib.chips.sources import Scene
from lib.masks.offset import shift
from lib.osm.lanes import LaneProfile
from lib.osm.layers import OsmLayers
from lib.show.canvas import FN, FP, TP, error_rgb
from lib.show.charts import lane_dumbbells, widths_histogram
from lib.show.figures import overlay_grid
from lib.show.sheet import Sheet, patch, picture_axes, show_photo, strip_legend
from lib.show.widgets import OFFSET_RANGE_M, LanePanel
from lib.trust.alignment import close_up, middle
from lib.trust.lane_fit import LaneFit, drawn_widths, road_drawer, widths_by_class
from lib.trust.noise_study import GSD_M, Pair

PANEL_PX = 1024  # side of the picture under the sliders
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
    scene: Scene,
    layers: Mapping[str, OsmLayers],
    profile: LaneProfile,
    own: Mapping[str, float],
    fitted: LaneFit | None,
    measured_m: tuple[float, float],
    moved_m: tuple[float, float],
    path: Path,
) -> LanePanel:
    """
    Sliders for lane widths, classes and offset over the middle PANEL_PX of a scene.

    Parameters
    ----------
    profile, own
        What is drawn, and those of its lane widths that the parameters set.
    fitted
        A suggestion to choose.
    measured_m, moved_m
        Metres east and north: the offset that was measured and is applied, and what the sliders add to it.
    path
        Parameters file that "save profile" updates.
    """
    window = middle(scene.grid, PANEL_PX)
    image, _ = read_scene(scene, window)
    roads = shift(layers[scene.label_sources["osm"]].roads, *measured_m)
    draw = road_drawer(roads, scene.grid.window(*window), profile, OFFSET_RANGE_M[1])
    table = widths_by_class(profile)
    tables = {"by class: the profile's": (table, own)}
    if fitted is not None and fitted.lane_widths_m:
        tables["by class: fitted"] = ({**table, **fitted.lane_widths_m}, {**own, **fitted.lane_widths_m})
    return LanePanel(
        image, draw, classes=profile.drawn, dx_m=moved_m[0], dy_m=moved_m[1], tables=tables, profile_path=path
    )
