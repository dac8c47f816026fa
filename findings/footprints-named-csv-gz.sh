#!/usr/bin/env bash
# One would think that GDAL looks into a file: Microsoft's building footprints, GeoJSON line by line in .csv.gz, are
# read as GeoJSON, or refused.
# Seen with pyogrio 0.13.0 (GDAL 3.12.4): through /vsigzip/ they open as CSV without an error: columns cut at commas, no
# geometry, and one building fewer, since the first line is the header. The same lines as .geojsonl are right.
# Where from: the CSV driver goes by the suffix and takes any text. The prefix GeoJSONSeq: before the path helps.
# Hurts: scripts that count footprints by tile or read their heights: one house a file is lost, and a tile of one house
# is empty.
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
import gzip
import json

import pyogrio
from shapely import box
from shapely.geometry import mapping

print("pyogrio", pyogrio.__version__, "GDAL", pyogrio.__gdal_version_string__)
features = [
    {"type": "Feature", "properties": {"height": 4.5 + i}, "geometry": mapping(box(i, 0, i + 0.5, 1))} for i in range(3)
]
text = "".join(json.dumps(feature) + "\n" for feature in features)
with gzip.open("part.csv.gz", "wt") as file:
    file.write(text)
with open("part.geojsonl", "w") as file:
    file.write(text)
names = "part.geojsonl", "/vsigzip/part.csv.gz", "GeoJSONSeq:/vsigzip/part.csv.gz"
seen = {name: pyogrio.read_dataframe(name) for name in names}
for name, frame in seen.items():
    print(f"{name}: {type(frame).__name__}, {len(frame)} rows, columns {list(frame.columns)[:3]}")
plain, csv, told = seen.values()
assert len(plain) == len(told) == 3
assert list(plain.columns) == list(told.columns) == ["height", "geometry"]
assert len(csv) == 2 and "geometry" not in csv.columns
EOF
