#!/usr/bin/env bash
# One would think that scipy.ndimage refuses to interpolate a mask of bools, or rounds as for uint8: shift, zoom, rotate,
# affine_transform and map_coordinates take it and give bools back.
# Seen with scipy 1.17.1 and the default order 3: a square of 20 x 20 px turned by 30 degrees keeps 196 of its 400 px, enlarged twice
# 800 of 1600; shifted by 2 whole pixels 387, at order 5 157. As uint8 it keeps 400 and more. Order 0 is right.
# Where from: the spline gives 0.9999 and 1.0001 inside, and a bool is what is left of it when cut to a whole number, not rounded.
# Hurts: augmentation and alignment of masks kept as bools: half of each road is lost in a pattern of dots, without an error.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(scipy==1.17.1 numpy==2.4.6)
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
import scipy
from scipy import ndimage

print("scipy", scipy.__version__, "numpy", np.__version__)
mask = np.zeros((40, 40), bool)
mask[10:30, 10:30] = True
bools = {
    "turned by 30 degrees": ndimage.rotate(mask, 30, reshape=False),
    "shifted by 2 px": ndimage.shift(mask, 2),
    "shifted by half a pixel": ndimage.shift(mask, 0.5),
    "enlarged twice": ndimage.zoom(mask, 2),
}
bytes_ = {
    "turned by 30 degrees": ndimage.rotate(mask.astype(np.uint8), 30, reshape=False),
    "shifted by 2 px": ndimage.shift(mask.astype(np.uint8), 2),
    "shifted by half a pixel": ndimage.shift(mask.astype(np.uint8), 0.5),
    "enlarged twice": ndimage.zoom(mask.astype(np.uint8), 2),
}
for name in bools:
    print(f"{name:24} as bools {bools[name].sum():5}, as uint8 {(bytes_[name] > 0).sum():5}")
    assert bools[name].dtype == bool
assert bools["turned by 30 degrees"].sum() < 220 < 380 < (bytes_["turned by 30 degrees"] > 0).sum()
assert bools["enlarged twice"].sum() < 1000 < 1500 < (bytes_["enlarged twice"] > 0).sum()
assert bools["shifted by 2 px"].sum() < 400 == (bytes_["shifted by 2 px"] > 0).sum()
assert ndimage.shift(mask, 2, order=0).sum() == 400
EOF
