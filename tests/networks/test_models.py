"""Networks: layer for layer, by name, on encoders of every kind."""

import pytest
import torch
from torch import nn

from lib.errors import InputError, ParameterError
from lib.networks.models import (
    ARCHITECTURES,
    CONTEXT_STRIDE,
    PyramidPooling,
    TransposedConvolution,
    build_model,
    create_model,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("context", CONTEXT_STRIDE)
def test_parameters_are_those_of_the_paper(context):
    assert count(create_model("pp_linknet", "resnet34", context=context)) == 22_443_841


@pytest.mark.parametrize("settings", [(3, 2, 1, 1), (3, 1, 1, 0), (4, 2, 1, 0)])
def test_transposed_convolution_is_that_of_pytorch(settings):
    torch.manual_seed(0)
    own, theirs = (kind(5, 3, *settings).double() for kind in (TransposedConvolution, nn.ConvTranspose2d))
    own.load_state_dict(theirs.state_dict())
    image = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    pairs = [(own(image), theirs(image))]
    for output in pairs[0]:
        output.square().sum().backward()
    pairs += zip((p.grad for p in own.parameters()), (p.grad for p in theirs.parameters()), strict=True)
    for ours, expected in pairs:
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(
    ("context", "sides"),
    [("32", [32, 16, 8, 4]), ("64", [32, 16, 8, 8]), ("128", [32, 16, 16, 16]), ("64 hdc", [32, 16, 8, 8])],
)
def test_shape_of_every_stage(context, sides):
    model = create_model("pp_linknet", "resnet34", context=context).eval()
    seen = {}

    def watch(name):
        return lambda _module, _inputs, output: seen.__setitem__(name, tuple(output.shape[1:]))

    model.decoder.centre.register_forward_hook(watch("centre"))
    for index, block in enumerate(model.decoder.blocks):
        block.register_forward_hook(watch(f"block{index}"))
    with torch.inference_mode():
        features = model.encoder(torch.zeros(1, 3, 128, 128))
        logits = model(torch.zeros(1, 3, 128, 128))
    channels = [64, 128, 256, 512]
    assert [tuple(f.shape[1:]) for f in features[2:]] == [(c, s, s) for c, s in zip(channels, sides, strict=True)]
    assert seen == {
        "centre": (512, sides[3], sides[3]),
        "block0": (256, sides[2], sides[2]),
        "block1": (128, sides[1], sides[1]),
        "block2": (64, sides[0], sides[0]),
        "block3": (64, 64, 64),
    }
    assert logits.shape == (1, 1, 128, 128)


def test_layers_of_decoder_and_head():
    model = create_model("pp_linknet", "resnet34")
    pooling = model.decoder.centre
    assert [level[0].output_size for level in pooling.levels] == [1, 2, 3, 6]
    assert all(level[1].bias is None and level[1].out_channels == 128 for level in pooling.levels)
    assert (pooling.mix.in_channels, pooling.mix.out_channels) == (1024, 512)
    assert pooling.mix.bias is not None
    assert not any(isinstance(module, nn.BatchNorm2d) for module in pooling.modules())
    enlarging = [block[3] for block in model.decoder.blocks]
    assert [layer.stride[0] for layer in enlarging] == [1, 2, 2, 2]
    assert [layer.output_padding[0] for layer in enlarging] == [0, 1, 1, 1]
    convolutions = [m for m in model.decoder.blocks.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == 12
    assert all(layer.bias is not None for layer in convolutions)
    assert [layer.kernel_size[0] for layer in model.segmentation_head if hasattr(layer, "stride")] == [4, 3, 3]


def test_pyramid_pooling_of_a_constant_is_constant():
    pooling = PyramidPooling(8)
    output = pooling(torch.ones(1, 8, 7, 9))
    torch.testing.assert_close(output, output[..., :1, :1].expand_as(output))


@pytest.mark.parametrize("context", ["64", "64 hdc"])
def test_every_parameter_gets_a_gradient(context):
    model = create_model("pp_linknet", "resnet18", context=context)
    model(torch.rand(2, 3, 64, 64)).mean().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("architecture", ["pp_linknet", "d_linknet34", "linknet", "unet", "deeplabv3plus"])
def test_architectures_by_name(architecture):
    model = create_model(architecture, "resnet18", in_channels=4, classes=2).eval()
    with torch.inference_mode():
        assert model(torch.zeros(1, 4, 64, 96)).shape == (1, 2, 64, 96)
        rebuilt = build_model(model.settings)
    assert [p.shape for p in rebuilt.parameters()] == [p.shape for p in model.parameters()]


def test_d_linknet_is_the_same_around_a_dilated_centre():
    own, other = create_model("pp_linknet"), create_model("d_linknet34", "resnet34")
    assert [stage.dilation[0] for stage in other.decoder.centre.stages] == [1, 2, 4, 8]
    assert count(other) - count(other.decoder.centre) == count(own) - count(own.decoder.centre)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architecture": "pplinknet"}, "architecture is 'pplinknet'.*nearest is 'pp_linknet'"),
        ({"encoder_name": "resnet35"}, "encoder_name is 'resnet35'.*nearest is 'resnet"),
        ({"architecture": "unet", "encoder_name": "tu-resnet35"}, "Unknown encoder 'tu-resnet35'"),
        ({"context": "65"}, "context is '65'"),
        ({"architecture": "unet", "context": "64"}, 'has only "32"'),
        ({"encoder_weights": "imagnet"}, "encoder_weights is 'imagnet'.*nearest is 'imagenet'"),
    ],
)
def test_unknown_names(values, message):
    with pytest.raises(ParameterError, match=message):
        create_model(**values)


def test_size_that_is_no_multiple_of_32():
    with pytest.raises(InputError, match="multiples of 32 px, got 64 x 100"):
        create_model("pp_linknet", "resnet18")(torch.zeros(1, 3, 64, 100))


def test_hub_format_of_smp(tmp_path):
    model = create_model("pp_linknet", "resnet18", context="128").eval()
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(image), model(image))


def test_names_hold_ours_and_smps():
    assert {"pp_linknet", "d_linknet", "linknet", "unet", "deeplabv3plus"} <= ARCHITECTURES.keys()
