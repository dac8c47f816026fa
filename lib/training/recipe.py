"""How to train, by name: the paper's recipe, and what it ought to be compared with."""

from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from lib.errors import ParameterError
from lib.limits import LARGEST_SEED, check_fields, check_names, limited, settings_from
from lib.networks.config import INPUT_MULTIPLE_PX

LOSSES = ("focal", "bce", "bce_dice", "dice", "jaccard", "lovasz", "tversky", "mcc")


@dataclass(frozen=True)
class AugmentConfig:
    """
    Ranges of the augmentations; the defaults are the paper's.

    Attributes
    ----------
    probability
        Of each of: the change of colour, of shape, either flip, the rotation by 90 degrees.
    hue_deg
        Hue shifts by up to this many degrees of 360 (OpenCV's 30 of 180).
    saturation, value
        Shift by up to this share of their range (5 and 15 of 255).
    shift
        By up to this share of the crop's side, along each axis.
    scale, aspect
        Sides change by up to this factor, alike and one against the other.
    flips
        Whether to mirror and to rotate by 90 degrees.
    """

    probability: float = 0.5
    hue_deg: float = 60.0
    saturation: float = 5 / 255
    value: float = 15 / 255
    shift: float = 0.1
    scale: float = 0.1
    aspect: float = 0.1
    flips: bool = True


AUGMENTATIONS = {
    "paper": AugmentConfig(),
    "mild": AugmentConfig(hue_deg=10.0),  # for colours that tell classes apart
    "flips": AugmentConfig(hue_deg=0, saturation=0, value=0, shift=0, scale=0, aspect=0),
    "none": AugmentConfig(hue_deg=0, saturation=0, value=0, shift=0, scale=0, aspect=0, flips=False),
}


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
        One of `LOSSES`.
    augmentation
        One of `AUGMENTATIONS`.
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

    epochs: int = limited(90, minimum=1)
    batch_size: int = limited(8, minimum=1)
    crop_px: int = limited(512, minimum=INPUT_MULTIPLE_PX, multiple_of=INPUT_MULTIPLE_PX)
    samples_per_epoch: int = limited(0, minimum=0)
    learning_rate: float = limited(2e-4, above=0, maximum=1)
    optimizer: str = limited("adam", choices=("adam", "adamw", "sgd"))
    weight_decay: float = limited(0.0, minimum=0, maximum=1)
    schedule: str = limited("poly", choices=("poly", "constant", "cosine", "onecycle"))
    schedule_per_step: bool = False
    poly_power: float = limited(0.9, above=0, maximum=10)
    loss: str = limited("focal", choices=LOSSES)
    focal_alpha: float = limited(0.25, above=0, below=1)
    focal_gamma: float = limited(0.5, minimum=0, maximum=10)
    augmentation: str = limited("paper", choices=AUGMENTATIONS)
    normalisation: str = limited("data", choices=("data", "init", "imagenet"))
    encoder_lr_factor: float = limited(1.0, minimum=0, maximum=10)
    freeze_encoder: bool = False
    ema_decay: float = limited(0.0, minimum=0, below=1)
    accumulate: int = limited(1, minimum=1)
    clip_norm: float = limited(0.0, minimum=0)
    patience: int = limited(0, minimum=0)
    precision: str = limited("auto", choices=("auto", "32-true", "bf16-mixed", "16-mixed"))
    channels_last: bool = True
    compile: bool = False
    devices: int = limited(1, minimum=1)
    nodes: int = limited(1, minimum=1)
    strategy: str = limited("auto", choices=("auto", "ddp", "ddp_fork", "ddp_notebook", "ddp_spawn"))
    accelerator: str = limited("auto", choices=("auto", "cpu", "gpu", "cuda", "mps"))
    workers: int = limited(0, minimum=0)
    seed: int = limited(0, minimum=0, maximum=LARGEST_SEED)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.batch_size % (self.devices * self.nodes):
            raise ParameterError(
                f"batch_size {self.batch_size} is not a multiple of the {self.devices * self.nodes} processes of "
                f"{self.devices} devices on {self.nodes} nodes."
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
    known = [field.name for field in fields(TrainConfig)]
    more = parameters.get("train_options", {})
    check_names("train_options", more, known)
    return settings_from(TrainConfig, {n: parameters[n] for n in known if n in parameters} | more, "the training")


def beside_the_papers(config: TrainConfig) -> pd.DataFrame:
    """Values that are not the paper's, one row a field: here, the paper."""
    here, paper = (pd.Series(vars(recipe), dtype=object) for recipe in (config, TrainConfig()))
    return pd.DataFrame({"here": here, "the paper": paper})[here != paper]
