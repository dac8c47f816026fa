"""Finished windows and blocks of a map, as files: what is there is not made again."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import InputError
from lib.mapping.cogs import read_seen_px, write_block
from lib.mapping.ground import Ground
from lib.mapping.options import MADE_BY
from lib.mapping.windows import Box, Index, Windows
from lib.paths import PARTS as TEMPORARY
from lib.paths import is_written, read_mapping, whole_file, write_whole

CHECKPOINT = "checkpoint.safetensors"  # for workers
OWN = ("block-*-*-*.tif", "window-*-*-*.npy", CHECKPOINT, TEMPORARY)  # all files in a folder of parts but its stamp


def open_parts(folder: Path, made_by: Mapping[str, Any]) -> None:
    """
    Make a folder for parts, and empty it where they were made by something else.

    Parameters
    ----------
    folder
        Of the parts of one map.
    made_by
        What map.json will hold.

    Raises
    ------
    InputError
        If it holds files that no map wrote, or is a file.
    """
    stamp = folder / MADE_BY
    if folder.exists() and not folder.is_dir():
        raise InputError(
            f"{folder}: expected the folder of an unfinished map, or nothing, but that is a file: rename it, or choose "
            "another OUT_DIR."
        )
    if folder.exists() and not stamp.is_file() and set(folder.iterdir()) - set(folder.glob(TEMPORARY)):
        raise InputError(f"{folder} holds files that no map wrote: choose another folder.")
    if not made_by["checkpoint"] or not _are_of(folder, made_by):
        _empty(folder)
        write_whole(stamp, json.dumps(_stamped(made_by)))


def remove_parts(folder: Path, made_by: Mapping[str, Any]) -> None:
    """Remove the parts of a finished map, if those in the folder are its own: another map may be unfinished there."""
    if _are_of(folder, made_by):
        _empty(folder)
        (folder / MADE_BY).unlink()
        with suppress(OSError):  # somebody's own files stay
            folder.rmdir()


def _are_of(folder: Path, made_by: Mapping[str, Any]) -> bool:
    """Whether the parts in a folder are those of a map."""
    return (folder / MADE_BY).is_file() and read_mapping(folder / MADE_BY) == _stamped(made_by)


def _stamped(made_by: Mapping[str, Any]) -> dict[str, Any]:
    """What decides all parts; their names say of which scenes each one is."""
    return {name: value for name, value in made_by.items() if name != "inputs"}


def _empty(folder: Path) -> None:
    """Remove all parts but the stamp: where this is killed, the folder is still known for a map's."""
    for pattern in OWN:
        for path in folder.glob(pattern):
            path.unlink()


@dataclass(frozen=True)
class Parts:
    """
    Files of windows (float32, as long as a block needs them) and of blocks (see `lib.mapping.cogs`).

    Their names hold a digest of the scenes that they show: where one of those has changed, its parts alone are made
    again.

    Attributes
    ----------
    folder
        From `open_parts`.
    windows, ground
        Of the map.
    """

    folder: Path
    windows: Windows
    ground: Ground

    def block_path(self, index: Index) -> Path:
        """File of a block."""
        return self.folder / self._name("block", index, [self.windows.window(one) for one in self.windows.over(index)])

    def window_path(self, index: Index) -> Path:
        """File of a window."""
        return (self.folder / self._name("window", index, [self.windows.window(index)])).with_suffix(".npy")

    def _name(self, kind: str, index: Index, shown: list[Box]) -> str:
        return f"{kind}-{index[0]}-{index[1]}-{self.ground.state(shown)}.tif"

    @cached_property
    def done(self) -> frozenset[Index]:
        """Blocks that were there at first."""
        return frozenset(index for index in self.windows if is_written(self.block_path(index)))

    @cached_property
    def waiting(self) -> list[Index]:
        """Windows that a block still needs, row by row."""
        return [index for index in self.windows if not self.done.issuperset(self.windows.under(index))]

    def seen_px(self) -> int:
        """How many pixels of the blocks that were there at first show image."""
        return sum(read_seen_px(self.block_path(index)) for index in self.done)

    def has_window(self, index: Index) -> bool:
        """Whether a window's probabilities are there."""
        return is_written(self.window_path(index))

    def keep(self, index: Index, probability: np.ndarray) -> None:
        """Keep a window, (H, W) float32."""
        with whole_file(self.window_path(index)) as part, part.open("wb") as file:
            np.save(file, probability)

    def blend(self, result: tuple[Index, np.ndarray | None]) -> tuple[Index, np.ndarray | None]:
        """
        Keep a window, and blend its block.

        Windows come row by row.

        Parameters
        ----------
        result
            Which window, and its probability, (H, W) float32, NaN where there is no image; None where there is none at
            all, or the file is there.

        Returns
        -------
        block
            Which one, and its probability; None where there is no image, or the file is there.
        """
        index, probability = result
        if probability is not None:
            self.keep(index, probability)
        if index in self.done:
            return index, None
        paths = {one: self.window_path(one) for one in self.windows.over(index)}
        there = {one: np.load(path, mmap_mode="r") for one, path in paths.items() if is_written(path)}
        return index, self.windows.blend(index, there) if there else None

    def write(self, index: Index, block: np.ndarray | None) -> int:
        """Write what `blend` gave, and remove the windows that no other block needs; how many pixels show image."""
        count = 0
        if block is not None:
            left, top, *_ = self.windows.block(index)
            count = write_block(self.block_path(index), block, (left, self.windows.height - top))
        for one in self.windows.over(index):
            if self.windows.under(one)[-1] == index:
                self.window_path(one).unlink(missing_ok=True)
        return count

    def blocks(self) -> list[tuple[Path, Box]]:
        """Files of the blocks with image, and where they lie on the map."""
        paths = {index: self.block_path(index) for index in self.windows}
        return [(path, self.windows.block(index)) for index, path in paths.items() if is_written(path)]
