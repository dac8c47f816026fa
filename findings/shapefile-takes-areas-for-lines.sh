#!/usr/bin/env bash
# One would think that GeoPandas refuses lines and polygons in one Shapefile, which holds one kind of geometry: it does so where the first
# row is a polygon.
# Seen with pyogrio 0.13.0: where the first row is a line each polygon becomes its outline, a LineString, one with a hole a
# MultiLineString; no error, no warning. The same rows in another order raise.
# Where from: the layer's type is taken from the first geometry, and the driver writes a polygon's rings as a polyline.
# Hurts: labels in which roads are lines and squares are polygons: after a Shapefile a square is a ring road around nothing.
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
import geopandas as gpd
import pyogrio
import shapely

print("geopandas", gpd.__version__, "pyogrio", pyogrio.__version__, "GDAL", pyogrio.__gdal_version_string__)
street, square = shapely.LineString([(0, 0), (50, 0)]), shapely.box(0, 0, 30, 20)
yard = square.difference(shapely.box(5, 5, 10, 10))
rows = gpd.GeoDataFrame({"name": ["street", "square", "yard"]}, geometry=[street, square, yard], crs="EPSG:32635")
rows.to_file("labels.shp")
back = gpd.read_file("labels.shp")
print(back.assign(area=back.area, length=back.length).drop(columns="geometry").assign(kind=back.geom_type).to_string())
assert back.geom_type.tolist() == ["LineString", "LineString", "MultiLineString"]
assert back.area.tolist() == [0, 0, 0] and back.length.tolist() == [50, 100, 120]
try:
    rows.iloc[::-1].to_file("reversed.shp")
except Exception as error:
    print("the other way round:", error)
else:
    raise SystemExit("the other order was written")
EOF
