#!/usr/bin/env bash
# One would think that pyproj's Geod.geometry_area_perimeter takes a courtyard off a building's area.
# Seen with pyproj 3.7.2: where the hole runs in the same direction as the outline, as in shapely.Polygon(outline,
# [hole]) with both counter-clockwise, its area is added: a block of 111 m with a court of 67 m has 16740 m2, not 7878.
# Where from: each ring is measured with its sign and summed; the documentation warns of the directions, nothing fails:
# the polygon is valid, and its planar area is right. shapely.orient_polygons first gives the true area.
# Hurts: footprints with courtyards, and minimum areas or totals by district reckoned from them in square metres.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(pyproj==3.7.2 shapely==2.2.0 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import pyproj
import shapely

print("pyproj", pyproj.__version__, "PROJ", pyproj.proj_version_str, "shapely", shapely.__version__)
outline = [(0, 0), (0.001, 0), (0.001, 0.001), (0, 0.001)]
court = [(0.0002, 0.0002), (0.0008, 0.0002), (0.0008, 0.0008), (0.0002, 0.0008)]
block = shapely.Polygon(outline, [court])
geod = pyproj.Geod(ellps="WGS84")
solid, given, turned = (
    geod.geometry_area_perimeter(g)[0] for g in (shapely.Polygon(outline), block, shapely.orient_polygons(block))
)
print(f"without a court {solid:.0f} m2, as made {given:.0f} m2, after orient_polygons {turned:.0f} m2")
print("valid:", block.is_valid, "- planar area of block by solid:", round(block.area / 1e-6, 3))
assert block.is_valid
assert given > 1.3 * solid > 1.3 * turned
assert abs(turned / solid - 0.64) < 1e-3
EOF
