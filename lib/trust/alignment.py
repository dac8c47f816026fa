"""Where the map lies on the images of an area: the offset of each scene, measured, looked at and undone."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd

from lib.chips.imagery import read_scene
from lib.chips.sources import Scene
from lib.errors import InputError
from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND, Grid
from lib.mapping.predict import predict_image
from lib.masks.offset import LEAST_CONFIDENCE, MAX_OFFSET_M, WORKING_GSD_M, estimate_offset
from lib.masks.rasterize import Window, rasterize_buildings, rasterize_roads
from lib.networks.checkpoint import TrainedModel
from lib.osm.lanes import LaneProfile
from lib.osm.layers import OsmLayers
from lib.progress import counted

SIDE_PX = 3072  # the middle of a scene tells its offset as well as all of it, and sooner
CLOSE_UP_PX = 512  # side of the part that shows an offset
LEAST_SIDE_M = 200.0  # a scene smaller than a few blocks holds too few roads to tell its offset
OFFSET_COLUMNS = ("dx_m", "dy_m", "confidence", "error_m")
GSD_TOLERANCE = 0.1  # share by which the pixels of a model's training may differ from those it is shown


def middle(grid: Grid, side_px: int = SIDE_PX) -> Window:
    """Window of the middle of a grid, at most `side_px` wide and high."""
    width, height = min(grid.width, side_px), min(grid.height, side_px)
    return (grid.width - width) // 2, (grid.height - height) // 2, width, height


def _image_and_mask(
    scene: Scene, window: Window, layers: Mapping[str, OsmLayers], task: str, profile: LaneProfile
) -> tuple[np.ndarray, np.ndarray]:
    """A window's image, uint8 (H, W, 3) RGB, and its mask, uint8 (H, W), from the OSM vectors as they came."""
    image, _ = read_scene(scene, window)
    grid, vectors = scene.grid.window(*window), layers[scene.label_sources["osm"]]
    if task == "roads":
        return image, rasterize_roads(vectors.roads, grid, profile)
    return image, rasterize_buildings(vectors.buildings, grid)


def scene_offsets(
    scenes: list[Scene],
    layers: Mapping[str, OsmLayers],
    task: str,
    profile: LaneProfile,
    model: TrainedModel | None = None,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """
    Shift that would bring each scene's OSM vectors onto its image.

    Measured from the image itself at the file's own pixels (WORKING_GSD_M at the finest: a narrow street is lost in
    the metres of a chip), and with a model also from what it predicts. Of labels that were off, a model trained with
    flips and rotations still says where the road is, for they turn the displacement with the image; one trained without
    has learned the displacement, and finds none (docs/results.md). `lib.training.recipe.AUGMENTATIONS` has both.

    Only scenes of at least LEAST_SIDE_M whose OSM labels are vectors are looked at: a smaller one holds too few roads
    to tell. Nor are those whose pixels are larger than any offset (MAX_OFFSET_M), which `progress` says.

    Parameters
    ----------
    scenes, layers
        From `lib.chips.sources`.
    task, profile
        What is drawn, and how.
    model
        Of stage 1, trained at the scenes' GSD.
    progress
        Called with a line of text every few seconds.

    Returns
    -------
    offsets
        One row a scene and way: scene, by ("prediction" before "image"), dx_m, dy_m (metres to the east and north),
        confidence, error_m; see `lib.masks.offset.Offset`.
    """
    rows = []
    ways = ["image"] if model is None else ["prediction", "image"]
    large = [s for s in with_vectors(scenes, layers) if min(s.grid.width, s.grid.height) * s.grid.gsd_m >= LEAST_SIDE_M]
    views = [(scene, by, _fine(scene) if by == "image" else scene) for scene in large for by in ways]
    fine = [seen for seen in views if seen[2].grid.gsd_m <= MAX_OFFSET_M]
    if progress and len(fine) < len(views):
        progress(f"{len(views) - len(fine)} views have pixels larger than {MAX_OFFSET_M:g} m, which show no offset")
    for scene, by, view in counted(fine, "measured", "offsets", progress):
        image, mask = _image_and_mask(view, middle(view.grid), layers, task, profile)
        if by == "prediction":
            check_gsd(model, view.grid.gsd_m)
            image = predict_image(model, image, tta="none")
        found = estimate_offset(image, mask, view.grid.gsd_m)
        dx_m, dy_m = (np.array([found.dx_m, found.dy_m]) @ view.grid.axes).tolist()
        rows.append({"scene": scene.name, "by": by} | asdict(found) | {"dx_m": dx_m, "dy_m": dy_m})
    return pd.DataFrame(rows, columns=["scene", "by", *OFFSET_COLUMNS])


def _fine(scene: Scene) -> Scene:
    """The scene on a grid of the file's own pixels, or of WORKING_GSD_M where those are finer."""
    own_gsd_m = scene.grid.gsd_m * scene.grid.width / scene.own_px[0]
    share = min(1.0, own_gsd_m / WORKING_GSD_M)
    return replace(scene, grid=scene.grid.resampled(*(max(1, round(n * share)) for n in scene.own_px)))


class CloseUp(NamedTuple):
    """A part of a scene: image, uint8 (H, W, 3) RGB; OSM mask as it came and moved, uint8 (H, W); metres a pixel."""

    image: np.ndarray
    mask: np.ndarray
    moved: np.ndarray
    gsd_m: float


def close_up(
    scene: Scene,
    layers: Mapping[str, OsmLayers],
    task: str,
    profile: LaneProfile,
    shift_m: tuple[float, float],
) -> CloseUp:
    """
    The busiest CLOSE_UP_PX in the middle of a scene with OSM vectors, at the file's own pixels.

    Parameters
    ----------
    shift_m
        Metres to the east and to the north by which the mask is moved.
    """
    scene = _fine(scene)
    image, mask = _image_and_mask(scene, middle(scene.grid), layers, task, profile)
    # (H, W): share of foreground in the square around each pixel, of which those that lie within the image compete
    density = cv2.boxFilter((mask == MASK_FOREGROUND).astype(np.float32), -1, (CLOSE_UP_PX, CLOSE_UP_PX))
    half = CLOSE_UP_PX // 2
    inner = density[half : mask.shape[0] - half, half : mask.shape[1] - half]
    row, col = np.unravel_index(inner.argmax(), inner.shape) if inner.size else (0, 0)
    part = np.s_[row : row + CLOSE_UP_PX, col : col + CLOSE_UP_PX]
    right_px, up_px = scene.grid.axes @ np.array(shift_m) / scene.grid.gsd_m
    moved = cv2.warpAffine(mask, np.float32([[1, 0, right_px], [0, 1, -up_px]]), mask.shape[::-1])
    moved = np.where(moved > MASK_FOREGROUND / 2, MASK_FOREGROUND, MASK_BACKGROUND).astype(np.uint8)
    return CloseUp(image[part], mask[part], moved[part], scene.grid.gsd_m)


def check_gsd(model: TrainedModel, gsd_m: float) -> None:
    """Raise InputError where a model was trained at another pixel size than it is to be shown."""
    own_m = model.info.gsd_m
    if own_m and abs(own_m / gsd_m - 1) > GSD_TOLERANCE:
        raise InputError(
            f"the checkpoint was trained at {own_m:g} m a pixel, these scenes have {gsd_m:g} m: give a checkpoint of "
            f"that size, or set gsd_m to {own_m:g}"
        )


def with_vectors(scenes: list[Scene], layers: Mapping[str, OsmLayers]) -> list[Scene]:
    """The scenes whose OSM labels are drawn from vectors."""
    return [scene for scene in scenes if scene.label_sources.get("osm") in layers]


def certain(offsets: pd.DataFrame) -> pd.DataFrame:
    """The offset of each scene that is to be believed: the first with a confidence of at least LEAST_CONFIDENCE."""
    return offsets[offsets["confidence"] >= LEAST_CONFIDENCE].drop_duplicates("scene").set_index("scene")


def shifts(
    scenes: list[Scene], offsets: pd.DataFrame | None, dx_m: float = 0.0, dy_m: float = 0.0
) -> dict[str, tuple[float, float]]:
    """
    Scene -> metres east and north by which its OSM vectors are moved before they are drawn.

    `dx_m` and `dy_m` move all; the scene's certain offset is added.
    """
    own_m = {} if offsets is None else {row.Index: (row.dx_m, row.dy_m) for row in certain(offsets).itertuples()}
    total_m = {s.name: np.add((dx_m, dy_m), own_m.get(s.name, (0.0, 0.0))).tolist() for s in scenes}
    return {
        name: (round(east_m, 3), round(north_m, 3)) for name, (east_m, north_m) in total_m.items() if east_m or north_m
    }
