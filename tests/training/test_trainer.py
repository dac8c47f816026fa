"""Training: what it leaves behind, what its options change, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib.chips.manifest import WEIGHT_ONE, write_png
from lib.errors import InputError, ParameterError
from lib.networks.checkpoint import read_info
from lib.networks.models import ModelConfig, build_model
from lib.training.recipe import TrainConfig
from lib.training.trainer import fit

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
QUICK = TrainConfig(epochs=3, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true")

pytestmark = pytest.mark.usefixtures("one_thread")


def silent(_line: str) -> None:
    pass


def test_what_a_run_leaves(finished, chips):
    result, lines = finished
    assert len(lines) == 3
    assert lines[0].startswith("epoch   1/3  loss ")
    history = result.history
    assert list(history.columns) == [
        "epoch",
        "train_loss",
        "val_loss",
        "val_iou",
        "threshold",
        "learning_rate",
        "seconds",
    ]
    assert history["learning_rate"].tolist() == pytest.approx([2e-4 * (1 - e / 3) ** 0.9 for e in range(3)])
    assert result.best_epoch == history.loc[history["val_iou"].idxmax(), "epoch"]
    info = read_info(result.checkpoint)
    assert (info.task, info.gsd_m, info.training["epochs"]) == ("roads", 0.5, 3)
    assert info.provenance["best"]["epoch"] == result.best_epoch
    assert info.threshold == pytest.approx(history["threshold"][result.best_epoch - 1])
    left = {p.name for p in result.checkpoint.parent.iterdir()}
    assert left == {"best.safetensors", "history.csv", "tensorboard", "run.json", "done.json", "run.lock"}


def test_same_seed_same_weights(finished, chips, tmp_path, same_weights, same_history):
    again = fit(*chips, tmp_path, QUICK, SMALL, progress=silent)
    assert same_weights(again.checkpoint, finished[0].checkpoint)
    assert same_history(again, finished[0])


def test_other_seed_other_weights(finished, chips, tmp_path, same_weights):
    other = fit(*chips, tmp_path, replace(QUICK, seed=1, epochs=1), SMALL, progress=silent)
    assert not same_weights(other.checkpoint, finished[0].checkpoint)


def test_weights_change_what_is_learned(finished, chips, tmp_path, same_weights, weights):
    train, val = chips
    ones = write_png(tmp_path / "w.png", np.full((48, 48), WEIGHT_ONE, np.uint8))
    once = fit(train.assign(weight=str(ones)), val, tmp_path / "once", QUICK, SMALL, progress=silent)
    for ours, theirs in zip(weights(once.checkpoint).values(), weights(finished[0].checkpoint).values(), strict=True):
        torch.testing.assert_close(ours, theirs)
    left = np.zeros((48, 48), np.uint8)
    left[:, :24] = 255
    half = write_png(tmp_path / "half.png", left)
    other = fit(train.assign(weight=str(half)), val, tmp_path / "half", QUICK, SMALL, progress=silent)
    assert not same_weights(other.checkpoint, once.checkpoint)


def test_frozen_encoder_stays(chips, tmp_path, weights):
    result = fit(*chips, tmp_path, replace(QUICK, epochs=1, freeze_encoder=True), SMALL, progress=silent)
    torch.manual_seed(QUICK.seed)
    before, after = build_model(SMALL).state_dict(), weights(result.checkpoint)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"decoder", "segmentation_head"}


def test_compiled_network_learns_the_same_and_leaves_the_same_file(chips, tmp_path, monkeypatch, weights):
    """Traced and differentiated as for a GPU, but not turned into machine code, which takes minutes on a CPU."""
    compile_by = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compile_by(self, backend="aot_eager"))
    few_layers = ModelConfig(encoder_name="tu-test_resnet", context="32")
    kept = []
    for compiled in (True, False):
        config = replace(QUICK, compile=compiled)
        kept.append(weights(fit(*chips, tmp_path / f"{compiled}", config, few_layers, progress=silent).checkpoint))
    assert kept[0].keys() == kept[1].keys()
    for name, ours in kept[0].items():
        torch.testing.assert_close(ours, kept[1][name], atol=1e-4, rtol=1e-3)


def test_early_stopping(chips, tmp_path):
    config = replace(QUICK, epochs=6, patience=2, learning_rate=1e-12, augmentation="none", samples_per_epoch=4)
    frozen = replace(config, freeze_encoder=True)
    result = fit(*chips, tmp_path, frozen, SMALL, progress=silent)
    assert len(result.history) < 6
    assert result.best_epoch == len(result.history) - 2


def test_arguments_are_checked(chips, tmp_path):
    train, val = chips
    with pytest.raises(ParameterError, match="task is 'rivers'"):
        fit(train, val, tmp_path, QUICK, SMALL, "rivers")
    with pytest.raises(InputError, match="got 5 and 0"):
        fit(train, val[:0], tmp_path, QUICK, SMALL)
    with pytest.raises(ParameterError, match="3 bands"):
        fit(train, val, tmp_path, QUICK, replace(SMALL, in_channels=4))
    with pytest.raises(ParameterError, match="needs init_from"):
        fit(train, val, tmp_path, replace(QUICK, normalisation="init"), SMALL)


def test_learns_a_trivial_pattern(chips, tmp_path):
    config = replace(
        QUICK, epochs=4, samples_per_epoch=96, batch_size=8, learning_rate=3e-3, augmentation="flips", loss="bce_dice"
    )
    result = fit(*chips, tmp_path, config, SMALL, progress=silent)
    assert result.history["val_iou"].max() > 0.8
