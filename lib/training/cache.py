"""Decoded chips in one memory map, and the crops that training takes from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset, Sampler

from lib.chips.manifest import WEIGHT_ONE, read_image, read_mask, read_weight_levels
from lib.errors import InputError
from lib.grid import MASK_IGNORE
from lib.paths import whole_file
from lib.training.augment import Augmentation, AugmentConfig, draw_augmentation, margin_px


@dataclass(frozen=True)
class ChipCache:
    """
    Chips side by side in a flat array of pixels.

    Attributes
    ----------
    pixels
        (total, 4 or 5) uint8: red, green, blue, mask and, where the manifest has any, the weight (64 counts once);
        row-major within a chip, chip after chip.
    offsets
        (n + 1,) int64: first pixel of each chip, and the total.
    shapes
        (n, 2) int64: height and width of each chip.
    names
        What the manifest calls each chip.
    """

    pixels: np.ndarray
    offsets: np.ndarray
    shapes: np.ndarray
    names: list[str]

    def __len__(self) -> int:
        return len(self.names)

    def chip(self, index: int) -> np.ndarray:
        """View of one chip, (height, width, 4 or 5) uint8."""
        flat = self.pixels[self.offsets[index] : self.offsets[index + 1]]
        return flat.reshape(*self.shapes[index], flat.shape[1])

    def window(self, index: int, top: int, left: int, side_px: int) -> np.ndarray:
        """
        Square window of a chip, (side_px, side_px, 4 or 5) uint8; may reach beyond the chip.

        There the image is mirrored and the mask says "ignore".
        """
        chip = self.chip(index)
        rows, columns = (np.arange(start, start + side_px) for start in (top, left))
        height, width = chip.shape[:2]
        if top >= 0 and left >= 0 and top + side_px <= height and left + side_px <= width:
            return chip[top : top + side_px, left : left + side_px]
        window = chip[_mirror(rows, height)[:, None], _mirror(columns, width)]
        window[(rows < 0) | (rows >= height), :, 3] = MASK_IGNORE
        window[:, (columns < 0) | (columns >= width), 3] = MASK_IGNORE
        return window


def _mirror(index: np.ndarray, length: int) -> np.ndarray:
    """Indices folded back into 0..length - 1, edge pixels once: -1 is 1, length is length - 2."""
    period = max(2 * (length - 1), 1)
    folded = np.abs(index) % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(index)


def build_cache(chips: pd.DataFrame, path: Path) -> ChipCache:
    """
    Decode chips into a memory map; kept in the system's page cache, it costs no decoding again.

    Parameters
    ----------
    chips
        Rows of a manifest; reads `image`, `mask` and, where present, `weight` and `chip`.
    path
        File to write, whole or not at all. An existing one is replaced.

    Raises
    ------
    InputError
        If there is no chip, or an image, its mask and its weights differ in size.
    """
    if chips.empty:
        raise InputError("No chips to train on or to validate with: the selection of the manifest is empty.")
    weights = weight_files(chips)
    weighted = any(weights)
    shapes = []
    with whole_file(path) as temporary, temporary.open("wb") as file:
        for row, weight in zip(chips.itertuples(), weights, strict=True):
            bands = [read_image(row.image), read_mask(row.mask)]
            if weighted:
                bands.append(_weight_levels(weight, bands[1].shape))
            for name, band in zip((row.mask, weight), bands[1:], strict=False):
                if band.shape != bands[0].shape[:2]:
                    raise InputError(f"{row.image} is {bands[0].shape[:2]} px, {name} {band.shape} px.")
            shapes.append(bands[1].shape)
            file.write(np.dstack(bands).tobytes())
    offsets = np.concatenate([[0], np.cumsum([height * width for height, width in shapes])])
    names = chips["chip"] if "chip" in chips else chips["image"].map(lambda image: Path(image).stem)
    pixels = np.memmap(path, np.uint8, "r", shape=(int(offsets[-1]), 5 if weighted else 4))
    return ChipCache(pixels, offsets, np.array(shapes, np.int64), [str(name) for name in names])


def weight_files(chips: pd.DataFrame) -> list[str]:
    """Path of each chip's weights, "" where every pixel counts once."""
    return list(chips["weight"].fillna("")) if "weight" in chips else [""] * len(chips)


def _weight_levels(path: str, shape: tuple[int, int]) -> np.ndarray:
    """Weights as they lie in the file: uint8, WEIGHT_ONE throughout where there is none."""
    return read_weight_levels(path) if path else np.full(shape, WEIGHT_ONE, np.uint8)


def channel_statistics(cache: ChipCache) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each band over the pixels that are not ignored, values scaled to 0..1."""
    counts = np.zeros((3, 256))
    for index in range(len(cache)):
        chip = cache.chip(index)
        used = chip[chip[..., 3] != MASK_IGNORE]
        counts += [np.bincount(used[:, band], minlength=256) for band in range(3)]
    if not counts.any():
        raise InputError("Every pixel of the training masks is marked as ignored (127): there is nothing to learn.")
    levels = np.arange(256) / 255
    total = counts.sum(axis=1)
    mean = counts @ levels / total
    std = np.sqrt(np.maximum(counts @ levels**2 / total - mean**2, 1e-6))
    return tuple(mean.tolist()), tuple(std.tolist())


class CropDataset(Dataset):
    """
    Batches of augmented crops, each a function of (seed, epoch, position) and nothing else.

    So the crops of an epoch do not depend on which process reads them, in what order, or after which interruption.
    An item is asked for by (epoch, first, last) and is a dict of
    - pixels (n, W, W, 4 or 5) uint8, windows around crops; affine and colour of `lib.training.augment.Augmentation`;
    - chip (n,) int64, positions in the cache.
    """

    def __init__(self, cache: ChipCache, crop_px: int, augmentation: AugmentConfig, samples: int, seed: int) -> None:
        self.cache = cache
        self.crop_px = crop_px
        self.augmentation = augmentation
        self.samples = samples
        self.seed = seed
        self.margin_px = margin_px(augmentation, crop_px)
        self._drawn: tuple[int, tuple[np.ndarray, np.ndarray, Augmentation]] | None = None

    def __getitem__(self, key: tuple[int, int, int]) -> dict[str, torch.Tensor]:
        epoch, first, last = key
        chips, corners, augmentation = self._draw(epoch)
        chosen = slice(first, last)
        side = self.crop_px + 2 * self.margin_px
        windows = [
            self.cache.window(chip, top - self.margin_px, left - self.margin_px, side)
            for chip, (top, left) in zip(chips[chosen], corners[chosen], strict=True)
        ]
        return {
            "pixels": torch.from_numpy(np.stack(windows)),
            "affine": torch.from_numpy(augmentation.affine[chosen]),
            "colour": torch.from_numpy(augmentation.colour[chosen]),
            "chip": torch.from_numpy(chips[chosen]),
        }

    def _draw(self, epoch: int) -> tuple[np.ndarray, np.ndarray, Augmentation]:
        """What the whole epoch will take: chips as evenly as can be, corners (top, left), augmentation."""
        if self._drawn is not None and self._drawn[0] == epoch:
            return self._drawn[1]
        generator = np.random.default_rng([self.seed, epoch])
        rounds = -(-self.samples // len(self.cache))
        chips = np.concatenate([generator.permutation(len(self.cache)) for _ in range(rounds)])[: self.samples]
        room = self.cache.shapes[chips] - self.crop_px
        corners = np.floor(generator.random((self.samples, 2)) * (np.maximum(room, 0) + 1)).astype(np.int64)
        corners = np.where(room < 0, room // 2, corners)  # a chip smaller than the crop lies in its middle
        drawn = chips, corners, draw_augmentation(self.augmentation, self.samples, generator)
        self._drawn = (epoch, drawn)
        return drawn


class BatchSampler(Sampler):
    """Keys of a `CropDataset` for one process of `world`; every process takes its share of each batch."""

    def __init__(self, samples: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.share = batch_size // world
        self.rank = rank
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning as an epoch starts."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.samples // self.batch_size

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        for batch in range(len(self)):
            first = batch * self.batch_size + self.rank * self.share
            yield self.epoch, first, first + self.share


class ChipDataset(Dataset):
    """
    Whole chips, those of one size stacked: a dict of pixels (n, H, W, 4 or 5) uint8 and counts (bool).

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
