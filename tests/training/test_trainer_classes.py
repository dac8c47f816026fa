"""Several classes in one network: losses and gradients a class, what is ignored, thresholds, and what a run keeps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.chips.manifest import CLASS, WEIGHT_ONE, read_mask, write_png
from lib.errors import CheckpointError, InputError, ParameterError
from lib.grid import MASK_FOREGROUND, MASK_IGNORE
from lib.mapping.predict import predict_image
from lib.networks.checkpoint import for_class, load_model, read_info
from lib.networks.models import ModelConfig
from lib.training.cache import build_cache, channel_statistics
from lib.training.engine import IoUCurve
from lib.training.losses import LOSSES, create_loss
from lib.training.recipe import TrainConfig
from lib.training.trainer import fit

BOTH = "roads+buildings"
SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050", classes=2)
QUICK = TrainConfig(epochs=2, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true")
masks = st.lists(st.sampled_from([0, MASK_IGNORE, MASK_FOREGROUND]), min_size=32, max_size=32)


def of_both(chips: pd.DataFrame, folder: Path, seed: int = 0) -> pd.DataFrame:
    """Rows of both classes: the crosses are roads, what is no cross is building, but for a strip nobody knows."""
    rows = []
    for row in chips.to_dict("records"):
        mask = read_mask(row["mask"])
        other = np.where(mask == MASK_FOREGROUND, 0, 255).astype(np.uint8)
        other[:, :6] = MASK_IGNORE
        path = write_png(folder / f"houses{seed}_{row['chip']}.png", other)
        rows += [row | {CLASS: "roads"}, row | {CLASS: "buildings", "mask": str(path)}]
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def both(chips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    return tuple(of_both(rows, folder, seed) for seed, rows in enumerate(chips))


@pytest.fixture(scope="module")
def run(both, tmp_path_factory):
    lines = []
    return fit(*both, tmp_path_factory.mktemp("run"), QUICK, SMALL, BOTH, progress=lines.append), lines


@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=20)
@given(values=masks, seed=st.integers(0, 99))
def test_a_class_that_nobody_knows_gets_no_gradient_and_changes_no_loss(name, values, seed):
    loss, generator = create_loss(name), torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 2, 4, 4, generator=generator).requires_grad_()
    mask = torch.full((2, 2, 4, 4), MASK_IGNORE, dtype=torch.uint8)
    mask[:, 0] = torch.tensor(values, dtype=torch.uint8).view(2, 4, 4)
    value = loss(logits, mask, None)
    value.backward()
    assert torch.isfinite(logits.grad).all() and (logits.grad[:, 1] == 0).all()
    value = value.detach()
    if (mask != MASK_IGNORE).any():
        alone = loss(logits.detach()[:, :1], mask[:, :1], None)
        assert float(value) == pytest.approx(float(alone), abs=1e-6)
    else:
        assert float(value) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_two_classes_that_are_one_have_its_loss_and_half_its_gradient_each(name):
    generator = torch.Generator().manual_seed(1)
    one = torch.randn(2, 1, 8, 8, generator=generator)
    mask = (torch.rand(2, 1, 8, 8, generator=generator) > 0.5).to(torch.uint8) * 255
    weight = torch.randint(1, 4, mask.shape, generator=generator) * WEIGHT_ONE
    found = []
    for copies in (1, 2):
        logits = one.repeat(1, copies, 1, 1).requires_grad_()
        value = create_loss(name)(logits, mask.repeat(1, copies, 1, 1), weight.repeat(1, copies, 1, 1))
        value.backward()
        found.append((float(value.detach()), logits.grad.sum(dim=1)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def test_the_score_is_the_mean_over_the_classes_that_are_known():
    """Each class' IoU and threshold are those of a curve of its own."""
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(3, 2, 16, 16, generator=generator)
    mask = (logits + torch.randn(logits.shape, generator=generator) > 0.5).to(torch.uint8) * 255
    curve, alone = IoUCurve(("roads", "buildings")), [IoUCurve(), IoUCurve()]
    for batch in range(3):
        part = slice(batch, batch + 1)
        curve.update(logits[part], mask[part], torch.tensor(1.0))
        for c, own in enumerate(alone):
            own.update(logits[part, c : c + 1], mask[part, c : c + 1], torch.tensor(1.0))
    found, (roads, houses) = curve.compute(), (own.compute() for own in alone)
    assert (found["iou_roads"], found["threshold_roads"]) == (roads["iou"], roads["threshold"])
    assert (found["iou_buildings"], found["threshold_buildings"]) == (houses["iou"], houses["threshold"])
    assert found["iou"] == pytest.approx((roads["iou"] + houses["iou"]) / 2) and "threshold" not in found
    curve = IoUCurve(("roads", "buildings"))
    mask[:, 1] = MASK_IGNORE
    curve.update(logits, mask, torch.tensor(1.0))
    found = curve.compute()
    assert found["iou"] == found["iou_roads"] and "iou_buildings" not in found


def test_the_cache_holds_a_mask_and_weights_for_each_class(both, tmp_path):
    weights = write_png(tmp_path / "weights.png", np.full((48, 48), 2 * WEIGHT_ONE, np.uint8))
    rows = both[0].assign(weight=["" if kind == "buildings" else str(weights) for kind in both[0][CLASS]])
    cache = build_cache(rows.drop(index=3), tmp_path / "cache.u8", BOTH)  # the second chip has no mask of buildings
    assert len(cache) == 5 and cache.pixels.shape[1] == 3 + 2 + 2
    for index in range(2):
        chip = cache.chip(index)
        assert (chip[..., 3] == read_mask(rows["mask"].iloc[2 * index])).all()
        assert (chip[..., 5] == 2 * WEIGHT_ONE).all() and (chip[..., 6] == WEIGHT_ONE).all()
    assert (cache.chip(1)[..., 4] == MASK_IGNORE).all()
    beyond = cache.window(0, -8, -8, 64)
    assert (beyond[:8, :, 3:5] == MASK_IGNORE).all() and (beyond[:, :8, 3:5] == MASK_IGNORE).all()
    only_roads = build_cache(both[0][both[0][CLASS] == "roads"], tmp_path / "roads.u8", BOTH)
    known = build_cache(both[0][both[0][CLASS] == "roads"], tmp_path / "one.u8")
    assert channel_statistics(only_roads) == channel_statistics(known)


def test_a_run_keeps_the_best_mean_and_a_threshold_for_each_class(run, both):
    result, lines = run
    info, history = read_info(result.checkpoint), result.history
    assert history["val_iou"].tolist() == pytest.approx(
        history[["val_iou_roads", "val_iou_buildings"]].mean(axis=1).tolist()
    )
    best = history.loc[history["val_iou"].idxmax()]
    assert result.best_epoch == best["epoch"]
    assert info.thresholds == {"roads": best["threshold_roads"], "buildings": best["threshold_buildings"]}
    assert f"roads {best['val_iou_roads']:.3f} at {best['threshold_roads']:.2f}, buildings" in " ".join(lines)
    assert info.provenance["train_chips"] == len(both[0]) / 2
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    model = load_model(result.checkpoint)
    whole = predict_image(model, image)
    assert whole.shape == (2, 50, 70)
    windows = predict_image(model, image, window_px=32, overlap_px=8)
    assert windows.shape == whole.shape and np.isfinite(windows).all()
    for place, kind in enumerate(info.thresholds):
        one = load_model(result.checkpoint, task=kind)
        assert (one.info.task, one.info.threshold, one.info.model.classes) == (kind, info.thresholds[kind], 1)
        assert np.abs(predict_image(one, image) - whole[place]).max() < 1e-5
        assert for_class(one, kind) is one and one.digest != model.digest
    with pytest.raises(CheckpointError, match=r"finds roads\+buildings, trees were asked for"):
        load_model(result.checkpoint, task="trees")


def test_stage_2_may_know_one_class_and_keeps_the_other_threshold(run, both, tmp_path):
    roads = [rows[rows[CLASS] == "roads"] for rows in both]
    result = fit(*roads, tmp_path / "two", QUICK, SMALL, BOTH, init_from=run[0].checkpoint, progress=lambda line: None)
    after, before = read_info(result.checkpoint).thresholds, read_info(run[0].checkpoint).thresholds
    assert after["buildings"] == before["buildings"]
    assert "val_iou_buildings" not in result.history
    with pytest.raises(InputError, match="No training chip has a mask of buildings"):
        fit(*roads, tmp_path / "none", QUICK, SMALL, BOTH)


def test_what_does_not_fit_the_classes_is_refused(both, chips, tmp_path):
    one = ModelConfig(encoder_name=SMALL.encoder_name)
    with pytest.raises(ParameterError, match="3 bands and 2 classes: set in_channels=3 and classes=2"):
        fit(*both, tmp_path, QUICK, one, BOTH)
    with pytest.raises(InputError, match="the chips are of one class"):
        fit(*chips, tmp_path, QUICK, SMALL, BOTH)
    with pytest.raises(InputError, match="there are chips of 'buildings'"):
        fit(*both, tmp_path, QUICK, one, "roads")
