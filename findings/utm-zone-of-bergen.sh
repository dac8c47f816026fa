#!/usr/bin/env bash
# One would think that estimate_utm_crs gives Bergen the UTM zone that Norway's maps have there: 32V, EPSG:32632.
# Seen with geopandas 1.2.0 and pyproj 3.7.2: EPSG:32631, the plain six degrees; the exceptions of UTM for south-west
# Norway and Svalbard do not exist for it. Eastings differ by 330 km.
# Where from: pyproj's query_utm_crs_info goes by EPSG's area of use, which is the plain zone.
# Hurts: chips, graphs and footprints made from estimated zones do not join those cut from national imagery of the same
# place, although both say UTM.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(geopandas==1.2.0 shapely==2.2.0 pandas==3.1.1 numpy==2.4.6 pyproj==3.7.2)
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
import pyproj
from shapely import Point

print("geopandas", gpd.__version__, "pyproj", pyproj.__version__, "PROJ", pyproj.proj_version_str)
bergen = gpd.GeoSeries([Point(5.33, 60.39)], crs=4326)
svalbard = gpd.GeoSeries([Point(10.0, 79.0)], crs=4326)
found = [place.estimate_utm_crs().to_epsg() for place in (bergen, svalbard)]
print("Bergen", found[0], "(official 32632), north-western Svalbard", found[1], "(official 32633)")
east = [float(bergen.to_crs(code).x.iloc[0]) for code in (found[0], 32632)]
print("eastings of Bergen, m:", [round(x) for x in east])
assert found == [32631, 32632]
assert east[0] - east[1] > 300_000
EOF
