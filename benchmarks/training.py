"""
Images a second of a training step: the plain loop against this project's settings, and what reading chips costs.

    python -m benchmarks.training [--encoder resnet34] [--crop-px 512] [--batch-size 8] [--rounds 3] [--workers 0]
        [--threads 2] [--clock wall|cpu]

The plain loop is what one writes first: float32, contiguous tensors, augmentation with OpenCV image by image in the
loader, the loss read after every step, memory as the system's allocator hands it out. Plain and ours take turns, so
that a busy machine slows them alike; the fastest round counts, and ratios mean more than times. A whole training takes
turns, too, with the same step on one batch that stays on the device. The first step, and the memory that it takes
beyond what Python held before, are those of a fresh process. The floor, of a CPU alone, is the network's bare
convolutions with their gradients, in our precision and order: what no loop over them can go below. Results go to
results/training_speed.csv, where those of other settings stay.
"""

import argparse
import contextlib
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from lib.chips.manifest import write_png
from lib.memory import freed_memory_kept
from lib.networks.devices import device_name, precision_for, training_layout
from lib.networks.models import ModelConfig, create_model
from lib.paths import ROOT, write_whole
from lib.training.augment import augment
from lib.training.cache import BatchSampler, ChipCache, CropDataset, build_cache
from lib.training.engine import SegmentationTask
from lib.training.losses import focal_loss
from lib.training.recipe import AUGMENTATIONS, TrainConfig
from lib.training.recording import record_passes
from lib.training.trainer import fit

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


class PlainCrops(IterableDataset):
    """Batches of the plain loop, without end."""

    def __init__(self, cache: ChipCache, crop_px: int, batch_size: int) -> None:
        self.arguments = cache, crop_px, batch_size

    def __iter__(self) -> Iterator[Batch]:
        generator = np.random.default_rng(torch.initial_seed() % 2**32)
        while True:
            yield plain_batch(*self.arguments, generator)


class Trainee:
    """A network, its optimiser, and one step of either kind; on a GPU ours is recorded, as a training is."""

    def __init__(
        self, architecture: str, encoder: str, device: torch.device, ours: bool, crop_px: int, recorded: bool = True
    ) -> None:
        network = create_model(architecture, encoder).to(device).train()
        self.layout = training_layout()
        self.network = network.to(memory_format=self.layout) if ours else network
        self.optimizer = torch.optim.Adam(self.network.parameters(), 2e-4, fused=ours)
        self.device, self.ours, self.crop_px = device, ours, crop_px
        self.waiting = recorded and ours and device.type == "cuda"  # for the first batch, to be recorded
        precision = precision_for("auto", device.type) if ours else "32-true"
        self.dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)

    def step(self, batch: Batch) -> torch.Tensor:
        """From a batch in memory to changed weights; the loss before."""
        batch = {name: values.to(self.device, non_blocking=self.ours) for name, values in batch.items()}
        if self.ours:
            image, mask, _ = augment(batch["pixels"], batch["affine"], batch["colour"], self.crop_px)
            image = ((image - 0.5) / 0.25).contiguous(memory_format=self.layout)
        else:
            image, mask = batch["image"], batch["mask"]
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            if self.waiting:
                self.waiting = False
                record_passes(self.network, image)
            logits = self.network(image)
        loss = focal_loss(logits.float(), mask)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        if not self.ours:
            loss.item()
        return loss.detach()


def now_s(device: torch.device, clock: str) -> float:
    """Time when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return CLOCKS[clock]()


def seconds(work: Callable[[], None], device: torch.device, clock: str) -> float:
    started_s = now_s(device, clock)
    work()
    return now_s(device, clock) - started_s


def steps_a_turn(device: torch.device) -> int:
    """How many steps are timed together: a GPU may run ahead in them."""
    return 20 if device.type == "cuda" else 1


def crop_batches(cache: ChipCache, crop_px: int, batch_size: int, workers: int, pin: bool) -> Iterator[Batch]:
    """Batches of crops without end, as training reads them."""
    samples = 64 * batch_size
    crops = CropDataset(cache, crop_px, AUGMENTATIONS["paper"], samples, seed=0)
    sampler = BatchSampler(samples, batch_size)
    loader = DataLoader(crops, None, sampler=sampler, num_workers=workers, pin_memory=pin)
    while True:
        yield from loader
        sampler.set_epoch(sampler.epoch + 1)


def batches_of(kind: str, cache: ChipCache, options: argparse.Namespace, device: torch.device) -> Iterator[Batch]:
    if kind == "ours":
        return crop_batches(cache, options.crop_px, options.batch_size, options.workers, device.type == "cuda")
    crops = PlainCrops(cache, options.crop_px, options.batch_size)
    return iter(DataLoader(crops, None, num_workers=options.workers))


def memory_gib(field: str) -> float:
    """Memory of this process, of /proc: VmRSS is what it holds, VmHWM the most it ever held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 2**20


def first_step(architecture: str, kind: str, cache: ChipCache, options: argparse.Namespace, pipe) -> None:
    """Seconds from nothing to the end of the first step, and the memory that it takes; runs in a fresh process."""
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before_gib = memory_gib("VmRSS")

    def work() -> None:
        trainee = Trainee(architecture, options.encoder, device, kind == "ours", options.crop_px)
        trainee.step(next(batches_of(kind, cache, options, device)))

    taken_s = seconds(work, device, options.clock)
    on_gpu = device.type == "cuda"
    pipe.send((taken_s, torch.cuda.max_memory_allocated() / 2**30 if on_gpu else memory_gib("VmHWM") - before_gib))


def first_steps(cache: ChipCache, options: argparse.Namespace) -> dict[tuple[str, str], tuple[float, float]]:
    """Seconds and GiB of the first step of each network and kind; forked before any thread of PyTorch is there."""
    context, found = multiprocessing.get_context("fork"), {}
    for architecture in options.networks:
        for kind in ("plain", "ours"):
            ours, theirs = context.Pipe()
            process = context.Process(target=first_step, args=(architecture, kind, cache, options, theirs))
            process.start()
            found[architecture, kind] = ours.recv()
            process.join()
    return found


def bare_convolutions(trainee: Trainee, image: torch.Tensor) -> Callable[[], None]:
    """Does the convolutions of a step and their gradients, and nothing else, on a batch as the network gets it."""
    calls: list[tuple[nn.Module, torch.Tensor]] = []
    layers = [layer for layer in trainee.network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    note = lambda layer, inputs: calls.append((layer, inputs[0].detach()))  # noqa: E731
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    computing = torch.autocast(trainee.device.type, trainee.dtype, enabled=trainee.dtype is not None)
    with torch.no_grad(), computing:
        trainee.network(image)
    for hook in hooks:
        hook.remove()
    taken = [(layer, values.requires_grad_(values.shape != image.shape)) for layer, values in calls]
    with torch.no_grad(), computing:
        gradients = [torch.randn_like(layer(values)) for layer, values in taken]

    def work() -> None:
        for (layer, values), gradient in zip(taken, gradients, strict=True):
            with computing:
                found = layer(values)
            found.backward(gradient)
            values.grad = None
            layer.zero_grad()

    return work


def compare_steps(cache: ChipCache, options: argparse.Namespace, device: torch.device) -> pd.DataFrame:
    """Plain loop against ours, network by network."""
    first, rows, steps = first_steps(cache, options), [], steps_a_turn(device)
    for architecture in options.networks:
        works = {}
        for kind in ("plain", "ours"):
            trainee = Trainee(architecture, options.encoder, device, kind == "ours", options.crop_px)
            batches = batches_of(kind, cache, options, device)
            works[kind] = lambda trainee=trainee, batches=batches: trainee.step(next(batches))
            works[kind]()
        if device.type == "cpu":  # one by one on a GPU they wait for the CPU: no floor
            noise = torch.rand(options.batch_size, 3, options.crop_px, options.crop_px)
            works["floor"] = bare_convolutions(trainee, noise.contiguous(memory_format=trainee.layout))
        times = {kind: [] for kind in works}
        for _ in range(options.rounds):
            for kind, work in works.items():
                with contextlib.nullcontext() if kind == "plain" else freed_memory_kept():
                    work()  # from here on, memory is as in the middle of a training
                    turn_s = seconds(lambda work=work: [work() for _ in range(steps)], device, options.clock)
                    times[kind].append(turn_s / steps)
        plain, ours, floor = (
            options.batch_size / min(times.get(kind, [np.nan])) for kind in ("plain", "ours", "floor")
        )
        row = {"network": architecture, "plain_images_s": plain, "ours_images_s": ours, "ratio": ours / plain}
        row |= {"floor_images_s": floor, "floor_ratio": floor / plain}
        for kind in ("plain", "ours"):
            taken_s, gib = first[architecture, kind]
            row |= {f"{kind}_first_step_s": taken_s, f"{kind}_memory_gib": gib}
        rows.append(row)
        print(pd.DataFrame(rows[-1:]).round(2).to_string(index=False, header=len(rows) == 1), flush=True)
    return pd.DataFrame(rows)


def compare_end_to_end(
    chips: pd.DataFrame, cache: ChipCache, options: argparse.Namespace, device: torch.device
) -> float:
    """Speed of `lib.training.trainer.fit` from step to step, as a share of that on a batch already on the device."""
    trainee = Trainee("pp_linknet", options.encoder, device, True, options.crop_px)
    batches = crop_batches(cache, options.crop_px, options.batch_size, options.workers, device.type == "cuda")
    resident = {name: values.to(device) for name, values in next(batches).items()}
    block = max(2, steps_a_turn(device))
    training_s, resident_s, step = [], [], SegmentationTask.training_step
    turn_began_s = 0.0

    def taking_turns(self: SegmentationTask, batch: Batch, index: int) -> torch.Tensor:
        nonlocal turn_began_s
        if index % block == 0:
            training_s.append(now_s(device, options.clock) - turn_began_s)
            resident_s.append(seconds(lambda: [trainee.step(resident) for _ in range(block)], device, options.clock))
            turn_began_s = now_s(device, options.clock)
        return step(self, batch, index)

    SegmentationTask.training_step = taking_turns
    samples = options.batch_size * (block * (2 * options.rounds + 1) + 1)
    config = TrainConfig(1, options.batch_size, options.crop_px, samples, workers=options.workers)
    model = ModelConfig(encoder_name=options.encoder)
    with tempfile.TemporaryDirectory() as folder:
        fit(chips, chips[:1], Path(folder), config, model, progress=lambda line: None)
    SegmentationTask.training_step = step
    return float(np.median(np.divide(resident_s[2:], training_s[2:])))  # without the first turn, which warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--crop-px", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="processes that read chips")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: time of this process, on a busy machine")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    on_gpu = bool(torch.cuda.device_count())  # without a start of CUDA, which a fork would not survive
    precision = "of the GPU's choice" if on_gpu else precision_for()
    settings = f"{options.threads} threads, {precision}, clock: {options.clock}; {options.encoder}, "
    settings += f"{options.batch_size} crops of {options.crop_px} px a step"
    print(settings)
    with tempfile.TemporaryDirectory() as folder:
        chips = make_chips(Path(folder))
        cache = build_cache(chips, Path(folder) / "chips.u8")
        device = torch.device("cuda" if on_gpu else "cpu")
        table = compare_steps(cache, options, device)
        share = compare_end_to_end(chips, cache, options, device)
    print(f"pp_linknet, a whole training: {100 * share:.0f} % of the speed on one batch already on the device")
    table = table.assign(end_to_end_share=np.where(table["network"] == "pp_linknet", share, np.nan))
    table = table.assign(device=device_name(), settings=settings)
    path = ROOT / "results" / "training_speed.csv"
    if path.is_file():
        table = pd.concat([pd.read_csv(path).query("settings != @settings"), table])
    print(f"kept in {write_whole(path, table.to_csv(index=False, float_format='%.3f'))}")


if __name__ == "__main__":
    main()
