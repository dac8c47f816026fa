"""Mask images: a label drawn by others, as large as its scene's image."""

import contextlib
import glob
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window as FileWindow
from scipy import sparse

from lib.chips.manifest import is_of_chips
from lib.chips.naming import as_glob
from lib.chips.options import foreground_values
from lib.chips.sources import Scene, source_name
from lib.errors import InputError, reading
from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND, MASK_IGNORE, project
from lib.mask_values import HALF, MaskValues, decide, has_grey_edges, label_in_alpha, values_of
from lib.masks.rasterize import Window, ignore_edges
from lib.rasters import alpha_band, opened, read_grid

MASKS_COMPARED = 32  # masks of a source that are looked at where the values of one don't tell what they mean
STRIP_PX = 2**22  # a file is looked through in strips of so many pixels
MOST_VALUES = 256  # more are no classes, and their list need not be complete
SAME_GREY = 16  # bands that differ by less are one grey: JPEG blurs them
MOST_APART_PX = 0.25  # between a mask and its image: half a pixel is a centre taken for a corner
TIE = 1e-6  # levels: rounding of a pixel that is half foreground


@dataclass(frozen=True)
class Found:
    """
    What a mask file holds.

    Attributes
    ----------
    size_px
        (width, height).
    values, nodata
        Of its pixels, and the one that it states as no-data.
    has_colours
        Whether values are colours, 0xRRGGBB.
    greys
        The palette, where values stand for greys.
    is_grey
        Whether its edges are grey.
    """

    size_px: tuple[int, int]
    values: frozenset
    nodata: float | None
    has_colours: bool
    greys: dict[int, int] | None
    is_grey: bool


def mask_reader(scene: Scene, label: str, ignore_band_px: float = 0.0) -> Callable[[Window], np.ndarray]:
    """
    Function from a window of a scene to the mask that its mask image has there.

    What its values mean is said in `lib.mask_values`, and by the key `foreground` of the scene's source. Where it is
    resampled, a pixel is what most of its ground is: whatever value the file states as no-data, areas stay as large.

    Parameters
    ----------
    scene, label
        Whose mask image is read: the one that the scene's source names for `label`, "osm" or "clean".
    ignore_band_px
        Pixels within this distance of an edge become MASK_IGNORE.

    Returns
    -------
    read
        Window (col, row, width, height) in the scene's pixels -> uint8 (height, width).

    Raises
    ------
    InputError
        If there is no such file, it is not as large as the scene's image or says that it lies elsewhere, or its values
        don't tell what is foreground; at once, not with the first window.
    """
    path = scene.data_dir / source_name(scene, label)
    if not path.is_file():
        raise InputError(f"{scene.path.name} has no mask at {path}; check the pattern in its source")
    found = _found(path, path.stat().st_mtime_ns)
    if found.size_px != scene.size_px:
        raise InputError(f"{path} has {found.size_px} px, its image {scene.path.name} {scene.size_px}")
    _check_place(scene, path)
    meaning = _meaning(scene, label, path, found)
    margin = ceil(ignore_band_px) + 1 if ignore_band_px > 0 else 0  # the band sees what lies beyond the window

    def read(window: Window) -> np.ndarray:
        col, row, width, height = window
        left, top = min(margin, col), min(margin, row)
        right, bottom = min(col + width + margin, scene.grid.width), min(row + height + margin, scene.grid.height)
        wider = (col - left, row - top, right - col + left, bottom - row + top)
        mask = _read_mask(path, found, meaning, *scene.in_file(wider))
        if not margin:
            return mask
        return np.ascontiguousarray(ignore_edges(mask, ignore_band_px)[top : top + height, left : left + width])

    return read


def _check_place(scene: Scene, path: Path) -> None:
    """Raise InputError where a mask and its image, as large, both state a place, and not the same one."""
    mask = read_grid(path, scene.source.get("crs"), require_crs=False, by_name=False)
    if mask.crs is None or scene.grid.crs is None:
        return
    image = scene.grid.resampled(*scene.size_px)
    corners = np.array([[0, 0], [mask.width, 0], [0, mask.height], [mask.width, mask.height]])
    there = image.world_to_pixel(project(mask.pixel_to_world(corners), mask.crs, image.crs))
    apart_px = np.abs(there - corners).max()
    if not apart_px <= MOST_APART_PX:
        raise InputError(
            f"{path} says that its corners lie up to {apart_px:.2f} px from those of its image {scene.path.name}, but "
            f"is read pixel for pixel. Run rio warp {path} out.tif --like {scene.path} --resampling nearest, and use "
            "that; or, where its pixels are right as they are, take its georeference away."
        )


def _meaning(scene: Scene, label: str, path: Path, found: Found) -> MaskValues:
    """What the values of a mask file mean: by what its source says, else by its values and those of its source."""
    if found.is_grey and "foreground" not in scene.source:
        return MaskValues(is_grey=True)
    chosen = foreground_values(scene.source.get("foreground", ()))
    values = found.values
    if found.nodata in values or not values <= {MASK_BACKGROUND, MASK_IGNORE, MASK_FOREGROUND}:
        # a tile may lack a class: what 2 means is told by the tiles that hold 1 and 3
        values = values.union(*(other.values for other in _others(scene, label, found)))
    return decide(
        values,
        str(path) if values == found.values else f"{path}, with the other masks of its source,",
        found.nodata,
        chosen,
        "name those that are road or building with the key `foreground` of its source, such as foreground: "
        + ('"#ff0000"' if found.has_colours else "3"),
        MASK_BACKGROUND if found.has_colours else None,
        "#{:06x}".format if found.has_colours else "{:g}".format,
    )


def _others(scene: Scene, label: str, found: Found) -> Iterator[Found]:
    """Other masks of the same source and kind; a file that can't be read is named when its own turn comes."""
    pattern = as_glob(glob.escape(scene.source[label]))
    names = sorted(glob.glob(pattern, root_dir=scene.data_dir))  # noqa: PTH207  Path.glob takes no absolute pattern
    paths = [path for name in names if not is_of_chips(path := scene.data_dir / name)]
    for path in paths[:: ceil(len(paths) / MASKS_COMPARED) or 1]:
        with contextlib.suppress(InputError):
            other = _found(path, path.stat().st_mtime_ns)
            if (other.has_colours, other.is_grey) == (found.has_colours, False):
                yield other


@lru_cache(maxsize=4 * MASKS_COMPARED)
def _found(path: Path, _changed_ns: int) -> Found:
    """What a file holds, looked up once for all blocks, as long as it stays the same; read in strips."""
    with opened(path) as file, reading(path, "a mask image"):
        rows = min(file.height, max(1, STRIP_PX // file.width))
        strips = [FileWindow(0, row, file.width, min(rows, file.height - row)) for row in range(0, file.height, rows)]
        size_px, nodata = (file.width, file.height), file.nodata
        has_colours = file.count >= 3 and any(_differ(*file.read([1, 2, 3], window=strip)) for strip in strips)
        values: set[float] = set()
        for strip in strips:
            values.update(values_of(_pixels(file, strip, has_colours)))
            if len(values) > MOST_VALUES:
                break
        # background under an image's blank corner is no label, one class all over is none that anybody would draw
        if len(values) == 1 and not values <= {MASK_BACKGROUND, MASK_IGNORE, nodata}:
            alpha = alpha_band(file.colorinterp)
            if alpha and len(set().union(*(values_of(file.read(alpha, window=strip)) for strip in strips))) > 1:
                raise label_in_alpha(path, alpha)
        greys = _greys(file, values)
        if greys:
            values, nodata = {greys[value] for value in values}, greys.get(nodata, nodata)
        is_grey = (
            file.dtypes[0] == "uint8"
            and not has_colours
            and len(values - {nodata, MASK_IGNORE}) > 2
            and has_grey_edges((_pixels(file, strip, False, greys) for strip in strips), values)
        )
    return Found(size_px, frozenset(values), nodata, has_colours, greys, is_grey)


def _differ(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> bool:
    """Whether bands (H, W) are colours rather than one grey, three times."""
    return max(cv2.absdiff(red, green).max(), cv2.absdiff(red, blue).max()) >= SAME_GREY


def _greys(file: rasterio.DatasetReader, values: Collection[float]) -> dict[int, int] | None:
    """Value -> grey of a palette whose colours in use are greys; None: the values are codes, whatever their colours."""
    if file.colorinterp[0] != ColorInterp.palette:
        return None
    greys = {value: rgba[0] for value, rgba in file.colormap(1).items() if len(set(rgba[:3])) == 1}
    return greys if greys.keys() >= set(values) else None


def _pixels(
    file: rasterio.DatasetReader, window: FileWindow, has_colours: bool, greys: dict[int, int] | None = None
) -> np.ndarray:
    """Pixels of a window, (height, width): the first band, the greys of its palette, or colours as 0xRRGGBB."""
    if has_colours:
        red, green, blue = file.read([1, 2, 3], window=window).astype(np.int64)
        return red * 65536 + green * 256 + blue
    pixels = file.read(1, window=window)
    return pixels if greys is None else np.array([greys.get(value, 0) for value in range(256)], np.uint8)[pixels]


def _read_mask(
    path: Path,
    found: Found,
    meaning: MaskValues,
    file_window: tuple[float, float, float, float],
    shape: tuple[int, int],
) -> np.ndarray:
    """Mask of a window, (col, row, width, height) in the file's pixels, resampled to a shape (height, width)."""
    col, row, width, height = file_window
    top, bottom, down = _weights(row, height / shape[0], shape[0], found.size_px[1])
    left, right, across = _weights(col, width / shape[1], shape[1], found.size_px[0])
    with opened(path) as file, reading(path, "a mask image"):
        pixels = _pixels(file, FileWindow(left, top, right - left, bottom - top), found.has_colours, found.greys)

    def resampled(values: np.ndarray) -> np.ndarray:
        return values if (height, width) == shape else (across @ (down @ values).T).T

    levels, ignored = meaning.levels(pixels), meaning.is_ignored(pixels)
    known = 1 - resampled(ignored.view(np.uint8)) if ignored.any() else 1  # share of each pixel's ground
    mask = (resampled(levels) >= HALF * known - TIE).view(np.uint8) * np.uint8(MASK_FOREGROUND)
    mask[known <= 0.5 + TIE] = MASK_IGNORE
    return mask


@lru_cache(maxsize=256)
def _weights(start: float, scale: float, count: int, length: int) -> tuple[int, int, sparse.csr_matrix]:
    """
    Bilinear weights along one axis, as GDAL has them: it reaches as far as a new pixel is wide, one old pixel at least.

    Parameters
    ----------
    start, scale
        Where the first new pixel begins, and how wide each is, in old pixels.
    count, length
        Number of new pixels, and of old ones in the file.

    Returns
    -------
    first, stop
        The old pixels that are needed.
    weights
        (count, stop - first): a new pixel is the sum of its row.
    """
    reach = max(1.0, scale)
    centres = start + (np.arange(count) + 0.5) * scale
    pixels = np.floor(centres - reach - 0.5).astype(int)[:, None] + np.arange(ceil(2 * reach) + 2)  # (count, taps)
    weights = np.maximum(0, 1 - np.abs(pixels + 0.5 - centres[:, None]) / reach) * ((pixels >= 0) & (pixels < length))
    weights /= weights.sum(axis=1, keepdims=True)
    new, tap = np.nonzero(weights)
    old = pixels[new, tap]
    first, stop = int(old.min()), int(old.max()) + 1
    return first, stop, sparse.csr_matrix((weights[new, tap], (new, old - first)), shape=(count, stop - first))
