"""
Binary mask -> cleaned mask -> one-pixel skeleton -> chains of pixels, compiled, over flat arrays.

Every array here is one padded image laid flat: `stride` pixels a row, MARGIN background pixels around the mask,
so that a pixel is one integer and its neighbours are constant offsets. Work follows runs, words of 64
pixels or lists of pixels, never the whole image a pixel at a time.
"""

import numpy as np
from numba import njit

NONE, ONE, LAST = np.uint64(0), np.uint64(1), np.uint64(63)
EVEN_COLUMNS = np.uint64(0x5555555555555555)
MARGIN = 1  # background pixels around the mask, px: every pixel of the mask then has eight neighbours

MASK, SKELETON, NODE, SEEN = 1, 2, 4, 8  # flags of a pixel: what it is part of; SEEN: its chain is traced


def _rules() -> tuple[np.ndarray, np.ndarray]:
    """
    In which turn of `tidy` a pixel may go, and how many neighbours it has, for each of its 256 neighbourhoods.

    Bit k of a neighbourhood says that neighbour k is foreground; k runs clockwise from north. A pixel may go if it
    is simple (Yokoi's number for an 8-connected foreground is 1: without it there are as many components and holes)
    and not the end of a line: in turn 1 the inner corners of stairs, in turn 2 all others. 0: it stays.
    """
    turns, counts = np.zeros(256, np.uint8), np.zeros(256, np.uint8)
    for code in range(256):
        ring = [code >> k & 1 for k in range(8)]
        counts[code] = sum(ring)
        yokoi = sum(not ring[k] and (ring[k + 1] or ring[(k + 2) % 8]) for k in (0, 2, 4, 6))
        corner = any(ring[k] and ring[(k + 2) % 8] for k in (0, 2, 4, 6))
        if yokoi == 1 and counts[code] >= 2:
            turns[code] = 1 if corner else 2
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
def _ring(stride):
    return np.array([-stride, 1 - stride, 1, stride + 1, stride, stride - 1, -1, -stride - 1], np.int32)


@njit(cache=True)
def radius(state, stride, p):
    """Euclidean distance from a foreground pixel to the nearest background pixel, px; squares growing around it."""
    y, x, rows = p // stride, p % stride, state.size // stride
    best, reach = np.int64(1) << 60, 0
    while reach * reach < best:
        reach += 1
        for dy in (-reach, reach):
            if 0 <= y + dy < rows:
                for dx in range(max(-reach, -x), min(reach, stride - 1 - x) + 1):
                    if not state[p + dy * stride + dx] & MASK:
                        best = min(best, dx * dx + dy * dy)
        for dx in (-reach, reach):
            if 0 <= x + dx < stride:
                for dy in range(max(1 - reach, -y), min(reach - 1, rows - 1 - y) + 1):
                    if not state[p + dy * stride + dx] & MASK:
                        best = min(best, dx * dx + dy * dy)
    return np.sqrt(best)


@njit(cache=True)
def _ring_of(above, here, below, i):
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
def _mark(above, here, below, marks, second):
    """What Zhang and Suen's first or second pass takes off, 64 pixels at a time; a loop without any branch."""
    for i in range(marks.size):
        n, ne, e, se, s, sw, w, nw = _ring_of(above, here, below, i)
        # rises: from background to foreground on the way round; one is wanted, and no second
        one, two = ~n & ne, NONE
        for rise in (~ne & e, ~e & se, ~se & s, ~s & sw, ~sw & w, ~w & nw, ~nw & n):
            two |= one & rise
            one |= rise
        # with one rise, 3 to 6 neighbours are: three foreground ones in a row, and two background ones in a row
        many = n & ne & e | ne & e & se | e & se & s | se & s & sw | s & sw & w | sw & w & nw | w & nw & n | nw & n & ne
        full = (n | ne) & (ne | e) & (e | se) & (se | s) & (s | sw) & (sw | w) & (w | nw) & (nw | n)
        inner = n & w & (e | s) if second else e & s & (n | w)
        marks[i] = here[i + 1] & one & ~two & many & ~full & ~inner


@njit(cache=True)
def _take(above, here, below, marks, gone, columns):
    """Remove the marked pixels of these columns of one row that may still go (see `_rules`); whether any went."""
    for i in range(gone.size):
        n, ne, e, se, s, sw, w, nw = _ring_of(above, here, below, i)
        one, two = n, NONE
        for other in (ne, e, se, s, sw, w, nw):
            two |= one & other
            one |= other
        inner = two
        one, two = ~n & (ne | e), NONE
        for border in (~e & (se | s), ~s & (sw | w), ~w & (nw | n)):
            two |= one & border
            one |= border
        gone[i] = here[i + 1] & marks[i] & columns & one & ~two & inner
    some = NONE
    for i in range(gone.size):
        here[i + 1] &= ~gone[i]
        some |= gone[i]
    return some != NONE


@njit(cache=True)
def _peel(bits, rows, stride):
    """Both passes in turn until neither removes anything, in place; one word of margin before and after the rows."""
    size = (rows - 2) * stride
    above, here, below = bits[: size + 2], bits[stride : stride + size + 2], bits[2 * stride :]
    marks, gone = np.zeros(size, np.uint64), np.zeros(stride, np.uint64)
    idle, second = 0, False
    while idle < 2:
        idle += 1
        _mark(above, here, below, marks, second)
        for parity in range(2):
            for y in range(parity, rows - 2, 2):
                a, b = y * stride, (y + 1) * stride
                some = NONE
                for mark in marks[a:b]:
                    some |= mark
                if some == NONE:
                    continue
                row = (above[a : b + 2], here[a : b + 2], below[a : b + 2], marks[a:b], gone)
                for columns in (EVEN_COLUMNS, ~EVEN_COLUMNS):
                    if _take(*row, columns):
                        idle = 0
        second = not second


@njit(cache=True)
def _listed(octets, count, state, code, stride):
    """The pixels of a packed skeleton in raster order; flags and neighbourhoods of each, in place."""
    points, ring, n = np.empty(count, np.int32), _ring(stride), 0
    for i in range(octets.size):
        octet = octets[i]
        if octet:
            for k in range(8):
                if octet >> k & 1:
                    points[n] = 8 * i + k
                    state[8 * i + k] |= SKELETON
                    n += 1
    for p in points:
        for k in range(8):
            code[p] |= (state[p + ring[k]] >> 1 & 1) << k
    return points


def thin(state: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Skeleton of a mask: one pixel wide, 8-connected, with the mask's components and holes.

    The passes of Zhang and Suen (Comm. ACM 27, 1984), 64 pixels in a word, with two differences. A pixel of two
    neighbours stays (Lü and Wang, Comm. ACM 29, 1986): the original eats up diagonals of two pixels. And what a
    pass has marked is removed in four turns, even and odd rows and columns, only while it may still go: the original
    erases squares of 2 x 2 pixels. So no component is lost, and none is split.

    Parameters
    ----------
    state
        Flat padded uint8 mask; SKELETON is set where it is, in place.

    Returns
    -------
    points, code
        Pixels of the skeleton in raster order; the neighbourhood of each, in a flat image.
    """
    rows, words = state.size // stride, stride // 64
    bits = np.zeros(rows * words + 2, np.uint64)
    bits[1:-1] = np.packbits(state, bitorder="little").view(np.uint64)
    _peel(bits, rows, words)
    code = np.zeros_like(state)
    points = _listed(bits[1:-1].view(np.uint8), int(np.bitwise_count(bits).sum()), state, code, stride)
    return tidy(points, state, code, stride), code


@njit(cache=True)
def erase(p, state, code, ring):
    """Take a pixel out of the skeleton."""
    state[p] = MASK
    for k in range(8):
        code[p + ring[k]] &= ~np.uint8(1 << ((k + 4) & 7))


@njit(cache=True)
def erase_chains(which, edges, node_pixel, degree, first, chain, state, code, stride):
    """Take chains and their dead ends out of the skeleton."""
    ring = _ring(stride)
    for k in which:
        for i in range(first[k], first[k + 1]):
            erase(chain[i], state, code, ring)
        for node in edges[k]:
            if degree[node] == 1:
                erase(node_pixel[node], state, code, ring)


@njit(cache=True)
def tidy(points, state, code, stride):
    """Remove what the skeleton can lose without losing topology or ends; return the pixels that remain."""
    ring = _ring(stride)
    changed = True
    while changed:
        changed = False
        for turn in (1, 2):
            n = 0
            for p in points:
                if not state[p] & SKELETON:
                    continue
                if TURNS[code[p]] == turn:
                    erase(p, state, code, ring)
                    changed = True
                else:
                    points[n] = p
                    n += 1
            points = points[:n]
    return points


def trace(points: np.ndarray, state: np.ndarray, code: np.ndarray, stride: int) -> tuple[np.ndarray, ...]:
    """
    Nodes and chains of a skeleton.

    A pixel with two neighbours is part of a chain. Any other pixel is a node: alone where it is an end, together
    with the touching ones where lines meet. A ring without a node gets one at its first pixel. An isolated pixel
    has no length and is left out.

    Returns
    -------
    nodes
        (n, 2) float64: mean column and row of each node's pixels, in the padded image.
    node_pixel
        (n,) int32: one pixel of each node.
    edges
        (m, 2) int32: the nodes u, v that each chain joins.
    first, chain
        Pixels of chain k, from u to v without the nodes' own: chain[first[k]:first[k + 1]].
    """
    nodes, node_pixel, members, owner, edges, first, chain = _trace(points, state, code, stride)
    order = np.argsort(members)
    edges[:, 1] = owner[order[np.searchsorted(members, edges[:, 1], sorter=order)]]
    return nodes, node_pixel, edges, first, chain


@njit(cache=True)
def _trace(points, state, code, stride):
    """As `trace`, but each edge ends in a pixel: a member of the node that owns it."""
    ring = _ring(stride)
    for p in points:
        state[p] = MASK | SKELETON
    size = points.size
    nodes, node_pixel = np.zeros((size, 2)), np.empty(size, np.int32)
    members, owner, stack = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int32)
    n = total = 0
    for p in points:
        if NEIGHBOURS[code[p]] in (0, 2) or state[p] & NODE:
            continue
        state[p] |= NODE
        stack[0], top, begin = p, 1, total
        while top:
            top -= 1
            q = stack[top]
            members[total], owner[total] = q, n
            total += 1
            for k in range(8):
                r = q + ring[k]
                meet = code[q] >> k & 1 and NEIGHBOURS[code[q]] > 2 and NEIGHBOURS[code[r]] > 2
                if meet and not state[r] & NODE:
                    state[r] |= NODE
                    stack[top] = r
                    top += 1
        for i in range(begin, total):
            nodes[n, 0] += members[i] % stride / (total - begin)
            nodes[n, 1] += members[i] // stride / (total - begin)
        node_pixel[n] = p
        n += 1
    inner = total
    edges = np.empty((2 * size, 2), np.int32)
    first, chain = np.zeros(2 * size + 1, np.int32), np.empty(size, np.int32)
    m = filled = 0
    for i in range(inner + size):
        if i < inner:
            p, u = members[i], owner[i]
        else:
            p = points[i - inner]
            if state[p] & (NODE | SEEN) or NEIGHBOURS[code[p]] != 2:
                continue
            # only rings are left: the first pixel that is met becomes the node
            nodes[n, 0], nodes[n, 1], node_pixel[n] = p % stride, p // stride, p
            state[p] |= NODE
            members[total], owner[total], u = p, n, n
            n, total = n + 1, total + 1
        for k in range(8):
            q = p + ring[k]
            if not code[p] >> k & 1 or state[q] & SEEN:
                continue
            # an end beside a node has no pixel between them: it is taken from the end, once
            if state[q] & NODE and (NEIGHBOURS[code[p]] > 1 or (NEIGHBOURS[code[q]] == 1 and q < p)):
                continue
            before = p
            while not state[q] & NODE:
                state[q] |= SEEN
                chain[filled] = q
                filled += 1
                after = q
                for j in range(8):
                    if code[q] >> j & 1 and q + ring[j] != before:
                        after = q + ring[j]
                before, q = q, after
            edges[m, 0], edges[m, 1] = u, q
            m += 1
            first[m] = filled
    return nodes[:n], node_pixel[:n], members[:total], owner[:total], edges[:m], first[: m + 1], chain[:filled]
