#!/usr/bin/env bash
# One would think that a JPEG has the same pixels whoever reads it, give or take one level of rounding.
# Seen with rasterio 1.4.4's wheel for Linux and OpenCV 5.0.0: where colours are stored at half the resolution (4:2:0, which
# JPEG GeoTIFFs and map tiles mostly are), a fifth of the pixels of a roof's edges and roads differs by more than 8 of 255
# levels, by up to 78. Stored in full (4:4:4), all agree within 1. Pillow agrees with OpenCV to the last bit. rasterio also takes
# several times the CPU time.
# Where from: rasterio's wheel brings libjpeg 9 of the Independent JPEG Group, OpenCV and Pillow libjpeg-turbo. The former
# enlarges colours by a transform of twice the size, the latter by a triangle; both are allowed. The former has no SIMD.
# Hurts: a network trained on chips that OpenCV read sees other colours along every edge on a map that rasterio reads; a scene
# compared to its copy "differs"; and decoding is most of the time of cutting chips. conda-forge's GDAL has libjpeg-turbo.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(opencv-python-headless==5.0.0.93 rasterio==1.4.4 pillow==13.0.0 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import time
import warnings

import cv2
import numpy as np
import rasterio
from PIL import Image

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
cv2.setNumThreads(1)
print("opencv", cv2.__version__, "rasterio", rasterio.__version__, "gdal", rasterio.__gdal_version__)

row, col = np.mgrid[:1024, :1024]
scene = np.full((1024, 1024, 3), (90, 120, 60), np.uint8)  # meadow
scene[(col + 2 * row) % 64 < 12] = 200, 60, 50  # roofs of tiles
scene[400:560, 240:800] = 40, 60, 200  # a pool


def by_rasterio():
    with rasterio.open("scene.jpg") as file:
        return np.moveaxis(file.read(), 0, -1).astype(int)


def cpu_ms(read):
    """Least of five turns."""
    turns = []
    for _ in range(5):
        start = time.process_time()
        read()
        turns.append(1000 * (time.process_time() - start))
    return min(turns)


def difference(subsampling):
    """Greatest difference of rasterio to OpenCV, and share of pixels that differ by more than 8 levels."""
    Image.fromarray(scene).save("scene.jpg", quality=88, subsampling=subsampling)
    opencv = cv2.imread("scene.jpg", cv2.IMREAD_COLOR_RGB).astype(int)
    assert np.array_equal(opencv, np.asarray(Image.open("scene.jpg")))
    levels = np.abs(by_rasterio() - opencv).max(axis=-1)
    print(subsampling, "differ by up to", levels.max(), "levels; by more than 8:", round(float((levels > 8).mean()), 3))
    return levels.max(), (levels > 8).mean()


most, share = difference("4:2:0")
print(f"CPU ms: rasterio {cpu_ms(by_rasterio):.0f}, opencv {cpu_ms(lambda: cv2.imread('scene.jpg')):.0f}")  # not asserted
assert most > 40 and share > 0.15
most, share = difference("4:4:4")
assert most <= 1 and share == 0
EOF
