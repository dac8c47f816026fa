"""Where the map lies on the images of an area: the offset of each scene, measured, shown and undone."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from lib.chips.sources import Scene, read_scene, source_name
from lib.errors import InputError
from lib.mapping.predict import predict_image
from lib.masks.offset import LEAST_CONFIDENCE, WORKING_GSD_M, estimate_offset
from lib.masks.rasterize import rasterize_buildings, rasterize_roads
from lib.networks.checkpoint import TrainedModel
from lib.osm.lanes import LaneProfile
from lib.osm.layers import OsmLayers

SIDE_PX = 3072  # the middle of a scene tells its offset as well as all of it, and sooner
LEAST_SIDE_M = 200.0  # a scene smaller than a few blocks holds too few roads to tell its offset
OFFSET_COLUMNS = ("dx_m", "dy_m", "confidence", "error_m")
GSD_TOLERANCE = 0.1  # share by which the pixels of a model's training may differ from those it is shown


def scene_middle(scene: Scene, side_px: int = SIDE_PX) -> tuple[int, int, int, int]:
    """(col, row, width, height) of the middle of a scene, at most `side_px` wide and high."""
    width, height = min(scene.grid.width, side_px), min(scene.grid.height, side_px)
    return (scene.grid.width - width) // 2, (scene.grid.height - height) // 2, width, height


def look_at(
    scene: Scene,
    window: tuple[int, int, int, int],
    layers: Mapping[str, OsmLayers],
    task: str,
    profile: LaneProfile,
) -> tuple[np.ndarray, np.ndarray]:
    """
    Image and OSM mask of a window of a scene.

    Returns
    -------
    image
        uint8 (H, W, 3) RGB.
    mask
        uint8 (H, W), drawn from the OSM vectors as they came.
    """
    image, _ = read_scene(scene.path, scene.in_file(window), (window[3], window[2]))
    grid, vectors = scene.grid.window(*window), layers[source_name(scene, "osm")]
    if task == "roads":
        return image, rasterize_roads(vectors.roads, grid, profile)
    return image, rasterize_buildings(vectors.buildings, grid)


def scene_offsets(
    scenes: list[Scene],
    layers: Mapping[str, OsmLayers],
    task: str,
    profile: LaneProfile,
    model: TrainedModel | None = None,
) -> pd.DataFrame:
    """
    Shift that would bring each scene's OSM vectors onto its image.

    Measured from the image itself at the file's own pixels (WORKING_GSD_M at the finest: a narrow street is lost in
    the metres of a chip), and with a model also from what it predicts. A model that learned from labels that were off
    predicts roads that are off alike: its word is worth most where the labels of its training were aligned.

    Only scenes of at least LEAST_SIDE_M whose OSM labels are vectors are looked at: a smaller one holds too few roads
    to tell.

    Parameters
    ----------
    scenes, layers
        From `lib.chips.sources`.
    task, profile
        What is drawn, and how.
    model
        Of stage 1, trained at the scenes' GSD.

    Returns
    -------
    offsets
        One row a scene and way: scene, by ("prediction" before "image"), dx_m, dy_m (metres to the east and north),
        confidence, error_m; see `lib.masks.offset.Offset`.
    """
    rows = []
    for scene in with_vectors(scenes, layers):
        if min(scene.grid.width, scene.grid.height) * scene.grid.gsd_m < LEAST_SIDE_M:
            continue
        views = {"image": fine(scene)} if model is None else {"prediction": scene, "image": fine(scene)}
        for by, view in views.items():
            image, mask = look_at(view, scene_middle(view), layers, task, profile)
            gsd_m = view.grid.gsd_m
            if by == "prediction":
                check_gsd(model, gsd_m)
                image = predict_image(model, image, tta="none")
            found = estimate_offset(image, mask, gsd_m)
            rows.append({"scene": scene.name, "by": by} | {k: float(getattr(found, k)) for k in OFFSET_COLUMNS})
    return pd.DataFrame(rows, columns=["scene", "by", *OFFSET_COLUMNS])


def fine(scene: Scene) -> Scene:
    """The scene on a grid of the file's own pixels, or of WORKING_GSD_M where those are finer."""
    own_gsd_m = scene.grid.gsd_m * scene.grid.width / scene.size_px[0]
    share = min(1.0, own_gsd_m / WORKING_GSD_M)
    return replace(scene, grid=scene.grid.resampled(*(max(1, round(n * share)) for n in scene.size_px)))


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
    return [s for s in scenes if "osm" in s.source and source_name(s, "osm") in layers]


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
    own = {} if offsets is None else {row.Index: (row.dx_m, row.dy_m) for row in certain(offsets).itertuples()}
    moved = {s.name: np.add((dx_m, dy_m), own.get(s.name, (0.0, 0.0))) for s in scenes}
    return {name: (round(float(x), 3), round(float(y), 3)) for name, (x, y) in moved.items() if x or y}
