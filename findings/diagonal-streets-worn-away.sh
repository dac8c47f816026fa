#!/usr/bin/env bash
# One would think that the skeleton of a street is about as long as the street, whatever its direction.
# Seen with scikit-image 0.26.0 and OpenCV 5.0.0: of a street that runs down to the right at 45 degrees, with 2, 4 or 6
# pixels in each row, skeletonize leaves half, a single pixel, or the whole line, as its ends are cut; of the mirror
# image it leaves the line. cv2.ximgproc.thinning leaves one or two pixels of both. With 3 or 5 pixels in each row both
# leave the line.
# Where from: both follow Zhang and Suen (1984) unless told otherwise, whose passes take such diagonals from their ends
# (Lü and Wang described it in 1986). Issues 6321 and 7704 of scikit-image/scikit-image report lost lines; neither
# documentation speaks of them. method="lee" and THINNING_GUOHALL leave the line.
# Hurts: road graphs made of masks, and their scores of length and connectivity: whole diagonal streets are missing
# where the mask has no gap, and moving the street by half a pixel brings them back. Scores of an image and its mirror
# image differ.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(scikit-image==0.26.0 opencv-contrib-python-headless==5.0.0.93 scipy==1.17.1 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import cv2
import numpy as np
import skimage
from cv2 import ximgproc
from skimage.morphology import skeletonize

print("scikit-image", skimage.__version__, "opencv", cv2.__version__, "numpy", np.__version__)
row, column = np.mgrid[:200, :200]


def street(pixels, end):
    """Down to the right at 45 degrees, with this many pixels in each row, cut square at its ends."""
    across, along = column - row, column + row
    return ((across >= 0) & (across < pixels) & (along >= 60) & (along < end)).astype(np.uint8) * 255


def left(mask):
    mask = np.ascontiguousarray(mask)
    return {
        "skeletonize": int(skeletonize(mask > 0).sum()),
        "lee": int((skeletonize(mask > 0, method="lee") > 0).sum()),
        "thinning": int((ximgproc.thinning(mask) > 0).sum()),
        "Guo and Hall": int((ximgproc.thinning(mask, thinningType=ximgproc.THINNING_GUOHALL) > 0).sum()),
    }


print("pixels left of a street of 140 rows")
for pixels in (2, 3, 4, 5, 6):
    one, longer, mirrored = (left(m) for m in (street(pixels, 340), street(pixels, 341), street(pixels, 340)[:, ::-1]))
    print(f"{pixels} in each row: {one}; one pixel longer: {longer}; mirrored: {mirrored}")
    assert min(seen[way] for seen in (one, longer, mirrored) for way in ("lee", "Guo and Hall")) > 130
    assert mirrored["skeletonize"] > 130
    if pixels % 2:
        assert min(*one.values(), *longer.values(), *mirrored.values()) > 130
    else:
        assert 60 < one["skeletonize"] < 80 and longer["skeletonize"] == 1
        assert max(seen["thinning"] for seen in (one, longer, mirrored)) <= 2
EOF
