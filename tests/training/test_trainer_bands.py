"""More than three bands: from chips to a checkpoint, and to the images that it takes."""

import numpy as np
import pytest
import torch

from lib.chips.manifest import read_image, write_bands
from lib.errors import InputError, ParameterError
from lib.mapping.predict import predict_chips, predict_image, read_probability
from lib.networks.checkpoint import load_model
from lib.networks.encoders import create_encoder
from lib.networks.models import ModelConfig
from lib.networks.skeleton import skeleton
from lib.training.augment import Augmentation, augment
from lib.training.cache import build_cache, channel_statistics
from lib.training.recipe import TrainConfig
from lib.training.trainer import fit

FIVE = ModelConfig(encoder_name="tu-mobilenetv3_small_050", in_channels=5)
QUICK = TrainConfig(epochs=2, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true")

pytestmark = pytest.mark.usefixtures("one_thread")


def in_five_bands(chips, folder):
    """The same chips with two bands more, of which one is bright."""
    generator, paths = np.random.default_rng(0), []
    for chip in chips.itertuples():
        image = read_image(chip.image)
        more = generator.integers([0, 180], [60, 255], (*image.shape[:2], 2)).astype(np.uint8)
        paths.append(str(write_bands(folder / f"{chip.chip}.tif", np.concatenate([image, more], axis=2))))
    return chips.assign(image=paths)


@pytest.fixture(scope="module")
def five(chips, tmp_path_factory):
    return [in_five_bands(own, tmp_path_factory.mktemp("five")) for own in chips]


def test_from_chips_of_five_bands_to_a_map(chips, five, tmp_path):
    result = fit(*five, tmp_path / "run", QUICK, FIVE, progress=lambda line: None)
    trained = load_model(result.checkpoint)
    assert len(trained.info.mean) == len(trained.info.std) == 5 and trained.info.mean[4] > 0.75
    cache, plain = build_cache(five[0], tmp_path / "five.u8"), build_cache(chips[0], tmp_path / "three.u8")
    assert channel_statistics(cache)[0][:3] == pytest.approx(channel_statistics(plain)[0])
    window = cache.window(0, -8, -4, 64)
    assert window.shape == (64, 64, 6) and (window[:8, :, 5] == 127).all()
    path = predict_chips(trained, five[1], tmp_path / "map")[0]
    assert read_probability(path).shape == (48, 48)
    with pytest.raises(InputError, match=r"\(H, W, 5\), of the bands that the network was .* got uint8 \(48, 48, 3"):
        predict_image(trained, read_image(five[1]["image"][0]))


def test_what_does_not_go_together(chips, five, tmp_path):
    three = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
    with pytest.raises(ParameterError, match="5 bands .*set in_channels=5"):
        fit(*five, tmp_path, QUICK, three)
    with pytest.raises(ParameterError, match="3 and 5 bands"):
        fit(five[0], chips[1], tmp_path, QUICK, FIVE)
    with pytest.raises(ParameterError, match='normalisation="imagenet" is of three bands'):
        fit(*five, tmp_path, TrainConfig(**vars(QUICK) | {"normalisation": "imagenet"}), FIVE)
    mixed = five[0].assign(image=[chips[0]["image"][0], *five[0]["image"][1:]])
    with pytest.raises(InputError, match="has 5 bands, .* has 3"):
        build_cache(mixed, tmp_path / "mixed.u8")


def test_hue_is_left_alone_where_there_is_none():
    pixels = torch.randint(0, 200, (2, 32, 32, 6), dtype=torch.uint8)
    pixels[..., 5] = 255
    still = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).expand(2, 2, 3)
    colour = Augmentation(np.zeros(0), np.array([[0.3, 0.1, 0.0], [0.3, 0.1, 0.05]], np.float32)).colour
    image, mask, weight = augment(pixels, still, torch.from_numpy(colour), 32, bands=5)
    expected = pixels[..., :5].permute(0, 3, 1, 2).float() / 255
    torch.testing.assert_close(image[0], expected[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(image[1], expected[1] + 0.05, atol=1e-5, rtol=0)
    assert (mask == 255).all() and weight is None


def test_networks_of_more_bands_are_known_without_values_and_draw_none():
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    for network in ("pp_linknet", "unet"):
        config = ModelConfig(network, "resnet18", context="32", in_channels=5)
        assert all(value.is_meta for value in skeleton(config).state_dict().values())
    assert torch.equal(state, torch.random.get_rng_state())


def test_weights_of_three_bands_are_spread_as_smp_does(tmp_path):
    from safetensors.torch import save_file

    plain = create_encoder("resnet18")
    save_file(plain.state_dict(), tmp_path / "three.safetensors")
    five = create_encoder("resnet18", str(tmp_path / "three.safetensors"), 5).conv1.weight
    expected = plain.conv1.weight[:, [0, 1, 2, 0, 1]] * 3 / 5  # smp: in turn, and as bright in sum
    torch.testing.assert_close(five, expected)
