"""Networks without values: what they are compared with, which batches they train on, which sizes they take."""

import pytest
import torch

from lib.errors import InputError, ParameterError
from lib.networks.models import ARCHITECTURES, ModelConfig, build_model, create_model
from lib.networks.skeleton import check_training, skeleton, smallest_side_px

pytestmark = pytest.mark.usefixtures("one_thread")

AVERAGED = {"deeplabv3", "deeplabv3plus", "pan", "upernet"}  # batch norm after an average over the whole map


def small(architecture: str) -> ModelConfig:
    encoder_name = "tu-test_vit" if architecture == "dpt" else "tu-test_resnet"
    return ModelConfig(architecture, encoder_name, context="32")


@pytest.mark.parametrize("encoder_name", ["resnet18", "mit_b0", "tu-test_efficientnet", "efficientnet-b0"])
def test_names_and_shapes_are_the_networks_and_no_random_number_is_drawn(encoder_name):
    model = ModelConfig(encoder_name=encoder_name, context="32")
    before = torch.random.get_rng_state()
    bare = skeleton(model).state_dict()
    assert torch.equal(before, torch.random.get_rng_state())
    assert {value.device.type for value in bare.values()} == {"meta"}
    whole = build_model(model).state_dict()
    assert [(name, v.shape) for name, v in bare.items()] == [(name, v.shape) for name, v in whole.items()]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_crop_is_refused_where_training_would_fail(architecture):
    model = small(architecture)
    network = build_model(model).train()
    for crops in (1, 2):
        image = torch.rand(crops, 3, 128, 128)
        if architecture in AVERAGED and crops == 1:
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                network(image)
            with pytest.raises(ParameterError, match=f"{architecture} on .* batch_size of at least two crops"):
                check_training(model, crops, 128)
        else:
            network(image)
            check_training(model, crops, 128)


def test_a_map_of_one_pixel_is_refused_unless_its_norms_are_frozen():
    model = small("unet")
    with pytest.raises(ParameterError, match="can't train on 1 crops of 32 px.*two crops"):
        check_training(model, 1, 32)
    check_training(model, 2, 32)
    check_training(model, 1, 64)
    with pytest.raises(ParameterError, match="two crops"):
        check_training(small("deeplabv3plus"), 1, 64, frozen_encoder=True)
    check_training(small("fpn"), 1, 32, frozen_encoder=True)


def test_crops_and_names_that_do_not_go(tmp_path):
    with pytest.raises(ParameterError, match="pan on tu-test_resnet can't train on 2 crops of 64 px.*another crop_px"):
        check_training(small("pan"), 2, 64)
    with pytest.raises(ParameterError, match="encoder_weights is 'mine'"):
        check_training(ModelConfig(encoder_weights="mine"), 2, 64)
    with pytest.raises(InputError, match="no such file"):
        check_training(ModelConfig(encoder_weights=str(tmp_path / "x.safetensors")), 2, 64)


def test_smallest_side():
    assert [smallest_side_px(small(architecture)) for architecture in ("unet", "pan")] == [32, 128]


@pytest.mark.parametrize(
    ("architecture", "encoder_name"), [("unet", "tu-swin_tiny_patch4_window7_224"), ("dpt", "tu-test_vit")]
)
def test_transformers_that_can_take_images_of_any_size(architecture, encoder_name):
    network = create_model(architecture, encoder_name).eval()
    with torch.inference_mode():
        for height, width in ((64, 96), (256, 256), (224, 320)):
            assert network(torch.zeros(1, 3, height, width)).shape == (1, 1, height, width)


@pytest.mark.parametrize("architecture", ["pp_linknet", "unet"])
@pytest.mark.parametrize("encoder_name", ["tu-test_vit", "tu-test_maxvit", "tu-coat_tiny", "tu-nest_tiny"])
def test_encoders_of_one_size_are_refused_in_words(architecture, encoder_name):
    with pytest.raises(ParameterError, match=f"{encoder_name} can't be used for images of any size: .*tu-swin"):
        create_model(architecture, encoder_name, context="32")


def test_who_asks_while_predicting_leaves_others_theirs():
    model = ModelConfig(encoder_name="tu-mobilenetv3_small_050", context="32")
    skeleton.cache_clear()
    with torch.inference_mode():
        skeleton(model)
    assert not next(skeleton(model).parameters()).is_inference()
