"""
Encoders of segmentation-models-pytorch (smp): weights by name or file, strides and dilation as asked.

smp's own `output_stride` and timm's replace strides by dilation, and not in every encoder; here the strides go and no
dilation comes, as in the paper.
"""

import difflib
from collections.abc import Callable
from pathlib import Path

import segmentation_models_pytorch as smp
import timm
import torch
from timm.data import constants
from timm.models import adapt_input_conv
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from lib.errors import DownloadError, InputError, ParameterError
from lib.networks.published import published, weights_of
from lib.networks.tensors import bare_names, read_tensors

DEEPEST_STRIDE = 32  # of an encoder as it comes
PROBE_PX = 2 * DEEPEST_STRIDE  # side of the image that shows what an encoder does
ODD_SIZE_PX = (192, 256)  # a height and a width that together no encoder is made for
IMAGENET = (constants.IMAGENET_DEFAULT_MEAN, constants.IMAGENET_DEFAULT_STD)  # mean and deviation of each band
HALVES = (constants.IMAGENET_INCEPTION_MEAN, constants.IMAGENET_INCEPTION_STD)
TWO = (2, (2, 2), [2, 2])  # ways in which a layer states a stride or a window of 2 pixels
HYBRID_DILATION = (1, 2, 5)  # rates, block after block, of hybrid dilated convolution
SUFFIX = ".safetensors"
PART = "encoder."  # what the names of an encoder's tensors begin with in a network
REFUSALS = (AssertionError, IndexError, KeyError, RuntimeError, TypeError, ValueError)  # in which smp and timm say no


def create_encoder(encoder_name: str, encoder_weights: str | None = None, in_channels: int = 3) -> nn.Module:
    """
    Encoder of smp by name, with weights by name or from a local file.

    Parameters
    ----------
    encoder_name
        Any encoder of smp, "tu-<name>" for those of timm.
    encoder_weights
        Name of pretrained weights, or of a network of `lib.networks.published` with this encoder; path of a
        .safetensors file that holds the encoder's state (of a "tu-<name>" also the file that timm publishes) or that of
        a network with it; or None.
    in_channels
        Bands of the image; weights of three bands are spread over them.

    Raises
    ------
    ParameterError
        If the encoder or its weights are unknown, or it takes images of one size alone.
    InputError
        If the file is missing or is not of this encoder.
    DownloadError
        If the weights could not be fetched.
    """

    def build(weights: str | bool | None, **options: bool) -> nn.Module:
        return smp.encoders.get_encoder(encoder_name, in_channels, weights=weights, **options)

    return build_on(encoder_name, encoder_weights, in_channels, build)


def build_on(
    encoder_name: str, encoder_weights: str | None, in_channels: int, build: Callable[..., nn.Module]
) -> nn.Module:
    """
    An encoder, or a network around it, as smp builds it, with the encoder's weights by name or from a file.

    `build` is called with weights by smp's name, or None, and with options of timm's. The others are those of
    `create_encoder`, and so are the errors.
    """
    check_encoder(encoder_name, encoder_weights)
    file = weights_of(encoder_weights or "")
    named = None if file.suffix == SUFFIX else encoder_weights
    if named is not None and timm_name(encoder_name) is not None:
        named = True  # smp's only name for what timm has
    options = _size_options(encoder_name, in_channels, build)
    try:
        built = build(named, **options)
    except OSError as error:
        raise DownloadError(
            f"The weights {encoder_weights!r} of {encoder_name} can't be fetched ({type(error).__name__}). "
            "To go on without, set encoder_weights=None (random weights), or give the path of a .safetensors "
            "file of the encoder that was fetched elsewhere."
        ) from error
    except REFUSALS as error:
        raise ParameterError(f"smp refuses the encoder {encoder_name}: {error or type(error).__name__}") from error
    if file.suffix == SUFFIX:
        _load_file(getattr(built, "encoder", built), encoder_name, file)
    return built


def timm_name(encoder_name: str) -> str | None:
    """What timm calls an encoder that smp takes from it by any name, else None."""
    if smp.encoders.is_equivalent_to_timm_universal(encoder_name):  # smp's older names, "timm-regnetx_002"
        family = "tf_" if "mobilenetv3" in encoder_name else ""
        return family + encoder_name.removeprefix("timm-")
    return encoder_name[3:] if encoder_name.startswith("tu-") else None


def is_encoder(encoder_name: str) -> bool:
    """Whether smp or timm has an encoder of that name; a path or a name on a hub is none."""
    universal = timm_name(encoder_name)
    if universal is None:
        return encoder_name in smp.encoders.encoders
    return timm.is_model(universal) and ("." not in universal or timm.models.is_model_pretrained(universal))


def check_encoder(encoder_name: str, encoder_weights: str | None) -> None:
    """Raise ParameterError for unknown names, InputError for a missing file."""
    if not is_encoder(encoder_name):
        known = [*smp.encoders.encoders, *(f"tu-{name}" for name in timm.list_models())]
        near = difflib.get_close_matches(encoder_name, known, cutoff=0)
        raise ParameterError(
            f"Unknown encoder {encoder_name!r}; the nearest known ones are {near}. "
            'Those of timm are called "tu-<name>".'
        )
    if encoder_weights is None:
        return
    if (file := weights_of(encoder_weights)).suffix == SUFFIX:
        if not file.is_file():
            raise InputError(f"{encoder_weights}: no such file; expected the weights of {encoder_name}.")
        return
    universal = timm_name(encoder_name)
    if universal is None:
        known = list(smp.encoders.encoders[encoder_name]["pretrained_settings"])
    else:
        known = ["imagenet"] if timm.models.is_model_pretrained(universal) else []
    if encoder_weights not in known:
        raise ParameterError(
            f"{encoder_name} has no weights {encoder_weights!r}: expected one of {[*known, *published()]}, the path of "
            f"a {SUFFIX} file, or None for random ones."
        )


def _size_options(encoder_name: str, in_channels: int, build: Callable[..., nn.Module]) -> dict[str, bool]:
    """Options with which timm's encoder takes images of any size. Raises ParameterError where none help."""
    universal = timm_name(encoder_name)
    config = None if universal is None else timm.get_pretrained_cfg(universal)
    if config is None or not config.fixed_input_size:
        return {}
    errors = []
    for options in ({}, {"dynamic_img_size": True}):
        try:
            with torch.device("meta"), torch.no_grad():
                build(None, **options).eval()(torch.zeros(1, in_channels, *ODD_SIZE_PX))
        except REFUSALS as error:
            errors.append(str(error) or type(error).__name__)
        else:
            return options
    raise ParameterError(
        f"{encoder_name} can't be used for images of any size: {errors[0][:200]} Take an encoder of convolutions such "
        'as resnet34, or one that can, such as "tu-swin_tiny_patch4_window7_224".'
    )


def encoder_statistics(
    encoder_name: str, encoder_weights: str | None = None, bands: int = 3
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """
    Mean and deviation of each of `bands`, values scaled to 0..1, that an encoder was pretrained with.

    Beyond the third they begin again, as the weights of the first convolution do where smp stretches it. smp's own
    function asks a server for those of its own encoders.
    """
    mean, std = _pretrained_statistics(encoder_name, encoder_weights)
    return tuple(mean[n % 3] for n in range(bands)), tuple(std[n % 3] for n in range(bands))


def _pretrained_statistics(encoder_name: str, encoder_weights: str | None) -> tuple[tuple[float, ...], ...]:
    universal = timm_name(encoder_name)
    if universal is not None:
        config = timm.get_pretrained_cfg(universal)
        return (tuple(config.mean), tuple(config.std)) if config else IMAGENET
    if encoder_name.startswith("dpn"):
        return constants.IMAGENET_DPN_MEAN, constants.IMAGENET_DPN_STD
    halves = encoder_name.startswith(("inception", "xception", "timm-tf_efficientnet_lite"))
    return HALVES if halves or encoder_weights == "advprop" else IMAGENET


def _load_file(encoder: nn.Module, encoder_name: str, path: Path) -> None:
    """Copy the weights of a file into an encoder; raises InputError where they are not its own."""
    tensors = read_tensors(path)
    given = {bare: tensors[name] for name, bare in bare_names(tensors).items()}
    if part := {name.removeprefix(PART): name for name in given if name.startswith(PART)}:  # of a whole network
        given = {bare: given[part[name]] for name, bare in bare_names(part).items()}
    universal = timm_name(encoder_name)
    if universal is not None:
        given = _without_head(given, encoder, universal)
    for name, own in encoder.state_dict().items():
        tensor = given.get(name)
        if tensor is not None and tensor.ndim == own.ndim > 1 and tensor.shape[1] == 3 != own.shape[1]:
            given[name] = adapt_input_conv(own.shape[1], tensor)  # the first layer: weights of three bands
    try:
        encoder.load_state_dict(given)
    except RuntimeError as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{path} does not hold the weights of {encoder_name}: {said}") from error


def _without_head(given: dict[str, Tensor], encoder: nn.Module, universal: str) -> dict[str, Tensor]:
    """
    Tensors of timm's whole classifier under the names that they have in the encoder, which is the part before its head.

    The encoder wraps timm's network ("model.") and joins some of its levels ("stages.0" is "stages_0").
    """
    with torch.device("meta"):
        whole = {_joined(name) for name in timm.create_model(universal).state_dict()}
    own = {_joined(bare): name for name, bare in bare_names(encoder.state_dict()).items()}
    head = whole - own.keys()
    return {own.get(_joined(name), name): tensor for name, tensor in given.items() if _joined(name) not in head}


def _joined(name: str) -> str:
    return name.replace(".", "_")


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
