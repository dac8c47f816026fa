"""How a process holds memory."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator

# Of glibc's malloc.h: which limit mallopt() sets, its value here, and the one that follows. Setting one ends glibc's
# own adjusting for good, and what it begins with then maps and zeroes each block above 128 KiB anew, of which GDAL's
# threads took three times the CPU time: these are where its adjusting ends.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_LIMITS = (_TRIM_THRESHOLD, 2**31 - 1, 2**26), (_MMAP_THRESHOLD, 2**25, 2**25), (_MMAP_MAX, 0, 2**16)
_KEEPING: list[None] = []  # an entry for each block of freed_memory_kept that is open: the limits are the process's


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """
    Memory that is freed stays with the process until the end of the block, on Linux with glibc; elsewhere no effect.

    By default, glibc hands each large array's memory back to the system and has it zeroed page by page for the next
    one, which takes a CPU up to a quarter of a training step, a seventh of a prediction and a tenth of cutting chips.
    Peak memory grows by a few per cent. Blocks may lie in one another.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    for limit, value, _ in _LIMITS:
        libc.mallopt(limit, value)
    _KEEPING.append(None)
    try:
        yield
    finally:
        _KEEPING.pop()
        if not _KEEPING:
            for limit, _, later in _LIMITS:
                libc.mallopt(limit, later)
            libc.malloc_trim(0)
