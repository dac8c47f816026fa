"""What the tests of networks and of training share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from lib.chips.manifest import write_png


@pytest.fixture
def one_thread():
    """Small maps run no faster on many threads, and the test run may share its cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def make_chips() -> Callable[..., pd.DataFrame]:
    """Makes a manifest of chips with a bright cross on dark ground, and a corner that is ignored."""

    def make(folder: Path, count: int, side_px: int = 48, seed: int = 0) -> pd.DataFrame:
        generator, rows = np.random.default_rng(seed), []
        for index in range(count):
            mask = np.zeros((side_px, side_px), np.uint8)
            across, along = generator.integers(8, side_px - 8, 2).tolist()
            cv2.line(mask, (across, 0), (across, side_px), 255, 6)
            cv2.line(mask, (0, along), (side_px, along), 255, 6)
            image = generator.integers(0, 60, (side_px, side_px, 3)).astype(np.uint8) + (mask // 2)[..., None]
            mask[:4, :4] = 127
            image_path = write_png(folder / f"image{seed}_{index}.png", image)
            mask_path = write_png(folder / f"mask{seed}_{index}.png", mask)
            rows.append({"chip": f"chip{index}", "image": str(image_path), "mask": str(mask_path), "gsd_m": 0.5})
        return pd.DataFrame(rows)

    return make


@pytest.fixture(scope="session")
def chips(make_chips, tmp_path_factory):
    """Five chips to train on, three to validate with."""
    folder = tmp_path_factory.mktemp("chips")
    return make_chips(folder, 5), make_chips(folder, 3, seed=1)


@pytest.fixture(scope="session")
def damages() -> Callable[[bytes, int], Iterator[tuple[str, bytes]]]:
    """Bytes of a file, damaged as disks and downloads do: (what was done, bytes); the same at each run."""

    def damage(whole: bytes, count: int) -> Iterator[tuple[str, bytes]]:
        generator = np.random.default_rng(len(whole))
        for number in range(count):
            place = int(generator.integers(len(whole)))
            if number % 2:
                yield f"cut after {place} bytes", whole[:place]
            else:
                flipped = bytearray(whole)
                flipped[place] ^= 1 << int(generator.integers(8))
                yield f"a bit of byte {place} flipped", bytes(flipped)

    return damage
