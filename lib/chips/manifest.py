"""
Image/mask pairs on disk and their manifest.

A folder of chips holds `images/`, `masks_osm/`, `masks_clean/` and `manifest.csv`. The manifest has one row an
image/mask pair and opens in pandas and in QGIS (its `footprint` column is WKT in longitude/latitude):

=========  ==========================================================================================
chip       name of the chip, unique within its label source
scene      the image it was cut from
image      path, relative to the manifest in the file, absolute once loaded
mask       path of its mask: 0 background, 127 ignore, 255 foreground
weight     path of what each pixel counts in training: uint8, 64 is once; empty: once everywhere
label      source of the mask: `osm` (noisy pseudo-label) or `clean` (made by hand, or known truth)
split      `train`, `val` or `test`; splits never share ground
gsd_m      ground sampling distance, metres a pixel
crs        of `transform`, empty if the image is not georeferenced
transform  six numbers a b c d e f: x = a col + b row + c, y = d col + e row + f
width      pixels
height     pixels
footprint  outline of the chip, WKT polygon in longitude/latitude, empty without CRS
dropped    the rule (lib.trust.quality) that keeps an OSM-labelled training chip out of training, such as
           `road_m < 50`; empty: used
=========  ==========================================================================================

Reading chips needs NumPy, pandas and OpenCV alone, so that a bare GPU box can train on them.
"""

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from lib.errors import InputError
from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND, MASK_IGNORE, Grid
from lib.paths import write_whole

COLUMNS = (
    "chip",
    "scene",
    "image",
    "mask",
    "weight",
    "label",
    "split",
    "gsd_m",
    "crs",
    "transform",
    "width",
    "height",
    "footprint",
    "dropped",
)
PATHS = ("image", "mask", "weight")
WEIGHT_ONE = 64  # grey level of a pixel that counts once in the loss; 0 not at all, 255 almost four times
MOST_WEIGHT = 255 / WEIGHT_ONE
LABELS = ("osm", "clean")
SPLITS = ("train", "val", "test")


def load_manifest(path: Path) -> pd.DataFrame:
    """
    Manifest of a chip folder, with absolute paths.

    Parameters
    ----------
    path
        `manifest.csv`, or the folder that holds it.

    Returns
    -------
    manifest
        One row an image/mask pair, columns as above; `attrs["sha256"]` identifies the file's content.

    Raises
    ------
    InputError
        If the file is missing, lacks a column, or names an unknown label or split.
    """
    path = Path(path)
    path = path / "manifest.csv" if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"expected a chip manifest at {path}; run the notebook 01_rasterize_osm for this area first")
    text = dict.fromkeys(("chip", "scene", "weight", "crs", "transform", "footprint", "dropped"), str)
    manifest = pd.read_csv(path, dtype=text, keep_default_na=False, na_values={"gsd_m": [""]})
    if missing := [c for c in COLUMNS if c not in manifest.columns]:
        raise InputError(f"{path} lacks the columns {missing}; expected {list(COLUMNS)}")
    for column, known in (("label", LABELS), ("split", SPLITS)):
        if unknown := sorted(set(manifest[column]) - set(known)):
            raise InputError(f"{path}: unknown {column} {unknown}; expected one of {list(known)}")
    for column in PATHS:
        manifest[column] = [str((path.parent / p).resolve()) if p else "" for p in manifest[column]]
    manifest.attrs["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return manifest


def write_manifest(manifest: pd.DataFrame, path: Path) -> Path:
    """
    Write the manifest whole; paths become relative to its folder. The columns `weight` and `dropped` may be missing.

    A file that says the same already is left as it is: its date tells when the chips last changed.
    """
    optional = {name: manifest.get(name, "") for name in ("weight", "dropped")}
    out = manifest.assign(**{name: pd.Series(v, index=manifest.index).fillna("") for name, v in optional.items()})
    out = out[list(COLUMNS)]
    folder = path.parent.resolve()
    for column in PATHS:
        out[column] = [Path(p).resolve().relative_to(folder).as_posix() if p else "" for p in out[column]]
    text = out.to_csv(index=False)
    return path if path.is_file() and path.read_text() == text else write_whole(path, text)


def select(manifest: pd.DataFrame, label: str, split: str) -> pd.DataFrame:
    """
    Rows of one label source and one split, in the manifest's order, without those that a rule dropped.

    Raises
    ------
    InputError
        If there is no such row; says which pairs there are.
    """
    used = manifest[manifest["dropped"] == ""]
    rows = used[(used["label"] == label) & (used["split"] == split)].reset_index(drop=True)
    if rows.empty:
        present = used.groupby(["label", "split"]).size().to_dict()
        raise InputError(f"no chips with label {label!r} in split {split!r}; the manifest holds {present}")
    return rows


def grid_of(chip: Any) -> Grid:
    """Grid of a manifest's row; without georeference, its own pixels (y down) and no CRS."""
    transform = tuple(map(float, chip.transform.split())) or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    return Grid(transform, chip.crs or None, int(chip.width), int(chip.height))


def read_image(path: str | Path) -> np.ndarray:
    """Image of a chip: uint8, (height, width, 3), RGB. Raises InputError if it can't be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path} is not an image that can be read; expected a PNG, JPEG or 8-bit TIFF")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_mask(path: str | Path) -> np.ndarray:
    """
    Mask of a chip: uint8, (height, width), 0 background, 127 ignore, 255 foreground.

    Raises
    ------
    InputError
        If it can't be read or holds other values.
    """
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise InputError(f"{path} is not a mask that can be read; expected an 8-bit PNG or TIFF")
    known = (mask == MASK_BACKGROUND) | (mask == MASK_FOREGROUND) | (mask == MASK_IGNORE)
    if not known.all():
        raise InputError(f"{path} holds the values {np.unique(mask)[:8]}; a mask has only 0, 127 (ignore) and 255")
    return mask


def read_weights(path: str | Path) -> np.ndarray:
    """What each pixel of a chip counts in training, float32 (height, width). Raises InputError if it can't be read."""
    return read_weight_levels(path).astype(np.float32) / WEIGHT_ONE


def read_weight_levels(path: str | Path) -> np.ndarray:
    """Weights as they lie in the file, uint8 (height, width), WEIGHT_ONE for 1. Raises InputError as `read_weights`."""
    levels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if levels is None:
        raise InputError(f"{path} is not an image of weights that can be read; expected an 8-bit PNG")
    return levels


def write_png(path: Path, image: np.ndarray) -> Path:
    """Write uint8 (H, W) or RGB (H, W, 3) as a lossless PNG, whole or not at all."""
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not done:
        raise InputError(f"could not encode an array of shape {image.shape} and type {image.dtype} as PNG for {path}")
    return write_whole(path, data.tobytes())


def split_by_place(
    bounds: np.ndarray, val_share: float = 0.15, test_share: float = 0.2, gap: float = 0.0
) -> np.ndarray:
    """
    Split chips by where they lie, so that no ground is shared: strips across the longer side of their extent.

    The first strip trains, the next validates, the last tests. A chip that reaches over the line between two strips
    (or nearer to it than half of `gap`) belongs to neither and gets no split.

    Parameters
    ----------
    bounds
        (n, 4): min x, min y, max x, max y of each chip in one coordinate system, any unit.
    val_share, test_share
        Share of the chips' ground that validates and that tests; the rest trains.
    gap
        Width of ground left unused between two strips, in the unit of `bounds`.

    Returns
    -------
    splits
        (n,) of "train", "val", "test" or "" (not used).
    """
    check_shares(val_share, test_share)
    low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
    axis = int(np.argmax(high - low))
    near, far = bounds[:, axis], bounds[:, axis + 2]
    edges = np.unique(np.concatenate([near, far]))
    # The share of ground before each chip edge; a chip across the edge counts by its part. The lines lie on chip
    # edges, since a line through a row of chips would lose that row.
    part = np.clip((edges[:, None] - near) / np.maximum(far - near, np.finfo(float).tiny), 0, 1)
    ground = part @ np.prod(bounds[:, 2:] - bounds[:, :2], axis=1)
    wanted = np.array([1 - val_share - test_share, 1 - test_share]) * ground[-1]
    lines = edges[np.abs(ground - wanted[:, None]).argmin(axis=1)]
    tolerance = 1e-6 * (high - low)[axis]
    splits = np.full(len(bounds), "", dtype=object)
    splits[far <= lines[0] - gap / 2 + tolerance] = "train"
    splits[(near >= lines[0] + gap / 2 - tolerance) & (far <= lines[1] - gap / 2 + tolerance)] = "val"
    splits[near >= lines[1] + gap / 2 - tolerance] = "test"
    return splits


def split_by_scene(scenes: list[str], val_share: float, test_share: float, seed: int) -> dict[str, str]:
    """
    Split of each scene where nothing says how scenes lie to each other: whole scenes, drawn by a seeded shuffle.

    Every split with a share above 0 gets at least one scene, as long as there are three.
    """
    check_shares(val_share, test_share)
    names = sorted(set(scenes))
    order = np.random.default_rng(seed).permutation(len(names))
    counts = [max(1, round(len(names) * s)) if s > 0 and len(names) >= 3 else 0 for s in (test_share, val_share)]
    splits = ["test"] * counts[0] + ["val"] * counts[1]
    splits += ["train"] * (len(names) - len(splits))
    return {names[i]: split for i, split in zip(order, splits, strict=True)}


def check_shares(val_share: float, test_share: float) -> None:
    """Raise InputError unless the shares are in [0, 1) and leave ground to train on."""
    if not (0 <= val_share < 1 and 0 <= test_share < 1 and val_share + test_share < 1):
        raise InputError(
            f"val_share {val_share} and test_share {test_share} must be at least 0 and leave a rest to train on"
        )
