#!/usr/bin/env bash
# One would think that cv2.minAreaRect gives angles above 0 and up to 90 degrees, as OpenCV 4.5.1 to 4.12 do.
# Seen with OpenCV 5.0.0: angles from -90 up to, not including, 0; width and height are swapped with them, so that the
# rectangle is the same but its numbers are not. A house along the axes, 20 x 10, has angle -90, width 10, height 20.
# Where from: not announced by any warning; 4.12.0 gives 90 where 5.0.0 gives -90 for the same points.
# Hurts: the usual rule "subtract 90 if above 45", which turns a house upright the shorter way, now turns it by up to 90
# degrees, on its other side; angles stored by one version, or learnt for oriented boxes, are wrong in the other.
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
corners = np.array([[-10, -5], [10, -5], [10, 5], [-10, 5]], float)
angles, left = [], []
for turn in range(0, 90, 10):
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    _, (width, height), angle = cv2.minAreaRect((corners @ [[c, s], [-s, c]] + 50).astype(np.float32))
    levelled = angle - 90 if angle > 45 else angle
    print(f"turned by {turn:2}: angle {angle:6.1f}, {width:.0f} x {height:.0f}, by the usual rule {levelled:6.1f}")
    angles.append(angle)
    left.append(abs(levelled))
assert -90 <= min(angles) and max(angles) < 0
assert angles[0] == -90
assert max(left) > 45  # OpenCV 4: never more than 45
EOF
