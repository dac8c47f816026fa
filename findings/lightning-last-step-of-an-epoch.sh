#!/usr/bin/env bash
# One would think that with accumulated gradients each step of the optimiser is one over the mean of its batches.
# Seen with Lightning 2.6.6: an epoch's last step, which has the batches that are left, divides their sum by
# accumulate_grad_batches all the same: with 5 batches and 4 a step, the fifth counts a quarter of what the others count.
# Where from: the loss of each batch is divided by that number, and the step is taken early at the epoch's end.
# Hurts: a small set of chips in large steps, the case that accumulation is for. With 5 batches an epoch every second step
# is a quarter as long as it should be, each epoch anew; halving the batch and doubling the number is another training.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(lightning==2.6.6 torch==2.15.0 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - 2>/dev/null <<'EOF'
import logging

import lightning
import torch

for name in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


class Slope(lightning.LightningModule):
    """Each batch's gradient is 1, so that each step of size 1 is one over the mean of its batches, 1."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.after = []

    def training_step(self, batch, index):
        return self.weight * batch.mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1.0)

    def on_train_batch_end(self, outputs, batch, index):
        self.after.append(self.weight.item())


def weights(batches, accumulate):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    slope = Slope()
    trainer = lightning.Trainer(max_epochs=1, accumulate_grad_batches=accumulate, accelerator="cpu", **quiet)
    trainer.fit(slope, torch.utils.data.DataLoader(torch.ones(batches, 1)))
    return slope.after


print("lightning", lightning.__version__, "torch", torch.__version__)
print("5 batches, 4 a step: the weight after each", weights(5, 4))
assert weights(5, 4) == [0.0, 0.0, 0.0, -1.0, -1.25]
assert weights(8, 4)[-1] == -2.0  # what works
assert weights(5, 1)[-1] == -5.0
EOF
