"""
Self-training: OpenStreetMap's masks, mended where a network that learned from them strongly disagrees.

A network trained on many noisy masks averages their errors away: here and there it sees more of the truth in an image
than the mask that it was taught. `relabel` moves the masks of each scene by the offset between them and the network's
probabilities, draws what the network is sure of and the map misses, and erases what the map has and the network is sure
not to see.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lib.chips.manifest import (
    CLASS,
    WEIGHT_ONE,
    load_manifest,
    of_task,
    read_mask,
    read_weight_levels,
    write_manifest,
    write_png,
)
from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND, MASK_IGNORE
from lib.limits import check_fields, limited
from lib.mapping.predict import predict_chips, read_probability
from lib.masks.offset import LEAST_CONFIDENCE, estimate_offset
from lib.networks.checkpoint import TrainedModel

SURE = 1 / 512  # half a step of stored probabilities: nothing is surer than that
VOTES = 3  # chips with a vote, below which a scene stays where it is


@dataclass(frozen=True)
class RelabelOptions:
    """
    How strongly the network must disagree with the map.

    Attributes
    ----------
    add_odds
        Draw where the odds p / (1 - p) are so many times those of the checkpoint's threshold, or more.
    drop_odds
        Erase where they are so many times less. Infinite: never, of either.
    max_offset_m
        Largest shift looked for, metres; 0 leaves the masks where they are.
    """

    add_odds: float = limited(2.0, minimum=1, maximum=math.inf)
    drop_odds: float = limited(8.0, minimum=1, maximum=math.inf)
    max_offset_m: float = limited(8.0, minimum=0, maximum=100)

    def __post_init__(self) -> None:
        check_fields(self)


def relabel(
    model: TrainedModel,
    manifest_path: Path,
    out_dir: Path,
    options: RelabelOptions | None = None,
    progress: Callable[[str], None] = print,
) -> Path:
    """
    Write new masks for the training chips that are labelled `osm`, and a manifest that names them.

    Weights move with the masks. Validation and test chips keep theirs: they are the measure.

    Parameters
    ----------
    model
        Trained on these chips (stage 1).
    manifest_path
        manifest.csv of the chips, or its folder.
    out_dir
        Where the network's probabilities are kept.
    options
        How strongly to disagree; None takes the defaults.
    progress
        Called with lines of text.

    Returns
    -------
    path
        relabelled.csv beside the manifest, its masks under masks_relabelled/.
    """
    options = options or RelabelOptions()
    manifest = of_task(load_manifest(manifest_path), model.info.task)
    folder = Path(manifest_path) if Path(manifest_path).is_dir() else Path(manifest_path).parent
    chosen = manifest[(manifest["label"] == "osm") & (manifest["split"] == "train")]
    paths = predict_chips(model, chosen, out_dir, tta="none", progress=progress)
    drawn = erased = 0
    thresholds = model.info.thresholds
    first = next(iter(thresholds))  # of several classes that which says how far the map is off: they lie on one map
    for scene, chips in chosen.groupby("scene", sort=False):
        # one offset for all chips of a scene, then each chip for itself
        masks = [read_mask(path) for path in chips["mask"]]
        probabilities = [read_probability(path) for path in paths[chips.index]]
        kinds = list(chips.get(CLASS, [first] * len(chips)))
        voting = [place for place, kind in enumerate(kinds) if kind == first]
        votes = ([some[place] for place in voting] for some in (probabilities, masks))
        shift_m = scene_offset(*votes, chips["gsd_m"].iloc[0], options.max_offset_m)
        if any(shift_m):
            progress(f"{scene}: masks moved by {shift_m[0]:.1f} m to the east, {shift_m[1]:.1f} m to the north")
        for chip, kind, mask, probability in zip(chips.itertuples(), kinds, masks, probabilities, strict=True):
            relabelled = folder / f"masks_relabelled{f'_{kind}' if len(thresholds) > 1 else ''}"
            right_px, up_px = (metres / chip.gsd_m for metres in shift_m)
            moved = move(mask, right_px, up_px)
            mended = mend(moved, probability, thresholds[kind], options)
            drawn += int(((mended == MASK_FOREGROUND) & (moved == MASK_BACKGROUND)).sum())
            erased += int(((mended == MASK_BACKGROUND) & (moved == MASK_FOREGROUND)).sum())
            manifest.loc[chip.Index, "mask"] = str(write_png(relabelled / f"{chip.chip}.png", mended))
            if chip.weight:
                moved = _moved(read_weight_levels(chip.weight), right_px, up_px, WEIGHT_ONE)
                path = write_png(folder / "weights_relabelled" / f"{chip.chip}.png", moved)
                manifest.loc[chip.Index, "weight"] = str(path)
    total = int((chosen["width"] * chosen["height"]).sum())
    count = chosen["chip"].nunique()
    progress(f"relabelled {count} chips: {drawn / total:.2%} of the pixels drawn, {erased / total:.2%} erased")
    return write_manifest(manifest, folder / "relabelled.csv")


def scene_offset(
    probabilities: list[np.ndarray], masks: list[np.ndarray], gsd_m: float, max_offset_m: float
) -> tuple[float, float]:
    """
    Metres to the east and to the north that bring a scene's masks onto what the network sees: its chips' median.

    (0, 0) where fewer than three chips are sure.
    """
    if max_offset_m <= gsd_m:
        return 0.0, 0.0
    found = [estimate_offset(p, m, gsd_m, max_offset_m) for p, m in zip(probabilities, masks, strict=True)]
    votes = [(offset.dx_m, offset.dy_m) for offset in found if offset.confidence >= LEAST_CONFIDENCE]
    return tuple(np.median(votes, axis=0).tolist()) if len(votes) >= VOTES else (0.0, 0.0)


def move(mask: np.ndarray, right_px: float, up_px: float) -> np.ndarray:
    """
    Mask moved by whole pixels; what enters from beyond its edge is ignored, and so is what was.

    Parameters
    ----------
    mask
        (H, W) uint8: 0, 127 or 255.
    right_px, up_px
        Rounded to whole pixels.
    """
    moved = _moved(mask, right_px, up_px, MASK_IGNORE)
    moved[mask == MASK_IGNORE] = MASK_IGNORE  # there the image shows nothing, wherever the map lies
    return moved


def _moved(levels: np.ndarray, right_px: float, up_px: float, beyond: int) -> np.ndarray:
    """Levels, uint8 (H, W), moved by whole pixels; `beyond` enters from outside."""
    matrix = np.array([[1, 0, round(right_px)], [0, 1, -round(up_px)]], np.float32)
    return cv2.warpAffine(levels, matrix, levels.shape[::-1], flags=cv2.INTER_NEAREST, borderValue=beyond)


def mend(mask: np.ndarray, probability: np.ndarray, threshold: float, options: RelabelOptions) -> np.ndarray:
    """
    Mask with the network's foreground drawn and its background erased, where it is sure; ignored pixels stay.

    Parameters
    ----------
    mask
        (H, W) uint8: 0, 127 or 255.
    probability
        (H, W) float, 0..1.
    threshold
        From which the network's validation takes a pixel for foreground.
    """
    probability = np.clip(probability, SURE, 1 - SURE)
    odds = probability / (1 - probability) / (threshold / (1 - threshold))  # (H, W), 1 at the threshold
    mended = mask.copy()
    mended[(mask == MASK_BACKGROUND) & (odds >= options.add_odds)] = MASK_FOREGROUND
    mended[(mask == MASK_FOREGROUND) & (odds * options.drop_odds <= 1)] = MASK_BACKGROUND
    return mended
