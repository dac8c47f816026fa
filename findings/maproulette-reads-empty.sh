#!/usr/bin/env bash
# One would think that GDAL reads a MapRoulette challenge, one FeatureCollection a line behind a record separator (RFC
# 7464), or says that it cannot.
# Seen with pyogrio 0.13.0 (GDAL 3.12.4): it opens without an error and holds nothing: no row, no column but geometry.
# The same lines with a Feature instead of a FeatureCollection give every row.
# Where from: the separator makes it a file of GeoJSONSeq, whose records must be Features or geometries; others are
# passed over. Without the separators GDAL does raise.
# Hurts: tasks of missing roads sent for checking and read back "to see what is open": nothing is, all seems mapped.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(pyogrio==0.13.0 geopandas==1.2.0 shapely==2.2.0 pandas==3.1.1 numpy==2.4.6 pyproj==3.7.2)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import json

import geopandas as gpd
import pyogrio
from shapely import LineString
from shapely.geometry import mapping

print("geopandas", gpd.__version__, "pyogrio", pyogrio.__version__, "GDAL", pyogrio.__gdal_version_string__)
tasks = [
    {"type": "Feature", "properties": {"task": i}, "geometry": mapping(LineString([(i, 0), (i, 1)]))} for i in range(3)
]
with open("features.geojson", "w") as file:
    file.writelines("\x1e" + json.dumps(task) + "\n" for task in tasks)
with open("collections.geojson", "w") as file:
    file.writelines("\x1e" + json.dumps({"type": "FeatureCollection", "features": [task]}) + "\n" for task in tasks)
seen = {name: gpd.read_file(name) for name in ("features.geojson", "collections.geojson")}
for name, frame in seen.items():
    print(name, len(frame), "rows, columns", list(frame.columns))
assert [len(frame) for frame in seen.values()] == [3, 0]
assert list(seen["collections.geojson"].columns) == ["geometry"]
EOF
