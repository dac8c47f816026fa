#!/usr/bin/env bash
# One would think that batch norm is done in half the time by two idle cores, whatever the number of channels.
# Seen with torch 2.15.0, channels-last tensors in training: so it is with 32 or 48 channels, 1.7 to 2 times as fast. With
# 8, 24 or 40 channels two threads gain a third at most, and with 8 and 24 are slower than one.
# Where from: each thread keeps sums of its own, n numbers a thread in one block of memory; unless n float32 are whole cache
# lines of 64 bytes, that is 16 channels, neighbours write into one line and wait for each other.
# Hurts: compact encoders (RegNet, EfficientNet, MobileNet have 24, 40, 56, 152) trained on a CPU: of a step of LinkNet on
# regnetx_002 in bfloat16 batch norm is 45 %.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torch==2.15.0 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import os
import sys
import time

import torch

print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
if len(os.sched_getaffinity(0)) < 2:
    sys.exit("needs two cores")


def least_ms(channels, threads):
    """Least time of batch norm, forward and backward, by the clock."""
    torch.set_num_threads(threads)
    x = torch.randn(8, channels, 128, 128).to(memory_format=torch.channels_last).requires_grad_()
    norm, taken = torch.nn.BatchNorm2d(channels), []
    for _ in range(60):
        began = time.perf_counter()
        y = norm(x)
        y.backward(y.detach())
        taken.append(time.perf_counter() - began)
    return 1000 * min(taken)


gain = {}
for channels in (8, 24, 32, 40, 48):
    one, two = (least_ms(channels, threads) for threads in (1, 2))
    gain[channels] = one / two
    print(f"{channels:3} channels: one thread {one:5.1f} ms, two {two:5.1f} ms, {gain[channels]:.2f} times as fast")
if not max(gain[c] for c in (8, 24, 40)) < 0.85 * min(gain[c] for c in (32, 48)):
    sys.exit("the behaviour has changed, or other programs use the cores")
EOF
