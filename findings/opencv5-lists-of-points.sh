#!/usr/bin/env bash
# One would think that OpenCV 5 hands lists of points over as OpenCV 4 does, with an axis of length 1 in the middle.
# Seen with OpenCV 5.0.0: cv2.findNonZero gives (n, 2) and cv2.HoughLinesP (n, 4), without that axis; cv2.findContours,
# approxPolyDP and HoughLines keep theirs, (n, 1, 2). So the customary [:, 0] now takes x alone from findNonZero.
# Where from: version 5 knows arrays of one dimension; seen, not told by any error. 4.12.0 gives (n, 1, 2), (1, 1, 4).
# reshape(-1, 2) or reshape(-1, 4) reads both versions.
# Hurts: road pixels and line segments taken from masks: the first lose their rows without an error, loops over the
# second stop.
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
mask = np.zeros((64, 64), np.uint8)
cv2.line(mask, (5, 10), (55, 40), 255)
pixels = cv2.findNonZero(mask)
segments = cv2.HoughLinesP(mask, 1, np.pi / 180, 20, minLineLength=20, maxLineGap=3)
contour = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0]
print("findNonZero", pixels.shape, "HoughLinesP", segments.shape, "findContours", contour.shape)
print("findNonZero(mask)[:, 0] starts with", pixels[:, 0][:4].tolist())
assert pixels.shape == (np.count_nonzero(mask), 2)
assert segments.ndim == 2 and segments.shape[1] == 4
assert contour.shape[1:] == (1, 2)
assert pixels[:, 0].shape == (len(pixels),)
EOF
