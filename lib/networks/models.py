"""
Networks: PP-LinkNet, D-LinkNet and the baselines of segmentation-models-pytorch (smp), all by name.

smp's own LinkNet has neither the paper's centre nor its head, and torchvision's and timm's blocks of convolution, norm
and ReLU name their weights otherwise than the checkpoints do.
"""

from itertools import chain, pairwise

import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.base import SegmentationModel
from segmentation_models_pytorch.base.hub_mixin import supports_config_loading
from torch import Tensor, nn
from torch.nn import functional

from lib.errors import InputError, ParameterError
from lib.networks.config import CONTEXT_STRIDE, INPUT_MULTIPLE_PX, ModelConfig
from lib.networks.encoders import build_on, create_encoder, dilate_hybrid, drop_classifier, limit_stride

POOLING_BINS = (1, 2, 3, 6)  # cells a side of each level of the pyramid
HEAD_CHANNELS = 32


class PyramidPooling(nn.Module):
    """
    The map beside its own averages over 1, 2, 3 and 6 cells a side, mixed back to as many channels.

    No batch norm: an average over one cell has nothing to normalise by in a batch of one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(channels // len(POOLING_BINS), 1)
        self.levels = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), nn.Conv2d(channels, narrow, 1, bias=False))
            for bins in POOLING_BINS
        )
        self.mix = nn.Conv2d(channels + narrow * len(POOLING_BINS), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map of the same shape as `x`."""
        size = x.shape[-2:]
        levels = [functional.interpolate(level(x), size, mode="bilinear", align_corners=False) for level in self.levels]
        return functional.relu(self.mix(torch.cat([x, *levels], dim=1)))


class DilatedCentre(nn.Module):
    """D-LinkNet's centre: convolutions of dilation 1, 2, 4, 8 in a chain, every stage added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=rate, dilation=rate) for rate in (1, 2, 4, 8)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map of the same shape as `x`."""
        total = x
        for stage in self.stages:
            x = functional.relu(stage(x))
            total = total + x
        return total


class TransposedConvolution(nn.ConvTranspose2d):
    """PyTorch's, but the bias is added apart: its gradient inside makes the step back 2 to 4 times as slow on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        settings = self.stride, self.padding, self.output_padding
        enlarged = functional.conv_transpose2d(x, self.weight, None, *settings)
        return enlarged + self.bias.to(enlarged.dtype).view(1, -1, 1, 1)


class LinkNetBlock(nn.Sequential):
    """Narrow to a quarter of the channels, enlarge by `stride`, widen to `out_channels`."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        narrow = max(in_channels // 4, 1)
        # made before the others: the order in which layers draw their first weights decides what a seed gives
        enlarge = TransposedConvolution(narrow, narrow, 3, stride=stride, padding=1, output_padding=stride - 1)
        convolutions = nn.Conv2d(in_channels, narrow, 1), enlarge, nn.Conv2d(narrow, out_channels, 1)
        super().__init__(
            *chain.from_iterable((c, nn.BatchNorm2d(c.out_channels), nn.ReLU(inplace=True)) for c in convolutions)
        )


class LinkNetDecoder(nn.Module):
    """
    A centre, then four blocks from the deepest map up to half the input's size; skips are sums.

    Parameters
    ----------
    centre
        Module that keeps the shape of the deepest map.
    channels
        Of the encoder's last four maps, the largest map first.
    strides
        Between one of these maps and the next, the largest map first.
    """

    def __init__(self, centre: nn.Module, channels: list[int], strides: list[int]) -> None:
        super().__init__()
        self.centre = centre
        widths = [*reversed(channels), channels[0]]
        self.blocks = nn.ModuleList(
            LinkNetBlock(wide, narrow, stride)
            for (wide, narrow), stride in zip(pairwise(widths), [*reversed(strides), 2], strict=True)
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map at half the input's size, from the six maps of an encoder."""
        *skips, x = features[2:]
        x = self.centre(x)
        for block, skip in zip(self.blocks, reversed(skips), strict=False):
            x = block(x) + skip
        return self.blocks[-1](x)


class LinkNetHead(nn.Sequential):
    """From half the input's size to logits at its full size."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__(
            TransposedConvolution(in_channels, HEAD_CHANNELS, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(HEAD_CHANNELS, HEAD_CHANNELS, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(HEAD_CHANNELS, classes, 3, padding=1),
        )


class PPLinkNet(SegmentationModel):
    """
    LinkNet with pyramid pooling between encoder and decoder (Tran et al. 2020, arXiv 2010.06932).

    Input (N, in_channels, H, W), H and W multiples of 32; output (N, classes, H, W) logits. See `ModelConfig`
    for the parameters.

    Raises
    ------
    ParameterError
        If the context is unknown, or the encoder cannot be given it.
    """

    centre_type: type[nn.Module] = PyramidPooling

    @supports_config_loading
    def __init__(
        self,
        encoder_name: str = "resnet34",
        encoder_weights: str | None = None,
        context: str = "64",
        in_channels: int = 3,
        classes: int = 1,
    ) -> None:
        super().__init__()
        if context not in CONTEXT_STRIDE:
            raise ParameterError(f"Unknown context {context!r}: expected one of {sorted(CONTEXT_STRIDE)}.")
        self.encoder = create_encoder(encoder_name, encoder_weights, in_channels)
        sides = limit_stride(self.encoder, CONTEXT_STRIDE[context], in_channels, encoder_name)[2:]
        drop_classifier(self.encoder)
        if context == "64 hdc":
            dilate_hybrid(self.encoder, encoder_name)
        channels = list(self.encoder.out_channels[2:])
        strides = [wide // narrow for wide, narrow in pairwise(sides)]
        self.decoder = LinkNetDecoder(self.centre_type(channels[-1]), channels, strides)
        self.segmentation_head = LinkNetHead(channels[0], classes)
        self.classification_head = None
        self.name = f"{type(self).__name__.lower()}-{encoder_name}"
        self.initialize()

    def check_input_shape(self, x: Tensor) -> None:
        """Raise InputError where height or width is not a multiple of 32."""
        height, width = x.shape[-2:]
        if height % INPUT_MULTIPLE_PX or width % INPUT_MULTIPLE_PX:
            raise InputError(
                f"The network takes heights and widths that are multiples of {INPUT_MULTIPLE_PX} px, got "
                f"{height} x {width}. Crop or pad the batch; lib.mapping.predict.predict_image pads by itself."
            )


class DLinkNet(PPLinkNet):
    """D-LinkNet (Zhou et al. 2018): the same encoder, decoder and head around a dilated centre."""

    centre_type = DilatedCentre

    @supports_config_loading
    def __init__(
        self,
        encoder_name: str = "resnet34",
        encoder_weights: str | None = None,
        context: str = "32",
        in_channels: int = 3,
        classes: int = 1,
    ) -> None:
        super().__init__(encoder_name, encoder_weights, context, in_channels, classes)


class Logits(nn.Module):
    """A network without its check of the input, which those that trace what a network computes can't follow."""

    def __init__(self, network: SegmentationModel) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = network.encoder, network.decoder, network.segmentation_head

    def forward(self, image: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, classes, H, W)."""
        return self.head(self.decoder(self.encoder(image)))


OWN_ARCHITECTURES: dict[str, type[PPLinkNet]] = {
    "pp_linknet": PPLinkNet,
    "d_linknet": DLinkNet,
    "d_linknet34": DLinkNet,  # its authors' name for it on its usual encoder
}
ARCHITECTURES: dict[str, type[SegmentationModel]] = OWN_ARCHITECTURES | smp.MODEL_ARCHITECTURES_MAPPING


def create_model(
    architecture: str = "pp_linknet",
    encoder_name: str = "resnet34",
    encoder_weights: str | None = None,
    context: str | None = None,
    in_channels: int = 3,
    classes: int = 1,
) -> SegmentationModel:
    """
    Network by name.

    Parameters
    ----------
    architecture
        One of `ARCHITECTURES`: "pp_linknet", "d_linknet", "linknet", "unet", "deeplabv3plus" and the others of smp.
    encoder_name, encoder_weights, in_channels, classes
        See `ModelConfig`.
    context
        See `ModelConfig`; None takes the architecture's own: "64" for PP-LinkNet, "32" for the others.

    Returns
    -------
    model
        Maps (N, in_channels, H, W) to logits (N, classes, H, W). H and W are multiples of 32.
        `model.settings` is the `ModelConfig` that builds it again.

    Raises
    ------
    ParameterError
        If a name is unknown, or architecture, encoder and context do not go together.
    DownloadError
        If the encoder's weights could not be fetched.
    """
    if context is None:
        context = "64" if architecture == "pp_linknet" else "32"
    return build_model(ModelConfig(architecture, encoder_name, encoder_weights, context, in_channels, classes))


def build_model(config: ModelConfig) -> SegmentationModel:
    """Network of a configuration, as `create_model`."""
    settings = {name: value for name, value in vars(config).items() if name != "architecture"}
    if config.architecture in OWN_ARCHITECTURES:
        model = OWN_ARCHITECTURES[config.architecture](**settings)
    else:
        model = _build_baseline(config)
    model.settings = config
    return model


def _build_baseline(config: ModelConfig) -> SegmentationModel:
    """Architecture of smp; its encoder's weights are loaded as those of our own networks are."""

    def build(weights: str | bool | None, **options: bool) -> SegmentationModel:
        names = config.architecture, config.encoder_name, weights, config.in_channels, config.classes
        return smp.create_model(*names, **options)

    return build_on(config.encoder_name, config.encoder_weights, config.in_channels, build)
