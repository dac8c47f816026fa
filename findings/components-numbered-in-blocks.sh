#!/usr/bin/env bash
# One would think that cv2.connectedComponents numbers components like scipy.ndimage.label: in reading order of their
# first pixels. Both find the same components of the same pixels.
# Seen with OpenCV 5.0.0: with 8 neighbours, its default, rows are walked in pairs: what starts in the second row of a
# pair at the left gets a lower number than what starts in the first row further right. With 4 neighbours it agrees.
# Where from: OpenCV's default algorithm reads blocks of 2 x 2 pixels; the documentation promises no order.
# Hurts: building numbers joined by label between two tools (areas from one, boxes from the other) mix up houses, and
# only some of them, so that totals look right.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(opencv-python-headless==5.0.0.93 scipy==1.17.1 numpy==2.4.6)
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

print("opencv", cv2.__version__, "scipy", scipy.__version__, "numpy", np.__version__)
rng = np.random.default_rng(0)
mask = np.zeros((400, 400), np.uint8)
for x, y in rng.integers(0, 40, (300, 2)) * 10:
    mask[y + rng.integers(3) :, x:][:6, :7] = 1
count, ours = cv2.connectedComponents(mask, connectivity=8)
theirs, number = ndimage.label(mask, np.ones((3, 3)))
pairs = np.unique(np.column_stack([ours[mask > 0], theirs[mask > 0]]), axis=0)
other = int((pairs[:, 0] != pairs[:, 1]).sum())
print(f"{count - 1} and {number} buildings, the same pixels; {other} of them have another number")
four = cv2.connectedComponents(mask, connectivity=4)[1]
agree = np.array_equal(four, ndimage.label(mask)[0])
print("with 4 neighbours the numbers agree:", agree)
assert count - 1 == number == len(pairs)
assert other > number // 4
assert agree
EOF
