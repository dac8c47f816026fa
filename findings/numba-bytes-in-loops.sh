#!/usr/bin/env bash
# One would think that a loop over a uint8 mask reckons under numba as NumPy does: 3 - 5 is 254, 255 + 255 is 254.
# Seen with numba 0.68.1: 3 - 5 is 18446744073709551614 and 255 + 255 is 510: single elements become uint64 before the
# operation. The same operation on slices, inside the same function, wraps at 256 as in NumPy.
# Where from: numba types integer operations on scalars at least as wide as the machine's; NumPy keeps uint8.
# Hurts: differences of neighbouring pixels, sums of masks and rounded means give other numbers compiled than plain, and
# other numbers as a loop than as an array expression: a kernel tested with the compiler off is not the one that runs.
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


def looped(a):
    return a[0] - a[1], a[2] + a[3]


def sliced(a):
    return a[:1] - a[1:2], a[2:3] + a[3:4]


pixels = np.array([3, 5, 255, 255], np.uint8)
with np.errstate(over="ignore"):
    plain = [int(v) for v in looped(pixels)]
compiled = [int(v) for v in numba.njit(looped)(pixels)]
slices = [int(v[0]) for v in numba.njit(sliced)(pixels)]
print("plain", plain, "compiled, one by one", compiled, "compiled, slices", slices)
assert plain == slices == [254, 254]
assert compiled == [2**64 - 2, 510]
EOF
