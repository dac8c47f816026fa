#!/usr/bin/env bash
# One would think that rasterio and pyogrio share one GDAL: its options, and its files in memory.
# Seen with the wheels of rasterio 1.4.4 (GDAL 3.10.3) and pyogrio 0.13.0 (GDAL 3.12.4): each brings its own. An option
# set with rasterio.Env does not exist for pyogrio, and a rasterio MemoryFile is a missing file to it.
# Where from: wheels carry their libraries inside; documented for neither where they meet.
# Hurts: credentials, time limits and cache sizes set once with rasterio.Env hold for images and not for labels; code
# that ran where both were built against one GDAL stops after a move to wheels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(rasterio==1.4.4 pyogrio==0.13.0 geopandas==1.2.0 shapely==2.2.0 pandas==3.1.1 numpy==2.4.6 pyproj==3.7.2)
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
import pyogrio
import rasterio
from pyogrio.errors import DataSourceError
from rasterio.io import MemoryFile
from shapely import Point

print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)
print("pyogrio", pyogrio.__version__, "GDAL", pyogrio.__gdal_version_string__)
with rasterio.Env(GDAL_HTTP_TIMEOUT="7"):
    ours, theirs = rasterio.env.getenv().get("GDAL_HTTP_TIMEOUT"), pyogrio.get_gdal_config_option("GDAL_HTTP_TIMEOUT")
print("GDAL_HTTP_TIMEOUT inside rasterio.Env: rasterio", ours, "pyogrio", theirs)
text = gpd.GeoDataFrame(geometry=[Point(0, 0)], crs=4326).to_json().encode()
with MemoryFile(text, ext=".geojson") as memory:
    try:
        pyogrio.read_dataframe(memory.name)
    except DataSourceError as error:
        print("pyogrio on a MemoryFile:", error)
    else:
        raise SystemExit("pyogrio reads rasterio's memory now")
assert rasterio.__gdal_version__ != pyogrio.__gdal_version_string__
assert ours is not None and theirs is None
EOF
