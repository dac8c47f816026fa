#!/usr/bin/env bash
# One would think that moving a mask by half a pixel with the nearest neighbour moves it by nothing or by one pixel.
# Seen with OpenCV 5.0.0: cv2.warpAffine with INTER_NEAREST rounds each target's place to the even pixel, so that even
# columns come twice and odd ones never: a street of one pixel is doubled or gone, depending on where it lies.
# Where from: the new kernels of version 5; 4.12.0 moves every column. Its cv2.remap behaves like this in both. A shift
# by a quarter of a pixel more or less keeps all columns.
# Hurts: half a pixel is what lies between the conventions of pixel centres and pixel corners, so masks are moved by
# just that, and half of their thin roads go.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(opencv-python-headless==5.0.0.93 numpy==2.4.6)
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

print("opencv", cv2.__version__, "numpy", np.__version__)


def moved(columns, shift):
    mask = np.zeros((8, 64), np.uint8)
    mask[:, columns] = 255
    matrix = np.array([[1, 0, shift], [0, 1, 0]], np.float32)
    return np.flatnonzero(cv2.warpAffine(mask, matrix, (64, 8), flags=cv2.INTER_NEAREST)[4]).tolist()


odd, even = [11, 21, 31, 41], [10, 20, 30, 40]
for shift in (0.25, 0.5, 0.75):
    print(f"shift {shift}: streets at {odd} -> {moved(odd, shift)}; at {even} -> {moved(even, shift)}")
assert moved(odd, 0.5) == []
assert len(moved(even, 0.5)) == 2 * len(even)
assert len(moved(odd, 0.25)) == len(moved(odd, 0.75)) == len(odd)
EOF
