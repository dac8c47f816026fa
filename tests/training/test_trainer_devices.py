"""Training in either precision, on a GPU, and in several processes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from lib.chips.manifest import write_png
from lib.networks import models
from lib.networks.checkpoint import load_model
from lib.networks.models import ModelConfig, build_model
from lib.training import runs
from lib.training.recipe import TrainConfig
from lib.training.trainer import fit

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
QUICK = TrainConfig(epochs=3, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true")

pytestmark = pytest.mark.usefixtures("one_thread")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
needs_two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices here")


@pytest.fixture
def noise(tmp_path):
    """Four chips whose mask is where the image is bright."""
    generator, rows = np.random.default_rng(0), []
    for number in range(4):
        image = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        mask = np.where(image.mean(axis=2) > 128, 255, 0).astype(np.uint8)
        rows.append([str(write_png(tmp_path / f"{kind}{number}.png", a)) for kind, a in (("i", image), ("m", mask))])
    return pd.DataFrame(rows, columns=["image", "mask"])


def silent(_line: str) -> None:
    pass


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_step_on_the_cpu_in_either_precision(noise, tmp_path, precision):
    config = TrainConfig(1, 2, 32, 4, accelerator="cpu", precision=precision)
    history = fit(noise, noise[:1], tmp_path / "run", config, SMALL, progress=lambda _: None).history
    assert np.isfinite(history["train_loss"]).all()


@pytest.mark.gpu
@needs_gpu
def test_learns_on_a_gpu_and_predicts_on_a_cpu(noise, tmp_path):
    config = TrainConfig(2, 2, 32, 4, accelerator="gpu", workers=2)
    result = fit(noise, noise[:1], tmp_path / "run", config, SMALL, progress=lambda _: None)
    assert np.isfinite(result.history["train_loss"]).all()
    assert next(load_model(result.checkpoint).network.parameters()).device.type == "cpu"


@pytest.mark.gpu
@needs_two_gpus
def test_two_gpus_learn_as_one(noise, tmp_path):
    config = TrainConfig(2, 4, 32, 8, accelerator="gpu", precision="32-true", augmentation="flips")
    one = fit(noise, noise[:2], tmp_path / "one", config, SMALL, progress=lambda _: None)
    pair = TrainConfig(**{**vars(config), "devices": 2, "strategy": "ddp_spawn"})
    two = fit(noise, noise[:2], tmp_path / "two", pair, SMALL, progress=lambda _: None)
    np.testing.assert_allclose(one.history["train_loss"], two.history["train_loss"], rtol=1e-3)


def one_and_two_processes(folder: Path) -> None:
    """Trains the chips of train.csv and val.csv in one process and in two, without batch statistics.

    Those are each process's own on a CPU, and would differ.
    """

    def without_batch_norm(config):
        network = build_model(config)
        for name, module in list(network.named_modules()):
            if isinstance(module, torch.nn.BatchNorm2d):
                network.set_submodule(name, torch.nn.GroupNorm(1, module.num_features))
        return network

    torch.set_num_threads(1)
    runs.PATIENCE_S = 600
    models.build_model = without_batch_norm
    chips = pd.read_csv(folder / "train.csv"), pd.read_csv(folder / "val.csv")
    config = replace(QUICK, epochs=2, batch_size=2, augmentation="flips", learning_rate=1e-3, patience=5)
    model = ModelConfig(encoder_name="resnet18")
    fit(*chips, folder / "one", config, model, progress=silent)
    fit(*chips, folder / "two", replace(config, devices=2, strategy="ddp_fork"), model, progress=silent)


def test_two_processes_learn_as_one(make_chips, tmp_path):
    """With an odd number of chips; in an interpreter of its own, as torch forks only where no gradient thread runs."""
    for split, rows in (("train", make_chips(tmp_path, 5)), ("val", make_chips(tmp_path, 5, seed=1))):
        for path in rows["mask"]:
            write_png(Path(path), np.where(cv2.imread(path, cv2.IMREAD_GRAYSCALE) > 127, 255, 0).astype(np.uint8))
        rows.to_csv(tmp_path / f"{split}.csv", index=False)
    ran = subprocess.run([sys.executable, __file__, tmp_path], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    one, two = (pd.read_csv(tmp_path / name / "history.csv") for name in ("one", "two"))
    for name in ("train_loss", "val_loss", "val_iou"):
        np.testing.assert_allclose(one[name], two[name], atol=1e-4, err_msg=name)


if __name__ == "__main__":
    one_and_two_processes(Path(sys.argv[1]))
