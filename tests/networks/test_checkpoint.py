"""Checkpoints: what goes in comes out, and what does not fit is refused."""

import json
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lib.errors import CheckpointError
from lib.networks.checkpoint import (
    FORMAT,
    CheckpointInfo,
    file_digest,
    load_model,
    load_weights,
    provenance,
    read_info,
    save_checkpoint,
)
from lib.networks.models import ModelConfig, build_model

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050", context="64")
INFO = CheckpointInfo(
    SMALL,
    "roads",
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    threshold=0.35,
    gsd_m=0.5,
    training={"epochs": 3, "learning_rate": 2e-4},
    provenance={"seed": 1},
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model(SMALL)


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("run") / "best.safetensors", network, INFO)


def test_comes_back_as_it_went(saved, network):
    loaded = load_model(saved, task="roads")
    assert loaded.info == INFO
    assert loaded.digest == file_digest(saved)
    assert not loaded.network.training
    for (name, ours), theirs in zip(network.state_dict().items(), loaded.network.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


def test_same_content_same_bytes(saved, network, tmp_path):
    again = save_checkpoint(tmp_path / "again.safetensors", network.to(memory_format=torch.channels_last), INFO)
    assert again.read_bytes() == saved.read_bytes()


def test_header_is_read_without_the_network(saved, monkeypatch):
    monkeypatch.setattr("lib.networks.models.build_model", None)
    assert read_info(saved) == INFO


@pytest.mark.parametrize(
    ("changes", "task", "message"),
    [
        ({"architecture": "d_linknet"}, "roads", "architecture is 'pp_linknet', expected 'd_linknet'"),
        ({"encoder_name": "resnet18"}, "roads", "encoder_name is 'tu-mobilenetv3_small_050', expected 'resnet18'"),
        ({"context": "128"}, "roads", "context is '64', expected '128'"),
        ({"in_channels": 4}, "roads", "in_channels is 3, expected 4"),
        ({}, "buildings", "task is 'roads', expected 'buildings'"),
    ],
)
def test_what_does_not_fit_is_refused(saved, network, changes, task, message):
    with pytest.raises(CheckpointError, match=message):
        load_weights(network, saved, replace(SMALL, **changes), task)


def test_pretraining_of_the_encoder_is_no_difference(saved, network):
    assert load_weights(network, saved, replace(SMALL, encoder_weights="imagenet"), "roads") == INFO


def test_other_task(saved):
    with pytest.raises(CheckpointError, match="finds roads, buildings were asked for"):
        load_model(saved, task="buildings")


def test_missing_damaged_and_strange_files(saved, tmp_path):
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        load_model(tmp_path / "absent.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(saved.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=f"{cut}: expected a whole safetensors file.*copy or train"):
        load_model(cut)
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other)
    with pytest.raises(CheckpointError, match="not a checkpoint of this project"):
        load_model(other)
    save_file({"x": torch.zeros(1)}, other, metadata={FORMAT: json.dumps({"task": "roads"})})
    with pytest.raises(CheckpointError, match="does not describe a network"):
        load_model(other)


@pytest.mark.parametrize("changes", [{"architecture": "d_linknet"}, {"encoder_name": "tu-mobilenetv3_small_075"}])
def test_weights_of_another_network_under_this_header(network, tmp_path, changes):
    wrong = save_checkpoint(tmp_path / "wrong.safetensors", network, replace(INFO, model=replace(SMALL, **changes)))
    with pytest.raises(CheckpointError, match="do not fit what it says of itself"):
        load_model(wrong)


@pytest.mark.parametrize(("bands", "classes"), [(4, 2), (3, 2)])
def test_what_no_map_can_be_made_with_is_refused(tmp_path, bands, classes):
    model = replace(SMALL, in_channels=bands, classes=classes)
    info = replace(INFO, model=model, mean=(0.5,) * bands, std=(0.5,) * bands)
    path = save_checkpoint(tmp_path / "x.safetensors", build_model(model), info)
    with pytest.raises(CheckpointError, match=f"takes {bands} bands and gives {classes} classes.*Train one with"):
        load_model(path)
    assert read_info(path) == info


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "model._orig_mod.", "_orig_mod.module.model."])
def test_weights_as_wrappers_name_them(saved, network, tmp_path, prefix):
    with safe_open(saved, framework="pt") as file:
        header = file.metadata()
    tensors = {prefix + name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    if prefix == "module.":
        tensors["n_averaged"] = torch.tensor(3)  # torch's averaged models count beside what they average
    path = tmp_path / "wrapped.safetensors"
    save_file(tensors, path, metadata=header)
    for target in (load_model(path).network, build_model(SMALL)):
        load_weights(target, path, SMALL, "roads")
        for name, tensor in network.state_dict().items():
            assert torch.equal(target.state_dict()[name], tensor), name


class Stranger:
    """Runs code of its own when unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a stranger's file was unpickled",))


@pytest.mark.parametrize(
    "write", [lambda p: torch.save(Stranger(), p), lambda p: p.write_bytes(pickle.dumps(Stranger()))]
)
def test_strangers_files_are_never_unpickled(tmp_path, write):
    path = tmp_path / "model.pth"
    write(path)
    with pytest.raises(CheckpointError):
        load_model(path)


def test_full_disk_leaves_the_last_good_checkpoint(saved, network, full_after, tmp_path):
    path = tmp_path / "best.safetensors"
    path.write_bytes(saved.read_bytes())
    with full_after(0), pytest.raises(OSError, match="No space"):
        save_checkpoint(path, network, replace(INFO, threshold=0.9))
    assert load_model(path).info.threshold == 0.35
    assert [p.name for p in tmp_path.iterdir()] == ["best.safetensors"]


def test_provenance_names_the_packages():
    facts = provenance(seed=3)
    assert facts["seed"] == 3
    assert "torch" in facts["packages"]
    assert isinstance(facts["revision"], str)
