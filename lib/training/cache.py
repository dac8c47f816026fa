"""Decoded chips in one memory map, and the crops that training takes from them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset, Sampler

from lib.chips.manifest import WEIGHT_ONE, read_bands, read_mask, read_weight_levels, rows_by_chip
from lib.errors import InputError
from lib.grid import MASK_IGNORE
from lib.limits import classes_of
from lib.paths import whole_file
from lib.training.augment import Augmentation, AugmentConfig, draw_augmentation, margin_px


@dataclass(frozen=True)
class ChipCache:
    """
    Chips side by side in a flat array of pixels.

    Attributes
    ----------
    pixels
        (total, layers) uint8: red, green, blue, more where the chips have more, a mask of each class and, where the
        manifest has any, the weights of each (64 counts once); row-major within a chip, chip after chip.
    offsets
        (n + 1,) int64: first pixel of each chip, and the total.
    shapes
        (n, 2) int64: height and width of each chip.
    names
        What the manifest calls each chip.
    bands, classes
        Of the image, and how many masks lie behind them.
    """

    pixels: np.ndarray
    offsets: np.ndarray
    shapes: np.ndarray
    names: list[str]
    bands: int = 3
    classes: int = 1

    def __len__(self) -> int:
        return len(self.names)

    def chip(self, index: int) -> np.ndarray:
        """View of one chip, (height, width, layers) uint8."""
        flat = self.pixels[self.offsets[index] : self.offsets[index + 1]]
        return flat.reshape(*self.shapes[index], flat.shape[1])

    def window(self, index: int, top: int, left: int, side_px: int) -> np.ndarray:
        """
        Square window of a chip, (side_px, side_px, layers) uint8; may reach beyond the chip.

        There the image is mirrored and the masks say "ignore".
        """
        chip = self.chip(index)
        rows, columns = (_span(*axis, side_px) for axis in zip((top, left), chip.shape[:2], strict=True))
        inner = chip[rows.first : rows.end, columns.first : columns.end]
        beyond = rows.before, rows.after, columns.before, columns.after
        if not any(beyond):
            return inner
        window = cv2.copyMakeBorder(inner, *beyond, cv2.BORDER_REFLECT_101)
        window = window[rows.skipped :, columns.skipped :][:side_px, :side_px]
        for outer in (
            np.s_[: rows.before],
            np.s_[max(side_px - rows.after, 0) :],
            np.s_[:, : columns.before],
            np.s_[:, max(side_px - columns.after, 0) :],
        ):
            window[outer][..., self.masks] = MASK_IGNORE
        return window

    @property
    def masks(self) -> slice:
        """Which layers are masks."""
        return slice(self.bands, self.bands + self.classes)


class _Span(NamedTuple):
    """What a window shows along one axis: pixels first to end of the chip, and so many mirrored before and after."""

    first: int
    end: int
    before: int
    after: int
    skipped: int  # of all these, at the front: needed to mirror, not shown


def _span(start: int, length: int, side_px: int) -> _Span:
    before, after = max(-start, 0), max(start + side_px - length, 0)
    # where more is mirrored than is shown, what is mirrored must be there, too
    first, end = max(min(start, length - 1 - after), 0), min(max(start + side_px, before + 1), length)
    return _Span(first, end, before, after, start - first + before)


def build_cache(chips: pd.DataFrame, path: Path, task: str = "roads") -> ChipCache:
    """
    Decode chips into a memory map; kept in the system's page cache, it costs no decoding again.

    Parameters
    ----------
    chips
        Rows of a manifest; reads `image`, `mask` and, where present, `weight`, `chip` and `class`.
    path
        File to write, whole or not at all. An existing one is replaced.
    task
        Whose classes' masks lie behind each other; one that a chip lacks is ignored all over it.

    Raises
    ------
    InputError
        If there is no chip, an image, its mask and its weights differ in size, or images in their number of bands.
    """
    if chips.empty:
        raise InputError("No chips to train on or to validate with: the selection of the manifest is empty.")
    weighted, classes = (optional_text(chips, "weight") != "").any(), len(classes_of(task))
    shapes, names, bands = [], [], read_bands(chips["image"].iloc[0]).shape[2]
    with whole_file(path) as temporary, temporary.open("wb") as file:
        for rows in rows_by_chip(chips.assign(weight=optional_text(chips, "weight")), task):
            known = next(row for row in rows if row is not None)
            image = read_bands(known.image)
            if image.shape[2] != bands:
                raise InputError(f"{known.image} has {image.shape[2]} bands, {chips['image'].iloc[0]} has {bands}.")
            shape = image.shape[:2]
            masks = [_layer(row and row.mask, read_mask, MASK_IGNORE, shape, known.image) for row in rows]
            levels = [_layer(row and row.weight, read_weight_levels, WEIGHT_ONE, shape, known.image) for row in rows]
            shapes.append(shape)
            names.append(str(getattr(known, "chip", Path(known.image).stem)))
            file.write(np.dstack([image, *masks, *(levels if weighted else ())]).tobytes())
    offsets = np.concatenate([[0], np.cumsum(np.prod(shapes, axis=1))])
    pixels = np.memmap(path, np.uint8, "r", shape=(int(offsets[-1]), bands + classes * (1 + weighted)))
    return ChipCache(pixels, offsets, np.array(shapes, np.int64), names, bands, classes)


def _layer(
    path: str | None, read: Callable[[str], np.ndarray], level: int, shape: tuple[int, int], image: str
) -> np.ndarray:
    """A file of masks or weights, uint8 (height, width) as the image is; of `level` all over where there is none."""
    if not path:
        return np.full(shape, level, np.uint8)
    layer = read(path)
    if layer.shape != shape:
        raise InputError(f"{image} is {shape} px, {path} {layer.shape} px.")
    return layer


def optional_text(chips: pd.DataFrame, column: str) -> pd.Series:
    """Values of a manifest's column, "" where one is missing or where all are."""
    return chips.get(column, pd.Series("", chips.index)).fillna("")


def channel_statistics(cache: ChipCache) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each band over the pixels of which a class is known, values scaled to 0..1."""
    counts = np.zeros((cache.bands, 256))
    for index in range(len(cache)):
        chip = cache.chip(index)
        used = chip[(chip[..., cache.masks] != MASK_IGNORE).any(axis=-1)]
        counts += [np.bincount(used[:, band], minlength=256) for band in range(cache.bands)]
    if not counts.any():
        raise InputError("Every pixel of the training masks is marked as ignored (127): there is nothing to learn.")
    levels = np.arange(256) / 255
    total = counts.sum(axis=1)
    mean = counts @ levels / total
    std = np.sqrt(np.maximum(counts @ levels**2 / total - mean**2, 1e-6))
    return tuple(mean.tolist()), tuple(std.tolist())


class _Draw(NamedTuple):
    """What the crops of an epoch are: one row a crop."""

    chips: np.ndarray  # (n,) int64, positions in the cache
    corners: np.ndarray  # (n, 2) int64, pixels of the chip: top, left
    augmentation: Augmentation


@dataclass(eq=False)
class CropDataset(Dataset):
    """
    Batches of augmented crops, each a function of (seed, epoch, position) and nothing else.

    So the crops of an epoch do not depend on which process reads them, in what order, or after which interruption.
    An item is asked for by (epoch, first, last) and is a dict of
    - pixels (n, W, W, layers of the cache) uint8, windows around crops;
    - affine and colour of `lib.training.augment.Augmentation`;
    - chip (n,) int64, positions in the cache.

    Parameters
    ----------
    cache, augmentation
        Where crops are taken from, and how they are changed.
    crop_px
        Side of a crop.
    samples
        Crops an epoch.
    seed
        Of all that is drawn.
    """

    cache: ChipCache
    crop_px: int
    augmentation: AugmentConfig
    samples: int
    seed: int
    _drawn: tuple[int, _Draw] | None = field(default=None, init=False)  # epoch, and what it takes

    def __getitem__(self, key: tuple[int, int, int]) -> dict[str, torch.Tensor]:
        epoch, first, last = key
        if self._drawn is None or self._drawn[0] != epoch:
            self._drawn = epoch, self._draw(epoch)
        drawn, chosen = self._drawn[1], slice(first, last)
        margin = margin_px(self.augmentation, self.crop_px)
        windows = [
            self.cache.window(chip, top - margin, left - margin, self.crop_px + 2 * margin)
            for chip, (top, left) in zip(drawn.chips[chosen], drawn.corners[chosen], strict=True)
        ]
        return {
            "pixels": torch.from_numpy(np.stack(windows)),
            "affine": torch.from_numpy(drawn.augmentation.affine[chosen]),
            "colour": torch.from_numpy(drawn.augmentation.colour[chosen]),
            "chip": torch.from_numpy(drawn.chips[chosen]),
        }

    def _draw(self, epoch: int) -> _Draw:
        """What the whole epoch will take, chips as evenly as can be."""
        generator = np.random.default_rng([self.seed, epoch])
        rounds = -(-self.samples // len(self.cache))
        chips = np.concatenate([generator.permutation(len(self.cache)) for _ in range(rounds)])[: self.samples]
        room = self.cache.shapes[chips] - self.crop_px  # rows and columns that the crop leaves over
        corners = np.floor(generator.random((self.samples, 2)) * (np.maximum(room, 0) + 1)).astype(np.int64)
        corners = np.where(room < 0, room // 2, corners)  # a chip smaller than the crop lies in its middle
        return _Draw(chips, corners, draw_augmentation(self.augmentation, self.samples, generator))


@dataclass(eq=False)
class BatchSampler(Sampler):
    """
    Keys of a `CropDataset` for the process number `rank` of `world`.

    Every process takes its share of each batch.
    """

    samples: int
    batch_size: int
    rank: int = 0
    world: int = 1
    epoch: int = field(default=0, init=False)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning as an epoch starts."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.samples // self.batch_size

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        share = self.batch_size // self.world
        for batch in range(len(self)):
            first = batch * self.batch_size + self.rank * share
            yield self.epoch, first, first + share


class ChipDataset(Dataset):
    """
    Whole chips, those of one size stacked: a dict of pixels (n, H, W, layers) uint8 and counts (bool).

    Of `world` processes each gets as many batches; where they do not divide, a repeated one that does not count.
    A batch holds up to `batch_px` pixels, or one chip.
    """

    def __init__(self, cache: ChipCache, batch_px: int, rank: int = 0, world: int = 1) -> None:
        self.cache = cache
        batches: list[list[int]] = []
        for shape in np.unique(cache.shapes, axis=0):
            same = np.flatnonzero((cache.shapes == shape).all(axis=1)).tolist()
            batch_size = max(batch_px // int(shape.prod()), 1)
            batches += [same[first : first + batch_size] for first in range(0, len(same), batch_size)]
        own = batches[rank::world]
        self.counting = len(own)
        self.batches = own + batches[:1] * (-(-len(batches) // world) - len(own))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor | bool]:
        chips = np.stack([self.cache.chip(chip) for chip in self.batches[index]])
        return {"pixels": torch.from_numpy(chips), "counts": index < self.counting}
