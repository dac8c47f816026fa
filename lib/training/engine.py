"""What Lightning runs for `lib.training.trainer`: the task, its score, and the record of its epochs."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchmetrics import Metric

from lib.errors import PPLinkNetError, reading
from lib.grid import MASK_FOREGROUND, MASK_IGNORE
from lib.networks.calibration import LEVELS, best_iou
from lib.networks.checkpoint import read_info
from lib.networks.config import INPUT_MULTIPLE_PX
from lib.networks.devices import training_layout
from lib.paths import room_for, whole_file, write_whole
from lib.training.augment import augment
from lib.training.cache import BatchSampler, ChipCache, ChipDataset, CropDataset
from lib.training.losses import create_loss
from lib.training.optimizer import create_optimizer
from lib.training.recipe import TrainConfig
from lib.training.recording import record_passes

ADVICE = "Lower learning_rate, or set clip_norm=1.0."
HISTORY = ("epoch", "train_loss", "val_loss", "val_iou", "threshold", "learning_rate", "seconds")


class TrainingDivergedError(PPLinkNetError, ArithmeticError):
    """The loss is no longer a finite number."""


class IoUCurve(Metric):
    """
    Foreground IoU of each class, pooled over all pixels, at each of 255 thresholds; ignored pixels do not count.

    Holds two histograms of the probability, over background and over foreground, so that batches and processes add up.
    torchmetrics' binned curves compare every pixel with every threshold, which takes seven times as long.
    """

    full_state_update = False

    def __init__(self, classes: Sequence[str] = ("foreground",)) -> None:
        super().__init__()
        self.classes = tuple(classes)
        zero = torch.zeros(len(classes), 2, LEVELS, dtype=torch.int64)
        self.add_state("counts", zero, dist_reduce_fx="sum")
        self.add_state("loss", torch.zeros((), dtype=torch.float32), dist_reduce_fx="sum")
        self.add_state("chips", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, mask: Tensor, loss: Tensor) -> None:
        """Add a batch: logits and mask (N, classes, H, W), and its mean loss."""
        level = (logits.float().sigmoid() * (LEVELS - 1)).round().long()
        level = level + LEVELS * (mask == MASK_FOREGROUND)
        level = level + 2 * LEVELS * torch.arange(len(self.classes), device=level.device).view(-1, 1, 1)
        counts = torch.bincount(level[mask != MASK_IGNORE], minlength=self.counts.numel())
        self.counts += counts.view_as(self.counts)
        self.loss += loss * len(mask)
        self.chips += len(mask)

    def compute(self) -> dict[str, float]:
        """
        Mean loss, best IoU and the threshold that gives it (the middle one where several do).

        Of several classes "iou" is the mean over those of which a pixel is known, and each of these has its
        "iou_<class>" and "threshold_<class>".
        """
        ious, thresholds = {}, {}
        for kind, counts in zip(self.classes, self.counts.cpu().numpy(), strict=True):
            iou, threshold = best_iou(np.stack([counts.sum(axis=0), counts[1]], axis=1))
            if len(self.classes) == 1 or counts.any():
                ious[kind], thresholds[kind] = iou, threshold
        found = {"loss": float(self.loss / self.chips), "iou": sum(ious.values()) / max(len(ious), 1)}
        if len(self.classes) == 1:
            return found | {"threshold": thresholds[self.classes[0]]}
        return found | {f"iou_{c}": ious[c] for c in ious} | {f"threshold_{c}": thresholds[c] for c in ious}


class SegmentationTask(lightning.LightningModule):
    """
    A network, its loss, how it is fed, and how its weights move.

    Parameters
    ----------
    network
        Maps (N, bands, H, W) to logits (N, classes, H, W).
    config
        How to train it.
    mean, std
        Of each band, pixel values scaled to 0..1.
    chip_names
        Of the training chips, for messages.
    steps_per_epoch
        Steps of the optimiser, which are fewer than batches where gradients are accumulated.
    classes
        What the network's outputs are.
    """

    def __init__(
        self,
        network: nn.Module,
        config: TrainConfig,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        chip_names: list[str],
        steps_per_epoch: int,
        classes: Sequence[str] = ("foreground",),
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.chip_names = chip_names
        self.steps_per_epoch = steps_per_epoch
        self.loss = create_loss(config.loss, config.focal_alpha, config.focal_gamma, config.focal_gradient)
        self.memory_format = training_layout(config.channels_last, config.accelerator)
        self.curve, self.classes = IoUCurve(classes), len(classes)
        self.bands = len(mean)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.losses: list[Tensor] = []  # of the epoch's batches so far, scalars on the device
        self._chips = torch.empty(0)  # of the last batch, positions in the cache

    def configure_optimizers(self) -> dict[str, Any]:
        """Optimiser, and a schedule in optimiser steps."""
        optimizer, schedule = create_optimizer(self.network, self.config, self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_fit_start(self) -> None:
        """On a GPU of its own the network is recorded, before any other thread uses it."""
        side_px, config, on = self.config.crop_px, self.config, self.trainer.strategy.root_device
        # more processes add up gradients by hooks, more batches in place: neither can be replayed
        if on.type != "cuda" or self.trainer.world_size > 1 or config.accumulate > 1 or config.compile:
            return
        self._encoder_as_it_trains()
        image = torch.rand(config.batch_size, self.bands, side_px, side_px, device=on)
        with self.trainer.precision_plugin.train_step_context():
            record_passes(self.network, image.contiguous(memory_format=self.memory_format))

    def on_train_epoch_start(self) -> None:
        """Dropout, too, depends on seed and epoch alone."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.current_epoch)
        self._encoder_as_it_trains()
        self.losses = []

    def _encoder_as_it_trains(self) -> None:
        """A frozen encoder keeps its statistics."""
        if not any(parameter.requires_grad for parameter in self.network.encoder.parameters()):
            self.network.encoder.eval()

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        """Loss of a batch of crops, augmented here, on the device."""
        self._check_last_loss()
        moves = batch["affine"], batch["colour"]
        image, mask, weight = augment(batch["pixels"], *moves, self.config.crop_px, self.bands, self.classes)
        loss = self.loss(self._logits(image), mask, weight)
        self.losses.append(loss.detach())
        self._chips = batch["chip"]
        return loss * self._step_share(batch_index)

    def _step_share(self, batch_index: int) -> float:
        """
        Weight of a batch in its step beyond Lightning's, which divides by `accumulate` however many batches there are.

        An epoch's last step has only the batches that are left: they count as a mean, too.
        """
        left = self.trainer.num_training_batches % self.config.accumulate
        return self.config.accumulate / left if batch_index >= self.trainer.num_training_batches - left else 1.0

    def epoch_loss(self) -> float:
        """Mean training loss of the epoch that ends, over all processes."""
        self._check_last_loss()
        return float(self.trainer.strategy.reduce(torch.stack(self.losses).mean(), reduce_op="mean"))

    def _check_last_loss(self) -> None:
        """Look at the loss a step late, so that a device that runs ahead need not wait."""
        if self.losses and not bool(torch.isfinite(self.losses[-1])):
            names = [self.chip_names[index] for index in self._chips.tolist()]
            raise TrainingDivergedError(
                f"The loss is {float(self.losses[-1])} in epoch {self.current_epoch + 1}, on the chips {names}. The "
                f"epochs before are saved. Look at these chips and masks. {ADVICE}"
            )

    def validation_step(self, batch: dict[str, Tensor], batch_index: int) -> None:
        """Score of whole chips, mirrored up to a size that the network takes."""
        pixels = batch["pixels"].permute(0, 3, 1, 2)
        layers = self.bands, self.classes, pixels.shape[1] - self.bands - self.classes
        image, mask, weight = pixels.split(layers, dim=1)
        image = image.float() / 255
        height, width = mask.shape[-2:]
        padding = (0, -width % INPUT_MULTIPLE_PX, 0, -height % INPUT_MULTIPLE_PX)
        mode = "reflect" if padding[1] < width and padding[3] < height else "replicate"
        logits = self._logits(functional.pad(image, padding, mode))[..., :height, :width]
        if not bool(torch.isfinite(logits).all()):
            epoch = 0 if self.trainer.sanity_checking else self.current_epoch + 1
            raise TrainingDivergedError(
                f"The network gives {float(logits.mean())} on a validation chip after epoch {epoch}: its weights are "
                f"ruined. The epochs before are saved. {ADVICE}"
            )
        if batch["counts"]:
            self.curve.update(logits, mask, self.loss(logits, mask, weight if weight.shape[1] else None))

    def _logits(self, image: Tensor) -> Tensor:
        image = ((image - self.mean) / self.std).contiguous(memory_format=self.memory_format)
        return self.network(image).float()


class ChipData(lightning.LightningDataModule):
    """Crops to train on and whole chips to validate with: the share of the process that asks."""

    def __init__(self, crops: CropDataset, val: ChipCache, batch_size: int, workers: int) -> None:
        super().__init__()
        self.crops = crops
        self.val = val
        self.batch_size = batch_size
        self.workers = workers

    def train_dataloader(self) -> DataLoader:
        """Batches of crops; read ahead by `workers` processes, in pinned memory where there is a GPU."""
        sampler = BatchSampler(self.crops.samples, self.batch_size, *self._share())
        return self._loader(self.crops, sampler=sampler, num_workers=self.workers, persistent_workers=self.workers > 0)

    def val_dataloader(self) -> DataLoader:
        """Batches of whole chips, as large in memory as those to train on."""
        rank, world = self._share()
        return self._loader(ChipDataset(self.val, self.batch_size // world * self.crops.crop_px**2, rank, world))

    def _share(self) -> tuple[int, int]:
        """Number of this process, and how many there are."""
        return self.trainer.global_rank, self.trainer.world_size

    def _loader(self, dataset: Dataset, **settings: Any) -> DataLoader:
        on_gpu = self.trainer.strategy.root_device.type == "cuda"
        return DataLoader(dataset, batch_size=None, pin_memory=on_gpu, **settings)


class WholeFileIO(TorchCheckpointIO):
    """
    Writes Lightning's checkpoints whole or not at all, on the disk where they belong.

    Lightning's own goes through memory and a file in the system's temporary folder, which may be another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write all of it, then put it in its place."""
        with whole_file(Path(path)) as part:
            torch.save(checkpoint, part)

    def load_checkpoint(self, path: str | Path, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Read it; an InputError that says what to do where it is damaged."""
        with reading(path, "the state of an unfinished training; delete it to train anew"):
            return super().load_checkpoint(path, *arguments, **options)


@dataclass(eq=False)
class Record(Callback):
    """
    Scores every epoch, keeps the best weights, saves what it takes to go on, and prints a line.

    Weights that come from an earlier stage are scored, too, before the first epoch: they are epoch 0.

    An epoch has happened as soon as its last.ckpt stands, which holds the history, too. Weights that are the best so
    far wait for it in next.safetensors, since they come from validation, before it; best.safetensors and history.csv
    follow it. A run killed in between is mended as it goes on.

    Parameters
    ----------
    out_dir
        Folder of these files.
    epochs
        For the printed line.
    save_weights
        Called with a path and the scores when an epoch is the best so far, while the weights to keep are in place.
    keep_by
        What makes an epoch the best: the highest "val_iou" (of several classes their mean), or the lowest "train_loss",
        which epoch 0 has not.
    progress
        Called with a line of text.
    """

    out_dir: Path
    epochs: int
    save_weights: Callable[[Path, dict[str, float]], None]
    progress: Callable[[str], None]
    keep_by: str = "val_iou"
    rows: list[dict[str, float]] = field(default_factory=list, init=False)  # one an epoch, keys as in HISTORY
    _scores: dict[str, float] = field(default_factory=dict, init=False)  # of the last validation
    _started_s: float = field(default=0.0, init=False)
    _rate: float = field(default=0.0, init=False)

    def state_dict(self) -> dict[str, Any]:
        """Rows of the history so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Rows of the history so far."""
        self.rows = state_dict["rows"]

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: SegmentationTask) -> None:
        """Do what a killed run may not have come to after its last epoch: keep the weights, tell, stop."""
        stopping = trainer.early_stopping_callback
        trainer.should_stop = stopping is not None and stopping.wait_count >= stopping.patience
        if trainer.is_global_zero:
            self._settle()
            for row in self.rows:
                self._log(trainer, row)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: SegmentationTask) -> None:  # noqa: D102
        self._started_s = time.perf_counter()
        self._rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: SegmentationTask) -> None:  # noqa: D102
        curve = pl_module.curve.compute()
        pl_module.curve.reset()
        epoch = 0 if trainer.sanity_checking else trainer.current_epoch + 1
        named = {name if name.startswith("threshold") else f"val_{name}": value for name, value in curve.items()}
        self._scores = {"epoch": epoch} | named
        if not trainer.sanity_checking:
            self._scores["train_loss"] = pl_module.epoch_loss()
        pl_module.log(self.keep_by, self._scores.get(self.keep_by, math.nan), logger=False, sync_dist=True)
        if trainer.is_global_zero and all(self._merit(self._scores) > self._merit(row) for row in self.rows):
            self.save_weights(self.out_dir / "next.safetensors", self._scores)
        if trainer.sanity_checking:
            self._add_row()
            self._tell(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: SegmentationTask) -> None:  # noqa: D102
        seconds = round(time.perf_counter() - self._started_s, 2)
        self._add_row(learning_rate=self._rate, seconds=seconds)
        trainer.save_checkpoint(self.out_dir / "last.ckpt")
        self._tell(trainer)

    def _add_row(self, **measured: float) -> None:
        self.rows.append(dict.fromkeys(HISTORY, math.nan) | self._scores | measured)

    def _tell(self, trainer: lightning.Trainer) -> None:
        if trainer.is_global_zero:
            self._settle()
            self._log(trainer, self.rows[-1])
            self.progress(self._line(self.rows[-1]))

    def _settle(self) -> None:
        """Make weights and history those of `rows`; weights of an epoch that is not in there never came to count."""
        waiting = self.out_dir / "next.safetensors"
        if waiting.is_file():
            epoch = read_info(waiting).provenance["best"]["epoch"]
            if self.rows and epoch == self.best()["epoch"]:
                waiting.replace(self.out_dir / "best.safetensors")
            else:
                waiting.unlink()
        if self.rows:
            write_whole(self.out_dir / "history.csv", pd.DataFrame(self.rows).to_csv(index=False))

    def _merit(self, row: dict[str, float]) -> float:
        """How good an epoch is."""
        if self.keep_by == "val_iou":
            return row["val_iou"]
        loss = row.get("train_loss", math.nan)
        return -math.inf if math.isnan(loss) else -loss

    def best(self) -> dict[str, float]:
        """Row of the best epoch, the first where several are."""
        return max(self.rows, key=self._merit)

    def _log(self, trainer: lightning.Trainer, row: dict[str, float]) -> None:
        values = {name: value for name, value in row.items() if name != "epoch" and not math.isnan(value)}
        with room_for(self.out_dir / "tensorboard"):  # which writes in a thread of its own
            trainer.logger.log_metrics(values, step=int(row["epoch"]))
            trainer.logger.save()

    def _line(self, row: dict[str, float]) -> str:
        loss = f"loss {row['train_loss']:.4f}" if row["epoch"] else "as it came  "
        seconds = f"  {row['seconds']:.1f} s" if row["epoch"] else ""
        mark = " best" if row is self.best() else ""
        kinds = [name.removeprefix("threshold_") for name in row if name.startswith("threshold_")]
        each = ", ".join(f"{kind} {row[f'val_iou_{kind}']:.3f} at {row[f'threshold_{kind}']:.2f}" for kind in kinds)
        iou = f"{row['val_iou']:.3f} ({each})" if each else f"{row['val_iou']:.3f} at {row['threshold']:.2f}"
        head = f"epoch {row['epoch']:3d}/{self.epochs}  {loss}"
        return f"{head}  val loss {row['val_loss']:.4f}  val IoU {iou}{seconds}{mark}"
