#!/usr/bin/env bash
# One would think that a morphological closing only ever adds pixels, and does the same in scipy and OpenCV.
# Seen with scipy 1.17.1: ndimage.binary_closing removes what lies at the edge of the image: a road that crosses a chip
# loses a pixel at both ends for each pixel of the element's reach. cv2.morphologyEx keeps it whole.
# Where from: scipy's erosion takes what lies outside as background (border_value=0) and cannot be told otherwise
# without spoiling the dilation before it; OpenCV leaves the outside out.
# Hurts: masks closed chip by chip: every road is cut at every seam, and a graph of the mosaic falls into tiles.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(scipy==1.17.1 opencv-python-headless==5.0.0.93 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import cv2
import numpy as np
import scipy
from scipy import ndimage

print("scipy", scipy.__version__, "opencv", cv2.__version__, "numpy", np.__version__)
road = np.zeros((64, 64), bool)
road[30:36] = True
disc = np.hypot(*np.mgrid[-3:4, -3:4]) <= 3
closed = ndimage.binary_closing(road, disc)
whole = cv2.morphologyEx(road.astype(np.uint8), cv2.MORPH_CLOSE, disc.astype(np.uint8)) > 0
lost = np.flatnonzero((road & ~closed).any(axis=0))
print("columns where scipy's closing takes road away:", lost.tolist())
print("road pixels", road.sum(), "scipy", closed.sum(), "OpenCV", whole.sum())
assert lost.tolist() == [0, 1, 2, 61, 62, 63]
assert not (road & ~whole).any()
worse = ndimage.binary_closing(road, disc, border_value=1)
print("with border_value=1 scipy has", worse.sum(), "pixels")
assert worse.sum() > road.sum()  # the dilation grows in from the edge
EOF
