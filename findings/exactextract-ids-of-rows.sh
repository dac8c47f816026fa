#!/usr/bin/env bash
# One would think that exact_extract(..., include_cols=["id"]) copies the column "id" of the footprints to their values.
# Seen with exactextract 0.3.0: of a GeoDataFrame it gives the index instead, as text: the houses 503, 501 and 502 are
# "0", "1" and "2". Any other column comes as it is, also one named "ID".
# Where from: rows are handed over as GeoJSON features, and of those "id" is looked for beside the properties, where
# GeoPandas writes the index. The documentation speaks of columns of the input and doesn't name the exception.
# Hurts: heights or damages by footprint that are joined by that id, once its text is made numbers: where ids run from 0
# or 1 in another order than the rows, a house gets another one's value, and nothing is missing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(exactextract==0.3.0 geopandas==1.2.0 shapely==2.2.0 pandas==3.1.1 numpy==2.4.6 pyproj==3.7.2)
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

import geopandas as gpd
import numpy as np
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource

print("exactextract", version("exactextract"), "geopandas", gpd.__version__)
boxes = [shapely.box(column, 0, column + 1, 1) for column in range(3)]
houses = gpd.GeoDataFrame({"id": [503, 501, 502], "ID": [503, 501, 502]}, geometry=boxes, crs="EPSG:32635")
values = np.array([[10.0, 20.0, 30.0]])
height = NumPyRasterSource(values, xmin=0, ymin=0, xmax=3, ymax=1, srs_wkt=houses.crs.to_wkt())
found = exact_extract(height, houses, ["mean"], include_cols=["id", "ID"], output="pandas")
print(found)
assert found["id"].tolist() == ["0", "1", "2"]
assert found["ID"].tolist() == [503, 501, 502]
assert found["mean"].tolist() == [10, 20, 30]
other = exact_extract(height, houses.set_index(houses["id"].rename(None)), ["mean"], include_cols="id", output="pandas")
print("with the ids as index, too:", other["id"].tolist())
assert other["id"].tolist() == ["503", "501", "502"]

few = houses.assign(id=[2, 0, 1])
again = exact_extract(height, few, ["mean"], include_cols="id", output="pandas").astype({"id": int})
joined = few.merge(again, on="id")
print("ids 2, 0 and 1, joined by id:", joined["mean"].tolist(), "where 10, 20 and 30 are right")
assert joined["mean"].tolist() == [30, 10, 20]
EOF
