#!/usr/bin/env bash
# One would think that merge(method="min") of two masks is 1 where both are 1, in whichever order they come.
# Seen with rasterio 1.4.4: where the masks state no nodata, 0 and then 1 gives 1, and 1 and then 0 gives 0. With
# "first", too, a 0 of the first mask gives way to a 1 of the second one; "last" and "max" give what they say.
# Where from: what is not yet written is told by its value, 0 unless a nodata is stated, so a 0 that a mask wrote counts
# as unwritten; the values that come are all taken as known. The documentation names the minimum of existing and new.
# merge(..., nodata=255), a value that no mask has, gives the minimum in both orders.
# Hurts: masks of several dates or models of one ground: what should be the roads that all of them have are those of
# whichever came later in the list, often by the names of the files.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(rasterio==1.4.4 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import rasterio
from rasterio.merge import merge

print("rasterio", rasterio.__version__, "GDAL", rasterio.__gdal_version__)


profile = {"driver": "GTiff", "height": 1, "width": 4, "count": 1, "dtype": "uint8", "crs": "EPSG:32635"}
place = rasterio.Affine(1, 0, 385_000, 0, -1, 6_675_000)
for name, values in (("one.tif", [0, 0, 1, 1]), ("other.tif", [0, 1, 0, 1])):
    with rasterio.open(name, "w", **profile, transform=place) as file:
        file.write(np.array([[values]], np.uint8))
    print(name, values)
merged = {}
for method in ("min", "max", "first", "last"):
    for order, masks in (("one, other", ["one.tif", "other.tif"]), ("other, one", ["other.tif", "one.tif"])):
        for nodata in (None, 255):
            values = merge(masks, method=method, nodata=nodata)[0].ravel().tolist()
            merged[method, order, nodata] = values
            print(f"{method} of {order}, nodata {nodata}: {values}")
assert merged["min", "one, other", None] == [0, 1, 0, 1]
assert merged["min", "other, one", None] == [0, 0, 1, 1]
assert merged["min", "one, other", 255] == merged["min", "other, one", 255] == [0, 0, 0, 1]
assert merged["first", "one, other", None] == [0, 1, 1, 1] and merged["first", "one, other", 255] == [0, 0, 1, 1]
assert merged["last", "one, other", None] == [0, 1, 0, 1]
EOF
