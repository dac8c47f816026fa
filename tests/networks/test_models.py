"""Networks: layer for layer, by name, on encoders of every kind."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lib.errors import DownloadError, InputError, ParameterError
from lib.networks import encoders
from lib.networks.encoders import create_encoder, encoder_sides
from lib.networks.models import (
    CONTEXT_STRIDE,
    PyramidPooling,
    TransposedConvolution,
    architecture_names,
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


@pytest.mark.parametrize("context", ["32", "64", "128"])
def test_context_is_the_side_of_the_deepest_map_for_1024_px(context):
    model = create_model("pp_linknet", "resnet18", context=context)
    assert encoder_sides(model.encoder, side_px=256)[-1] * 4 == int(context)


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


def test_dilation_only_in_hdc():
    def rates(context):
        model = create_model("pp_linknet", "resnet34", context=context)
        layers = [model.encoder.layer3, model.encoder.layer4]
        return [[(b.conv1.dilation[0], b.conv2.dilation[0]) for b in layer] for layer in layers]

    assert rates("64") == [[(1, 1)] * 6, [(1, 1)] * 3]
    assert rates("64 hdc") == [[(1, 1), (2, 2), (5, 5)] * 2, [(1, 1), (2, 2), (5, 5)]]


def test_pyramid_pooling_of_a_constant_is_constant():
    pooling = PyramidPooling(8)
    output = pooling(torch.ones(1, 8, 7, 9))
    torch.testing.assert_close(output, output[..., :1, :1].expand_as(output))


@pytest.mark.parametrize("context", ["64", "64 hdc"])
def test_every_parameter_gets_a_gradient(context):
    model = create_model("pp_linknet", "resnet18", context=context)
    model(torch.rand(2, 3, 64, 64)).mean().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("context", ["64", "128"])
@pytest.mark.parametrize(
    "encoder_name",
    [
        "vgg11_bn",
        "densenet121",
        "efficientnet-b0",
        "mobilenet_v2",
        "mit_b0",
        "tu-resnet10t",
        "tu-mobilenetv3_small_100",
    ],
)
def test_encoders_of_other_kinds_keep_their_strides(encoder_name, context):
    model = create_model("pp_linknet", encoder_name, context=context)
    logits = model(torch.rand(2, 3, 32, 64))
    assert logits.shape == (2, 1, 32, 64)
    logits.mean().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_encoder_that_cannot_keep_its_stride_says_so():
    with pytest.raises(ParameterError, match='tu-convnext_atto cannot keep a stride of 16.*context="32"'):
        create_model("pp_linknet", "tu-convnext_atto")
    create_model("pp_linknet", "tu-convnext_atto", context="32")
    with pytest.raises(ParameterError, match="layer3 and layer4"):
        create_model("pp_linknet", "mobilenet_v2", context="64 hdc")


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
        ({"architecture": "pplinknet"}, "Unknown architecture 'pplinknet'.*pp_linknet"),
        ({"encoder_name": "resnet35"}, "Unknown encoder 'resnet35'"),
        ({"context": "65"}, "Unknown context '65'"),
        ({"architecture": "unet", "context": "64"}, 'has only "32"'),
        ({"encoder_weights": "imagnet"}, "Unknown weights 'imagnet'.*imagenet"),
    ],
)
def test_unknown_names(values, message):
    with pytest.raises(ParameterError, match=message):
        create_model(**values)


def test_size_that_is_no_multiple_of_32():
    with pytest.raises(InputError, match="multiples of 32 px, got 64 x 100"):
        create_model("pp_linknet", "resnet18")(torch.zeros(1, 3, 64, 100))


def test_unreachable_hub_says_how_to_go_on(monkeypatch):
    def refuse(*_args, weights=None, **_settings):
        raise OSError("no route to host")

    monkeypatch.setattr(encoders.smp.encoders, "get_encoder", refuse)
    with pytest.raises(DownloadError, match="encoder_weights=None"):
        create_model("pp_linknet", "resnet18", encoder_weights="imagenet")


def test_encoder_weights_from_a_local_file(tmp_path):
    source = create_encoder("resnet18")
    path = tmp_path / "resnet18.safetensors"
    save_file(source.state_dict(), path)
    for architecture in ("pp_linknet", "unet"):
        loaded = create_model(architecture, "resnet18", encoder_weights=str(path), in_channels=4)
        torch.testing.assert_close(loaded.encoder.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
        # bands beyond the third start as copies of the first ones, scaled to the same sum
        torch.testing.assert_close(loaded.encoder.conv1.weight[:, 3], source.conv1.weight[:, 0] * 0.75)
    with pytest.raises(InputError, match="does not hold the weights of resnet34"):
        create_model("pp_linknet", "resnet34", encoder_weights=str(path))
    with pytest.raises(InputError, match="No encoder weights at"):
        create_model("pp_linknet", "resnet18", encoder_weights=str(tmp_path / "absent.safetensors"))


def test_hub_format_of_smp(tmp_path):
    model = create_model("pp_linknet", "resnet18", context="128").eval()
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(image), model(image))


def test_names_hold_ours_and_smps():
    assert {"pp_linknet", "d_linknet", "linknet", "unet", "deeplabv3plus"} <= set(architecture_names())
