#!/usr/bin/env bash
# One would think that the Fréchet distance of a road to itself is 0, however many vertices somebody gave it.
# Seen with Shapely 2.2.0 (GEOS 3.14): of a straight road of 100 m to the same with a vertex in its middle it is 50 m, half the
# longest segment; the Hausdorff distance is 0. `densify=0.01` brings it to a hundredth of that length.
# Where from: GEOS compares vertex with vertex, which it calls the discrete distance; the name says nothing of it.
# Hurts: matching roads of a map to roads of a network by Fréchet distance prefers roads with like vertices to like roads:
# here a road 30 m beside the true one, drawn by two vertices, is nearer than the true one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(shapely==2.2.0 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import shapely

print("shapely", shapely.__version__, "geos", shapely.geos_version_string)
road = shapely.LineString([(0, 0), (100, 0)])
same = shapely.LineString([(0, 0), (50, 0), (100, 0)])
beside = shapely.LineString([(0, 30), (100, 30)])
assert shapely.equals(road, same)
print("to itself", shapely.frechet_distance(road, same), "- to one 30 m beside", shapely.frechet_distance(road, beside))
print("Hausdorff", shapely.hausdorff_distance(road, same), "- densified", shapely.frechet_distance(road, same, densify=0.01))
assert shapely.frechet_distance(road, same) == 50
assert shapely.frechet_distance(road, beside) == 30
assert shapely.hausdorff_distance(road, same) == 0
assert shapely.frechet_distance(road, same, densify=0.01) <= 1.01
EOF
