"""
How to train, by name: with a validation, as its release trains the paper's networks, and what to compare them with.

The defaults of `TrainConfig` are the recipe "validated": the paper's loss, optimiser and augmentation, with the epoch
that is best on held-out chips and the statistics of the chips at hand, neither of which the release has.
"""

from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from lib.errors import ParameterError
from lib.limits import LARGEST_SEED, Limits, check_fields, check_names, check_value, classes_of, limited, settings_from
from lib.networks.config import INPUT_MULTIPLE_PX

LOSSES = ("focal", "bce", "bce_dice", "dice", "jaccard", "lovasz", "tversky", "mcc")
FOCAL_GRADIENTS = ("full", "detached")  # Lin's, of the whole formula; the release's, with the pixel's weight constant


@dataclass(frozen=True)
class AugmentConfig:
    """
    Ranges of the augmentations; the defaults are the paper's.

    What lies beyond a chip, and where hue wraps, is not the release's (docs/paper-and-release.md).

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
    How to train; the defaults are the recipe "validated".

    Attributes
    ----------
    epochs, batch_size, crop_px
        Crops are squares of `crop_px` pixels, a multiple of 32.
    samples_per_epoch
        Crops an epoch, rounded up to whole batches; 0 takes one crop a chip.
    learning_rate, optimizer, weight_decay
        Of "adam", "adamw" or "sgd" (momentum 0.9).
    schedule, schedule_per_step, poly_power
        "poly", "poly_compound", "constant", "cosine" or "onecycle", see `lib.training.optimizer`; the rate changes with
        every epoch, or with every step.
    loss, focal_alpha, focal_gamma, focal_gradient
        One of `LOSSES`; see `lib.training.losses.focal_loss`.
    augmentation
        One of `AUGMENTATIONS`.
    normalisation
        Mean and deviation of "data" (the training chips), of "init" (the checkpoint to start from), of "imagenet", or
        the constants of the "release".
    encoder_lr_factor, freeze_encoder
        The encoder learns slower, or not at all.
    ema_decay
        Validate and keep an exponential mean of the weights; 0 is off.
    accumulate, clip_norm
        Batches a step; largest norm of the gradient, 0 is off.
    keep_by
        The epoch that is kept has the best "val_iou", or the lowest "train_loss".
    patience
        Stop after so many epochs that are not better by `keep_by`; 0 is off.
    threshold
        Probability above which a pixel is foreground; 0 takes the one with the best validation IoU.
    precision
        "auto" takes bfloat16 where the device computes in it; or a name of Lightning's.
    channels_last, compile
        Memory layout, see `lib.networks.devices.training_layout`; torch.compile.
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
    schedule: str = limited("poly", choices=("poly", "poly_compound", "constant", "cosine", "onecycle"))
    schedule_per_step: bool = False
    poly_power: float = limited(0.9, above=0, maximum=10)
    loss: str = limited("focal", choices=LOSSES)
    focal_alpha: float = limited(0.25, above=0, below=1)
    focal_gamma: float = limited(0.5, minimum=0, maximum=10)
    focal_gradient: str = limited("full", choices=FOCAL_GRADIENTS)
    augmentation: str = limited("paper", choices=AUGMENTATIONS)
    normalisation: str = limited("data", choices=("data", "init", "imagenet", "release"))
    encoder_lr_factor: float = limited(1.0, minimum=0, maximum=10)
    freeze_encoder: bool = False
    ema_decay: float = limited(0.0, minimum=0, below=1)
    accumulate: int = limited(1, minimum=1)
    clip_norm: float = limited(0.0, minimum=0)
    keep_by: str = limited("val_iou", choices=("val_iou", "train_loss"))
    patience: int = limited(0, minimum=0)
    threshold: float = limited(0.0, minimum=0, below=1)
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


# What a recipe sets, by the names of TrainConfig's fields. Those of the release are what its scripts ran: both stages
# of the roads, and stage 1 of the buildings, on 1024 px; stage 2 of the buildings on 512 px.
_RELEASE = {
    "epochs": 90,
    "samples_per_epoch": 0,
    "learning_rate": 2e-4,
    "optimizer": "adam",
    "weight_decay": 0.0,
    "schedule": "poly_compound",
    "schedule_per_step": False,
    "poly_power": 0.9,
    "loss": "focal",
    "focal_alpha": 0.25,
    "focal_gamma": 0.5,
    "focal_gradient": "detached",
    "augmentation": "paper",
    "normalisation": "release",
    "encoder_lr_factor": 1.0,
    "freeze_encoder": False,
    "ema_decay": 0.0,
    "accumulate": 1,
    "clip_norm": 0.0,
    "keep_by": "train_loss",
    "patience": 7,
    "threshold": 0.25,
    "precision": "32-true",
}
RECIPES: dict[str, dict[str, Any]] = {
    "validated": {},
    "release-roads": _RELEASE | {"crop_px": 1024, "batch_size": 8},
    "release-buildings": _RELEASE | {"crop_px": 512, "batch_size": 9},
}


def train_config(parameters: dict[str, Any]) -> TrainConfig:
    """
    What a notebook's parameters say of training.

    Parameters
    ----------
    parameters
        Those that are fields of `TrainConfig` are taken; what the `recipe`, one of `RECIPES`, sets takes precedence
        over them, and `train_options`, fields by name again, over both. The others are for somebody else.

    Raises
    ------
    ParameterError
        If there is no such recipe, `train_options` names no field, or a value is of another type or out of range.
    """
    recipe = parameters.get("recipe", "validated")
    check_value("recipe", recipe, str, Limits(choices=RECIPES))
    known = [field.name for field in fields(TrainConfig)]
    more = parameters.get("train_options", {})
    check_names("train_options", more, known)
    given = {name: parameters[name] for name in known if name in parameters}
    return settings_from(TrainConfig, given | RECIPES[recipe] | more, "the training")


def beside_the_release(config: TrainConfig, task: str) -> pd.DataFrame:
    """
    Values that are not those of the paper's release for a task, one row a field: here, the release.

    The release finds one class; of several the first one's values are shown.
    """
    release = RECIPES[f"release-{classes_of(task)[0]}"]
    here = pd.Series({name: getattr(config, name) for name in release}, dtype=object)
    there = pd.Series(release, dtype=object)
    return pd.DataFrame({"here": here, "the release": there})[here != there]
