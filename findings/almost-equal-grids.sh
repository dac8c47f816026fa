#!/usr/bin/env bash
# One would think that transform.almost_equals(other) tells a raster of 0.3 m from one of 0.6 m, or one a pixel aside.
# Seen with affine 3.0.1, the transforms of rasterio: in degrees it calls them equal, as it calls one turned by 70
# degrees rectilinear. In metres it tells all of them apart.
# Where from: every coefficient may differ by EPSILON = 1e-5, absolute, whatever the unit (documented as such); a pixel
# of 0.3 m is 3e-6 degrees, and 1e-5 degrees are a metre.
# Hurts: checks that image and mask share a grid before they are stacked: in EPSG:4326 they let through masks that are
# three pixels aside or of twice the size.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(affine==3.0.1 attrs==25.4.0)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import affine
from affine import Affine

print("affine", affine.__version__, "EPSILON", affine.EPSILON)
image = Affine(3e-6, 0, 24.9, 0, -3e-6, 60.2)
coarser = Affine(6e-6, 0, 24.9, 0, -6e-6, 60.2)
aside = Affine(3e-6, 0, 24.9 + 3 * 3e-6, 0, -3e-6, 60.2)
turned = Affine(1e-6, 2.8e-6, 24.9, 2.8e-6, -1e-6, 60.2)
print("twice the size:", image.almost_equals(coarser), "three pixels aside:", image.almost_equals(aside))
print("turned by 70 degrees, rectilinear:", turned.is_rectilinear)
metres = Affine(0.3, 0, 385_000, 0, -0.3, 6_675_000)
other = Affine(0.6, 0, 385_000, 0, -0.6, 6_675_000)
print("in metres, twice the size:", metres.almost_equals(other))
assert image.almost_equals(coarser) and image.almost_equals(aside)
assert turned.is_rectilinear
assert not metres.almost_equals(other)
EOF
