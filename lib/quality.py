"""How far the pseudo-labels can be trusted: offset of each scene, agreement with clean masks where there are any."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lib.charts import widths_histogram
from lib.chips import read_mask
from lib.figures import overlay_grid
from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND
from lib.lanes import LaneProfile, road_widths_m
from lib.metrics import PixelScores, pixel_scores
from lib.offset import estimate_offset
from lib.osm import OsmLayers
from lib.rasterize import rasterize_buildings, rasterize_roads
from lib.sources import Scene, read_scene, source_name
from lib.widgets import LanePanel, road_drawer

SIDE_PX = 3072  # the middle of a scene tells its offset as well as all of it, and sooner
CLOSE_UP_PX = 512  # side of the picture that shows an offset
PANEL_PX = 1024  # side of the picture under the sliders
LEAST_SIDE_M = 200.0  # a scene smaller than a few blocks holds too few roads to tell its offset
LEAST_CONFIDENCE = 0.5  # an offset is applied where most resamplings agree on it
OFFSET_COLUMNS = ("dx_m", "dy_m", "confidence", "error_m")


def scene_middle(scene: Scene, side_px: int = SIDE_PX) -> tuple[int, int, int, int]:
    """(col, row, width, height) of the middle of a scene, at most `side_px` wide and high."""
    width, height = min(scene.grid.width, side_px), min(scene.grid.height, side_px)
    return (scene.grid.width - width) // 2, (scene.grid.height - height) // 2, width, height


def look_at(
    scene: Scene,
    window: tuple[int, int, int, int],
    layers: dict[str, OsmLayers],
    task: str,
    profile: LaneProfile,
    label: str = "osm",
) -> tuple[np.ndarray, np.ndarray]:
    """
    Image and mask of a window of a scene.

    Returns
    -------
    image
        uint8 (H, W, 3) RGB.
    mask
        uint8 (H, W), drawn from the vectors of the label source.
    """
    image, _ = read_scene(scene.path, scene.in_file(window), (window[3], window[2]))
    grid, vectors = scene.grid.window(*window), layers[source_name(scene, label)]
    if task == "roads":
        return image, rasterize_roads(vectors.roads, grid, profile)
    return image, rasterize_buildings(vectors.buildings, grid)


def scene_offsets(scenes: list[Scene], layers: dict[str, OsmLayers], task: str, profile: LaneProfile) -> pd.DataFrame:
    """
    Shift that would bring each scene's OSM vectors onto its image, estimated from the image alone.

    Only scenes of at least LEAST_SIDE_M whose OSM labels are vectors are looked at: a smaller one holds too few roads
    to tell.

    Returns
    -------
    offsets
        One row a scene: scene, dx_m, dy_m (metres to the east and north), confidence, error_m; see
        `lib.offset.Offset`.
    """
    rows = []
    for scene in with_vectors(scenes, layers):
        window = scene_middle(scene)
        gsd_m = scene.grid.gsd_m
        if min(window[2:]) * gsd_m < LEAST_SIDE_M:
            continue
        found = estimate_offset(*look_at(scene, window, layers, task, profile), gsd_m)
        rows.append({"scene": scene.name} | {k: float(getattr(found, k)) for k in OFFSET_COLUMNS})
    return pd.DataFrame(rows, columns=["scene", *OFFSET_COLUMNS])


def offset_figure(
    scene: Scene,
    layers: dict[str, OsmLayers],
    task: str,
    profile: LaneProfile,
    shifts_m: Mapping[str, tuple[float, float]],
) -> Figure:
    """The busiest 512 px in the middle of a scene: its OSM mask as it came, and moved as it will be drawn."""
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


def lane_panel(scene: Scene, layers: dict[str, OsmLayers], profile: LaneProfile, profile_path: Path) -> LanePanel:
    """Sliders for lane width, classes and offset over the middle 1024 px of a scene."""
    window = scene_middle(scene, PANEL_PX)
    image, _ = look_at(scene, window, layers, "roads", profile)
    draw = road_drawer(layers[source_name(scene, "osm")].roads, scene.grid.window(*window), profile)
    return LanePanel(image, draw, classes=profile.drawn, profile_path=profile_path)


def widths_figure(scenes: list[Scene], layers: dict[str, OsmLayers], profile: LaneProfile) -> Figure | None:
    """How wide the profile draws the OSM roads of the scenes, by highway class; None where there are none."""
    names = {source_name(scene, "osm") for scene in with_vectors(scenes, layers)}
    roads = [layers[name].roads for name in sorted(names) if len(layers[name].roads)]
    if not roads:
        return None
    roads = pd.concat(roads, ignore_index=True)
    widths_m = road_widths_m(roads, profile)
    drawn = widths_m > 0
    return widths_histogram(widths_m[drawn], classes=roads.loc[drawn, "highway"]) if drawn.any() else None


def with_vectors(scenes: list[Scene], layers: dict[str, OsmLayers]) -> list[Scene]:
    """The scenes whose OSM labels are drawn from vectors."""
    return [s for s in scenes if "osm" in s.source and source_name(s, "osm") in layers]


def shifts(
    scenes: list[Scene], offsets: pd.DataFrame | None, dx_m: float = 0.0, dy_m: float = 0.0
) -> dict[str, tuple[float, float]]:
    """
    Scene -> metres east and north by which its OSM vectors are moved before they are drawn.

    `dx_m` and `dy_m` move all; a measured offset is added where its confidence is at least LEAST_CONFIDENCE.
    """
    certain = {}
    if offsets is not None:
        sure = offsets[offsets["confidence"] >= LEAST_CONFIDENCE]
        certain = {row.scene: (row.dx_m, row.dy_m) for row in sure.itertuples()}
    moved = {s.name: np.add((dx_m, dy_m), certain.get(s.name, (0.0, 0.0))) for s in scenes}
    return {name: (round(float(x), 3), round(float(y), 3)) for name, (x, y) in moved.items() if x or y}


def summary(agreement: pd.DataFrame) -> dict[str, float] | None:
    """Pooled scores of the OSM masks against the clean ones; None if no chip has both."""
    if agreement.empty:
        return None
    return {"chips": len(agreement)} | {k: v for k, v in pixel_scores(agreement).items() if np.isfinite(v)}


def label_agreement(manifest: pd.DataFrame) -> pd.DataFrame:
    """
    Scores of the OSM mask against the clean one, for the chips that have both.

    Returns
    -------
    table
        One row a chip: `chip`, counts and scores of `lib.metrics.PixelScores`; empty if no chip has both.
    """
    paths = manifest.pivot_table(index="chip", columns="label", values="mask", aggfunc="first")
    if not {"osm", "clean"} <= set(paths.columns):
        return pd.DataFrame()
    scores = PixelScores()
    for chip, row in paths.dropna().iterrows():
        scores.update(read_mask(row["osm"]), read_mask(row["clean"]), chip=chip)
    return scores.table()
