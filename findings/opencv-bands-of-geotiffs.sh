#!/usr/bin/env bash
# One would think that cv2.imread with IMREAD_UNCHANGED gives the numbers of a GeoTIFF's bands, as it says.
# Seen with OpenCV 5.0.0 on files that rasterio 1.4.4 writes by default: of four bands of 8 bits (red, green, blue, infrared)
# the colours come multiplied by infrared / 255: 200 becomes 31 where infrared is 40. Of three or four bands of 16 bits comes
# one: their grey mixture, or, where the file holds band after band, the first.
# Where from: GDAL calls the fourth of four bytes alpha, and OpenCV reads such files by libtiff's TIFFReadRGBA, which
# multiplies colours by alpha; GDAL calls three bands of 16 bits grey with two extras, and OpenCV believes it.
# Hurts: water and asphalt, dark in infrared, turn black in training and prediction; scenes of 11 bits lose their colours,
# and nothing is said. With photometric="RGB" bands of 16 bits are read as they are.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(opencv-python-headless==5.0.0.93 rasterio==1.4.4 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import warnings

import cv2
import numpy as np
import rasterio

warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
print("opencv", cv2.__version__, "rasterio", rasterio.__version__, "gdal", rasterio.__gdal_version__)


def read(values, dtype, **options):
    """The pixels of a GeoTIFF of constant bands, by OpenCV: shape, and the first one, in the file's order of bands."""
    form = {"driver": "GTiff", "width": 80, "height": 64, "count": len(values), "dtype": dtype}
    with rasterio.open("scene.tif", "w", **form, **options) as file:
        file.write(np.broadcast_to(np.array(values, dtype)[:, None, None], (len(values), 64, 80)))
    pixels = cv2.imread("scene.tif", cv2.IMREAD_UNCHANGED)
    first = np.atleast_1d(pixels[0, 0])
    order = [2, 1, 0, 3][: len(first)] if len(first) > 1 else [0]
    print(values, dtype, options, "read as", pixels.shape, first[order].tolist())
    return first[order].tolist()


assert read([200, 100, 30, 40], "uint8") == [31, 16, 5, 40]
assert read([200, 100, 30, 255], "uint8") == [200, 100, 30, 255]
assert read([2000, 1000, 300], "uint16", interleave="pixel") == [1219]  # 0.299 red + 0.587 green + 0.114 blue
assert read([2000, 1000, 300, 40], "uint16", interleave="pixel") == [1219]
assert read([2000, 1000, 300], "uint16", interleave="band") == [2000]
assert read([2000, 1000, 300], "uint16", photometric="RGB") == [2000, 1000, 300]  # what works
EOF
