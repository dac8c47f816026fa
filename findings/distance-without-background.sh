#!/usr/bin/env bash
# One would think that scipy's distance_transform_edt of a chip that is all foreground is infinite, or raises.
# Seen with scipy 1.17.1: finite numbers, the distance to a background pixel that does not exist, above the top left
# corner: 1 there, rising to the right and downwards. One single background pixel changes all of them.
# Where from: seen only, the documentation does not speak of the case; that place is row -1, column 0, in every chip.
# Hurts: chips wholly inside a building, water, or no-data, and signed distance maps of empty chips (all of ~mask is
# foreground): a slope of made-up distances becomes weights or targets of a training.
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
full = np.ones((64, 64), bool)
distance = ndimage.distance_transform_edt(full)
corners = np.ix_([0, -1], [0, -1])
print("all foreground: corners", distance[corners].round(2).tolist())
y, x = np.mgrid[:64, :64]
assert np.isfinite(distance).all()
assert np.allclose(distance, np.hypot(y + 1, x))
full[63, 63] = False
print("bottom right is background: corners", ndimage.distance_transform_edt(full)[corners].round(2).tolist())
EOF
