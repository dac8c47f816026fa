"""
Networks without values, on PyTorch's "meta" device: names and shapes of their tensors, and which inputs they take.

Nothing is computed and no memory taken, whatever the size: so a stranger's file is compared with the network that it
names, and a training's batch with the network that it is for, before there is either.
"""

from dataclasses import replace
from functools import lru_cache

import torch

from lib.errors import ParameterError
from lib.networks.config import INPUT_MULTIPLE_PX, ModelConfig

LARGEST_MINIMUM_PX = 512


@lru_cache(maxsize=8)
def skeleton(model: ModelConfig) -> torch.nn.Module:
    """Network of a configuration, without values. Draws no random number; raises as `create_model`."""
    from lib.networks.models import build_model  # with all of smp; who only asks what a checkpoint says needs none

    model = replace(model, encoder_weights=None)
    try:
        # smp stretches a first convolution by an old constructor, which knows no device and draws values
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]), torch.device("meta"):
            return build_model(model).to("meta")
    except ParameterError:  # smp's mit encoders compute their rates of dropout with tensors, which have to have values
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            return build_model(model).to("meta")


def check_training(model: ModelConfig, crops: int, crop_px: int, frozen_encoder: bool = False) -> None:
    """
    Refuse a network that doesn't exist, and crops that it can't train on, before anything is built or read.

    Batch norm needs two values a channel. One crop has a single one where its map is averaged to a pixel, as in
    DeepLab, PAN and UPerNet, or where it is no larger than the encoder's stride.

    Parameters
    ----------
    model
        The network.
    crops
        How many are normalised together: those of a batch that one process has.
    crop_px
        Side of a crop.
    frozen_encoder
        Whether the encoder keeps its statistics.

    Raises
    ------
    ParameterError
        If a name is unknown, or training would fail on the first batch.
    InputError
        If the encoder's file of weights is missing.
    """
    from lib.networks.encoders import REFUSALS, check_encoder

    check_encoder(model.encoder_name, model.encoder_weights)
    network = skeleton(model).train()
    network.encoder.train(not frozen_encoder)
    try:
        with torch.no_grad():
            network(torch.zeros(crops, model.in_channels, crop_px, crop_px, device="meta"))
    except REFUSALS as error:
        lone = "more than 1 value per channel" in str(error)
        todo = "take a batch_size of at least two crops a process" if lone else "take another crop_px"
        raise ParameterError(
            f"{model.architecture} on {model.encoder_name} can't train on {crops} crops of {crop_px} px at a time "
            f"({str(error)[:200] or type(error).__name__}): {todo}, or another architecture."
        ) from error


def smallest_side_px(model: ModelConfig) -> int:
    """Least side, a multiple of 32, of an image that the network takes. Raises ParameterError where it takes none."""
    from lib.networks.encoders import REFUSALS

    network, errors = skeleton(model).eval(), []
    for side_px in range(INPUT_MULTIPLE_PX, LARGEST_MINIMUM_PX + 1, INPUT_MULTIPLE_PX):
        try:
            with torch.no_grad():
                network(torch.zeros(1, model.in_channels, side_px, side_px, device="meta"))
        except REFUSALS as error:
            errors.append(str(error)[:200] or type(error).__name__)
        else:
            return side_px
    raise ParameterError(f"{model.architecture} on {model.encoder_name} takes no image: {errors[-1]}.")
