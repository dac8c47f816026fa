"""
Image/mask pairs on disk and their manifest.

A folder of chips holds `images/`, `masks_osm/`, `masks_clean/` (of several classes `masks_osm_roads/` and so on) and
`manifest.csv`. The manifest has one row an image/mask pair and opens in pandas and in QGIS (its `footprint` column is
WKT in longitude/latitude):

=========  ==========================================================================================
chip       name of the chip, unique within its label source
scene      the image it was cut from
image      path, relative to the manifest in the file, absolute once loaded: PNG, or of more than three bands a TIFF
           with a grey page a band, red, green and blue first
mask       path of its mask: 0 background, 127 ignore, 255 foreground
weight     path of what each pixel counts in training: uint8, 64 is once; empty: once everywhere
label      source of the mask: `osm` (noisy pseudo-label) or `clean` (made by hand, or known truth)
class      what the foreground of the mask is, `roads` or `buildings`; only where there are both: an area of one class
           has no such column. Then a chip has a row for each class that its label knows; others are ignored
split      `train`, `val` or `test`; splits never share ground
gsd_m      ground sampling distance, metres a pixel
crs        of `transform`, empty if the image is not georeferenced
transform  six numbers a b c d e f: x = a col + b row + c, y = d col + e row + f
width      pixels
height     pixels
footprint  outline of the chip, WKT polygon in longitude/latitude, empty without CRS
dropped    the rule (lib.trust.rules) that keeps an OSM-labelled training chip out of training, such as
           `road_m < 50`, or why a person took a chip out, `by hand: clouds`; empty: used
=========  ==========================================================================================

Reading chips needs NumPy, pandas and OpenCV alone, so that a bare GPU box can train on them.
"""

import hashlib
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from lib.errors import InputError
from lib.grid import MASK_BACKGROUND, MASK_IGNORE, Grid
from lib.limits import CLASSES, classes_of
from lib.mask_values import as_mask, label_in_alpha
from lib.paths import holder, write_whole

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
CLASS = "class"  # the column that is there where chips have masks of several classes
PATHS = ("image", "mask", "weight")
WEIGHT_ONE = 64  # grey level of a pixel that counts once in the loss; 0 not at all, 255 almost four times
MOST_WEIGHT = 255 / WEIGHT_ONE
MOST_PAGES = 1000  # of a TIFF: more bands than any sensor's
ORIENTATION, SAMPLES_PER_PIXEL = 274, 277  # tags of a TIFF: how it is to be turned; bands in one page
# chips and masks lie as they are stored, as GDAL reads them: else a tag of a camera would turn one and not the other
AS_STORED = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
LABELS = ("osm", "clean")
SPLITS = ("train", "val", "test")


def load_manifest(path: Path, *, files_elsewhere: bool = False) -> pd.DataFrame:
    """
    Manifest of a chip folder, with absolute paths.

    Parameters
    ----------
    path
        `manifest.csv`, or the folder that holds it.
    files_elsewhere
        Whether its files may lie outside that folder: only where you know who wrote it.

    Returns
    -------
    manifest
        One row an image/mask pair, columns as above; `attrs["sha256"]` identifies the file's content, whatever is
        dropped of it: a test chip that is left out is no reason to train anew.

    Raises
    ------
    InputError
        If the file is missing, lacks a column, names an unknown label or split, a file outside its folder or none, or
        two chips alike; if a chip or scene has a name that leads elsewhere: files are written by it; or if a GSD is no
        number.
    """
    path = Path(path)
    path = path / "manifest.csv" if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"expected a chip manifest at {path}; run the notebook 01_rasterize_osm for this area first")
    text = dict.fromkeys(("chip", "scene", *PATHS, "crs", "transform", "footprint", "dropped", CLASS), str)
    manifest = pd.read_csv(path, dtype=text, keep_default_na=False, na_values={"gsd_m": [""]})
    if missing := [c for c in COLUMNS if c not in manifest.columns]:
        raise InputError(f"{path} lacks the columns {missing}; expected {list(COLUMNS)}")
    for column, known in (("label", LABELS), ("split", SPLITS), (CLASS, CLASSES)):
        if unknown := sorted(set(manifest.get(column, ())) - set(known)):
            raise InputError(f"{path}: unknown {column} {unknown}; expected one of {list(known)}")
    for name in dict.fromkeys([*manifest["chip"], *manifest["scene"]]):
        check_name(name, path)
    if (again := manifest.duplicated(["chip", "label", "split", *({CLASS} & {*manifest.columns})])).any():
        raise InputError(
            f"{path}: {manifest['chip'][again].iloc[0]} is there twice; predictions are kept by these names"
        )
    if nameless := [column for column in ("image", "mask") if (manifest[column] == "").any()]:
        raise InputError(f"{path}: {manifest['chip'][manifest[nameless[0]] == ''].iloc[0]} has no {nameless[0]}")
    if manifest["gsd_m"].dtype.kind not in "fi":
        raise InputError(f"{path}: gsd_m holds {manifest['gsd_m'].iloc[0]!r}; expected metres, such as 0.5, or nothing")
    folder = path.parent.resolve()
    for column in PATHS:
        manifest[column] = [str((folder / p).resolve()) if p else "" for p in manifest[column]]
        outside = [p for p in manifest[column] if p and not Path(p).is_relative_to(folder)]
        if outside and not files_elsewhere:
            raise InputError(
                f"{path}: {column} names {outside[0]}, outside its folder; it lists what lies beside it. If you "
                "know who wrote it, load_manifest(..., files_elsewhere=True) reads it."
            )
    manifest.attrs["sha256"] = hashlib.sha256(_undropped(path, manifest)).hexdigest()
    return manifest


def _undropped(path: Path, manifest: pd.DataFrame) -> bytes:
    """The file as it would be if no chip were dropped."""
    if (manifest["dropped"] == "").all():
        return path.read_bytes()
    return pd.read_csv(path, dtype=str, keep_default_na=False).assign(dropped="").to_csv(index=False).encode()


def check_name(name: Any, where: str | Path) -> str:
    """
    The name of a chip or scene, if a file in a folder can have it: no path to somewhere else.

    Raises
    ------
    InputError
        Says `where` the name comes from.
    """
    text = str(name)
    if Path(text).name != text or text in ("", "..") or "\0" in text:
        raise InputError(f"{where}: {name!r} is no name of a chip or scene; expected that of a file, without folders")
    return text


def is_of_chips(path: Path) -> bool:
    """Whether a file belongs to chips, or a folder holds such: no pattern of scenes means them, though it match."""
    folders = (path, path.parent) if path.is_dir() else (path.parent.parent,)  # images/, masks_osm/ and so on
    return any(holder(folder / "manifest.csv") for folder in folders)  # stays from the first chip on


def write_manifest(manifest: pd.DataFrame, path: Path) -> Path:
    """
    Write the manifest whole; paths within its folder become relative. `weight`, `dropped`, `class` may be missing.

    A file that says the same already is left as it is: its date tells when the chips last changed.
    """
    optional = {name: manifest.get(name, "") for name in ("weight", "dropped")}
    columns = [*COLUMNS, *[CLASS] * (CLASS in manifest)]
    out = manifest.assign(**optional)[columns].fillna(dict.fromkeys(optional, ""))
    folder = path.parent.resolve()
    for column in PATHS:
        paths = [Path(p).resolve() if p else "" for p in out[column]]
        out[column] = [p.relative_to(folder).as_posix() if p and p.is_relative_to(folder) else str(p) for p in paths]
    text = out.to_csv(index=False)
    return path if path.is_file() and path.read_text() == text else write_whole(path, text)


def select(manifest: pd.DataFrame, label: str, split: str) -> pd.DataFrame:
    """
    Rows of one label source and one split, in the manifest's order, without those that were dropped.

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


def of_class(chips: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Rows of a manifest that are of one class, its index kept; all of them where the manifest is of one class."""
    return chips[chips[CLASS] == kind] if CLASS in chips else chips


def rows_by_chip(chips: pd.DataFrame, task: str) -> list[list[Any]]:
    """
    Rows of each chip, in the manifest's order: one for each class of a task, None of a class that nobody knows there.

    Raises
    ------
    InputError
        If the rows are of other classes than the task's.
    """
    classes = classes_of(task)
    kinds = chips[CLASS] if CLASS in chips else pd.Series(classes[0], chips.index)
    if CLASS not in chips and len(classes) > 1:
        raise InputError(f"the task is {task!r}, and the chips are of one class: cut them anew with this task")
    if other := sorted(set(kinds) - set(classes)):
        raise InputError(f"the task is {task!r}, and there are chips of {other[0]!r}: choose rows with `of_task`")
    if len(classes) == 1:
        return [[row] for row in chips.itertuples()]
    found: dict[tuple[str, str], list[Any]] = {}
    for row, kind, label in zip(chips.itertuples(), kinds, chips.get("label", kinds), strict=True):
        place = found.setdefault((row.image, label if "label" in chips else ""), [None] * len(classes))
        place[classes.index(kind)] = row
    return list(found.values())


def of_task(manifest: pd.DataFrame, task: str) -> pd.DataFrame:
    """
    What a manifest has of the classes of a task: of one of several that it has, as if there was no other.

    Raises
    ------
    InputError
        If it lacks one.
    """
    classes = classes_of(task)
    has = list(classes) if CLASS not in manifest and len(classes) == 1 else list(manifest.get(CLASS, []))
    if lacking := [kind for kind in classes if kind not in has]:
        raise InputError(
            f"the task is {task!r}, and the chips have no masks of {' and '.join(lacking)}: cut them anew, run "
            "01_rasterize_osm with this task"
        )
    return of_class(manifest, task).drop(columns=CLASS, errors="ignore") if len(classes) == 1 else manifest


def grid_of(chip: Any) -> Grid:
    """Grid of a manifest's row; without georeference, its own pixels (y down) and no CRS."""
    transform = tuple(map(float, chip.transform.split())) or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    return Grid(transform, chip.crs or None, int(chip.width), int(chip.height))


def windows_of(chips: pd.DataFrame, scene_grid: Grid) -> list[tuple[int, int, int, int]]:
    """Where chips of one scene, rows of a manifest, lie in it: (col, row, width, height) in pixels of its grid."""
    grids = [grid_of(chip) for chip in chips.itertuples()]
    corners = np.array([(grid.transform[2], grid.transform[5]) for grid in grids])  # (n, 2) x, y of their top left
    corners_px = np.rint(scene_grid.world_to_pixel(corners)).astype(int).tolist()
    return [(col, row, grid.width, grid.height) for (col, row), grid in zip(corners_px, grids, strict=True)]


def read_image(path: str | Path) -> np.ndarray:
    """Image of a chip as it is shown: uint8, (height, width, 3), RGB; errors as of `read_bands`."""
    return np.ascontiguousarray(read_bands(path)[..., :3])


def read_bands(path: str | Path) -> np.ndarray:
    """
    All bands of a chip: uint8, (height, width, 3 or more), red, green and blue first.

    Raises
    ------
    InputError
        If it can't be read, its pages are no grey images of 8 bits and one size, or OpenCV would show it otherwise than
        it is: of more than 8 bits, or a TIFF of other than one or three bands a page, which it multiplies by the
        fourth.
    """
    count, samples = _pages(path)
    if count < 3:
        pixels = _read(path, cv2.IMREAD_COLOR | AS_STORED, "an image", "a PNG, JPEG or 8-bit TIFF")
        if pixels.dtype != np.uint8 or samples not in (1, 3):
            what = f"{samples} bands" if samples not in (1, 3) else f"values of {8 * pixels.itemsize} bits"
            raise InputError(
                f"{path} has {what}: expected one or three bands of 8 bits. Notebook 1 cuts chips of such files, name "
                "them in `sources`."
            )
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    _, pages = cv2.imreadmulti(str(path), flags=cv2.IMREAD_UNCHANGED)
    kinds = {(page.shape, page.dtype.name) for page in pages}
    if len(pages) != count or len(kinds) != 1 or pages[0].ndim != 2 or pages[0].dtype != np.uint8:
        raise InputError(
            f"{path}: expected {count} grey pages of 8 bits and one size, got {len(pages)} of {sorted(kinds)}"
        )
    return np.dstack(pages)


def _pages(path: str | Path) -> tuple[int, int]:
    """
    Pages of a TIFF (1 of any other file), as its chain of directories states them, and bands of the first (1).

    OpenCV counts and reads those before the first that it can't find, so that a file that was cut has fewer bands.
    Raises InputError where the chain leads beyond the file, or in a circle; or where OpenCV would turn the first page,
    which it does to a TIFF whatever its flags, and GDAL does not.
    """
    if Path(path).suffix.lower() not in (".tif", ".tiff") or not Path(path).is_file():
        return 1, 1
    data = Path(path).read_bytes()
    if data[:4] not in (b"II*\0", b"MM\0*") or len(data) < 8:
        return 1, 1
    order, count, samples, turned = "<" if data[:1] == b"I" else ">", 0, 1, 1
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    while place and count < MOST_PAGES:
        try:
            (entries,) = struct.unpack_from(f"{order}H", data, place)
            for entry in range(entries) if count == 0 else ():
                tag, _, _, value = struct.unpack_from(f"{order}HHIH", data, place + 2 + 12 * entry)
                samples = value if tag == SAMPLES_PER_PIXEL else samples
                turned = value if tag == ORIENTATION else turned
            (place,) = struct.unpack_from(f"{order}I", data, place + 2 + 12 * entries)
        except struct.error as error:
            raise InputError(
                f"{path} is cut or damaged: page {count + 1} is not all there; copy or cut it again"
            ) from error
        count += 1
    if turned != 1:
        raise InputError(
            f"{path} has the TIFF orientation {turned}: expected 1 or none. Write its pixels as they "
            f"are stored: rio convert {Path(path).name} out.tif"
        )
    return count, samples


def read_mask(path: str | Path) -> np.ndarray:
    """
    Mask of a chip: uint8, (height, width), 0 background, 127 ignore, 255 foreground.

    Other masks than this project's are read as `lib.mask_values` says.

    Raises
    ------
    InputError
        If it can't be read or holds other values than a mask.
    """
    _pages(path)
    mask = _read(path, cv2.IMREAD_GRAYSCALE | AS_STORED, "a mask", "an 8-bit PNG or TIFF")
    if mask.size and mask.flat[0] not in (MASK_BACKGROUND, MASK_IGNORE) and (mask == mask.flat[0]).all():
        whole = _read(path, cv2.IMREAD_UNCHANGED, "a mask", "an 8-bit PNG or TIFF")
        if whole.shape[2:] == (4,) and whole[..., 3].min() != whole[..., 3].max():
            raise label_in_alpha(path, 4)
    return as_mask(mask, f"mask {path}")


def read_weight_levels(path: str | Path) -> np.ndarray:
    """
    What each pixel of a chip counts in training, as it lies in the file: uint8 (height, width), WEIGHT_ONE for 1.

    Raises
    ------
    InputError
        If it can't be read, or is of more than 8 bits.
    """
    _pages(path)
    levels = _read(path, cv2.IMREAD_GRAYSCALE | AS_STORED, "an image of weights", "an 8-bit PNG")
    if levels.dtype != np.uint8:  # 64 of 65,535 would be 0 of 255
        raise InputError(f"{path} has weights of {8 * levels.itemsize} bits: expected an 8-bit PNG, {WEIGHT_ONE} for 1")
    return levels


def _read(path: str | Path, flags: int, what: str, kinds: str) -> np.ndarray:
    """Pixels as OpenCV reads them; an InputError, where OpenCV gives None."""
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise InputError(f"{path} is not {what} that can be read; expected {kinds}")
    return pixels


def write_bands(path: Path, image: np.ndarray) -> Path:
    """Write uint8 (H, W, N) as a lossless TIFF with a page a band, whole or not at all: OpenCV knows no other N."""
    done, data = cv2.imencodemulti(".tif", [np.ascontiguousarray(band) for band in np.moveaxis(image, -1, 0)])
    if not done:
        raise InputError(f"could not encode an array of shape {image.shape} and type {image.dtype} as TIFF for {path}")
    return write_whole(path, data.tobytes())


def write_png(path: Path, image: np.ndarray) -> Path:
    """Write uint8 (H, W) or RGB (H, W, 3) as a lossless PNG, whole or not at all."""
    if image.dtype != np.uint8 or image.shape[2:] not in ((), (3,)) or 0 in image.shape:
        raise InputError(f"could not encode an array of shape {image.shape} and type {image.dtype} as PNG for {path}")
    from lib.chips.png import (
        encode_png,  # here: who only reads chips, as a training does, needs neither Numba nor ISA-L
    )

    return write_whole(path, encode_png(image))
