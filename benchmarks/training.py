"""
Images a second of a training step: the plain loop against this project's settings, and what reading chips costs.

    python -m benchmarks.training [--encoder resnet34] [--crop-px 256] [--batch-size 4] [--rounds 3] [--threads 2]
        [--clock wall|cpu]

The plain loop is what one writes first: float32, contiguous tensors, augmentation with OpenCV image by image, the
loss read after every step. Plain and ours take turns, so that a busy machine slows them alike; the fastest round
counts, and ratios mean more than times.
"""

import argparse
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from lib.augment import AUGMENTATIONS, augment
from lib.chipcache import BatchSampler, ChipCache, CropDataset, build_cache
from lib.chips import write_png
from lib.devices import precision_for
from lib.engine import SegmentationTask
from lib.losses import focal_loss
from lib.models import ModelConfig, create_model
from lib.training import TrainConfig, fit

NETWORKS = ("pp_linknet", "d_linknet", "linknet", "unet", "deeplabv3plus")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Batch = dict[str, torch.Tensor]


def make_chips(folder: Path, count: int = 16, side_px: int = 1024) -> pd.DataFrame:
    """Chips of noise: what they show makes no difference to speed."""
    generator, rows = np.random.default_rng(0), []
    for index in range(count):
        image = write_png(folder / f"i{index}.png", generator.integers(0, 256, (side_px, side_px, 3), dtype=np.uint8))
        mask = write_png(folder / f"m{index}.png", 255 * (generator.random((side_px, side_px)) > 0.9).astype(np.uint8))
        rows.append({"image": str(image), "mask": str(mask)})
    return pd.DataFrame(rows)


def plain_batch(cache: ChipCache, crop_px: int, batch_size: int, generator: np.random.Generator) -> Batch:
    """Crops augmented one by one with OpenCV, as (N, 3, H, W) float32 and (N, 1, H, W) uint8."""
    images, masks = [], []
    for chip in generator.integers(0, len(cache), batch_size):
        top, left = generator.integers(0, cache.shapes[chip] - crop_px)
        pixels = cache.chip(chip)[top : top + crop_px, left : left + crop_px]
        image, mask = np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
        if generator.random() < 0.5:
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.int16) + generator.integers(-15, 16, 3)
            hsv = np.stack([hsv[..., 0] % 180, *(hsv[..., k].clip(0, 255) for k in (1, 2))], axis=-1)
            image = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
        if generator.random() < 0.5:
            scale, shift = 1 + generator.uniform(-0.1, 0.1, 2), generator.uniform(-0.1, 0.1, 2) * crop_px
            matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
            image = cv2.warpAffine(image, matrix, (crop_px, crop_px), flags=cv2.INTER_LINEAR)
            mask = cv2.warpAffine(mask, matrix, (crop_px, crop_px), flags=cv2.INTER_NEAREST)
        for flip in (0, 1):
            if generator.random() < 0.5:
                image, mask = cv2.flip(image, flip), cv2.flip(mask, flip)
        images.append(torch.from_numpy((image / 255 - 0.5) / 0.25).permute(2, 0, 1).float())
        masks.append(torch.from_numpy(mask)[None])
    return {"image": torch.stack(images), "mask": torch.stack(masks)}


class Trainee:
    """A network, its optimiser, and one step of either kind."""

    def __init__(self, architecture: str, encoder: str, device: torch.device, ours: bool, crop_px: int) -> None:
        network = create_model(architecture, encoder).to(device).train()
        self.network = network.to(memory_format=torch.channels_last) if ours else network
        self.optimizer = torch.optim.Adam(self.network.parameters(), 2e-4)
        self.device, self.ours, self.crop_px = device, ours, crop_px
        precision = precision_for("auto", device.type) if ours else "32-true"
        self.dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)

    def step(self, batch: Batch) -> None:
        """From a batch in memory to changed weights."""
        batch = {name: values.to(self.device, non_blocking=self.ours) for name, values in batch.items()}
        if self.ours:
            image, mask, _ = augment(batch["pixels"], batch["affine"], batch["colour"], self.crop_px)
            image = ((image - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)
        else:
            image, mask = batch["image"], batch["mask"]
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            logits = self.network(image)
        loss = focal_loss(logits.float(), mask)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if not self.ours:
            loss.item()


def seconds(work: Callable[[], None], device: torch.device, clock: str) -> float:
    started_s = CLOCKS[clock]()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return CLOCKS[clock]() - started_s


def crop_batches(cache: ChipCache, crop_px: int, batch_size: int, workers: int, pin: bool) -> Iterator[Batch]:
    """Batches of crops without end, as training reads them."""
    samples = 64 * batch_size
    crops = CropDataset(cache, crop_px, AUGMENTATIONS["paper"], samples, seed=0)
    sampler = BatchSampler(samples, batch_size)
    loader = DataLoader(crops, None, sampler=sampler, num_workers=workers, pin_memory=pin)
    while True:
        yield from loader
        sampler.set_epoch(sampler.epoch + 1)


def compare_steps(cache: ChipCache, options: argparse.Namespace, device: torch.device) -> pd.DataFrame:
    """Plain loop against ours, network by network."""
    size, generator, rows = options.batch_size, np.random.default_rng(0), []
    batches = crop_batches(cache, options.crop_px, size, options.workers, device.type == "cuda")
    for architecture in NETWORKS:
        times: dict[str, list[float]] = {"plain": [], "ours": []}
        first = {}
        for kind in times:
            trainee = Trainee(architecture, options.encoder, device, kind == "ours", options.crop_px)
            batch = plain_batch if kind == "plain" else lambda *_: next(batches)

            def work(trainee=trainee, batch=batch) -> None:
                trainee.step(batch(cache, options.crop_px, size, generator))

            first[kind] = work
        first_step_s = {kind: seconds(work, device, options.clock) for kind, work in first.items()}
        for _ in range(options.rounds):
            for kind, work in first.items():
                times[kind].append(seconds(work, device, options.clock))
        plain, ours = (size / min(times[kind]) for kind in ("plain", "ours"))
        rows.append([architecture, plain, ours, ours / plain, first_step_s["ours"]])
    return pd.DataFrame(rows, columns=["network", "plain, images/s", "ours, images/s", "ratio", "first step, s"])


def compare_end_to_end(
    chips: pd.DataFrame, cache: ChipCache, options: argparse.Namespace, device: torch.device
) -> float:
    """Speed of `lib.training.fit` from step to step, as a share of that on a batch already on the device."""
    trainee = Trainee("pp_linknet", options.encoder, device, True, options.crop_px)
    batches = crop_batches(cache, options.crop_px, options.batch_size, options.workers, device.type == "cuda")
    resident = {name: values.to(device) for name, values in next(batches).items()}
    trainee.step(resident)
    resident_s = [seconds(lambda: trainee.step(resident), device, options.clock) for _ in range(2 * options.rounds)]

    started_s, step = [], SegmentationTask.training_step

    def stamped(self: SegmentationTask, batch: Batch, index: int) -> torch.Tensor:
        started_s.append(CLOCKS[options.clock]())
        return step(self, batch, index)

    SegmentationTask.training_step = stamped
    samples = options.batch_size * (2 * options.rounds + 2)
    config = TrainConfig(1, options.batch_size, options.crop_px, samples, workers=options.workers)
    model = ModelConfig(encoder_name=options.encoder)
    with tempfile.TemporaryDirectory() as folder:
        fit(chips, chips[:1], Path(folder), config, model, progress=lambda line: None)
    SegmentationTask.training_step = step
    return np.median(resident_s) / np.median(np.diff(started_s)[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--crop-px", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="processes that read chips")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: time of this process, on a busy machine")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU {platform.machine()}"
    print(
        f"{name}, {options.threads} threads, {precision_for()}; {options.encoder}, "
        f"{options.batch_size} crops of {options.crop_px} px a step"
    )
    with tempfile.TemporaryDirectory() as folder:
        chips = make_chips(Path(folder))
        cache = build_cache(chips, Path(folder) / "chips.u8")
        print(compare_steps(cache, options, device).round(2).to_string(index=False))
        share = compare_end_to_end(chips, cache, options, device)
    print(f"pp_linknet, a whole training: {100 * share:.0f} % of the speed on one batch already on the device")
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    memory = peak or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory {memory / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
