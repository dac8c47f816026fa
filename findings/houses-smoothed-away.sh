#!/usr/bin/env bash
# One would think that taubin_smooth rounds the corners of a house and keeps about its size: its documentation says that
# Taubin smoothing prevents the shrinkage of plain averaging.
# Seen with shapelysmooth 0.2.1: with its defaults a house of 10 by 10 m has 5.6 m2 after its five steps, an L-shaped
# one of 500 m2 has 197; with 20 steps the first is a point. A road with two right angles loses a quarter of its length.
# With a vertex each metre the house keeps its 100 m2.
# Where from: by default factor is 0.5 and mu -0.5, where Taubin asks for a mu beyond the factor; a step then multiplies
# what turns from vertex to vertex by less than 1, never by more: for a square by 0.75. Footprints have few vertices, so
# all of their shape turns that fast.
# Hurts: footprints and centre lines that are smoothed after they were simplified. All stay valid, and where they were.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(shapelysmooth==0.2.1 shapely==2.2.0 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import shapely
from shapelysmooth import chaikin_smooth, taubin_smooth

print("shapelysmooth", version("shapelysmooth"), "shapely", shapely.__version__)
house = shapely.box(0, 0, 10, 10)
wings = shapely.Polygon([(0, 0), (30, 0), (30, 10), (10, 10), (10, 30), (0, 30)])
dense = shapely.segmentize(house, 1.0)
road = shapely.LineString([(0, 0), (100, 0), (100, 100), (200, 100)])
for name, shape in (("house", house), ("L-shaped", wings), ("a vertex each metre", dense)):
    after = taubin_smooth(shape)
    print(f"{name}: {shape.area:.0f} m2, smoothed {after.area:.1f}, by Chaikin {chaikin_smooth(shape).area:.1f}")
print(f"20 steps: {taubin_smooth(house, steps=20).area:.1g} m2")
print(f"road: {road.length:.0f} m, smoothed {taubin_smooth(road).length:.0f}")
assert abs(taubin_smooth(house).area - 100 * 0.75**10) < 0.01
assert taubin_smooth(house).is_valid and taubin_smooth(house).centroid.equals_exact(house.centroid, 1e-6)
assert taubin_smooth(house, steps=20).area < 0.01
assert taubin_smooth(wings).area < 200
assert abs(taubin_smooth(dense).area - 100) < 0.1
assert taubin_smooth(road).length < 0.76 * road.length
assert chaikin_smooth(house).area > 80
EOF
