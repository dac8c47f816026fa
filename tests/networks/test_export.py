"""ONNX: computes what PyTorch does, at sizes that were not traced, and says what it is."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from lib.errors import CheckpointError, InputError
from lib.mapping.predict import predict_image
from lib.networks import export
from lib.networks.checkpoint import CheckpointInfo, load_model, read_info, save_checkpoint
from lib.networks.export import export_onnx
from lib.networks.models import ModelConfig, build_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
    network = build_model(model)
    with torch.no_grad():
        network.segmentation_head[-1].weight *= 20  # probabilities that differ from pixel to pixel
    info = CheckpointInfo(model, "roads", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), threshold=0.35, gsd_m=0.5)
    return save_checkpoint(tmp_path_factory.mktemp("run") / "best.safetensors", network, info)


@pytest.fixture(scope="module")
def session(checkpoint):
    return onnxruntime.InferenceSession(export_onnx(checkpoint, checkpoint.with_name("roads.onnx")))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 224), (224, 160)])
def test_computes_what_is_predicted_here(checkpoint, session, height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    trained = load_model(checkpoint)
    expected = predict_image(trained, image, tta="none")
    batch = np.repeat(image.transpose(2, 0, 1)[None].astype(np.float32) / 255, 3, axis=0)
    found = session.run(["probability"], {"image": batch})[0]
    assert found.shape == (3, 1, height, width)
    assert expected.std() > 0.01
    with torch.inference_mode():
        mean, std = (np.array(v, np.float32)[:, None, None] for v in (trained.info.mean, trained.info.std))
        exact = trained.network(torch.from_numpy((batch - mean) / std)).sigmoid().numpy()
    np.testing.assert_allclose(found, exact, atol=1e-4)
    np.testing.assert_allclose(found[0, 0], expected, atol=0.02)  # in bfloat16 where the CPU has it


def test_says_what_it_is(session):
    stated = session.get_modelmeta().custom_metadata_map
    assert {name: json.loads(stated[name]) for name in ("task", "threshold", "gsd_m", "mean", "std")} == {
        "task": "roads",
        "threshold": 0.35,
        "gsd_m": 0.5,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
    }
    assert len(stated["checkpoint_sha256"]) == 64


def test_what_differs_is_not_written(checkpoint, session, monkeypatch, tmp_path):
    monkeypatch.setattr(export, "convert", lambda *_: onnx.load(checkpoint.with_name("roads.onnx")))
    other = build_model(ModelConfig(encoder_name="tu-mobilenetv3_small_050"))
    wrong = save_checkpoint(tmp_path / "other.safetensors", other, read_info(checkpoint))
    with pytest.raises(CheckpointError, match="off, above"):
        export_onnx(wrong, tmp_path / "roads.onnx")
    assert not (tmp_path / "roads.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["pspnet", "pan", "upernet", "fpn", "segformer", "deeplabv3plus"])
def test_smps_architectures_compute_the_same_at_sizes_that_were_not_traced(architecture, tmp_path):
    torch.manual_seed(0)
    model = ModelConfig(architecture, "tu-test_resnet", context="32")
    info = CheckpointInfo(model, "roads", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    path = save_checkpoint(tmp_path / "best.safetensors", build_model(model), info)
    session = onnxruntime.InferenceSession(export_onnx(path, tmp_path / "roads.onnx"))
    network = load_model(path).network
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (info.mean, info.std))
    for shape in ((1, 3, 128, 128), (3, 3, 160, 288), (1, 3, 256, 128), (2, 3, 352, 320)):
        image = torch.rand(shape)
        with torch.inference_mode():
            expected = network((image - mean) / std).sigmoid().numpy()
        np.testing.assert_allclose(session.run(None, {"image": image.numpy()})[0], expected, atol=1e-5)


def test_a_folder_in_the_place_of_the_file_is_said_before_the_export(checkpoint, monkeypatch, tmp_path):
    monkeypatch.setattr(export, "convert", None)
    with pytest.raises(InputError, match=f"{tmp_path}: expected a file to write, but that is a folder"):
        export_onnx(checkpoint, tmp_path)


def test_what_cannot_be_exported_is_said(checkpoint, monkeypatch, tmp_path):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.export, "export", refuse)
    with pytest.raises(CheckpointError, match="pp_linknet on tu-.* can't be exported to ONNX: no such operator"):
        export_onnx(checkpoint, tmp_path / "roads.onnx")
