#!/usr/bin/env bash
# One would think that chips of the training half and chips of the test half share no ground once the halves share none.
# Seen with torchgeo 0.8.1: GridGeoSampler cuts the last row and column of chips across the border of its split, and
# they are read whole: after roi_split into two halves of 500 m and in chips of 128 m, 12 columns of test ground are
# trained on. After random_bbox_splitting by 70 and 30 %, 22 % of the pixels in test chips are training ground.
# Where from: the number of chips is rounded up (documented as including the last remaining chip), and the images behind
# the split don't end where it does. Of the neighbour nothing is said, and roi_split refuses regions that overlap.
# RandomGeoSampler keeps to its side.
# Hurts: scores on test ground, the more so the smaller the split is in chips; chips at the border count ground of the
# other half. Splits of a whole number of chips are clean.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(torchgeo==0.8.1 torch==2.15.0 requests==2.34.2 rasterio==1.4.4 shapely==2.2.0 pandas==3.1.1 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - 2>/dev/null <<'EOF'
import warnings
from importlib.metadata import version

import numpy as np
import rasterio
import shapely
import torch

warnings.simplefilter("ignore")
from torchgeo.datasets import RasterDataset, random_bbox_splitting, roi_split
from torchgeo.samplers import GridGeoSampler, RandomGeoSampler

SIDE, WEST, SOUTH = 1000, 385_000, 6_675_000
profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "int32", "crs": "EPSG:32635"}
with rasterio.open("numbers.tif", "w", **profile, transform=rasterio.Affine(1, 0, WEST, 0, -1, SOUTH + SIDE)) as file:
    file.write(np.arange(1, SIDE**2 + 1, dtype=np.int32).reshape(1, SIDE, SIDE))


class Numbers(RasterDataset):
    is_image = False


def ground(part, sampler):
    """Which pixels of the scene the chips hold: each has its own number."""
    seen = np.zeros(SIDE**2 + 1, bool)
    for where in sampler:
        seen[part[where]["mask"].numpy().ravel()] = True
    return seen[1:]


def shared(parts, **how):
    train, test = (ground(part, GridGeoSampler(part, **how)) for part in parts)
    return int((train & test).sum()), int(test.sum())


print("torchgeo", version("torchgeo"), "torch", torch.__version__, "rasterio", rasterio.__version__)
scene = Numbers("numbers.tif")
halves = [shapely.box(WEST + x, SOUTH, WEST + x + 500, SOUTH + SIDE) for x in (0, 500)]
split = roi_split(scene, halves)
for size in (100, 128):
    print(f"halves, chips of {size}: pixels of both {shared(split, size=size)[0]}")
drawn = [ground(part, RandomGeoSampler(part, size=128, length=200)) for part in split]
print("halves, chips at random: pixels of both", (drawn[0] & drawn[1]).sum())
boxes = random_bbox_splitting(scene, [0.7, 0.3], generator=torch.Generator().manual_seed(1))
both, test = shared(boxes, size=128)
print(f"70 and 30 %, chips of 128: pixels of both {both} of {test} in test chips")
assert shared(split, size=100)[0] == 0
assert shared(split, size=128)[0] == 12 * SIDE
assert (drawn[0] & drawn[1]).sum() == 0
assert both > 0.2 * test
EOF
