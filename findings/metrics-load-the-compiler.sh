#!/usr/bin/env bash
# One would think that a library of metrics loads PyTorch and its own code, whatever else is installed.
# Seen with torchmetrics 1.9.0: where torchvision 0.29.2 is installed, which timm and segmentation-models-pytorch bring,
# `import torchmetrics` loads PyTorch's compiler and sympy too, and takes seconds instead of 0.4; so does `import lightning`,
# which imports it.
# Where from: torchmetrics.functional.image.arniqa imports torchvision if it is there, for one metric of image quality, and
# torchvision's roi_align imports torch._dynamo.
# Hurts: each notebook, each command and each process of a data loader that is spawned waits two seconds for what it never
# uses.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torchmetrics==1.9.0 torch==2.15.0 numpy==2.4.6)
put() {
  if command -v uv >/dev/null; then
    uv pip install --quiet --python "$work/venv/bin/python" "$@"
  else
    "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "$@"
  fi
}
if command -v uv >/dev/null; then python3 -m venv --without-pip "$work/venv"; else python3 -m venv "$work/venv"; fi
put "${packages[@]}"
cd "$work"
cat >ask.py <<'EOF'
import sys
import time

import torch

began = time.process_time()
import torchmetrics

taken = time.process_time() - began
loaded = [name for name in ("torchvision", "torch._dynamo", "torch._inductor", "sympy") if name in sys.modules]
print(f"torchmetrics {torchmetrics.__version__}, torch {torch.__version__}: {taken:.1f} CPU s; also", *loaded or ["none"])
EOF
"$work/venv/bin/python" ask.py >/dev/null # once, so that both times are without compiling
without=$("$work/venv/bin/python" ask.py)
put "${packages[@]}" torchvision==0.29.2
"$work/venv/bin/python" ask.py >/dev/null
with=$("$work/venv/bin/python" ask.py)
printf '%s\n' "alone: $without" "with torchvision 0.29.2: $with"
[[ $without == *"also none" && $with == *"torch._dynamo torch._inductor sympy" ]] || { echo "the behaviour has changed"; exit 1; }
