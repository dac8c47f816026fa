#!/usr/bin/env bash
# One would think that clipping by (left, bottom, right, top) is clipping by the box of those numbers, but faster.
# Seen with geopandas 1.2.0: roads that run along the border of the box are kept with the box and lost with the numbers:
# where two tiles share that border, the road is in neither of them.
# Where from: four numbers go to shapely.clip_by_rect, which drops what only touches the border from outside or along
# it; the documentation speaks of slightly different results, such as points that a line shrinks to.
# Hurts: streets drawn on a grid of whole metres and cut by tiles of that grid: masks without them, and metres missing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(geopandas==1.2.0 shapely==2.2.0 pandas==3.1.1 numpy==2.4.6 pyproj==3.7.2)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import geopandas as gpd
import shapely
from shapely import LineString

print("geopandas", gpd.__version__, "shapely", shapely.__version__, "GEOS", shapely.geos_version_string)
lines = [LineString([(0, y), (200, y)]) for y in (50, 100, 150)]
roads = gpd.GeoDataFrame({"y": [50, 100, 150]}, geometry=lines, crs=32635)
tiles = [(0, 0, 200, 100), (0, 100, 200, 200)]
metres = {}
for how, mask in (("box", lambda t: shapely.box(*t)), ("numbers", lambda t: t)):
    parts = [gpd.clip(roads, mask(tile)) for tile in tiles]
    found = sorted({y for part in parts for y in part["y"]})
    metres[how] = [float(part.length.sum()) for part in parts]
    print(f"clipped by {how}: roads at y = {found}, metres a tile {metres[how]}")
assert metres["box"] == [400, 400]
assert metres["numbers"] == [200, 200]
EOF
