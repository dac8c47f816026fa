#!/usr/bin/env bash
# One would think that frame.to_file("b.gpkg"), mode "w", replaces the file, and that read_file("b.gpkg") gives that
# frame.
# Seen with geopandas 1.2.0 and pyogrio 0.13.0: where b.gpkg was copied or renamed from a.gpkg, the new layer b is put
# beside the old layer a, and reading gives a: the old data, and a warning that there is more than one layer.
# Where from: the layer is named after the file unless told, "w" replaces a layer of that name only, and reading takes
# the first layer, which is the oldest. GeoJSON and FlatGeobuf files are replaced whole.
# Hurts: predictions or cleaned labels written over a renamed file: evaluation goes on with the previous ones.
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
import shutil
import warnings

import geopandas as gpd
import pyogrio
from shapely import Point

print("geopandas", gpd.__version__, "pyogrio", pyogrio.__version__, "GDAL", pyogrio.__gdal_version_string__)
warnings.simplefilter("ignore")
old = gpd.GeoDataFrame({"run": ["old"]}, geometry=[Point(0, 0)], crs=32635)
new = old.assign(run="new")
seen = {}
for suffix in ("gpkg", "geojson", "fgb"):
    old.to_file(f"a.{suffix}")
    shutil.move(f"a.{suffix}", f"b.{suffix}")
    new.to_file(f"b.{suffix}", mode="w")
    seen[suffix] = gpd.read_file(f"b.{suffix}")["run"].tolist()
    print(suffix, "layers", pyogrio.list_layers(f"b.{suffix}")[:, 0].tolist(), "read:", seen[suffix])
assert seen == {"gpkg": ["old"], "geojson": ["new"], "fgb": ["new"]}
EOF
