#!/usr/bin/env bash
# One would think that to_file(mode="a") brings rows into the layer's CRS, or refuses those of another.
# Seen with geopandas 1.2.0 and pyogrio 0.13.0, GeoPackage, FlatGeobuf, GeoJSON and Shapefile alike: a layer in EPSG:4326 takes rows in
# EPSG:32635; their metres are read back as degrees. There is a warning about a column of another type, none about the CRS.
# Where from: the CRS is only used where a layer is made.
# Hurts: roads collected sheet by sheet, each in its own UTM zone: all but the first sheet are somewhere else, or nowhere.
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
import warnings

import geopandas as gpd
import pyogrio
import shapely

print("geopandas", gpd.__version__, "pyogrio", pyogrio.__version__, "GDAL", pyogrio.__gdal_version_string__)
first = gpd.GeoDataFrame({"sheet": [1]}, geometry=[shapely.LineString([(25.0, 60.0), (25.1, 60.0)])], crs="EPSG:4326")
second = gpd.GeoDataFrame({"sheet": [2]}, geometry=[shapely.LineString([(25.1, 60.0), (25.2, 60.0)])], crs="EPSG:4326")
for name in ("roads.gpkg", "roads.fgb", "roads.geojson", "roads.shp"):
    first.to_file(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        second.to_crs("EPSG:32635").to_file(name, mode="a")
    both = gpd.read_file(name).sort_values("sheet")
    print(f"{name:14} EPSG:{both.crs.to_epsg()}", both.total_bounds.round(1).tolist())
    assert both.crs.to_epsg() == 4326 and len(both) == 2
    assert both.total_bounds[2] > 100_000
EOF
