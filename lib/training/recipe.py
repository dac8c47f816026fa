"""How to train, by name: the paper's recipe, and what it ought to be compared with."""

from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from lib.errors import ParameterError
from lib.networks.models import INPUT_MULTIPLE_PX
from lib.parameters import checked
from lib.training.augment import AUGMENTATIONS
from lib.training.losses import LOSSES

CHOICES = {
    "optimizer": ("adam", "adamw", "sgd"),
    "schedule": ("poly", "constant", "cosine", "onecycle"),
    "loss": LOSSES,
    "augmentation": tuple(AUGMENTATIONS),
    "normalisation": ("data", "init", "imagenet"),
    "precision": ("auto", "32-true", "bf16-mixed", "16-mixed"),
}
POSITIVE = ("epochs", "batch_size", "crop_px", "learning_rate", "accumulate", "devices", "nodes")


@dataclass(frozen=True)
class TrainConfig:
    """
    How to train; the defaults are the paper's, where it has one.

    Attributes
    ----------
    epochs, batch_size, crop_px
        Crops are squares of `crop_px` pixels, a multiple of 32.
    samples_per_epoch
        Crops an epoch, rounded up to whole batches; 0 takes one crop a chip.
    learning_rate, optimizer, weight_decay
        Of "adam", "adamw" or "sgd" (momentum 0.9).
    schedule, schedule_per_step, poly_power
        "poly", "constant", "cosine" or "onecycle"; the rate changes with every epoch, or with every step.
    loss, focal_alpha, focal_gamma
        One of `lib.training.losses.LOSSES`.
    augmentation
        One of `lib.training.augment.AUGMENTATIONS`.
    normalisation
        Mean and deviation of "data" (the training chips), of "init" (the checkpoint to start from) or "imagenet".
    encoder_lr_factor, freeze_encoder
        The encoder learns slower, or not at all.
    ema_decay
        Validate and keep an exponential mean of the weights; 0 is off.
    accumulate, clip_norm
        Batches a step; largest norm of the gradient, 0 is off.
    patience
        Stop after so many epochs without a better validation IoU; 0 is off.
    precision
        "auto" takes bfloat16 where the device computes in it; or a name of Lightning's.
    channels_last, compile
        Memory layout; torch.compile.
    devices, nodes, strategy, accelerator
        Processes a machine, machines, and how and where they train together: each takes its share of a batch.
    workers
        Processes that read chips.
    seed
        Of first weights, crops, augmentation and dropout.
    """

    epochs: int = 90
    batch_size: int = 8
    crop_px: int = 512
    samples_per_epoch: int = 0
    learning_rate: float = 2e-4
    optimizer: str = "adam"
    weight_decay: float = 0.0
    schedule: str = "poly"
    schedule_per_step: bool = False
    poly_power: float = 0.9
    loss: str = "focal"
    focal_alpha: float = 0.25
    focal_gamma: float = 0.5
    augmentation: str = "paper"
    normalisation: str = "data"
    encoder_lr_factor: float = 1.0
    freeze_encoder: bool = False
    ema_decay: float = 0.0
    accumulate: int = 1
    clip_norm: float = 0.0
    patience: int = 0
    precision: str = "auto"
    channels_last: bool = True
    compile: bool = False
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    accelerator: str = "auto"
    workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ParameterError(f"{name} is {getattr(self, name)!r}: expected one of {known}.")
        for name in POSITIVE:
            if getattr(self, name) <= 0:
                raise ParameterError(f"{name} is {getattr(self, name)}: expected more than 0.")
        if self.crop_px % INPUT_MULTIPLE_PX:
            raise ParameterError(f"crop_px is {self.crop_px}: expected a multiple of {INPUT_MULTIPLE_PX}.")
        if self.batch_size % (self.devices * self.nodes):
            raise ParameterError(
                f"batch_size {self.batch_size} is not a multiple of the {self.devices * self.nodes} processes."
            )


def train_config(parameters: dict[str, Any]) -> TrainConfig:
    """
    What a notebook's parameters say of training.

    Parameters
    ----------
    parameters
        Those that are fields of `TrainConfig` are taken, and all of `train_options`, fields by name again, which take
        precedence. The others are for somebody else.

    Raises
    ------
    ParameterError
        If `train_options` names no field, or a value is of another type or out of range.
    """
    known = {field.name: (field.type.__name__, field.default) for field in fields(TrainConfig)}
    own = {name: value for name, value in parameters.items() if name in known}
    return TrainConfig(**checked("train_options", known, own | parameters.get("train_options", {})))


def beside_the_papers(config: TrainConfig) -> pd.DataFrame:
    """Values that are not the paper's, one row a field: here, the paper."""
    here, paper = (pd.Series(vars(recipe), dtype=object) for recipe in (config, TrainConfig()))
    return pd.DataFrame({"here": here, "the paper": paper})[here != paper]
