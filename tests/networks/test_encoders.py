"""Encoders: strides and dilation as asked, weights by name or from a file, on networks of every kind."""

import pytest
import torch
from safetensors.torch import save_file

from lib.errors import DownloadError, InputError, ParameterError
from lib.networks import encoders
from lib.networks.encoders import create_encoder, encoder_sides
from lib.networks.hub import from_pretrained
from lib.networks.models import create_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("context", ["32", "64", "128"])
def test_context_is_the_side_of_the_deepest_map_for_1024_px(context):
    model = create_model("pp_linknet", "resnet18", context=context)
    assert encoder_sides(model.encoder, side_px=256)[-1] * 4 == int(context)


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


def test_dilation_only_in_hdc():
    def rates(context):
        model = create_model("pp_linknet", "resnet34", context=context)
        layers = [model.encoder.layer3, model.encoder.layer4]
        return [[(b.conv1.dilation[0], b.conv2.dilation[0]) for b in layer] for layer in layers]

    assert rates("64") == [[(1, 1)] * 6, [(1, 1)] * 3]
    assert rates("64 hdc") == [[(1, 1), (2, 2), (5, 5)] * 2, [(1, 1), (2, 2), (5, 5)]]


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
    with pytest.raises(InputError, match="absent.safetensors: no such file; expected the weights of resnet18"):
        create_model("pp_linknet", "resnet18", encoder_weights=str(tmp_path / "absent.safetensors"))


def test_encoder_of_a_network_that_ships_here_by_its_name(tmp_path):
    name, network = "massachusetts-roads", from_pretrained("massachusetts-roads").network
    loaded = create_model("pp_linknet", "tu-regnetx_002", encoder_weights=name)
    torch.testing.assert_close(loaded.encoder.state_dict(), network.encoder.state_dict())
    save_file(loaded.state_dict(), tmp_path / "mine.safetensors")
    again = create_model("unet", "tu-regnetx_002", encoder_weights=str(tmp_path / "mine.safetensors"), in_channels=4)
    bands = again.encoder.model.stem.conv.weight[:, 3] / 0.75
    torch.testing.assert_close(bands, network.encoder.model.stem.conv.weight[:, 0])
    with pytest.raises(ParameterError, match=f"'{name}', which are those of tu-regnetx_002, and .* 'resnet18'"):
        create_model("pp_linknet", "resnet18", encoder_weights=name)
    with pytest.raises(InputError, match=f"{name}.* does not hold the weights of resnet18"):
        create_encoder("resnet18", name)


@pytest.mark.parametrize(
    ("encoder_name", "encoder_weights", "message"),
    [
        ("resnet35", None, "Unknown encoder 'resnet35'; the nearest known ones are .*'resnet34'.*tu-<name>"),
        ("tu-resnet35", None, "Unknown encoder 'tu-resnet35'.*'tu-resnet34'"),
        ("tu-resnet18.nobody", None, "Unknown encoder 'tu-resnet18.nobody'"),
        ("tu-hf_hub:user/name", None, "Unknown encoder 'tu-hf_hub:user/name'"),
        ("tu-local-dir:/nowhere", None, "Unknown encoder 'tu-local-dir:/nowhere'"),
        ("resnet34", "imagnet", "resnet34 has no weights 'imagnet': expected one of .'imagenet'"),
        (
            "tu-resnet34",
            "/nowhere/mine.pth",
            "tu-resnet34 has no weights '/nowhere/mine.pth': expected one of .'imagenet'",
        ),
        ("timm-regnetx_002", "mine", "timm-regnetx_002 has no weights 'mine'"),
        ("tu-resnet18", "", "tu-resnet18 has no weights ''"),
        ("tu-resnet10t_no", "imagenet", "Unknown encoder"),
    ],
)
def test_unknown_encoders_and_weights(encoder_name, encoder_weights, message):
    with pytest.raises(ParameterError, match=message):
        create_encoder(encoder_name, encoder_weights)
