"""
Training in one or two stages: `fit` on the manifest's chips, to a checkpoint.

Stage 1 learns from masks drawn from OpenStreetMap, stage 2 (`init_from`) goes on from its weights with clean masks.
"""

import contextlib
import json
import logging
import shutil
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from lib.errors import InputError, ParameterError
from lib.networks.checkpoint import CheckpointInfo, load_weights, provenance, read_info, save_checkpoint
from lib.networks.devices import freed_memory_kept, precision_for
from lib.networks.encoders import IMAGENET
from lib.networks.models import ModelConfig, build_model
from lib.paths import write_whole
from lib.training.augment import AUGMENTATIONS
from lib.training.cache import ChipCache, CropDataset, build_cache, channel_statistics
from lib.training.engine import ChipData, Record, SegmentationTask, WholeFileIO, learning_rate_factor, parameter_groups
from lib.training.losses import create_loss
from lib.training.overlap import seen_by, warn_of_overlap
from lib.training.recipe import TrainConfig
from lib.training.runs import describe_run, is_helper, keep_previous, one_run_at_a_time

TASKS = ("roads", "buildings")


@dataclass(frozen=True)
class FitResult:
    """
    What a training leaves behind.

    Attributes
    ----------
    checkpoint
        File with the weights of the best epoch.
    history
        One row an epoch: epoch, train_loss, val_loss, val_iou, threshold, learning_rate, seconds. Where training
        started from a checkpoint, epoch 0 scores that.
    best_epoch
        Counted from 1; 0 where no epoch was better than the checkpoint that it started from.
    """

    checkpoint: Path
    history: pd.DataFrame
    best_epoch: int


def fit(
    train: pd.DataFrame,
    val: pd.DataFrame,
    out_dir: Path,
    config: TrainConfig | None = None,
    model: ModelConfig | None = None,
    task: str = "roads",
    init_from: Path | None = None,
    progress: Callable[[str], None] = print,
) -> FitResult:
    """
    Train a network and keep the weights of its best epoch, as validation on held-out chips has it.

    Killed at any moment, the same call goes on after the last finished epoch, to the same weights (on a CPU, bit for
    bit) as without the interruption. Called again when finished, it returns at once. With other parameters or chips it
    starts anew, and the folder's earlier result is kept under previous/.

    Parameters
    ----------
    train, val
        Rows of a manifest: absolute paths `image` and `mask`; `chip` and `gsd_m` are read where present.
    out_dir
        Folder of this run: best.safetensors, history.csv, tensorboard/, last.ckpt while it is unfinished.
    config, model
        How to train, and what; None takes the defaults.
    task
        "roads" or "buildings"; stage 2 refuses the checkpoint of another one.
    init_from
        Checkpoint to start from (stage 2), and to keep if validation finds no epoch better; None starts from
        `model.encoder_weights`.
    progress
        Called with a line of text an epoch.

    Raises
    ------
    ParameterError
        If a value is out of range or the network takes other than three bands.
    CheckpointError
        If `init_from` does not fit, or another run uses `out_dir`.
    InputError
        If there are no chips, or nothing to learn on them.
    TrainingDivergedError
        If the loss is not finite; names the chips of the batch.
    KeyboardInterrupt
        If interrupted; what is finished is saved.
    """
    config, model, out_dir = config or TrainConfig(), model or ModelConfig(), Path(out_dir)
    if task not in TASKS:
        raise ParameterError(f"task is {task!r}: expected one of {TASKS}.")
    if model.in_channels != 3 or model.classes != 1:
        raise ParameterError("Chips have 3 bands and one class of foreground: set in_channels=3 and classes=1.")
    if train.empty or val.empty:
        raise InputError(f"Training needs chips to learn from and to validate with; got {len(train)} and {len(val)}.")
    out_dir.mkdir(parents=True, exist_ok=True)
    best, done = out_dir / "best.safetensors", out_dir / "done.json"
    with one_run_at_a_time(out_dir):
        settings = {"task": task, "model": asdict(model), "config": asdict(config)}
        run = describe_run(settings, train, val, init_from)
        keep_previous(out_dir, run, progress)
        if not (done.is_file() and best.is_file()):
            _train(_Job(train, val, out_dir, config, model, task, init_from, run["facts"]), progress)
            write_whole(done, json.dumps(run))
            (out_dir / "last.ckpt").unlink(missing_ok=True)
            shutil.rmtree(out_dir / "cache", ignore_errors=True)
    return FitResult(best, pd.read_csv(out_dir / "history.csv"), read_info(best).provenance["best"]["epoch"])


@dataclass(frozen=True)
class _Job:
    """Arguments of `fit`, checked, and the facts that its checkpoint will state."""

    train: pd.DataFrame
    val: pd.DataFrame
    out_dir: Path
    config: TrainConfig
    model: ModelConfig
    task: str
    init_from: Path | None
    facts: dict[str, Any]


def _train(job: _Job, progress: Callable[[str], None]) -> None:
    config, out_dir = job.config, job.out_dir
    torch.manual_seed(config.seed)
    network, init = _starting_network(job)
    cache, val_cache = (
        build_cache(chips, out_dir / "cache" / name) for chips, name in ((job.train, "train.u8"), (job.val, "val.u8"))
    )
    mean, std = _normalisation(config, cache, init)
    seen = seen_by(job.train, init and init.provenance.get("seen"))
    if init is not None:
        warn_of_overlap(job.val, init, "validation")
    batches = -(-(config.samples_per_epoch or len(cache)) // config.batch_size)
    augmentation = AUGMENTATIONS[config.augmentation]
    crops = CropDataset(cache, config.crop_px, augmentation, batches * config.batch_size, config.seed)
    steps = -(-batches // config.accumulate)
    module = SegmentationTask(
        network,
        create_loss(config.loss, config.focal_alpha, config.focal_gamma),
        mean,
        std,
        config.crop_px,
        cache.names,
        lambda network: _optimizer(network, config),
        lambda step: _rate_factor(config, step, steps),
        config.seed,
        config.channels_last,
    )

    def save_best(scores: dict[str, float]) -> None:
        gsd_m, facts = _common_gsd_m(job.train), provenance(**job.facts, seen=seen, best=scores)
        info = CheckpointInfo(job.model, job.task, mean, std, scores["threshold"], gsd_m, asdict(config), facts)
        save_checkpoint(out_dir / "best.safetensors", network, info)

    last = out_dir / "last.ckpt"
    resumed = last if last.is_file() else None
    if resumed:
        progress(f"going on after the last finished epoch, from {last}")
    record = Record(config.epochs, last, out_dir / "history.csv", save_best, progress)
    with _quiet(), _interruptible(out_dir), freed_memory_kept():
        data = ChipData(crops, val_cache, config.batch_size, config.workers)
        if not is_helper():  # what a killed process logged goes: `Record` tells all epochs again
            shutil.rmtree(out_dir / "tensorboard", ignore_errors=True)
        trainer = _trainer(config, _callbacks(config, record), out_dir, score_first=bool(init and not resumed))
        trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)


def _starting_network(job: _Job) -> tuple[nn.Module, CheckpointInfo | None]:
    """Network with its first weights, and what the checkpoint says that they come from."""
    network = build_model(job.model)
    init = None if job.init_from is None else load_weights(network, job.init_from, job.model, job.task)
    network.encoder.requires_grad_(not job.config.freeze_encoder)
    if job.config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if job.config.compile:
        network.compile()
    return network, init


def _trainer(config: TrainConfig, callbacks: list[Callback], out_dir: Path, score_first: bool) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=config.strategy,
        sync_batchnorm=config.devices * config.nodes > 1 and torch.cuda.is_available(),
        precision=precision_for(config.precision, config.accelerator),
        max_epochs=config.epochs,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.clip_norm or None,
        callbacks=callbacks,
        plugins=[WholeFileIO()],
        use_distributed_sampler=False,
        num_sanity_val_steps=-1 if score_first else 0,
        logger=TensorBoardLogger(out_dir, name="", version="tensorboard"),
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out_dir,
    )


def _callbacks(config: TrainConfig, record: Record) -> list[Callback]:
    callbacks: list[Callback] = [record]  # first: it keeps the best weights while the averaged ones are in place
    if config.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=config.ema_decay))
    if config.patience:
        stopping = EarlyStopping("val_iou", patience=config.patience, mode="max", check_on_train_epoch_end=False)
        callbacks.append(stopping)
    return callbacks


def _rate_factor(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    done = step if config.schedule_per_step else step // steps_per_epoch * steps_per_epoch
    return learning_rate_factor(config.schedule, done / (config.epochs * steps_per_epoch), config.poly_power)


def _optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    groups = parameter_groups(network, config.learning_rate, config.encoder_lr_factor, config.weight_decay)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, fused=not config.clip_norm)  # Lightning doesn't clip for a fused one


def _common_gsd_m(chips: pd.DataFrame) -> float | None:
    """Ground sampling distance where all chips have the same, else None."""
    distances = set(chips["gsd_m"]) if "gsd_m" in chips else set()
    return float(distances.pop()) if len(distances) == 1 else None


def _normalisation(config: TrainConfig, cache: ChipCache, init: CheckpointInfo | None):
    if config.normalisation == "imagenet":
        return IMAGENET
    if config.normalisation == "init":
        if init is None:
            raise ParameterError('normalisation="init" needs init_from, the checkpoint whose statistics to use.')
        return init.mean, init.std
    return channel_statistics(cache)


@contextlib.contextmanager
def _interruptible(out_dir: Path) -> Iterator[None]:
    """Turn Lightning's exit upon an interrupt back into an interrupt, with its handler as it was."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main_thread else None  # None, too, if not set from Python
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise  # asked to end by a signal, not by a person
        raise KeyboardInterrupt(
            f"Interrupted. All finished epochs are saved in {out_dir}; the same call goes on from there."
        ) from stop
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning without its notices on hardware, workers and what else this module decides by itself."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers.*",
            ".*module.s. in eval mode.*",
            ".*ckpt_path.*",
            ".*isinstance.treespec.*",
        ):
            warnings.filterwarnings("ignore", message)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
