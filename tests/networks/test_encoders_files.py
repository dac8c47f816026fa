"""Encoders from files: those of smp, those that timm publishes, wrapped ones, and other numbers of bands."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from lib.errors import DownloadError, InputError, ParameterError
from lib.networks.encoders import HALVES, IMAGENET, create_encoder, encoder_statistics
from lib.networks.models import create_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def written(tmp_path):
    """Writes tensors to a file, and gives its path as text."""

    def write(tensors):
        path = tmp_path / "weights.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
        return str(path)

    return write


def joined(tensors):
    return {name.removeprefix("model.").replace(".", "_"): tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_convnext", "test_byobnet", "dla34"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_timms_own_file(name, prefix, written):
    """Of a classifier of any number of classes; smp's encoder names its layers otherwise, and has no head."""
    whole = timm.create_model(name, num_classes=7).state_dict()
    encoder = create_encoder(f"tu-{name}", written({prefix + key: tensor for key, tensor in whole.items()}))
    expected = joined(whole)
    for key, tensor in joined(encoder.state_dict()).items():
        assert torch.equal(tensor, expected[key]), key


def test_a_file_of_the_encoder_alone_and_of_a_network_that_uses_less_of_it(written):
    source = create_encoder("tu-test_resnet")
    path = written(source.state_dict())
    for architecture in ("pp_linknet", "pspnet"):  # PSPNet takes the first three levels
        encoder = create_model(architecture, "tu-test_resnet", path).encoder
        for name, tensor in encoder.state_dict().items():
            assert torch.equal(tensor, source.state_dict()[name]), name


@pytest.mark.parametrize("encoder_name", ["tu-test_resnet", "tu-test_convnext", "tu-test_efficientnet", "resnet18"])
@pytest.mark.parametrize("bands", [1, 2, 4, 7])
def test_weights_of_three_bands_are_spread_over_others(encoder_name, bands, written):
    source = create_encoder(encoder_name).state_dict()
    encoder = create_encoder(encoder_name, written(source), bands)
    name = next(name for name, tensor in source.items() if tensor.ndim == 4)
    first, expected = encoder.state_dict()[name], source[name]
    assert first.shape[1] == bands
    if bands == 1:
        torch.testing.assert_close(first[:, 0], expected.sum(dim=1))
    else:
        torch.testing.assert_close(first[:, bands - 1], expected[:, (bands - 1) % 3] * 3 / bands)
    with torch.inference_mode():
        assert len(encoder.eval()(torch.zeros(1, bands, 64, 64))) == 6


def test_a_deeper_encoders_file_is_refused_though_it_holds_all_layers(written):
    path = written(timm.create_model("resnet34").state_dict())
    with pytest.raises(InputError, match=f"{path} does not hold the weights of tu-resnet18: .*layer1.2"):
        create_encoder("tu-resnet18", path)


@pytest.mark.parametrize("encoder_name", ["resnet18", "tu-test_resnet"])
def test_files_that_are_none(encoder_name, tmp_path, damages, written):
    with pytest.raises(InputError, match="away.safetensors: no such file"):
        create_encoder(encoder_name, str(tmp_path / "away.safetensors"))
    source = create_encoder(encoder_name).state_dict()
    (tmp_path / "bad.safetensors").write_bytes(b"PK\x03\x04 a zip")
    with pytest.raises(InputError, match="bad.safetensors: expected a whole safetensors file"):
        create_encoder(encoder_name, str(tmp_path / "bad.safetensors"))
    with pytest.raises(InputError, match="does not hold the weights"):
        create_encoder(encoder_name, written(dict(list(source.items())[:-9])))


def test_a_name_of_weights_is_never_taken_for_timms_default(monkeypatch):
    def fetch(*_args, **_kwargs):
        raise OSError("a server was asked")

    monkeypatch.setattr("timm.models._builder.load_pretrained", fetch)
    for architecture in ("pp_linknet", "unet"):
        for weights in ("/nowhere/mine.pth", "mine", "a1_in1k", "Imagenet"):
            with pytest.raises(ParameterError, match=f"encoder_weights is '{weights}'|tu-resnet18 has no weights"):
                create_model(architecture, "tu-resnet18", weights)
        with pytest.raises(DownloadError, match="can't be fetched"):
            create_model(architecture, "tu-resnet18", "imagenet")


@pytest.mark.parametrize(
    ("encoder_name", "weights", "expected"),
    [
        ("resnet18", "imagenet", IMAGENET),
        ("efficientnet-b0", "imagenet", IMAGENET),
        ("efficientnet-b0", "advprop", HALVES),
        ("inceptionv4", "imagenet+background", HALVES),
        ("xception", "imagenet", HALVES),
        ("timm-tf_efficientnet_lite0", None, HALVES),
        ("dpn68", "imagenet", ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)),
        ("tu-dpn68", None, ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)),
    ],
)
def test_statistics_are_those_of_the_pretraining(encoder_name, weights, expected):
    for found, stated in zip(encoder_statistics(encoder_name, weights), expected, strict=True):
        assert found == pytest.approx(stated)
