"""Probabilities from images: eight views, windows of bounded size, chips of a manifest."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from lib.chips.manifest import CLASS, check_name, read_bands, read_image, rows_by_chip, write_png
from lib.errors import InputError, ParameterError
from lib.limits import VIEWS, Limits, check_value, classes_of
from lib.mapping.forward import probabilities
from lib.memory import freed_memory_kept
from lib.networks.checkpoint import TrainedModel, file_digest
from lib.networks.config import INPUT_MULTIPLE_PX
from lib.paths import is_written, write_whole
from lib.progress import counted


def predict_image(
    model: TrainedModel,
    image: np.ndarray,
    tta: str = "d4",
    window_px: int = 1024,
    overlap_px: int = 128,
    batch_size: int = 4,
) -> np.ndarray:
    """
    Probability of the foreground, or of each of several classes, for each pixel of an image.

    The image is mirrored up to multiples of 32 px. One larger than `window_px` is predicted in windows whose overlaps
    are blended linearly.

    Parameters
    ----------
    model
        From `lib.networks.checkpoint.load_model`; its device and its normalisation are used.
    image
        (H, W, bands) uint8: RGB, and the others that the network was trained on.
    tta
        "d4" takes the mean of the probabilities of 8 views (flips and rotations), "none" one view.
    window_px, overlap_px
        Side of a window, a multiple of 32, and how much neighbours share.
    batch_size
        Views at once; fewer need less memory.

    Returns
    -------
    probability
        (H, W) float32, 0..1; of several classes (classes, H, W).

    Raises
    ------
    InputError
        If the image is not of that form.
    ParameterError
        If `tta` is unknown or the windows do not fit together.
    """
    if image.ndim != 3 or image.shape[2] != len(model.info.mean) or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(
            f"Expected a uint8 image (H, W, {len(model.info.mean)}), of the bands that the network was trained on, got "
            f"{image.dtype} {image.shape}. Scale and choose bands first."
        )
    check_value("tta", tta, str, Limits(choices=VIEWS))
    if window_px <= 0 or window_px % INPUT_MULTIPLE_PX or not 0 <= overlap_px <= window_px // 2:
        raise ParameterError(
            f"window_px {window_px} must be a multiple of {INPUT_MULTIPLE_PX} and overlap_px {overlap_px} at most half "
            "of it."
        )
    with freed_memory_kept():
        return _in_windows(model, image, tta, window_px, overlap_px, batch_size)


def _in_windows(
    model: TrainedModel, image: np.ndarray, tta: str, window_px: int, overlap_px: int, batch_size: int
) -> np.ndarray:
    height, width = image.shape[:2]
    rows, columns = (window_starts(length, window_px, overlap_px) for length in (height, width))
    if len(rows) == len(columns) == 1:
        return probabilities(model, image[None], tta, batch_size)[0]
    classes = len(model.info.thresholds)
    total, weights = np.zeros((classes, height, width), np.float32), np.zeros((height, width), np.float32)
    for top in rows:
        for left in columns:
            part = np.s_[top : top + window_px, left : left + window_px]
            probability = probabilities(model, image[part][None], tta, batch_size)[0]
            weight = blend_weight(probability.shape[-2:], overlap_px)
            total[:, *part] += weight * probability
            weights[part] += weight
    mean = total / weights
    return mean[0] if classes == 1 else mean


def window_starts(length_px: int, window_px: int, overlap_px: int) -> list[int]:
    """First pixels of windows that cover a length; the last one ends with it."""
    if length_px <= window_px:
        return [0]
    return [*range(0, length_px - window_px, window_px - overlap_px), length_px - window_px]


def blend_weight(shape: tuple[int, int], overlap_px: int) -> np.ndarray:
    """Rises linearly from every edge over the overlap, and is never 0."""
    ramps = []
    for length in shape:
        from_edge = np.minimum(np.arange(length), np.arange(length)[::-1]) + 1
        ramps.append(np.minimum(from_edge / (overlap_px + 1), 1))
    return (ramps[0][:, None] * ramps[1]).astype(np.float32)


def predict_chips(
    model: TrainedModel,
    chips: pd.DataFrame,
    out_dir: Path,
    tta: str = "d4",
    window_px: int = 1024,
    overlap_px: int = 128,
    progress: Callable[[str], None] | None = None,
) -> pd.Series:
    """
    Probabilities of chips, as 8-bit PNG files (0..255 for 0..1).

    What the same checkpoint already predicted in the same way, of the same image, is not predicted again.

    Parameters
    ----------
    model
        From `lib.networks.checkpoint.load_model`.
    chips
        Rows of a manifest; reads `chip`, `image` and, where present, `class`.
    out_dir
        Folder for <chip>.png, or of several classes <class>/<chip>.png; each written whole or not at all.
    tta, window_px, overlap_px
        See `predict_image`.
    progress
        Called with a line of text every few seconds.

    Returns
    -------
    paths
        Of the files, same index as `chips`: of several classes that of the row's own.

    Raises
    ------
    InputError
        If a file of such a name is there that no prediction wrote: the chips themselves, for instance. Or if the chips
        are of other classes than the model finds.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    names = [check_name(chip, "chips to predict") for chip in chips["chip"]]
    classes = classes_of(model.info.task)
    folders = {kind: out_dir / kind if len(classes) > 1 else out_dir for kind in classes}
    of_chips = rows_by_chip(chips, model.info.task)
    kinds = chips.get(CLASS, [classes[0]] * len(chips))
    files = [folders[kind] / f"{name}.png" for name, kind in zip(names, kinds, strict=True)]
    paths = pd.Series(files, index=chips.index, dtype=object)
    stamp, made_by = out_dir / "predicted_by.txt", f"{model.digest} {tta} {window_px} {overlap_px}\n"
    shown = out_dir / "predicted_of.txt"  # a line a file: its name, and the digest of the image that it is of
    if not stamp.is_file() and (strange := [path.name for path in paths if path.exists()]):
        raise InputError(f"{out_dir} holds {strange[:3]}, not written by a prediction: choose another folder.")
    if not model.digest or not stamp.is_file() or stamp.read_text() != made_by:
        for path in [path for folder in {out_dir, *folders.values()} for path in folder.glob("*.png")]:
            path.unlink()  # of an earlier prediction: the stamp says that the folder is ours
        shown.unlink(missing_ok=True)
        write_whole(stamp, made_by)
    known = dict(line.split("\t") for line in _whole_lines(shown))
    digests = {image: file_digest(image) for image in dict.fromkeys(chips["image"])}
    due = [[row and (row.image, paths[row.Index]) for row in rows] for rows in of_chips]  # image and file, a class
    waiting = [
        jobs
        for jobs in due
        if not all(is_written(job[1]) and known.get(_within(job[1], out_dir)) == digests[job[0]] for job in jobs if job)
    ]
    with freed_memory_kept(), shown.open("a") as done:
        for jobs in counted(waiting, "predicted", "chips", progress):
            image = next(job[0] for job in jobs if job)
            probability = predict_image(model, read_bands(image), tta, window_px, overlap_px)
            for job, plane in zip(jobs, probability.reshape(len(jobs), *probability.shape[-2:]), strict=True):
                if job:
                    write_probability(job[1], plane)
                    print(_within(job[1], out_dir), digests[job[0]], sep="\t", file=done, flush=True)
    return paths


def _within(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _whole_lines(path: Path) -> list[str]:
    """Lines of a text file; one that a kill has cut is taken off, from the file, too. None where it isn't there."""
    text = path.read_text() if path.is_file() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_whole(path, whole)
    return whole.splitlines()


def write_probability(path: Path, probability: np.ndarray) -> Path:
    """Write (H, W) float32 probabilities as an 8-bit PNG, whole or not at all: round(255 p)."""
    return write_png(Path(path), np.rint(probability * 255).astype(np.uint8))


def read_probability(path: Path) -> np.ndarray:
    """Probabilities of a file that `write_probability` wrote: (H, W) float32, 0..1."""
    return read_image(path)[..., 0].astype(np.float32) / 255
