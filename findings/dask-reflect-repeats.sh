#!/usr/bin/env bash
# One would think that map_overlap(boundary="reflect") pads an array as numpy.pad(mode="reflect") and torch's "reflect" do: mirrored
# about the last pixel, which comes once.
# Seen with dask 2026.8.0: the last pixel comes twice, which NumPy calls "symmetric"; dask has no name for NumPy's "reflect".
# Where from: dask mirrors the outer block; scipy.ndimage calls it "reflect" as well, OpenCV BORDER_REFLECT.
# Hurts: predictions or filters over blocks that are to equal those of the whole image padded by NumPy or torch: they are off
# along all edges by up to a pixel's shift, and equal inside, where tests look.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(dask==2026.8.0 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import dask
import dask.array as da
import numpy as np

print("dask", dask.__version__, "numpy", np.__version__)
row = np.arange(8)
blocks = da.from_array(row, chunks=8)
padded = da.overlap.overlap(blocks, depth=3, boundary="reflect").compute()
print("dask reflect   ", padded.tolist())
for mode in ("reflect", "symmetric"):
    print(f"numpy {mode:9}", np.pad(row, 3, mode=mode).tolist())
assert (padded == np.pad(row, 3, mode="symmetric")).all()
assert (padded != np.pad(row, 3, mode="reflect")).any()
EOF
