#!/usr/bin/env bash
# One would think that read_parquet(bbox=...) gives the rows that read_file(bbox=...) gives of the same data.
# Seen with geopandas 1.2.0 and pyogrio 0.13.0: GeoPackage and FlatGeobuf give what touches the box, GeoParquet also
# what only has a bounding box that touches it: a road around two sides of a block, nowhere near. So with a covering
# column (GeoParquet 1.1) as with logical types (2.0).
# Where from: the filter compares stored boxes, row by row, and geometry never; GDAL with GEOS tests the geometry.
# Hurts: counts and metres of road a tile change with the format, and a tile without any road passes for one with roads
# when chips are chosen.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(geopandas==1.2.0 shapely==2.2.0 pandas==3.1.1 numpy==2.4.6 pyogrio==0.13.0 pyarrow==26.0.1 pyproj==3.7.2)
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
import pyarrow
import pyogrio
from shapely import LineString, Point

print("geopandas", gpd.__version__, "pyarrow", pyarrow.__version__)
print("pyogrio", pyogrio.__version__, "GDAL", pyogrio.__gdal_version_string__)
roads = gpd.GeoDataFrame(
    {"name": ["around the block", "in the block"]},
    geometry=[LineString([(0, 0), (0, 100), (100, 100)]), LineString([(60, 40), (70, 45)])],
    crs=32635,
)
box = (50, 30, 80, 60)
roads.to_parquet("covering.parquet", write_covering_bbox=True)
roads.to_parquet("logical.parquet", schema_version="2.0.0")
roads.to_file("roads.gpkg")
roads.to_file("roads.fgb")
seen = {name: gpd.read_parquet(name, bbox=box)["name"].tolist() for name in ("covering.parquet", "logical.parquet")}
seen |= {name: gpd.read_file(name, bbox=box)["name"].tolist() for name in ("roads.gpkg", "roads.fgb")}
for name, rows in seen.items():
    print(name, rows)
assert [len(rows) for rows in seen.values()] == [2, 2, 1, 1]
EOF
