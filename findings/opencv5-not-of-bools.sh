#!/usr/bin/env bash
# One would think that cv2.bitwise_not of a NumPy array of bools, which OpenCV 5 takes where 4 refused it, is its opposite,
# as ~mask is.
# Seen with OpenCV 5.0.0: it inverts bytes, and its bools are the bytes 0 and 1: True becomes the byte 254, False 255. Both are
# true, so that the opposite of any mask is true everywhere; and ~ of the result is false everywhere.
# Where from: OpenCV 5 has a type of bools and hands it on as such; and, or and xor of bools are right, so are flips.
# Hurts: whoever inverts a mask of roads, of validity or of no-data by OpenCV gets one without any hole, and no error.
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
road = np.zeros((4, 6), bool)
road[1:3] = True
opposite = cv2.bitwise_not(road)
print("road", road.sum(), "of", road.size, "- its opposite", opposite.sum(), opposite.dtype, "- bytes", np.unique(opposite.view(np.uint8)))
assert opposite.dtype == bool and opposite.all()
assert np.unique(opposite.view(np.uint8)).tolist() == [254, 255]
assert not np.logical_not(opposite).any()
assert (cv2.bitwise_xor(road, np.ones_like(road)) == ~road).all()  # what works
EOF
