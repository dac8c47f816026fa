#!/usr/bin/env bash
# One would think that after scene.coarsen(x=2, y=2).mean() rio.transform() is that of the coarser grid, or of the
# finer.
# Seen with rioxarray 0.19.0 and xarray 2026.9.0: it is half of each: the first pixel's centre is the new one, the
# pixel's size is the old one. rio.bounds() and rio.resolution() agree with it, rio.clip and rio.to_raster don't: they
# are right. So it is for every other pixel by [::2], and for interp onto a finer grid.
# Where from: xarray carries the file's GeoTransform along; the size of a pixel is taken from it, the corner from the
# coordinates. recalc=True, which the documentation has for not using what is cached, gives what fits the coordinates.
# Hurts: masks drawn onto a coarsened scene. Here a street in the east is drawn nowhere, while the file that to_raster
# writes lies right in any map, so that the error isn't seen there.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(rioxarray==0.19.0 xarray==2026.9.0 rasterio==1.4.4 shapely==2.2.0 numpy==2.4.6 pyproj==3.7.2)
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
import rioxarray
import shapely
import xarray
from rasterio.features import geometry_mask

print("rioxarray", rioxarray.__version__, "xarray", xarray.__version__, "rasterio", rasterio.__version__)
profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 1, "dtype": "uint8", "crs": "EPSG:32635"}
place = rasterio.Affine(1, 0, 385_000, 0, -1, 6_675_008)
with rasterio.open("scene.tif", "w", **profile, transform=place) as file:
    file.write(np.ones((1, 8, 8), np.uint8))
coarse = rioxarray.open_rasterio("scene.tif").coarsen(x=2, y=2).mean()
coarse.rio.to_raster("coarse.tif")
with rasterio.open("coarse.tif") as file:
    written = file.transform
given, right = coarse.rio.transform(), coarse.rio.transform(recalc=True)
for name, t in (("transform()", given), ("transform(recalc=True)", right), ("of the file written", written)):
    print(f"{name}: corner {t.c} {t.f}, pixel {t.a} {t.e}")
print("bounds()", coarse.rio.bounds(), "- of the scene 385000 6675000 385008 6675008")
street = shapely.box(385_006, 6_675_000, 385_008, 6_675_008)
drawn = [(~geometry_mask([street], coarse.shape[1:], t)).sum() for t in (given, right)]
clipped = coarse.rio.clip([street]).size
print("pixels of a street in the east, drawn with the first two:", *drawn, "- by rio.clip:", clipped)
assert (given.a, given.c, given.f) == (1, 385_000.5, 6_675_007.5)
assert (right.a, right.c, right.f) == (2, 385_000, 6_675_008) and written == right
assert coarse.rio.bounds() == (385_000.5, 6_675_000.5, 385_007.5, 6_675_007.5)
assert drawn == [0, 4] and clipped == 4
EOF
