"""Specks and pinholes of a mask: runs of equal pixels, joined by union-find, compiled."""

import numpy as np
from numba import njit


@njit(cache=True)
def _root(parent, i):
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True)
def _runs(mask, words, stride, starts, row_first):
    """Start of each run of equal pixels and number of each row's first run; returns how many runs there are."""
    count = 0
    ones = np.uint64(0x0101010101010101)
    for y in range(row_first.size):
        row_first[y] = count
        if y == row_first.size - 1:
            break
        value = np.uint8(1)
        begin = y * stride
        for word in range(begin // 8, (begin + stride) // 8):
            if words[word] == (ones if value else np.uint64(0)):
                continue
            for p in range(8 * word, 8 * word + 8):
                if mask[p] != value:
                    value = mask[p]
                    if count < starts.size:
                        starts[count] = p
                    count += 1
    return count


@njit(cache=True)
def _join_runs(mask, stride, starts, row_first, parent, area):
    """Union of touching runs of one kind: foreground also diagonally, background not; areas add up at the roots."""
    for y in range(1, row_first.size - 1):
        a = row_first[y - 1]
        for b in range(row_first[y], row_first[y + 1]):
            reach = mask[starts[b]]  # a foreground run touches one pixel further
            while starts[a + 1] + stride < starts[b]:
                a += 1
            c = a
            while c < row_first[y] and starts[c] + stride <= starts[b + 1]:
                touch = starts[c] + stride < starts[b + 1] + reach and starts[b] < starts[c + 1] + stride + reach
                if touch and mask[starts[c]] == reach:
                    i, j = _root(parent, c), _root(parent, b)
                    if i != j:
                        parent[max(i, j)] = min(i, j)
                        area[min(i, j)] += area[max(i, j)]
                c += 1


@njit(cache=True)
def _flip_small(mask, starts, parent, area, min_blob_px, min_hole_px):
    """Turn the runs of small blobs to background and those of small holes to foreground."""
    for run in range(parent.size):
        root = _root(parent, run)
        value = mask[starts[run]]
        # run 0 lies in the margin: what hangs together with it is no hole
        if area[root] < (min_blob_px if value else min_hole_px) and root != 0:
            for p in range(starts[run], starts[run + 1]):
                mask[p] = 1 - value


def clean(mask: np.ndarray, stride: int, min_blob_px: float, min_hole_px: float) -> None:
    """
    Drop blobs (8-connected) and fill holes (4-connected) smaller than the given areas, in place.

    `mask` is flat and padded, see `lib.mapping.thinning.padded`.
    """
    row_first = np.empty(mask.size // stride + 1, np.int64)
    capacity = 64 * row_first.size
    while True:
        starts = np.empty(capacity, np.int32)
        count = _runs(mask, mask.view(np.uint64), stride, starts, row_first)
        if count < capacity:
            break
        capacity = count + 1
    starts[count] = mask.size
    starts = starts[: count + 1]
    area = np.diff(starts)
    parent = np.arange(count, dtype=np.int32)
    _join_runs(mask, stride, starts, row_first, parent, area)
    _flip_small(mask, starts, parent, area, min_blob_px, min_hole_px)
