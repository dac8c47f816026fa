"""
Encoders of segmentation-models-pytorch (smp): weights by name or file, strides and dilation as asked.

smp's own `output_stride` and timm's replace strides by dilation, and not in every encoder; here the strides go and no
dilation comes, as in the paper.
"""

import segmentation_models_pytorch as smp
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from lib.errors import DownloadError, InputError, ParameterError

DEEPEST_STRIDE = 32  # of an encoder as it comes
PROBE_PX = 2 * DEEPEST_STRIDE  # side of the image that shows what an encoder does
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of its bands
TWO = (2, (2, 2), [2, 2])  # ways in which a layer states a stride or a window of 2 pixels
HYBRID_DILATION = (1, 2, 5)  # rates, block after block, of hybrid dilated convolution


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
    if encoder_weights is not None and encoder_weights.endswith(".safetensors"):
        encoder = create_encoder(encoder_name)
        try:
            encoder.load_state_dict(load_file(encoder_weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise InputError(
                f"{encoder_weights} does not hold the weights of {encoder_name}: {str(error)[:300]}"
            ) from error
        if in_channels != 3:
            encoder.set_in_channels(in_channels, pretrained=True)
        return encoder
    try:
        return smp.encoders.get_encoder(encoder_name, in_channels=in_channels, weights=encoder_weights)
    except (KeyError, RuntimeError) as error:  # smp's of a name that it does not know, and timm's
        raise ParameterError(
            f'{error.args[0]}. timm has more encoders, as "tu-<name>"; weights may be a .safetensors file, too.'
        ) from error
    except OSError as error:
        raise DownloadError(
            f"The weights {encoder_weights!r} of {encoder_name} can't be fetched ({type(error).__name__}). "
            "To go on without, set encoder_weights=None (random weights), or give the path of a .safetensors "
            "file of the encoder that was fetched elsewhere."
        ) from error


def drop_classifier(encoder: nn.Module) -> None:
    """Remove what smp's EfficientNets keep for classification: it would take part in no gradient."""
    if "efficientnet" in type(encoder).__name__.lower():
        for name in {"_conv_head", "_bn1", "conv_head", "bn2"} & dict(encoder.named_children()).keys():
            setattr(encoder, name, nn.Identity())


def encoder_sides(encoder: nn.Module, in_channels: int = 3, side_px: int = PROBE_PX) -> list[int]:
    """Side, in pixels, of each map that an encoder gives for a square input of `side_px`, the largest first."""
    was_training = encoder.training
    encoder.eval()  # or the probe would move the statistics of its batch norms
    with torch.no_grad():
        features = encoder(torch.zeros(1, in_channels, side_px, side_px))
    encoder.train(was_training)
    return [feature.shape[-1] for feature in features]


def limit_stride(encoder: nn.Module, stride: int, in_channels: int, encoder_name: str) -> list[int]:
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

    Returns
    -------
    sides
        As `encoder_sides` gives them afterwards.

    Raises
    ------
    ParameterError
        If the encoder shrinks by other means, as patch embeddings do.
    """
    smallest_px = PROBE_PX // stride
    expected = [max(PROBE_PX // 2**level, smallest_px) for level in range(6)]
    _remove_strides(encoder, in_channels, smallest_px)
    try:
        sides = encoder_sides(encoder, in_channels)
    except RuntimeError as error:
        sides = [str(error)[:100]]
    if sides[2:] != expected[2:]:
        raise ParameterError(
            f"{encoder_name} cannot keep a stride of {stride}: its maps would have sides {sides} px where "
            f'{expected} were expected. Use context="32", or an encoder of convolutions such as resnet34.'
        )
    return sides


def _remove_strides(encoder: nn.Module, in_channels: int, smallest_px: int) -> None:
    """Take the stride from each layer whose output, for the probe, is smaller than `smallest_px`."""
    shrinking: set[nn.Module] = set()

    def note(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        strided = isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) and module.stride in TWO
        if strided and output.shape[-1] < smallest_px:
            shrinking.add(module)

    with register_module_forward_hook(note):
        encoder_sides(encoder, in_channels)
    for name, module in list(encoder.named_modules()):
        if module not in shrinking:
            continue
        window_is_stride = module.kernel_size in TWO
        if not isinstance(module, nn.Conv2d):
            module.stride = 1
            if window_is_stride:
                encoder.set_submodule(name, nn.Identity())
        elif not window_is_stride:  # else a patch embedding: every pixel has its own weights, there is nothing to keep
            module.stride = (1, 1)
            module.padding = tuple(
                rate * (size // 2) for rate, size in zip(module.dilation, module.kernel_size, strict=True)
            )
            if hasattr(module, "static_padding"):  # smp's EfficientNet pads for the stride that it had
                module.static_padding = nn.Identity()


def dilate_hybrid(encoder: nn.Module, encoder_name: str) -> None:
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
                    module.dilation = module.padding = (rate, rate)
