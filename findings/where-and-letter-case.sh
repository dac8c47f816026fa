#!/usr/bin/env bash
# One would think that read_file(..., where="highway = 'primary'") gives the same rows of a layer in any format.
# Seen with pyogrio 0.13.0 (GDAL 3.12.4): in GeoJSON and FlatGeobuf it takes 'Primary', too; in a GeoPackage it does
# not. With LIKE it is the other way round.
# Where from: a GeoPackage hands the clause to SQLite, the other drivers to OGR's own SQL, whose = does not mind case,
# while LIKE does (since GDAL 3.1).
# Hurts: classes of hand-typed tags: road widths and masks change when a layer is converted, and no filter that passes a
# test on one format can be trusted on the other.
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
import geopandas as gpd
import pyogrio

print("geopandas", gpd.__version__, "pyogrio", pyogrio.__version__, "GDAL", pyogrio.__gdal_version_string__)
roads = gpd.GeoDataFrame(
    {"highway": ["primary", "Primary", "track"]}, geometry=gpd.points_from_xy([0, 1, 2], [0, 0, 0]), crs=32635
)
seen = {}
for suffix in ("gpkg", "geojson", "fgb"):
    roads.to_file(f"roads.{suffix}")
    seen[suffix] = [
        gpd.read_file(f"roads.{suffix}", where=f"highway {how} 'primary'")["highway"].tolist() for how in ("=", "LIKE")
    ]
    print(suffix, "with =", seen[suffix][0], "with LIKE", seen[suffix][1])
assert [len(rows) for rows in seen["gpkg"]] == [1, 2]
assert [len(rows) for rows in seen["geojson"]] == [len(rows) for rows in seen["fgb"]] == [2, 1]
EOF
