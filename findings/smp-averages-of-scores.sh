#!/usr/bin/env bash
# One would think that a perfect prediction has an IoU of 1, however classes and images are averaged, and tiles without road
# the value that zero_division says.
# Seen with segmentation-models-pytorch 0.6.0: with class_weights the reduction "weighted-imagewise" gives 1 / classes to a
# perfect prediction: 0.5 with roads and buildings, 0.2 with five classes; "weighted" gives 1. And "micro" of tiles without
# any foreground is NaN, whatever zero_division, which the other reductions obey.
# Where from: weights are divided by their sum, and then the mean is taken over the classes once more, where a sum was meant;
# "micro" leaves out the step that replaces NaN.
# Hurts: two papers' "weighted" IoU differ by the number of classes, and one batch of forest turns an epoch's mean to NaN.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(segmentation-models-pytorch==0.6.0 torch==2.15.0 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.metrics import get_stats, iou_score

print("segmentation-models-pytorch", smp.__version__, "torch", torch.__version__)
for classes, perfect in ((2, 0.5), (5, 0.2)):
    truth = torch.randint(0, 2, (3, classes, 64, 64), generator=torch.Generator().manual_seed(0))
    counts, weights = get_stats(truth, truth, mode="multilabel"), [1.0] * classes
    found = {how: iou_score(*counts, reduction=how, class_weights=weights).item() for how in ("weighted", "weighted-imagewise")}
    print(classes, "classes, a perfect prediction:", found)
    assert found["weighted"] == 1 and abs(found["weighted-imagewise"] - perfect) < 1e-6

forest = torch.zeros(3, 1, 64, 64, dtype=torch.long)
counts = get_stats(forest, forest, mode="binary")
found = {how: iou_score(*counts, reduction=how, zero_division=1.0).item() for how in ("micro", "macro", "micro-imagewise")}
print("no road, none found, zero_division=1.0:", found)
assert found["micro"] != found["micro"] and found["macro"] == found["micro-imagewise"] == 1
EOF
