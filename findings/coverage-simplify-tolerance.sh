#!/usr/bin/env bash
# One would think that shapely.coverage_simplify(parts, 1.0) keeps outlines within 1 of where they were, as simplify
# does.
# Seen with shapely 2.2.0: a wing 6 long and 0.1 wide goes entirely, 6 away from the result, and a bulge of 0.5 over 30
# stays, which simplify(1.0) takes away.
# Where from: documented as "roughly equal to the square root of the area of triangles that will be removed"
# (Visvalingam and Whyatt); geopandas.simplify_coverage passes it on.
# Hurts: rows of houses with shared walls, the case the function is made for: a tolerance chosen in metres on the ground
# says nothing about how far walls move.
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

print("shapely", shapely.__version__, "GEOS", shapely.geos_version_string)
neighbour = shapely.box(-10, 0, 0, 10)
wing = shapely.Polygon([(0, 0), (10, 0), (10, 4.95), (16, 5), (10, 5.05), (10, 10), (0, 10)])
bulge = shapely.Polygon([(0, 0), (30, 0), (30, 10), (15, 10.5), (0, 10)])
for name, house in (("wing of 6", wing), ("bulge of 0.5", bulge)):
    alone = shapely.simplify(house, 1.0)
    together = shapely.coverage_simplify([house, neighbour], 1.0)[0]
    moved = alone.hausdorff_distance(house), together.hausdorff_distance(house)
    print(f"{name}: moved by simplify {moved[0]}, by coverage_simplify {moved[1]}")
assert shapely.coverage_simplify([wing, neighbour], 1.0)[0].hausdorff_distance(wing) == 6
assert shapely.simplify(wing, 1.0).hausdorff_distance(wing) == 0
assert shapely.coverage_simplify([bulge, neighbour], 1.0)[0].hausdorff_distance(bulge) == 0
assert shapely.simplify(bulge, 1.0).hausdorff_distance(bulge) > 0
EOF
