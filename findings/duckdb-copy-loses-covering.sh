#!/usr/bin/env bash
# One would think either that DuckDB without its spatial extension copies geometry as mere bytes, or, knowing
# GeoParquet, that its copy can be used as the original.
# Seen with DuckDB 2.0.1: the copy is GeoParquet with type and CRS, no extension loaded; the column bbox is there, too,
# but no longer named as the covering: geopandas 1.2.0 refuses read_parquet(bbox=...), and bbox is a plain column.
# Where from: DuckDB 2 has GEOMETRY in its core and writes metadata of version 1.0.0, which knows no covering (1.1
# does).
# Hurts: Overture-like layers cut to a city with a query: the reading by box, for which they were made, fails or has to
# read all, and the frame gains a column of dictionaries.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(duckdb==2.0.1 geopandas==1.2.0 shapely==2.2.0 pandas==3.1.1 numpy==2.4.6 pyarrow==26.0.1 pyproj==3.7.2)
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

import duckdb
import geopandas as gpd
import pyarrow
import pyarrow.parquet as pq
from shapely import box

print("duckdb", duckdb.__version__, "geopandas", gpd.__version__, "pyarrow", pyarrow.__version__)
houses = gpd.GeoDataFrame({"n": [1, 2]}, geometry=[box(0, 0, 10, 10), box(50, 50, 60, 60)], crs=32635)
houses.to_parquet("all.parquet", write_covering_bbox=True)
duckdb.sql("COPY (SELECT * FROM 'all.parquet') TO 'copy.parquet'")
for name in ("all.parquet", "copy.parquet"):
    schema = pq.read_schema(name)
    geo = json.loads(schema.metadata[b"geo"])
    print(name, schema.names, "version", geo["version"], "covering" in geo["columns"]["geometry"])
near = (45, 45, 70, 70)
print("original by box:", gpd.read_parquet("all.parquet", bbox=near)["n"].tolist())
copy = gpd.read_parquet("copy.parquet")
assert copy.crs == houses.crs and copy.geometry.geom_equals(houses.geometry).all()
assert "bbox" in copy.columns and "bbox" not in gpd.read_parquet("all.parquet").columns
try:
    gpd.read_parquet("copy.parquet", bbox=near)
except ValueError as error:
    print("copy by box:", str(error)[:60], "...")
else:
    raise SystemExit("the copy can be read by box now")
EOF
