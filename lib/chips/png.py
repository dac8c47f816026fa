"""
8-bit PNGs, written in a third of the time that libpng and zlib take, and no larger, by Intel's ISA-L.

A pixel of an image is stored as its difference to the mean of the one to its left and the one above, a pixel of a mask
as it is (PNG specification, third edition, chapter 9); libpng tries five filters on each row. Any reader takes them.
"""

import struct

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2  # colour types
NONE, AVERAGE = 0, 3  # filters
LEVEL = 1  # of ISA-L's 0 to 3: images from above have few repeats for the others to find
STRIP_PX = 64  # rows filtered together: all that is needed of them stays in a core's cache, which takes half the time


def encode_png(image: np.ndarray) -> bytes:
    """Bytes of a PNG of uint8 (H, W) or RGB (H, W, 3)."""
    from isal import isal_zlib  # here: who only reads chips, as a training does, needs none

    height, width = image.shape[:2]
    rows = np.empty((height, 1 + image[0].size), np.uint8)  # each begins with its filter
    if image.ndim == 2:
        rows[:, 0], rows[:, 1:] = NONE, image
    else:
        rows[:, 0] = AVERAGE
        framed = np.zeros((1 + height, 3 + 3 * width), np.uint8)  # beyond its edges an image is 0
        framed[1:, 3:] = image.reshape(height, -1)
        for top in range(0, height, STRIP_PX):
            strip = framed[top + 1 : top + 1 + STRIP_PX]
            left, above = strip[:, :-3], framed[top : top + len(strip), 3:]
            mean = (left & above) + ((left ^ above) >> 1)  # rounded down; a sum of bytes would overflow
            np.subtract(strip[:, 3:], mean, out=rows[top : top + STRIP_PX, 1:])  # modulo 256, as the specification says
    header = struct.pack(">IIBBBBB", width, height, 8, GREY if image.ndim == 2 else RGB, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = isal_zlib.crc32(data, isal_zlib.crc32(kind))
        return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", crc)))

    pixels = isal_zlib.compress(rows, LEVEL)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
