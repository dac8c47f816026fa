"""Names of networks, known without PyTorch."""

import subprocess
import sys

import pytest
import segmentation_models_pytorch as smp

from lib.errors import ParameterError
from lib.networks.config import ARCHITECTURE_NAMES, ENCODERS, OWN_NAMES, WEIGHTS, ModelConfig
from lib.networks.models import ARCHITECTURES, OWN_ARCHITECTURES
from lib.paths import ROOT


def test_the_names_are_those_of_the_libraries():
    assert set(ARCHITECTURE_NAMES) == set(ARCHITECTURES) and set(OWN_NAMES) == set(OWN_ARCHITECTURES)
    assert sorted(ENCODERS) == sorted(smp.encoders.encoders)
    assert set(WEIGHTS) == {name for one in smp.encoders.encoders.values() for name in one["pretrained_settings"]}


@pytest.mark.parametrize("name", ["tu-resnet34", "tu-resnet34.a1_in1k", "tu-convnext_tiny.fb_in22k"])
def test_encoders_of_timm_are_named(name):
    assert ModelConfig(encoder_name=name).encoder_name == name


@pytest.mark.parametrize("name", ["tu-", "tu-hf_hub:a/b", "tu-hf-hub:a/b", "tu-local-dir:/tmp", "tu-../x", "hub:x", ""])
def test_an_encoder_is_no_address_and_no_path(name):
    with pytest.raises(ParameterError, match="encoder_name is .*: expected one of"):
        ModelConfig(encoder_name=name)


@pytest.mark.parametrize(
    ("field", "value"), [("in_channels", 0), ("in_channels", 10**5), ("classes", -1), ("classes", 1.5), ("context", 64)]
)
def test_values_are_in_range_and_of_their_type(field, value):
    with pytest.raises(ParameterError, match=field):
        ModelConfig(**{field: value})


def test_who_builds_no_network_waits_for_neither_smp_nor_timm():
    """With torchvision and PyTorch's compiler behind them, they take as long to import as all the rest."""
    rooms = ("networks.checkpoint", "networks.convert", "networks.backends", "mapping.forward", "training.losses")
    heavy = {"segmentation_models_pytorch", "timm", "torchvision", "torch._dynamo", "lightning"}
    code = f"import sys, {', '.join(f'lib.{room}' for room in rooms)}; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
