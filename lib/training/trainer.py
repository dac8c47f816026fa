"""
Training in one or two stages: `fit` on the manifest's chips, to a checkpoint.

Stage 1 learns from masks drawn from OpenStreetMap, stage 2 (`init_from`) goes on from its weights with clean masks.
"""

import contextlib
import logging
import shutil
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import lightning
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from lib.chips.manifest import read_bands, rows_by_chip
from lib.errors import InputError, ParameterError
from lib.grid import MASK_FOREGROUND
from lib.limits import TASKS, Limits, check_value, classes_of
from lib.memory import freed_memory_kept
from lib.networks.checkpoint import CheckpointInfo, load_weights, provenance, read_info, save_checkpoint
from lib.networks.config import ModelConfig
from lib.networks.convert import RELEASE_STATISTICS
from lib.networks.devices import precision_for, training_layout
from lib.networks.skeleton import check_training
from lib.paths import sweep
from lib.training.cache import ChipCache, CropDataset, build_cache, channel_statistics
from lib.training.engine import ChipData, Record, SegmentationTask, WholeFileIO
from lib.training.overlap import seen_by, warn_of_overlap
from lib.training.recipe import AUGMENTATIONS, TrainConfig
from lib.training.runs import describe_run, finish, is_done, is_helper, keep_previous, one_run_at_a_time


@dataclass(frozen=True)
class FitResult:
    """
    What a training leaves behind.

    Attributes
    ----------
    checkpoint
        File with the weights of the best epoch.
    history
        One row an epoch: epoch, train_loss, val_loss, val_iou, threshold, learning_rate, seconds; of several classes
        val_iou is their mean, and val_iou_<class> and threshold_<class> follow. Where training started from a
        checkpoint, epoch 0 scores that.
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
    callbacks: Sequence[Callback] = (),
) -> FitResult:
    """
    Train a network and keep the weights of its best epoch: as validation on held-out chips has it, unless the recipe is
    the release's.

    Killed at any moment, the same call goes on after the last finished epoch, to the same weights (on a CPU, bit for
    bit) as without the interruption. Called again when finished, it returns at once. With other parameters or chips it
    starts anew, and the folder's earlier result is kept under previous/.

    Parameters
    ----------
    train, val
        Rows of a manifest: absolute paths `image` and `mask`; `chip` and `gsd_m` are read where present.
    out_dir
        Folder of this run: best.safetensors, history.csv, tensorboard/, and what it takes to go on while unfinished.
    config, model
        How to train, and what; None takes the defaults.
    task
        One of `lib.limits.TASKS`; stage 2 refuses the checkpoint of another one. Of several classes each has an output
        and a threshold; where the chips know nothing of one, it is ignored.
    init_from
        Checkpoint to start from (stage 2), and to keep if validation finds no epoch better; None starts from
        `model.encoder_weights`.
    progress
        Called with a line of text an epoch.
    callbacks
        Lightning's, that look on and change nothing, such as `lib.show.live.LiveTraining`; called after the run's own.

    Raises
    ------
    ParameterError
        If a value is out of range, the network takes other bands than the chips have, or it can't train on such
        batches.
    CheckpointError
        If `init_from` does not fit.
    BusyError
        If another run uses `out_dir`.
    InputError
        If there are no chips, nothing to learn on them, or nothing to validate with.
    TrainingDivergedError
        If the loss is not finite; names the chips of the batch.
    DiskFullError
        If a file can't be written; the same call goes on where there is room.
    KeyboardInterrupt
        If interrupted; what is finished is saved.
    """
    check_value("task", task, str, Limits(choices=TASKS))
    classes = classes_of(task)
    config, model, out_dir = config or TrainConfig(), model or ModelConfig(classes=len(classes)), Path(out_dir)
    if train.empty or val.empty:
        raise InputError(f"Training needs chips to learn from and to validate with; got {len(train)} and {len(val)}.")
    bands = {read_bands(chips["image"].iloc[0]).shape[2] for chips in (train, val)}
    if bands != {model.in_channels} or model.classes != len(classes):
        known, kinds = " and ".join(map(str, sorted(bands))), len(classes)
        foreground = "one class of foreground" if kinds == 1 else f"{kinds} classes"
        raise ParameterError(f"Chips have {known} bands and {foreground}: set in_channels={known} and classes={kinds}.")
    by_kind = zip(*rows_by_chip(train, task), strict=True)
    unknown = [kind for kind, rows in zip(classes, by_kind, strict=True) if not any(rows)]
    if unknown and init_from is None:
        raise InputError(f"No training chip has a mask of {unknown[0]}: nothing can be learned of that class.")
    # each process normalises its own share of a batch, unless batch norms are synchronised
    crops = config.batch_size // (1 if _synchronised(config) else config.devices * config.nodes)
    check_training(model, crops, config.crop_px, config.freeze_encoder)
    out_dir.mkdir(parents=True, exist_ok=True)
    best, history = out_dir / "best.safetensors", out_dir / "history.csv"
    with one_run_at_a_time(out_dir):
        sweep(out_dir)  # a part of last.ckpt may be what a full disk lacks
        settings = {"task": task, "model": asdict(model), "config": asdict(config)}
        run = describe_run(settings, train, val, init_from)
        keep_previous(out_dir, run, progress)
        if not is_done(out_dir, run):
            known = CheckpointInfo(model, task, (), (), training=asdict(config), provenance=run["facts"])
            _train(train, val, out_dir, config, known, init_from, progress, callbacks)
        finish(out_dir, run)
    return FitResult(best, pd.read_csv(history), read_info(best).provenance["best"]["epoch"])


def _train(
    train: pd.DataFrame,
    val: pd.DataFrame,
    out_dir: Path,
    config: TrainConfig,
    known: CheckpointInfo,
    init_from: Path | None,
    progress: Callable[[str], None],
    callbacks: Sequence[Callback],
) -> None:
    """Train, to `known` completed by what training finds out: mean, deviation, threshold, best epoch."""
    torch.manual_seed(config.seed)
    from lib.networks.models import build_model  # a run that is done needs no network

    network = build_model(known.model)
    init = None if init_from is None else load_weights(network, init_from, known.model, known.task)
    _prepare(network, config)
    cache, val_cache = (
        build_cache(chips, out_dir / "cache" / f"{n}.u8", known.task) for chips, n in ((train, "train"), (val, "val"))
    )
    if config.keep_by == "val_iou" and not any(
        (val_cache.chip(index)[..., val_cache.masks] == MASK_FOREGROUND).any() for index in range(len(val_cache))
    ):
        raise InputError(
            f"No validation chip shows any {known.task}: by IoU no epoch is better than another. Take more or other "
            "ground to validate with (val_share, split, seed of notebook 1), or keep_by train_loss and a threshold."
        )
    mean, std = _normalisation(config, cache, init)
    seen = seen_by(train, init and init.provenance.get("seen"))
    if init is not None:
        warn_of_overlap(val, init, "validation")
    batches = -(-(config.samples_per_epoch or len(cache)) // config.batch_size)
    augmentation = AUGMENTATIONS[config.augmentation]
    crops = CropDataset(cache, config.crop_px, augmentation, batches * config.batch_size, config.seed)
    classes, steps = classes_of(known.task), -(-batches // config.accumulate)
    module = SegmentationTask(network, config, mean, std, cache.names, steps, classes)

    def save_weights(path: Path, scores: dict[str, float]) -> None:
        facts = provenance(**known.provenance, seen=seen, best=scores)
        before = init.thresholds if init else dict.fromkeys(classes, 0.5)  # of a class that nobody could validate
        each = [config.threshold or scores.get(f"threshold_{kind}", before[kind]) for kind in classes]
        threshold = tuple(each) if len(classes) > 1 else config.threshold or scores["threshold"]
        found = {"mean": mean, "std": std, "threshold": threshold, "gsd_m": _common_gsd_m(train)}
        save_checkpoint(path, network, replace(known, **found, provenance=facts))

    last = out_dir / "last.ckpt"
    resumed = last if last.is_file() else None
    if resumed:
        progress(f"going on after the last finished epoch, from {last}")
    record = Record(out_dir, config.epochs, save_weights, progress, config.keep_by)
    with _quiet(), _interruptible(out_dir), freed_memory_kept():
        data = ChipData(crops, val_cache, config.batch_size, config.workers)
        if not is_helper():  # what a killed process logged goes: `Record` tells all epochs again
            shutil.rmtree(out_dir / "tensorboard", ignore_errors=True)
        trainer = _trainer(config, record, callbacks, out_dir, score_first=bool(init and not resumed))
        trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)


def _prepare(network: nn.Module, config: TrainConfig) -> None:
    """What a network needs before its first step, in place."""
    network.encoder.requires_grad_(not config.freeze_encoder)
    network.to(memory_format=training_layout(config.channels_last, config.accelerator))
    if config.compile:
        network.compile()


def _synchronised(config: TrainConfig) -> bool:
    """Whether batch norms see the crops of all processes: on GPUs."""
    return config.devices * config.nodes > 1 and config.accelerator != "cpu" and torch.cuda.is_available()


def _trainer(
    config: TrainConfig, record: Record, onlookers: Sequence[Callback], out_dir: Path, score_first: bool
) -> lightning.Trainer:
    callbacks: list[Callback] = [record]  # first: it keeps the best weights while the averaged ones are in place
    if config.ema_decay:
        callbacks.append(EMAWeightAveraging(decay=config.ema_decay))
    if config.patience:
        mode = "max" if config.keep_by == "val_iou" else "min"
        stopping = EarlyStopping(config.keep_by, patience=config.patience, mode=mode, check_on_train_epoch_end=False)
        callbacks.append(stopping)
    return lightning.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=config.strategy,
        sync_batchnorm=_synchronised(config),
        precision=precision_for(config.precision, config.accelerator),
        max_epochs=config.epochs,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.clip_norm or None,
        callbacks=[*callbacks, *onlookers],
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


def _common_gsd_m(chips: pd.DataFrame) -> float | None:
    """Ground sampling distance where all chips have the same, else None."""
    distances = set(chips["gsd_m"]) if "gsd_m" in chips else set()
    return float(distances.pop()) if len(distances) == 1 and chips["gsd_m"].notna().all() else None


def _normalisation(
    config: TrainConfig, cache: ChipCache, init: CheckpointInfo | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each band, pixel values scaled to 0..1."""
    if config.normalisation in ("imagenet", "release") and cache.bands != 3:
        raise ParameterError(
            f'normalisation="{config.normalisation}" is of three bands, the chips have {cache.bands}: take "data".'
        )
    if config.normalisation == "imagenet":
        from lib.networks.encoders import IMAGENET

        return IMAGENET
    if config.normalisation == "init":
        if init is None:
            raise ParameterError('normalisation="init" needs init_from, the checkpoint whose statistics to use.')
        return init.mean, init.std
    if config.normalisation == "release":
        return RELEASE_STATISTICS
    return channel_statistics(cache)


@contextlib.contextmanager
def _interruptible(out_dir: Path) -> Iterator[None]:
    """Turn Lightning's exit upon an interrupt back into an interrupt, with its handler as it was."""
    handler = signal.getsignal(signal.SIGINT)  # None if it was not set from Python
    try:
        yield
    except SystemExit as stop:
        if not isinstance(stop.__context__, KeyboardInterrupt):
            raise  # asked to end by a signal, not by a person
        raise KeyboardInterrupt(
            f"Interrupted. All finished epochs are saved in {out_dir}; the same call goes on from there."
        ) from stop
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning without its notices on hardware, workers and what else this module decides by itself."""
    with contextlib.ExitStack() as undo:
        for name in ("lightning.pytorch", "lightning.fabric"):
            logger = logging.getLogger(name)
            undo.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        undo.enter_context(warnings.catch_warnings())
        known = "does not have many workers", "module.s. in eval mode", "ckpt_path", "isinstance.treespec"
        for message in (*known, "AccumulateGrad node's stream"):  # which differ where passes were recorded
            warnings.filterwarnings("ignore", f".*{message}.*")
        yield
