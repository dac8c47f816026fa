"""Encoders of segmentation-models-pytorch (smp): weights by name or file, strides and dilation as asked."""

from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lib.errors import DownloadError, InputError, ParameterError

DEEPEST_STRIDE = 32  # of an encoder as it comes
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of its bands
HYBRID_DILATION = (1, 2, 5)  # rates, block after block, of hybrid dilated convolution


def check_encoder_name(encoder_name: str) -> None:
    """Raise ParameterError unless smp or timm ("tu-...") has an encoder of that name."""
    if encoder_name not in smp.encoders.encoders and not encoder_name.startswith("tu-"):
        raise ParameterError(
            f"Unknown encoder {encoder_name!r}: expected one of smp's {smp.encoders.get_encoder_names()}, or "
            '"tu-<name>" for an encoder of timm.'
        )


def create_encoder(encoder_name: str, encoder_weights: str | None = None, in_channels: int = 3) -> nn.Module:
    """
    Encoder of smp by name, with weights by name or from a local file.

    Parameters
    ----------
    encoder_name
        Any encoder of smp, "tu-<name>" for those of timm.
    encoder_weights
        Name of pretrained weights, path of a .safetensors file that holds the encoder's state, or None.
    in_channels
        Bands of the image; weights of three bands are spread over them.

    Raises
    ------
    ParameterError
        If the encoder or its weights are unknown.
    InputError
        If the file is missing or is not of this encoder.
    DownloadError
        If the weights could not be fetched.
    """
    check_encoder_name(encoder_name)
    if encoder_weights is not None and encoder_weights.endswith(".safetensors"):
        encoder = smp.encoders.get_encoder(encoder_name, weights=None)
        _load_encoder_file(encoder, encoder_name, Path(encoder_weights))
        if in_channels != 3:
            encoder.set_in_channels(in_channels, pretrained=True)
        return encoder
    if encoder_weights is not None and not encoder_name.startswith("tu-"):
        known = list(smp.encoders.encoders[encoder_name]["pretrained_settings"])
        if encoder_weights not in known:
            raise ParameterError(
                f"Unknown weights {encoder_weights!r} of {encoder_name}: expected one of {known}, a local "
                ".safetensors file, or None."
            )
    try:
        return smp.encoders.get_encoder(encoder_name, in_channels=in_channels, weights=encoder_weights)
    except (OSError, ConnectionError) as error:
        if encoder_weights is None:
            raise
        raise DownloadError(
            f"The weights {encoder_weights!r} of {encoder_name} can't be fetched ({type(error).__name__}). "
            "To go on without, set encoder_weights=None (random weights), or give the path of a .safetensors "
            "file of the encoder that was fetched elsewhere."
        ) from error


def _load_encoder_file(encoder: nn.Module, encoder_name: str, path: Path) -> None:
    if not path.is_file():
        raise InputError(f"No encoder weights at {path}: expected a .safetensors file of {encoder_name}.")
    try:
        encoder.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{path} does not hold the weights of {encoder_name}: {str(error)[:300]}") from error


def drop_classifier(encoder: nn.Module) -> None:
    """Remove what smp's EfficientNets keep for classification: it would take part in no gradient."""
    if "efficientnet" in type(encoder).__name__.lower():
        for name in {"_conv_head", "_bn1", "conv_head", "bn2"} & dict(encoder.named_children()).keys():
            setattr(encoder, name, nn.Identity())


def encoder_sides(encoder: nn.Module, in_channels: int = 3, side_px: int = 64) -> list[int]:
    """Side, in pixels, of each map that an encoder gives for a square input of `side_px`."""
    was_training = encoder.training
    encoder.eval()
    with torch.no_grad():
        features = encoder(torch.zeros(1, in_channels, side_px, side_px))
    encoder.train(was_training)
    return [feature.shape[-1] for feature in features]


def limit_stride(encoder: nn.Module, stride: int, in_channels: int = 3, encoder_name: str = "the encoder") -> None:
    """
    Let an encoder shrink its input by no more than `stride`, without dilation; changes it in place.

    A probe shows which convolutions and poolings shrink the map further: they get stride 1, and a pooling
    whose window is its stride becomes the identity. Works for whatever encoder is built of such layers.

    Parameters
    ----------
    encoder
        Encoder of smp, whose last map is 1/32 of the input's side.
    stride
        32, 16 or 8.
    in_channels
        Bands of the image.
    encoder_name
        For the error.

    Raises
    ------
    ParameterError
        If the encoder shrinks by other means, as patch embeddings do.
    """
    side_px = 2 * DEEPEST_STRIDE
    expected = [side_px // max(2**level, 1) for level in range(6)]
    expected = [max(side, side_px // stride) for side in expected]
    _remove_strides(encoder, side_px // stride, in_channels, side_px)
    try:
        sides = encoder_sides(encoder, in_channels, side_px)
    except RuntimeError as error:
        sides = [str(error)[:100]]
    if sides[2:] != expected[2:]:
        raise ParameterError(
            f"{encoder_name} cannot keep a stride of {stride}: its maps would have sides {sides} px where "
            f'{expected} were expected. Use context="32", or an encoder of convolutions such as resnet34.'
        )


def _remove_strides(encoder: nn.Module, smallest_px: int, in_channels: int, side_px: int) -> None:
    shrinking: list[tuple[str, nn.Module]] = []

    def note(name: str, module: nn.Module):
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if output.shape[-1] < smallest_px:
                shrinking.append((name, module))

        return hook

    kinds = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
    hooks = [
        module.register_forward_hook(note(name, module))
        for name, module in encoder.named_modules()
        if isinstance(module, kinds) and _pair(module.stride) == (2, 2)
    ]
    encoder_sides(encoder, in_channels, side_px)
    for hook in hooks:
        hook.remove()
    for name, module in shrinking:
        kernel = _pair(module.kernel_size)
        if isinstance(module, nn.Conv2d):
            if kernel == (2, 2):
                continue  # a patch embedding: every pixel has its own weights, there is nothing to keep
            module.stride = (1, 1)
            module.padding = tuple(
                rate * (size // 2) for rate, size in zip(_pair(module.dilation), kernel, strict=True)
            )
            if hasattr(module, "static_padding"):  # smp's EfficientNet pads for the stride that it had
                module.static_padding = nn.Identity()
        elif kernel == (2, 2):
            encoder.set_submodule(name, nn.Identity())
        else:
            module.stride = 1


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def dilate_hybrid(encoder: nn.Module, encoder_name: str = "the encoder") -> None:
    """
    Dilate the 3x3 convolutions of `layer3` and `layer4` by 1, 2, 5, 1, 2, 5, ... over their blocks, in place.

    Rates without a common factor leave no gaps between the pixels that a unit sees (Wang et al. 2018, hybrid
    dilated convolution). Both convolutions of a block are dilated alike.

    Raises
    ------
    ParameterError
        If the encoder is not a ResNet of smp.
    """
    if not (hasattr(encoder, "layer3") and hasattr(encoder, "layer4")):
        raise ParameterError(
            f'Context "64 hdc" needs an encoder with layer3 and layer4, such as resnet34; got {encoder_name}.'
        )
    for layer in (encoder.layer3, encoder.layer4):
        for index, block in enumerate(layer):
            rate = HYBRID_DILATION[index % len(HYBRID_DILATION)]
            for module in block.modules():
                if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                    module.dilation = (rate, rate)
                    module.padding = (rate, rate)
