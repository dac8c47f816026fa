#!/usr/bin/env bash
# One would think that a GeoPackage whose writer was killed reads as it was before: SQLite undoes what was half done.
# Seen with pyogrio 0.13.0 (GDAL 3.12.4): reading raises "attempt to write a readonly database", until some program opens
# the file for writing; then all is there.
# Where from: SQLite undoes it from the journal beside the file, at the first reading; GDAL opens for reading alone, and
# may not.
# Hurts: after a crash a map looks destroyed, and who deletes the journal to be rid of the error does destroy it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(geopandas==1.2.0 pyogrio==0.13.0 shapely==2.2.0)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import os
import signal
import sqlite3
import subprocess
import sys

import geopandas as gpd
import pyogrio
import shapely

KILLED = """
import os, signal, sqlite3
file = sqlite3.connect("map.gpkg", isolation_level=None)
file.create_function("ST_IsEmpty", 1, lambda geometry: 0)  # for the triggers of the spatial index
for name in ("MinX", "MaxX", "MinY", "MaxY"):
    file.create_function(f"ST_{name}", 1, lambda geometry: 0)
file.execute("PRAGMA cache_size = 1")  # pages go to the file as they are changed
file.execute("BEGIN")
file.execute("UPDATE roads SET status = 'accepted'")
os.kill(os.getpid(), signal.SIGKILL)
"""
print("pyogrio", pyogrio.__version__, "GDAL", pyogrio.__gdal_version__)
lines = shapely.linestrings([[[x, 0], [x, 1]] for x in range(5000)])
gpd.GeoDataFrame({"status": "open"}, index=range(5000), geometry=lines, crs=32635).to_file("map.gpkg", layer="roads")
assert subprocess.run([sys.executable, "-c", KILLED]).returncode == -signal.SIGKILL
print("beside each other:", sorted(name for name in os.listdir() if name.startswith("map")))
try:
    gpd.read_file("map.gpkg")
except pyogrio.errors.DataSourceError as error:
    print("reading:", error)
    assert "readonly" in str(error)
else:
    raise AssertionError("it is read")
file = sqlite3.connect("map.gpkg")
file.execute("SELECT count(*) FROM roads").fetchone()
file.close()
found = gpd.read_file("map.gpkg")
print("once SQLite has opened it for writing:", found["status"].value_counts().to_dict())
assert set(found["status"]) == {"open"} and len(found) == 5000
EOF
