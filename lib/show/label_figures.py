"""Pictures of labels: how far OSM lies off the image, how wide its roads are drawn, what surveyors saw instead."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.chips.sources import Scene, read_scene, source_name
from lib.errors import ParameterError
from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND, Grid
from lib.masks.offset import shift
from lib.masks.rasterize import rasterize_roads
from lib.osm.lanes import LaneProfile, road_widths_m
from lib.osm.layers import OsmLayers
from lib.show.canvas import FN, FP, TP, error_rgb
from lib.show.charts import lane_dumbbells, widths_histogram
from lib.show.figures import overlay_grid
from lib.show.sheet import Sheet, patch, picture_axes, show_photo, strip_legend
from lib.show.widgets import OFFSET_RANGE_M, DrawMask, LanePanel
from lib.trust.alignment import fine, look_at, scene_middle, with_vectors
from lib.trust.lane_fit import LaneFit, widths_by_class
from lib.trust.noise_study import GSD_M, Pair

CLOSE_UP_PX = 512  # side of the picture that shows an offset
PANEL_PX = 1024  # side of the picture under the sliders
STUDY_COLUMNS = 4  # of pictures, in the figure of a noise study
BROAD_ROAD_M = 40.0  # no carriageway is broader: roads farther than this outside an image do not reach it


def offset_figure(
    scene: Scene,
    layers: Mapping[str, OsmLayers],
    task: str,
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]],
) -> Figure:
    """The busiest 512 px in the middle of a scene: its OSM mask as it came, and moved as it will be drawn."""
    scene = fine(scene)
    middle = scene_middle(scene)
    image, mask = look_at(scene, middle, layers, task, profile)
    density = cv2.boxFilter((mask == MASK_FOREGROUND).astype(np.float32), -1, (CLOSE_UP_PX, CLOSE_UP_PX))
    half = CLOSE_UP_PX // 2
    inner = density[half : mask.shape[0] - half, half : mask.shape[1] - half]
    row, col = np.unravel_index(inner.argmax(), inner.shape) if inner.size else (0, 0)
    part = np.s_[row : row + CLOSE_UP_PX, col : col + CLOSE_UP_PX]
    dx_m, dy_m = shifts_m.get(scene.name, (0.0, 0.0))
    gsd_m = scene.grid.gsd_m
    moved = cv2.warpAffine(mask, np.float32([[1, 0, dx_m / gsd_m], [0, 1, -dy_m / gsd_m]]), mask.shape[::-1])
    moved = np.where(moved > MASK_FOREGROUND / 2, MASK_FOREGROUND, MASK_BACKGROUND).astype(np.uint8)
    titles = [f"{scene.name}: as OpenStreetMap has it", f"moved {dx_m:+.1f} m east, {dy_m:+.1f} m north"]
    return overlay_grid([image[part]] * 2, [mask[part], moved[part]], titles=titles, gsd_m=gsd_m, columns=2)


def suggestion_figure(found: LaneFit) -> Figure:
    """Width of a lane by class, before and after the fit."""
    return lane_dumbbells(found.classes, title=_verdict(found))


def _verdict(found: LaneFit) -> str:
    (fit_before, fit_after), (before, after) = found.fit_iou, found.held_out_iou
    other = "no other chips to test it on" if np.isnan(before) else f"on others {before:.3f} to {after:.3f}"
    return f"IoU of OSM and clean masks: {fit_before:.3f} to {fit_after:.3f} on the chips of the fit, {other}"


def widths_figure(scenes: list[Scene], layers: Mapping[str, OsmLayers], profile: LaneProfile) -> Figure | None:
    """How wide the profile draws the OSM roads of the scenes, by highway class; None where there are none."""
    names = {source_name(scene, "osm") for scene in with_vectors(scenes, layers)}
    roads = [layers[name].roads for name in sorted(names) if len(layers[name].roads)]
    if not roads:
        return None
    roads = pd.concat(roads, ignore_index=True)
    widths_m = road_widths_m(roads, profile)
    drawn = widths_m > 0
    return widths_histogram(widths_m[drawn], classes=roads.loc[drawn, "highway"]) if drawn.any() else None


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
    window = scene_middle(scene, PANEL_PX)
    image, _ = read_scene(scene.path, scene.in_file(window), (window[3], window[2]))
    roads = shift(layers[source_name(scene, "osm")].roads, *measured_m)
    draw = road_drawer(roads, scene.grid.window(*window), profile)
    table = widths_by_class(profile)
    tables = {"by class: the profile's": (table, own)}
    if fitted is not None and fitted.lane_widths_m:
        tables["by class: fitted"] = ({**table, **fitted.lane_widths_m}, {**own, **fitted.lane_widths_m})
    return LanePanel(
        image, draw, classes=profile.drawn, dx_m=moved_m[0], dy_m=moved_m[1], tables=tables, profile_path=path
    )


def road_drawer(roads: gpd.GeoDataFrame, grid: Grid, profile: LaneProfile) -> DrawMask:
    """
    Drawing function for `LanePanel`: the roads of one image at any lane width, choice of classes and offset.

    Parameters
    ----------
    roads
        As lib.osm.layers reads them; projected once, and those far from the image are put aside.
    grid
        Of the image; it needs a CRS, for metres to the east have no meaning without one.
    profile
        What the sliders change: the lane width, of all classes or class by class, and the classes drawn. Tags win as
        they did before.
    """
    if grid.crs is None:
        raise ParameterError("Expected a grid with a CRS, to move roads by metres; this image has none.")
    margin_px = (2 * OFFSET_RANGE_M[1] + BROAD_ROAD_M) / grid.gsd_m
    corners = np.array([[0, 0], [grid.width, 0], [0, grid.height], [grid.width, grid.height]], float)
    world = grid.pixel_to_world(corners + np.where(corners > 0, margin_px, -margin_px))
    (left, bottom), (right, top) = world.min(axis=0), world.max(axis=0)
    near = roads.to_crs(grid.crs).cx[left:right, bottom:top]
    centre = gpd.GeoDataFrame(geometry=gpd.points_from_xy(*world.mean(axis=0)[:, None]), crs=grid.crs)

    def draw(
        lane_width_m: float | Mapping[str, float], classes: tuple[str, ...], dx_m: float, dy_m: float
    ) -> np.ndarray:
        if not classes:
            return np.full((grid.height, grid.width), MASK_BACKGROUND, np.uint8)
        # the image moved one way is the roads moved the other, in one step instead of one a road
        there = shift(centre, dx_m, dy_m).geometry.iloc[0]
        a, b, c, d, e, f = grid.transform
        x, y = world.mean(axis=0)
        moved = replace(grid, transform=(a, b, c - (there.x - x), d, e, f - (there.y - y)))
        return rasterize_roads(near, moved, replace(profile, lane_width_m=lane_width_m, drawn=classes))

    return draw
