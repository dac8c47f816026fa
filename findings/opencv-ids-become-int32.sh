#!/usr/bin/env bash
# One would think that an array of int64, such as a raster of the ids of OpenStreetMap's ways (above 10**10 today), is refused
# by OpenCV, or comes back as int64: OpenCV 5 has that type.
# Seen with OpenCV 5.0.0: flip, transpose, resize (nearest), copyMakeBorder and compare take it as int32, of which the
# upper half is cut off without a word: way 10,000,000,001 becomes 1,410,065,409, another, existing object; 4,294,967,297
# and 1 are the same. uint32 is kept.
# Where from: the binding converts int64 and uint64 to int32 on the way in; OpenCV 4 did so, too.
# Hurts: id rasters that are flipped, tiled or resampled for training by objects, instance masks, joins back to the map.
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
ids = np.array([[10_000_000_001, 4_294_967_297, 1, 300]], np.int64)
flipped = cv2.flip(ids, 1)[:, ::-1]
larger = cv2.resize(ids, (8, 1), interpolation=cv2.INTER_NEAREST)[:, ::2]
print("flip twice", flipped.dtype, flipped.tolist(), "\nresize", larger.dtype, larger.tolist())
assert flipped.dtype == larger.dtype == np.int32
assert flipped.tolist() == larger.tolist() == [[1_410_065_409, 1, 1, 300]]
assert cv2.compare(ids, np.ones_like(ids), cv2.CMP_EQ).tolist() == [[0, 255, 255, 0]]
wide = np.array([[4_000_000_000, 1]], np.uint32)
assert cv2.flip(wide, 1).tolist() == [[1, 4_000_000_000]]
EOF
