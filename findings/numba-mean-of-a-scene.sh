#!/usr/bin/env bash
# One would think that the mean of a float32 array is the same under numba as in NumPy, up to rounding.
# Seen with numba 0.68.1: the sum of 20 million ones is 16777216 and their mean 0.84; NumPy says 20000000 and 1.0.
# Where from: numba adds one after the other in float32, where 2**24 + 1 is 2**24 again; NumPy adds pairwise, which its
# documentation tells. A sum of a.astype(np.float64) is right.
# Hurts: mean probability, mean of an image band, share of road of a scene: right for chips in tests, wrong from a scene
# of 4096 x 4096 on, and always too low.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(numba==0.68.1 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numba
import numpy as np

print("numba", numba.__version__, "numpy", np.__version__)
total = numba.njit(lambda a: a.sum())
mean = numba.njit(lambda a: np.mean(a))
exact = numba.njit(lambda a: a.astype(np.float64).sum())
chip, scene = np.ones(512 * 512, np.float32), np.ones(20_000_000, np.float32)
print("chip: mean", mean(chip), "by NumPy", float(chip.mean()))
print("scene: sum", total(scene), "by NumPy", float(scene.sum()))
print("scene: mean", round(float(mean(scene)), 3), "by NumPy", float(scene.mean()))
assert mean(chip) == chip.mean() == 1
assert total(scene) == 2**24 and scene.sum() == 20_000_000
assert mean(scene) < 0.85 and scene.mean() == 1
assert exact(scene) == 20_000_000
EOF
