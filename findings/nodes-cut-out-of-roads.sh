#!/usr/bin/env bash
# One would think that a way whose bend lies outside an OSM extract is left out or raises, whichever library reads it.
# Seen with pyogrio 0.13.0 (GDAL 3.12.4): its node is skipped without a word and the road goes straight across; a house
# loses its corner. pyosmium 4.3.2 raises InvalidLocationError for both.
# Where from: GDAL's OSM driver joins the nodes that it finds; not documented.
# Hurts: extracts cut by a box without completed ways: along their borders, masks show roads through blocks and gardens
# where none is, as wide as real ones.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(osmium==4.3.2 pyogrio==0.13.0 geopandas==1.2.0 shapely==2.2.0 pandas==3.1.1 numpy==2.4.6 pyproj==3.7.2)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
from importlib.metadata import version

import osmium
import pyogrio
import shapely

print("pyogrio", pyogrio.__version__, "GDAL", pyogrio.__gdal_version_string__)
print("osmium", version("osmium"))
nodes = {1: (24.000, 60.000), 2: (24.002, 60.000), 4: (24.002, 60.001), 5: (24.000, 60.001)}  # 3 was cut off
ways = {10: ([1, 2, 3, 4], "highway", "residential"), 11: ([1, 2, 3, 4, 5, 1], "building", "yes")}
with open("cut.osm", "w") as file:
    file.write('<?xml version="1.0"?><osm version="0.6" generator="hand">')
    for n, (x, y) in nodes.items():
        file.write(f'<node id="{n}" version="1" lat="{y}" lon="{x}"/>')
    for n, (refs, key, value) in ways.items():
        inner = "".join(f'<nd ref="{r}"/>' for r in refs)
        file.write(f'<way id="{n}" version="1">{inner}<tag k="{key}" v="{value}"/></way>')
    file.write("</osm>")
road = pyogrio.read_dataframe("cut.osm", layer="lines").geometry.iloc[0]
house = pyogrio.read_dataframe("cut.osm", layer="multipolygons").geometry.iloc[0]
print("GDAL, road:", road.wkt, "house:", house.wkt)
factory, raised = osmium.geom.WKBFactory(), []
for way in osmium.FileProcessor("cut.osm").with_locations():
    if way.is_way():
        try:
            factory.create_linestring(way)
        except osmium.InvalidLocationError as error:
            raised.append(way.id)
            print("pyosmium, way", way.id, "raises", type(error).__name__)
assert shapely.get_num_coordinates(road) == 3
assert shapely.get_num_coordinates(house) == 5 and house.is_valid
assert raised == [10, 11]
EOF
