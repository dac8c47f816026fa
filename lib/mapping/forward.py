"""From windows of an image to probabilities: normalisation, views and precision of a forward pass, in one place."""

from itertools import product

import numpy as np
import torch
from torch import Tensor

from lib.networks.checkpoint import TrainedModel
from lib.networks.config import INPUT_MULTIPLE_PX
from lib.networks.devices import autocast, device_of


def probabilities(model: TrainedModel, windows: np.ndarray, views: str = "d4", batch_size: int = 4) -> np.ndarray:
    """
    Probability of the foreground, or of each of several classes, for each pixel of windows.

    The network sees each window mirrored up to multiples of 32 px, in the precision of its device and in channels-last
    order. What is computed beside the network takes 1 to 4 % of the time.

    Parameters
    ----------
    model
        Its device and its normalisation are used.
    windows
        (N, H, W, bands) uint8. All of them lie on the device as float32 at once.
    views
        "d4" takes the mean of the probabilities of 8 views (flips and rotations), "none" one view.
    batch_size
        Views at once, of one window or of several; fewer need less memory.

    Returns
    -------
    probability
        (N, H, W) float32, 0..1; of several classes (N, classes, H, W).
    """
    classes = len(model.info.thresholds)
    count, height, width = windows.shape[:3]
    normalised = _normalised(model, windows)  # (N, bands, H, W), mirrored
    total = torch.zeros_like(normalised[:, :1]).repeat(1, classes, 1, 1)
    # a view: rows and columns change places or not, then some of the dimensions 1 (rows), 2 (columns) are mirrored
    turns = (False, True) if views == "d4" else (False,)
    flips = ((), (1,), (2,), (1, 2)) if views == "d4" else ((),)
    with torch.inference_mode(), autocast(normalised.device):
        for turned in turns:
            images, totals = (t.transpose(2, 3) if turned else t for t in (normalised, total))
            jobs = list(product(range(count), flips))
            for first in range(0, len(jobs), batch_size):
                chosen = jobs[first : first + batch_size]
                batch = torch.stack([images[index].flip(dims) for index, dims in chosen])
                logits = model.network(batch.contiguous(memory_format=torch.channels_last))
                for view, (index, dims) in zip(logits.float().sigmoid(), chosen, strict=True):
                    totals[index] += view.flip(dims)
    mean = total / (len(turns) * len(flips))
    found = mean[:, :, :height, :width].cpu().numpy()
    return found[:, 0] if classes == 1 else found


def _normalised(model: TrainedModel, windows: np.ndarray) -> Tensor:
    """Windows mirrored up to multiples of 32 px, as (N, bands, H, W) float32 on the model's device, normalised."""
    height, width = windows.shape[1:3]
    padding = [(0, 0), (0, -height % INPUT_MULTIPLE_PX), (0, -width % INPUT_MULTIPLE_PX), (0, 0)]
    # "symmetric" mirrors the edge pixel too: it reaches further than "reflect" where a window is smaller than its rim
    mode = "symmetric" if padding[1][1] >= height or padding[2][1] >= width else "reflect"
    mirrored = torch.from_numpy(np.pad(windows, padding, mode)).permute(0, 3, 1, 2)
    device = device_of(model.network)
    mean, std = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (model.info.mean, model.info.std))
    return (mirrored.to(device).float() / 255 - mean) / std
