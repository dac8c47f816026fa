"""The release's recipe: which epoch is kept, when it stops, and what the network is fed."""

from dataclasses import replace

import pytest

from lib.networks.checkpoint import read_info
from lib.networks.convert import RELEASE_STATISTICS
from lib.networks.models import ModelConfig
from lib.training.recipe import RECIPES, train_config
from lib.training.trainer import fit

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
FEW = {"crop_px": 32, "batch_size": 4, "samples_per_epoch": 8, "accelerator": "cpu", "precision": "32-true"}

pytestmark = pytest.mark.usefixtures("one_thread")


def quick(**changes):
    """The release's recipe, on crops and for epochs that a test can wait for."""
    return train_config({"recipe": "release-roads", "train_options": FEW | changes})


def test_the_epoch_with_the_lowest_training_loss_is_kept_at_the_releases_threshold(chips, tmp_path):
    # so high a rate that the loss rises at last: the last epoch isn't the best
    config = quick(epochs=4, learning_rate=0.02, schedule="constant")
    result = fit(*chips, tmp_path / "stage1", config, SMALL, progress=lambda line: None)
    losses = result.history.set_index("epoch")["train_loss"]
    info = read_info(result.checkpoint)
    assert result.best_epoch == losses.idxmin()
    assert info.provenance["best"]["train_loss"] == losses.min()
    assert (info.threshold, (info.mean, info.std)) == (0.25, RELEASE_STATISTICS)

    second = fit(*chips, tmp_path / "stage2", quick(epochs=1), SMALL, "roads", result.checkpoint, lambda line: None)
    assert list(second.history["epoch"]) == [0, 1]
    assert second.best_epoch == 1  # a stage 2 of the release never keeps what it started from
    assert read_info(second.checkpoint).mean == RELEASE_STATISTICS[0]


def test_it_stops_after_so_many_epochs_without_a_better_training_loss(chips, tmp_path):
    patience = 2
    config = quick(epochs=8, learning_rate=1.0, schedule="constant", optimizer="sgd", patience=patience)
    losses = fit(*chips, tmp_path, config, SMALL, progress=lambda line: None).history["train_loss"]
    since = len(losses) - 1 - losses.idxmin()
    assert since == patience or (len(losses) == 8 and since < patience)
    assert not any(losses[i : i + patience + 1].idxmin() == i for i in range(len(losses) - patience - 1))


def test_with_a_validation_the_same_training_keeps_the_epoch_of_the_best_iou(chips, tmp_path):
    config = replace(quick(epochs=3), keep_by="val_iou", threshold=0.0)
    result = fit(*chips, tmp_path, config, SMALL, progress=lambda line: None)
    best = result.history.loc[result.history["val_iou"].idxmax()]
    assert result.best_epoch == best["epoch"]
    assert read_info(result.checkpoint).threshold == best["threshold"]
    assert RECIPES["release-roads"]["keep_by"] == "train_loss"
