"""Checkpoints of several classes: their header, one class of them, the hub, ONNX, others' weights."""

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import segmentation_models_pytorch as smp
import torch

from lib.errors import CheckpointError
from lib.networks.checkpoint import CheckpointInfo, for_class, load_model, load_weights, read_info, save_checkpoint
from lib.networks.convert import convert_weights
from lib.networks.export import export_onnx
from lib.networks.hub import from_pretrained, save_pretrained
from lib.networks.models import ModelConfig, build_model

BOTH = "roads+buildings"
SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050", classes=2)
INFO = CheckpointInfo(SMALL, BOTH, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), threshold=(0.35, 0.6), gsd_m=0.5)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    network = build_model(SMALL)
    with torch.no_grad():
        network.segmentation_head[-1].weight *= 20  # probabilities that differ from pixel to pixel
    return save_checkpoint(tmp_path_factory.mktemp("run") / "best.safetensors", network, INFO)


def test_the_header_states_a_threshold_for_each_class(checkpoint):
    assert read_info(checkpoint) == INFO
    assert INFO.thresholds == {"roads": 0.35, "buildings": 0.6}
    assert replace(INFO, task="roads", threshold=0.4).thresholds == {"roads": 0.4}


@pytest.mark.parametrize(
    ("task", "threshold"), [("roads", (0.3, 0.4)), ("roads", (0.3,)), (BOTH, 0.5), (BOTH, (0.5,)), (BOTH, (0.5,) * 3)]
)
def test_thresholds_that_are_not_one_for_each_class_are_refused(tmp_path, task, threshold):
    model = replace(SMALL, classes=1 if task == "roads" else 2)
    info = replace(INFO, model=model, task=task, threshold=threshold)
    path = save_checkpoint(tmp_path / "x.safetensors", torch.nn.Identity(), info)
    with pytest.raises(CheckpointError, match="expected one for each class of"):
        read_info(path)


def test_outputs_that_are_not_one_for_each_class_are_refused(tmp_path):
    model = replace(SMALL, classes=3)
    path = save_checkpoint(tmp_path / "x.safetensors", build_model(model), replace(INFO, model=model))
    with pytest.raises(CheckpointError, match=r"gives 3 classes; maps of roads\+buildings are made by .* 2 classes"):
        load_model(path)
    one = build_model(replace(SMALL, classes=1))
    with pytest.raises(
        CheckpointError, match=r"classes is 3, expected 1.*task is 'roads\+buildings', expected 'roads'"
    ):
        load_weights(one, path, replace(SMALL, classes=1), "roads")


def test_one_class_of_a_network_is_a_network(checkpoint, tmp_path):
    model, image = load_model(checkpoint), torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        both = model.network(image)
        for place, kind in enumerate(INFO.thresholds):
            one = for_class(model, kind)
            assert torch.allclose(one.network(image), both[:, place : place + 1], atol=1e-5)
            again = load_model(save_checkpoint(tmp_path / f"{kind}.safetensors", one.network, one.info), task=kind)
            assert torch.equal(again.network(image), one.network(image))
            assert again.info.threshold == INFO.threshold[place]
        assert torch.equal(model.network(image), both)


def test_the_hub_and_onnx_know_all_classes(checkpoint, tmp_path):
    folder = save_pretrained(checkpoint, tmp_path / "hub")
    assert from_pretrained(folder, BOTH).info == INFO and from_pretrained(folder, "buildings").info.threshold == 0.6
    session = onnxruntime.InferenceSession(export_onnx(checkpoint, tmp_path / "both.onnx"))
    said = session.get_modelmeta().custom_metadata_map
    assert (json.loads(said["task"]), json.loads(said["threshold"])) == (BOTH, [0.35, 0.6])
    image = np.random.default_rng(0).random((1, 3, 64, 96), dtype=np.float32)
    found = session.run(["probability"], {"image": image})[0]
    model = load_model(checkpoint)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (INFO.mean, INFO.std))
    with torch.inference_mode():
        expected = model.network((torch.from_numpy(image) - mean) / std).sigmoid().numpy()
    assert found.shape == (1, 2, 64, 96) and np.abs(found - expected).max() < 1e-4


def test_weights_of_others_must_have_an_output_for_each_class(tmp_path):
    torch.manual_seed(1)
    torch.save(smp.Unet("tu-mobilenetv3_small_050", encoder_weights=None, classes=2).state_dict(), tmp_path / "two.pth")
    names = {"network": "unet", "encoder": "tu-mobilenetv3_small_050"}
    info = convert_weights(tmp_path / "two.pth", tmp_path / "two.safetensors", task=BOTH, **names)
    assert info.thresholds == {"roads": 0.5, "buildings": 0.5}
    assert load_model(tmp_path / "two.safetensors", task="buildings").info.model.classes == 1
    with pytest.raises(CheckpointError, match="gives 2 classes; maps of roads are made by a network of one class"):
        convert_weights(tmp_path / "two.pth", tmp_path / "one.safetensors", **names)
