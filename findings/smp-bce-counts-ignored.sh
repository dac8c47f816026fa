#!/usr/bin/env bash
# One would think that the losses of segmentation-models-pytorch agree on ignore_index: pixels of that label are left out, so
# that a chip's loss is that of its other pixels.
# Seen with 0.6.0: Dice, Focal, Lovasz and Tversky do so. SoftBCEWithLogitsLoss sets their loss to 0 and still divides by the
# number of all pixels: with half of a chip ignored the value and its gradient are half as large, with nine tenths a tenth.
# Where from: its mean is taken after the multiplication by the mask, and its reduction has no count of its own.
# Hurts: labels with wide ignored borders or no-data weigh less the more is ignored; BCE + Dice changes its balance from chip
# to chip, and loss curves of areas with different ignored shares can't be compared.
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

print("segmentation-models-pytorch", smp.__version__, "torch", torch.__version__)
torch.manual_seed(0)
logits, labels = torch.randn(1, 1, 16, 16), (torch.rand(1, 1, 16, 16) > 0.5).float()
wide, noted = torch.cat([logits, torch.randn(1, 1, 48, 16)], 2), torch.cat([labels, torch.full((1, 1, 48, 16), 127.0)], 2)
losses = {
    "Dice": lambda **ignore: smp.losses.DiceLoss("binary", **ignore),
    "Focal": lambda **ignore: smp.losses.FocalLoss("binary", **ignore),
    "Lovasz": lambda **ignore: smp.losses.LovaszLoss("binary", **ignore),
    "Tversky": lambda **ignore: smp.losses.TverskyLoss("binary", **ignore),
    "SoftBCE": lambda **ignore: smp.losses.SoftBCEWithLogitsLoss(**ignore),
}
ratio = {}
for name, loss in losses.items():
    alone, beside = float(loss()(logits, labels)), float(loss(ignore_index=127)(wide, noted))
    ratio[name] = beside / alone
    print(f"{name:8} {alone:.4f} of the labelled quarter alone, {beside:.4f} with three quarters ignored beside it")
assert all(abs(ratio[name] - 1) < 1e-5 for name in ("Dice", "Focal", "Lovasz", "Tversky"))
assert abs(ratio["SoftBCE"] - 0.25) < 1e-5
EOF
