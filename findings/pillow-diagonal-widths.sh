#!/usr/bin/env bash
# One would think that Pillow's ImageDraw.line of a width covers about so many pixels across in any direction, or errs by one as
# OpenCV's does.
# Seen with Pillow 13.0.0: rows and columns are exact, diagonals go in steps: widths 3, 4 and 5 are one and the same diagonal of 3.5 pixels
# across, width 1 is 0.7 and width 2 is 2.1. And a line of even width lies one row apart when its ends are swapped.
# Where from: the line is a polygon whose corners are rounded to whole pixels before it is filled.
# Hurts: road masks drawn by Pillow: a street of 5 px is right along the axes and 30 % too narrow across them; one that changes from 3 to
# 5 px by its class doesn't change at all, and the direction of digitisation moves labels by a pixel.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(pillow==13.0.0 numpy==2.4.6)
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
import PIL
from PIL import Image, ImageDraw

print("pillow", PIL.__version__, "numpy", np.__version__)


def drawn(start, end, width):
    image = Image.new("L", (80, 80))
    ImageDraw.Draw(image).line([start, end], fill=255, width=width)
    return np.asarray(image) > 0


diagonal = {}
for width in range(1, 9):
    level, upright, slope = drawn((10, 40), (70, 40), width), drawn((40, 10), (40, 70), width), drawn((10, 10), (70, 70), width)
    middle = slope[20:60].sum() / (40 * 2**0.5)  # pixels of a stretch over its length
    diagonal[width] = middle
    print(f"width {width}: {level[:, 40].sum()} rows, {upright[40].sum()} columns, {middle:.2f} across the diagonal")
    assert level[:, 40].sum() == upright[40].sum() == width
assert (drawn((10, 10), (70, 70), 3) == drawn((10, 10), (70, 70), 5)).all()
assert diagonal[5] < 0.75 * 5
there, back = drawn((10, 40), (70, 40), 4), drawn((70, 40), (10, 40), 4)
print("rows of width 4 from left to right", np.flatnonzero(there[:, 40]), "from right to left", np.flatnonzero(back[:, 40]))
assert (there[1:] == back[:-1]).all()
EOF
