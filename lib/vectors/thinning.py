"""
Binary mask -> one-pixel skeleton -> nodes and chains of pixels, compiled, over flat arrays.

An image here is laid flat with a margin: `stride` pixels a row, MARGIN background pixels around the mask. Pixel (row,
column) of the mask is number (row + MARGIN) * stride + column + MARGIN, and its neighbours are constant offsets away.
Work follows words of 64 pixels or lists of pixels, never the whole image a pixel at a time: scikit-image's
skeletonize, which does that, takes five times as long.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numba import njit

NONE, ONE, LAST = np.uint64(0), np.uint64(1), np.uint64(63)  # no pixel of a word; the first; the last one's shift
EVEN_COLUMNS = np.uint64(0x5555555555555555)
MARGIN = 1  # background pixels around the mask, px: every pixel of the mask then has eight neighbours

MASK, SKELETON, NODE, SEEN = 1, 2, 4, 8  # flags of a pixel: what it is part of; SEEN: its chain is traced


class Skeleton(NamedTuple):
    """
    A mask and its skeleton, as flat images with a margin; both are changed in place as pixels go.

    Attributes
    ----------
    flags
        (rows * stride,) uint8: MASK, SKELETON, NODE and SEEN of each pixel.
    neighbourhoods
        (rows * stride,) uint8: bit k says that neighbour k is in the skeleton; k runs clockwise from north.
    stride
        Pixels a row, with the margins.
    """

    flags: np.ndarray
    neighbourhoods: np.ndarray
    stride: int


class Chains(NamedTuple):
    """
    Nodes of a skeleton, and the chains of pixels between them.

    Attributes
    ----------
    nodes
        (n, 2) float64: mean column and row of each node's pixels, in the image with its margin.
    node_pixels
        (n,) int32: one pixel of each node.
    edges
        (m, 2) int32: the nodes u, v that each chain joins.
    starts, pixels
        (m + 1,) and (p,) int32: chain k is pixels[starts[k]:starts[k + 1]], from u to v without the nodes' own.
    """

    nodes: np.ndarray
    node_pixels: np.ndarray
    edges: np.ndarray
    starts: np.ndarray
    pixels: np.ndarray


def _rules() -> tuple[np.ndarray, np.ndarray]:
    """
    In which turn of `tidy` a pixel may go, and how many neighbours it has, for each of its 256 neighbourhoods.

    A pixel may go if it is simple (Yokoi's number for an 8-connected foreground is 1: without it there are as many
    components and holes) and not the end of a line: in turn 1 the inner corners of stairs, in turn 2 all others.
    0: it stays.
    """
    turns, counts = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
    for neighbourhood in range(256):
        ring = [neighbourhood >> k & 1 for k in range(8)]
        counts[neighbourhood] = sum(ring)
        yokoi = sum(not ring[k] and (ring[k + 1] or ring[(k + 2) % 8]) for k in (0, 2, 4, 6))
        is_corner = any(ring[k] and ring[(k + 2) % 8] for k in (0, 2, 4, 6))
        if yokoi == 1 and sum(ring) >= 2:
            turns[neighbourhood] = 1 if is_corner else 2
    return turns, counts


TURNS, NEIGHBOURS = _rules()


def padded(image: np.ndarray, threshold: float) -> tuple[np.ndarray, int]:
    """Flat padded uint8 mask, 1 where `image` (H, W) is at or above the threshold, and its stride, px."""
    height, width = image.shape
    stride = (width + 2 * MARGIN + 63) // 64 * 64
    mask = np.zeros((height + 2 * MARGIN, stride), np.uint8)
    inside = mask[MARGIN : MARGIN + height, MARGIN : MARGIN + width]
    np.greater_equal(image, threshold, out=inside.view(bool))
    return mask.ravel(), stride


@njit(cache=True)
def _ring(stride: int) -> np.ndarray:
    """Offsets of a pixel's eight neighbours, clockwise from north."""
    return np.array([-stride, 1 - stride, 1, stride + 1, stride, stride - 1, -1, -stride - 1], np.int32)


@njit(cache=True)
def radius(flags: np.ndarray, stride: int, pixel: int) -> float:
    """
    Euclidean distance from a foreground pixel to the nearest background pixel, px.

    Searched on squares that grow around the pixel: few pixels are asked for, and a distance transform takes all. The
    margin is background, so that no square leaves the image.
    """
    nearest, reach = np.int64(1) << 60, 0  # squared distance; half the side of the square
    while reach * reach < nearest:
        reach += 1
        for along in range(-reach, reach + 1):
            for offset in (
                along - reach * stride,
                along + reach * stride,
                along * stride - reach,
                along * stride + reach,
            ):
                if not flags[pixel + offset] & MASK:
                    nearest = min(nearest, reach * reach + along * along)
    return np.sqrt(nearest)


@njit(cache=True)
def _once_and_twice(words: Iterable[np.uint64]) -> tuple[np.uint64, np.uint64]:
    """Bits that are set in at least one, and in at least two of these words."""
    once, twice = NONE, NONE
    for word in words:
        twice |= once & word
        once |= word
    return once, twice


@njit(cache=True)
def _ring_of(above: np.ndarray, here: np.ndarray, below: np.ndarray, i: int) -> tuple[np.uint64, ...]:
    """
    Eight neighbours of the 64 pixels of a word, clockwise from north, a word each; bit x is pixel x.

    The word is here[i + 1]; `above` and `below` are the same stretch of the rows beside it.
    """
    n, s, middle = above[i + 1], below[i + 1], here[i + 1]
    return (
        n,
        n >> ONE | above[i + 2] << LAST,
        middle >> ONE | here[i + 2] << LAST,
        s >> ONE | below[i + 2] << LAST,
        s,
        s << ONE | below[i] >> LAST,
        middle << ONE | here[i] >> LAST,
        n << ONE | above[i] >> LAST,
    )


@njit(cache=True)
def _mark(above: np.ndarray, here: np.ndarray, below: np.ndarray, marks: np.ndarray, is_second: bool) -> None:
    """What Zhang and Suen's first or second pass takes off, 64 pixels at a time; a loop without any branch."""
    for i in range(marks.size):
        n, ne, e, se, s, sw, w, nw = _ring_of(above, here, below, i)
        # rises, from background to foreground on the way round: there is one, and no second
        rises = (~n & ne, ~ne & e, ~e & se, ~se & s, ~s & sw, ~sw & w, ~w & nw, ~nw & n)
        rise, second_rise = _once_and_twice(rises)
        # with one rise, 3 to 6 neighbours are: three foreground ones in a row, and two background ones in a row
        many = n & ne & e | ne & e & se | e & se & s | se & s & sw | s & sw & w | sw & w & nw | w & nw & n | nw & n & ne
        full = (n | ne) & (ne | e) & (e | se) & (se | s) & (s | sw) & (sw | w) & (w | nw) & (nw | n)
        inner = n & w & (e | s) if is_second else e & s & (n | w)
        marks[i] = here[i + 1] & rise & ~second_rise & many & ~full & ~inner


@njit(cache=True)
def _take(
    above: np.ndarray, here: np.ndarray, below: np.ndarray, marks: np.ndarray, gone: np.ndarray, columns: np.uint64
) -> bool:
    """Remove the marked pixels of these columns of one row that may still go (see `_rules`); whether any went."""
    for i in range(gone.size):
        n, ne, e, se, s, sw, w, nw = _ring_of(above, here, below, i)
        _, has_two = _once_and_twice((n, ne, e, se, s, sw, w, nw))
        crossing, second_crossing = _once_and_twice((~n & (ne | e), ~e & (se | s), ~s & (sw | w), ~w & (nw | n)))
        gone[i] = here[i + 1] & marks[i] & columns & crossing & ~second_crossing & has_two
    some = NONE
    for i in range(gone.size):
        here[i + 1] &= ~gone[i]
        some |= gone[i]
    return some != NONE


@njit(cache=True)
def _peel(words: np.ndarray, rows: int, row_words: int) -> None:
    """Both passes in turn until neither removes anything, in place; one word of margin before and after the rows."""
    size = (rows - 2) * row_words  # of the rows that have one above and one below
    above, here, below = words[: size + 2], words[row_words : row_words + size + 2], words[2 * row_words :]
    marks, gone = np.zeros(size, np.uint64), np.zeros(row_words, np.uint64)
    idle_passes, is_second = 0, False
    while idle_passes < 2:
        idle_passes += 1
        _mark(above, here, below, marks, is_second)
        for parity in range(2):
            for y in range(parity, rows - 2, 2):
                a, b = y * row_words, (y + 1) * row_words
                marked, _ = _once_and_twice(marks[a:b])
                if marked == NONE:
                    continue
                row = (above[a : b + 2], here[a : b + 2], below[a : b + 2], marks[a:b], gone)
                for columns in (EVEN_COLUMNS, ~EVEN_COLUMNS):
                    if _take(*row, columns):
                        idle_passes = 0
        is_second = not is_second


@njit(cache=True)
def _listed(octets: np.ndarray, count: int, skeleton: Skeleton) -> np.ndarray:
    """The `count` pixels of a skeleton packed in bytes, in raster order; fills in its flags and neighbourhoods."""
    pixels, ring, n = np.empty(count, np.int32), _ring(skeleton.stride), 0
    for i in range(octets.size):
        octet = octets[i]
        if octet:
            for k in range(8):
                if octet >> k & 1:
                    pixels[n] = 8 * i + k
                    skeleton.flags[8 * i + k] |= SKELETON
                    n += 1
    for p in pixels:
        for k in range(8):
            skeleton.neighbourhoods[p] |= (skeleton.flags[p + ring[k]] >> 1 & 1) << k
    return pixels


def thin(flags: np.ndarray, stride: int) -> tuple[np.ndarray, Skeleton]:
    """
    Skeleton of a mask: one pixel wide, 8-connected, with the mask's components and holes.

    The passes of Zhang and Suen (Comm. ACM 27, 1984), 64 pixels in a word, with two differences. A pixel of two
    neighbours stays (Lü and Wang, Comm. ACM 29, 1986): the original eats up diagonals of two pixels. And what a
    pass has marked is removed in four turns, even and odd rows and columns, only while it may still go: the original
    erases squares of 2 x 2 pixels. So no component is lost, and none is split.

    Parameters
    ----------
    flags, stride
        Mask as `padded` makes it; SKELETON is set where the skeleton is, in place.

    Returns
    -------
    pixels, skeleton
        Numbers of the skeleton's pixels, int32, in raster order; its images.
    """
    rows, row_words = flags.size // stride, stride // 64
    words = np.zeros(rows * row_words + 2, np.uint64)
    words[1:-1] = np.packbits(flags, bitorder="little").view(np.uint64)
    _peel(words, rows, row_words)
    skeleton = Skeleton(flags, np.zeros_like(flags), stride)
    pixels = _listed(words[1:-1].view(np.uint8), int(np.bitwise_count(words).sum()), skeleton)
    return tidy(pixels, skeleton), skeleton


@njit(cache=True)
def _erase(pixel: int, skeleton: Skeleton, ring: np.ndarray) -> None:
    """Take a pixel out of the skeleton."""
    skeleton.flags[pixel] = MASK
    for k in range(8):
        skeleton.neighbourhoods[pixel + ring[k]] &= ~np.uint8(1 << ((k + 4) & 7))


@njit(cache=True)
def erase_chains(which: np.ndarray, chains: Chains, degree: np.ndarray, skeleton: Skeleton) -> None:
    """Take the chains numbered in `which`, and their dead ends, out of the skeleton; degree: chains at each node."""
    ring = _ring(skeleton.stride)
    for k in which:
        for i in range(chains.starts[k], chains.starts[k + 1]):
            _erase(chains.pixels[i], skeleton, ring)
        for node in chains.edges[k]:
            if degree[node] == 1:
                _erase(chains.node_pixels[node], skeleton, ring)


@njit(cache=True)
def tidy(pixels: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Remove what the skeleton can lose without losing topology or ends; return the pixels that remain."""
    ring = _ring(skeleton.stride)
    changed = True
    while changed:
        changed = False
        for turn in (1, 2):
            n = 0  # pixels[:n] are those of this turn that stay
            for p in pixels:
                if not skeleton.flags[p] & SKELETON:
                    continue
                if TURNS[skeleton.neighbourhoods[p]] == turn:
                    _erase(p, skeleton, ring)
                    changed = True
                else:
                    pixels[n] = p
                    n += 1
            pixels = pixels[:n]
    return pixels


@njit(cache=True)
def trace(pixels: np.ndarray, skeleton: Skeleton) -> Chains:
    """
    Nodes and chains of a skeleton, `pixels` in raster order.

    A pixel with two neighbours is part of a chain. Any other pixel is a node: alone where it is an end, together
    with the touching ones where lines meet. A ring without a node gets one at its first pixel. An isolated pixel
    has no length and is left out.
    """
    flags, neighbourhoods, stride = skeleton
    ring = _ring(stride)
    for p in pixels:
        flags[p] = MASK | SKELETON
    size = pixels.size
    nodes, node_pixels = np.zeros((size, 2)), np.empty(size, np.int32)
    # pixels of nodes, node after node; the node of pixels[i], where it has one; pixels of a node still to look at
    members, owners, stack = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int32)
    node_count = member_count = 0
    for p in pixels:
        if NEIGHBOURS[neighbourhoods[p]] in (0, 2) or flags[p] & NODE:
            continue
        # a new node: the pixel, and those where lines meet that touch it, directly or through others
        flags[p] |= NODE
        stack[0], waiting, begin = p, 1, member_count
        while waiting:
            waiting -= 1
            q = stack[waiting]
            members[member_count], owners[np.searchsorted(pixels, q)] = q, node_count
            member_count += 1
            for k in range(8):
                r = q + ring[k]
                both_meet = NEIGHBOURS[neighbourhoods[q]] > 2 and NEIGHBOURS[neighbourhoods[r]] > 2
                if neighbourhoods[q] >> k & 1 and both_meet and not flags[r] & NODE:
                    flags[r] |= NODE
                    stack[waiting] = r
                    waiting += 1
        for i in range(begin, member_count):
            nodes[node_count, 0] += members[i] % stride / (member_count - begin)
            nodes[node_count, 1] += members[i] // stride / (member_count - begin)
        node_pixels[node_count] = p
        node_count += 1
    edges = np.empty((2 * size, 2), np.int32)
    starts, chain = np.zeros(2 * size + 1, np.int32), np.empty(size, np.int32)
    edge_count = filled = 0
    for i in range(member_count + size):
        # from the pixels of nodes first: then only rings are left, whose first pixel becomes their node
        p = members[i] if i < member_count else pixels[i - member_count]
        if i >= member_count:
            if flags[p] & (NODE | SEEN) or NEIGHBOURS[neighbourhoods[p]] != 2:
                continue
            flags[p] |= NODE
            nodes[node_count, 0], nodes[node_count, 1], node_pixels[node_count] = p % stride, p // stride, p
            owners[i - member_count] = node_count
            node_count += 1
        for k in range(8):
            q = p + ring[k]
            if not neighbourhoods[p] >> k & 1 or flags[q] & SEEN:
                continue
            # an end beside a node has no pixel between them: it is taken from the end, once
            is_single = NEIGHBOURS[neighbourhoods[q]] == 1
            if flags[q] & NODE and (NEIGHBOURS[neighbourhoods[p]] > 1 or (is_single and q < p)):
                continue
            before = p
            while not flags[q] & NODE:
                flags[q] |= SEEN
                chain[filled] = q
                filled += 1
                after = q
                for j in range(8):
                    if neighbourhoods[q] >> j & 1 and q + ring[j] != before:
                        after = q + ring[j]
                before, q = q, after
            edges[edge_count, 0] = owners[np.searchsorted(pixels, p)]
            edges[edge_count, 1] = owners[np.searchsorted(pixels, q)]
            edge_count += 1
            starts[edge_count] = filled
    return Chains(
        nodes[:node_count], node_pixels[:node_count], edges[:edge_count], starts[: edge_count + 1], chain[:filled]
    )
