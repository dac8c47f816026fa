"""
What the size of a window does to a network whose pyramid pools over it: python -m benchmarks.windows CHECKPOINT DATA.

DATA is a folder with images/ and masks/ of the same stems, all at the checkpoint's GSD. Each image is predicted in
windows of several sizes with the same overlap and one view. Printed, for each size: IoU at the checkpoint's threshold
and at the best one, the mean probability, and how far probabilities are from those of the largest windows.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from lib.chips.manifest import read_image
from lib.mapping.predict import predict_image
from lib.networks.checkpoint import load_model
from lib.networks.devices import device_name

SIZES_PX = (256, 512, 768, 1024, 1536)
OVERLAP_PX = 128
THRESHOLDS = np.arange(1, 100) / 100


def counts(probability: np.ndarray, mask: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(thresholds, 3): true positives, false positives, false negatives."""
    found = [probability >= threshold for threshold in thresholds]
    return np.array([[(one & mask).sum(), (one & ~mask).sum(), (~one & mask).sum()] for one in found])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("stems", nargs="+", help="of images that no training saw")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(options.checkpoint)
    thresholds = np.array([model.info.threshold, *THRESHOLDS])
    print(f"{device_name()}, one core; {len(options.stems)} images, overlap {OVERLAP_PX} px, one view")
    rows = []
    paths = {stem: next((options.data / "images").glob(f"{stem}.*")) for stem in options.stems}
    images = {stem: read_image(path) for stem, path in paths.items()}
    masks = {stem: cv2.imread(str(next((options.data / "masks").glob(f"{stem}.*"))), 0) > 127 for stem in paths}
    largest: dict[str, np.ndarray] = {}
    for size in reversed(SIZES_PX):
        total, differ, level = np.zeros((len(thresholds), 3)), [], []
        for stem, image in images.items():
            probability = predict_image(model, image, "none", size, OVERLAP_PX)
            largest.setdefault(stem, probability)
            total += counts(probability, masks[stem], thresholds)
            differ.append(np.abs(probability - largest[stem]).mean())
            level.append(probability.mean())
        iou = total[:, 0] / total.sum(axis=1)
        best = 1 + int(iou[1:].argmax())
        rows.append(
            {
                "window_px": size,
                "iou": iou[0],
                "best_iou": iou[best],
                "best_threshold": thresholds[best],
                "mean_probability": np.mean(level),
                "mean_difference": np.mean(differ),
            }
        )
        print(pd.DataFrame(rows[-1:]).round(4).to_string(index=False, header=len(rows) == 1), flush=True)


if __name__ == "__main__":
    main()
