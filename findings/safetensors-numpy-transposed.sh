#!/usr/bin/env bash
# One would think that safetensors.numpy refuses a transposed array, as safetensors.torch does, or stores its values.
# Seen with safetensors 0.8.0: save and save_file say nothing and write the memory as it lies under the transposed
# shape; what is loaded has the right shape and type, and its values in another order. Up to 0.7 they came back right.
# Where from: since 0.8 the file is written from the array's pointer; the docstring asks for contiguous arrays, nothing
# checks it (issue 825 of safetensors/safetensors). np.ascontiguousarray before saving helps.
# Hurts: weights turned from one layout to another (rows, columns, in, out -> out, in, rows, columns) load without a
# warning into a network, which then draws noise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(safetensors==0.8.0 numpy==2.4.6)
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
import safetensors
from safetensors.numpy import load, save

print("safetensors", safetensors.__version__, "numpy", np.__version__)
kernels = np.arange(3 * 3 * 2 * 4, dtype=np.float32).reshape(3, 3, 2, 4)  # rows, columns, in, out
turned = kernels.transpose(3, 2, 0, 1)  # out, in, rows, columns
back = load(save({"conv": turned}))["conv"]
wrong = int((back != turned).sum())
print("shape saved", turned.shape, "loaded", back.shape, "- values that differ:", wrong, "of", turned.size)
whole = load(save({"conv": np.ascontiguousarray(turned)}))["conv"]
print("made contiguous first, values that differ:", int((whole != turned).sum()))
assert back.shape == turned.shape and back.dtype == turned.dtype
assert wrong > turned.size // 2
assert np.array_equal(np.sort(back.ravel()), np.sort(turned.ravel()))
assert np.array_equal(whole, turned)
EOF
