"""
Windows over a map, and the blocks that they blend to: which belong together, and when a block is finished.

Block (r, c) reaches from the first pixel of window (r, c) to the first one of its right and lower neighbours, the last
ones to the map's end. Blocks tile the map. A block needs no window that starts after its own, so that block (r, c) can
be blended as soon as window (r, c) is done, where windows go row by row.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lib.mapping.predict import blend_weight, window_starts

Index = tuple[int, int]  # row and column of a window, and of its block
Box = tuple[int, int, int, int]  # (col, row, width, height) in pixels of the map


@dataclass(frozen=True)
class Windows:
    """
    The windows of a map, all of one size.

    Attributes
    ----------
    width, height
        Of the map, pixels.
    window_px, overlap_px
        As in `lib.mapping.options.MapOptions`; a map smaller than a window is one.
    """

    width: int
    height: int
    window_px: int
    overlap_px: int

    @cached_property
    def starts(self) -> tuple[list[int], list[int]]:
        """First rows and first columns of the windows."""
        rows, columns = (window_starts(n, self.window_px, self.overlap_px) for n in (self.height, self.width))
        return rows, columns

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of each window."""
        return min(self.height, self.window_px), min(self.width, self.window_px)

    def __len__(self) -> int:
        return len(self.starts[0]) * len(self.starts[1])

    def __iter__(self) -> Iterator[Index]:
        """Row by row."""
        return ((row, column) for row in range(len(self.starts[0])) for column in range(len(self.starts[1])))

    def window(self, index: Index) -> Box:
        """Where a window lies."""
        return self.starts[1][index[1]], self.starts[0][index[0]], self.shape[1], self.shape[0]

    def block(self, index: Index) -> Box:
        """Where a block lies."""
        rows, columns = (*self.starts[0], self.height), (*self.starts[1], self.width)
        top, left = rows[index[0]], columns[index[1]]
        return left, top, columns[index[1] + 1] - left, rows[index[0] + 1] - top

    def over(self, block: Index) -> list[Index]:
        """Windows that cover a part of a block, row by row."""
        rows, columns = (
            [n for n in range(place + 1) if starts[n] + length > starts[place]]
            for starts, place, length in zip(self.starts, block, self.shape, strict=True)
        )
        return [(row, column) for row in rows for column in columns]

    def under(self, window: Index) -> list[Index]:
        """Blocks of which a window covers a part, row by row; after the last one nobody needs the window."""
        rows, columns = (
            [n for n in range(place, len(starts)) if starts[n] < starts[place] + length]
            for starts, place, length in zip(self.starts, window, self.shape, strict=True)
        )
        return [(row, column) for row in rows for column in columns]

    def blend(self, block: Index, probabilities: dict[Index, np.ndarray]) -> np.ndarray:
        """
        Probability of a block: the mean of its windows, whose weights fall linearly over the overlap.

        Parameters
        ----------
        block
            Which one.
        probabilities
            Of the windows over the block, (H, W) float32, or of several classes (classes, H, W); NaN where there is no
            image. Windows without any image may lack.

        Returns
        -------
        probability
            (height, width) or (classes, height, width) float32 of the block, NaN where one of the windows is.
        """
        left, top, width, height = self.block(block)
        lead = next((one.shape[:-2] for one in probabilities.values()), ())
        total, weights = np.zeros((*lead, height, width), np.float32), np.zeros((height, width), np.float32)
        for index in self.over(block):
            if index not in probabilities:
                continue
            col, row, *_ = self.window(index)
            inner = np.s_[..., top - row : top + height - row, left - col : left + width - col]  # it starts no later
            part, weight = probabilities[index][inner], self._weight[inner]
            place = np.s_[..., : part.shape[-2], : part.shape[-1]]
            total[place] += weight * part
            weights[place] += weight
        with np.errstate(invalid="ignore"):  # 0 / 0 where no window saw anything
            return total / weights

    @cached_property
    def _weight(self) -> np.ndarray:
        """(H, W) float32; of the only window, 1: it stays as it is."""
        return blend_weight(self.shape, self.overlap_px) if len(self) > 1 else np.ones(self.shape, np.float32)
