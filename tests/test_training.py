"""Training: the recipe's formulas, and runs that are repeated, killed, resumed and refused."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lib.augment import AUGMENTATIONS, augment
from lib.checkpoint import load_model, read_info
from lib.chipcache import BatchSampler, ChipDataset, CropDataset, build_cache, channel_statistics
from lib.chips import WEIGHT_ONE, write_png
from lib.engine import IoUCurve, SegmentationTask, TrainingDivergedError, learning_rate_factor, parameter_groups
from lib.errors import CheckpointError, InputError, ParameterError
from lib.losses import LOSSES, create_loss, focal_loss
from lib.models import ModelConfig, build_model, create_model
from lib.training import FitResult, TrainConfig, fit

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
QUICK = TrainConfig(epochs=3, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true")


@pytest.fixture(autouse=True)
def one_thread():
    """Small maps run no faster on many threads, and the test run may share its cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_chips(folder: Path, count: int, side_px: int = 48, seed: int = 0) -> pd.DataFrame:
    """Chips with a bright cross on dark ground, and a corner that is ignored."""
    generator, rows = np.random.default_rng(seed), []
    for index in range(count):
        mask = np.zeros((side_px, side_px), np.uint8)
        across, along = generator.integers(8, side_px - 8, 2).tolist()
        cv2.line(mask, (across, 0), (across, side_px), 255, 6)
        cv2.line(mask, (0, along), (side_px, along), 255, 6)
        image = generator.integers(0, 60, (side_px, side_px, 3)).astype(np.uint8) + (mask // 2)[..., None]
        mask[:4, :4] = 127
        image_path = write_png(folder / f"image{seed}_{index}.png", image)
        mask_path = write_png(folder / f"mask{seed}_{index}.png", mask)
        rows.append({"chip": f"chip{index}", "image": str(image_path), "mask": str(mask_path), "gsd_m": 0.5})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def chips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chips")
    return make_chips(folder, 5), make_chips(folder, 3, seed=1)


def silent(_line: str) -> None:
    pass


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_model(path).network.state_dict()


def same_weights(first: Path, second: Path) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))


def same_history(first: FitResult, second: FitResult) -> bool:
    return first.history.drop(columns="seconds").equals(second.history.drop(columns="seconds"))


# --- losses


def test_focal_loss_against_the_formula():
    logits = torch.tensor([0.3, -1.2, 2.0, -4.0]).view(1, 1, 2, 2)
    mask = torch.tensor([255, 0, 0, 255], dtype=torch.uint8).view(1, 1, 2, 2)
    p = 1 / (1 + np.exp(-np.array([0.3, -1.2, 2.0, -4.0])))
    by_hand = [
        -0.25 * (1 - p[0]) ** 0.5 * np.log(p[0]),
        -0.75 * p[1] ** 0.5 * np.log(1 - p[1]),
        -0.75 * p[2] ** 0.5 * np.log(1 - p[2]),
        -0.25 * (1 - p[3]) ** 0.5 * np.log(p[3]),
    ]
    assert float(focal_loss(logits, mask)) == pytest.approx(np.mean(by_hand), rel=1e-5)
    without_focus = float(focal_loss(logits, mask, alpha=0.5, gamma=0.0))
    assert without_focus == pytest.approx(float(create_loss("bce")(logits, mask)) / 2, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_change_no_loss_and_get_no_gradient(name):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 8, 8, generator=generator).requires_grad_()
    mask = (torch.rand(2, 1, 8, 8, generator=generator) > 0.5).to(torch.uint8) * 255
    mask[:, :, :3] = 127
    loss = create_loss(name)
    value = loss(logits, mask)
    value.backward()
    assert (logits.grad[:, :, :3] == 0).all()
    assert (logits.grad[:, :, 3:] != 0).any()
    changed = logits.detach().clone()
    changed[:, :, :3] = 50.0
    assert float(loss(changed, mask)) == pytest.approx(float(value.detach()), abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_weights_say_how_often_a_pixel_counts(name):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 1, 8, 8, generator=generator)
    mask = (torch.rand(1, 1, 8, 8, generator=generator) > 0.5).to(torch.uint8) * 255
    loss, ones = create_loss(name), torch.full_like(mask, WEIGHT_ONE)
    assert float(loss(logits, mask, ones)) == pytest.approx(float(loss(logits, mask, None)), rel=1e-5)
    none, ignored = ones.clone(), mask.clone()
    none[..., :3], ignored[..., :3] = 0, 127
    assert float(loss(logits, mask, none)) == pytest.approx(float(loss(logits, ignored, None)), rel=1e-5)
    if name in ("focal", "bce"):
        twice = ones.clone()
        twice[..., :3] *= 2
        repeated = [torch.cat([values, values[..., :3]], dim=-1) for values in (logits, mask)]
        assert float(loss(logits, mask, twice)) == pytest.approx(float(loss(*repeated, None)), rel=1e-5)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "lovasz"])
@pytest.mark.parametrize("fill", [0, 127, 255])
def test_losses_are_finite_at_the_extremes(name, fill):
    logits = torch.tensor([-200.0, 200.0, 0.0, 1e-8]).view(1, 1, 2, 2).requires_grad_()
    value = create_loss(name)(logits, torch.full((1, 1, 2, 2), fill, dtype=torch.uint8))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


# --- schedule, optimiser, scores


def test_poly_schedule():
    values = [2e-4 * learning_rate_factor("poly", epoch / 90) for epoch in (0, 1, 45, 89)]
    assert values == pytest.approx([2e-4, 2e-4 * (89 / 90) ** 0.9, 2e-4 * 0.5**0.9, 2e-4 * (1 / 90) ** 0.9])


def test_other_schedules():
    assert [learning_rate_factor("constant", p) for p in (0, 0.5, 1)] == [1, 1, 1]
    assert [learning_rate_factor("cosine", p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    one = [learning_rate_factor("onecycle", p) for p in (0, 0.15, 0.3, 0.65, 1)]
    assert one == pytest.approx([0.04, 0.52, 1, 0.50005, 1e-4])


def test_parameter_groups_by_part_and_kind():
    network = create_model("pp_linknet", SMALL.encoder_name)
    network.encoder.model.conv_stem.requires_grad_(False)
    groups = parameter_groups(network, 1e-3, encoder_lr_factor=0.1, weight_decay=0.01)
    assert {(g["lr"], g["weight_decay"]) for g in groups} == {(1e-4, 0.01), (1e-4, 0), (1e-3, 0.01), (1e-3, 0)}
    assert sum(len(g["params"]) for g in groups) == len(list(network.parameters())) - 1
    assert all((p.ndim > 1) == (g["weight_decay"] > 0) for g in groups for p in g["params"])


def test_iou_curve_against_counting():
    generator = torch.Generator().manual_seed(0)
    curve, logits, masks = IoUCurve(), [], []
    for _ in range(3):
        logit = torch.randn(2, 1, 9, 9, generator=generator)
        mask = torch.where(logit + torch.randn(2, 1, 9, 9, generator=generator) > 0.7, 255, 0).to(torch.uint8)
        mask[:, :, 0] = 127
        curve.update(logit, mask, torch.tensor(0.5))
        logits.append(logit)
        masks.append(mask)
    probability, mask = torch.cat(logits).sigmoid(), torch.cat(masks)
    found = curve.compute()

    def iou(threshold: float) -> float:
        predicted, truth, valid = probability >= threshold, mask == 255, mask != 127
        return float((predicted & truth & valid).sum() / ((predicted | truth) & valid).sum())

    assert found["loss"] == pytest.approx(0.5)
    assert found["iou"] == pytest.approx(iou(found["threshold"]))
    assert found["iou"] == pytest.approx(max(iou((level + 0.5) / 255) for level in range(255)))


def test_iou_of_masks_without_foreground_is_zero():
    curve = IoUCurve()
    curve.update(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.tensor(0.1))
    assert curve.compute()["iou"] == 0


# --- chips in memory


def test_cache_holds_the_chips(chips, tmp_path):
    train, _ = chips
    cache = build_cache(train, tmp_path / "cache" / "train.u8")
    assert (len(cache), cache.names[0], cache.shapes.tolist()[0]) == (5, "chip0", [48, 48])
    bgr = cv2.imread(train["image"][2])
    np.testing.assert_array_equal(cache.chip(2)[..., :3], bgr[..., ::-1])
    np.testing.assert_array_equal(cache.chip(2)[..., 3], cv2.imread(train["mask"][2], cv2.IMREAD_GRAYSCALE))
    np.testing.assert_array_equal(cache.window(1, 5, 7, 32), cache.chip(1)[5:37, 7:39])


def test_weights_travel_with_the_mask(tmp_path):
    chips = make_chips(tmp_path, 3).assign(weight="")
    assert build_cache(chips, tmp_path / "none.u8").pixels.shape[1] == 4
    masks = [cv2.imread(path, cv2.IMREAD_GRAYSCALE) for path in chips["mask"]]
    heavy = [
        write_png(tmp_path / f"w{i}.png", np.where(mask == 255, 192, 32).astype(np.uint8))
        for i, mask in enumerate(masks[:2])
    ]
    cache = build_cache(chips.assign(weight=[*map(str, heavy), ""]), tmp_path / "some.u8")
    assert (cache.chip(2)[..., 4] == WEIGHT_ONE).all()
    crops = CropDataset(cache, 32, AUGMENTATIONS["paper"], 12, 0)[(0, 0, 12)]
    _, mask, weight = augment(crops["pixels"], crops["affine"], crops["colour"], 32)
    for chip, one_mask, one_weight in zip(crops["chip"], mask, weight, strict=True):
        foreground, background = one_weight[one_mask == 255], one_weight[one_mask == 0]
        expected = (WEIGHT_ONE, WEIGHT_ONE) if chip == 2 else (192, 32)
        assert (foreground == expected[0]).all() and (background == expected[1]).all()
    write_png(heavy[0], np.zeros((10, 10), np.uint8))
    with pytest.raises(InputError, match=r"w0.png \(10, 10\)"):
        build_cache(chips.assign(weight=[*map(str, heavy), ""]), tmp_path / "wrong.u8")


def test_weights_change_what_is_learned(finished, chips, tmp_path):
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


def test_window_beyond_a_chip_is_mirrored_and_ignored(chips, tmp_path):
    cache = build_cache(chips[0], tmp_path / "train.u8")
    window = cache.window(0, -8, -4, 64)
    padded = np.pad(cache.chip(0), [(8, 8), (4, 12), (0, 0)], "reflect")
    np.testing.assert_array_equal(window[..., :3], padded[..., :3])
    assert (window[:8, :, 3] == 127).all()
    assert (window[:, 52:, 3] == 127).all()
    np.testing.assert_array_equal(window[8:56, 4:52, 3], cache.chip(0)[..., 3])


def test_statistics_leave_out_what_is_ignored(chips, tmp_path):
    cache = build_cache(chips[0], tmp_path / "train.u8")
    used = np.concatenate([c[c[..., 3] != 127][:, :3] for c in map(cache.chip, range(5))]) / 255
    mean, std = channel_statistics(cache)
    np.testing.assert_allclose(mean, used.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, used.std(axis=0), rtol=1e-4)


def test_crops_depend_on_seed_epoch_and_position_alone(chips, tmp_path):
    cache = build_cache(chips[0], tmp_path / "train.u8")
    paper = AUGMENTATIONS["paper"]
    whole, halves = CropDataset(cache, 32, paper, 8, 7), CropDataset(cache, 32, paper, 8, 7)
    halves[(0, 0, 8)]  # what was read before makes no difference
    batch, first, second = whole[(3, 0, 8)], halves[(3, 0, 4)], halves[(3, 4, 8)]
    for name, values in batch.items():
        assert torch.equal(values, torch.cat([first[name], second[name]])), name
    assert not torch.equal(whole[(4, 0, 8)]["pixels"], batch["pixels"])
    assert not torch.equal(CropDataset(cache, 32, paper, 8, 8)[(3, 0, 8)]["pixels"], batch["pixels"])


def test_chips_are_visited_evenly(chips, tmp_path):
    cache = build_cache(chips[0], tmp_path / "train.u8")
    visited = CropDataset(cache, 32, AUGMENTATIONS["none"], 12, 0)[(0, 0, 12)]["chip"]
    assert sorted(np.bincount(visited, minlength=5)) == [2, 2, 2, 3, 3]


def test_processes_share_each_batch():
    keys = []
    for rank in range(2):
        sampler = BatchSampler(samples=8, batch_size=4, rank=rank, world=2)
        sampler.set_epoch(5)
        keys += list(sampler)
    assert sorted(keys) == [(5, 0, 2), (5, 2, 4), (5, 4, 6), (5, 6, 8)]


def test_chips_of_one_size_are_stacked(tmp_path):
    chips = pd.concat([make_chips(tmp_path, 3, 48), make_chips(tmp_path, 2, 64, seed=9)])
    cache = build_cache(chips, tmp_path / "val.u8")
    shapes = [tuple(batch["pixels"].shape) for batch in (ChipDataset(cache, 2 * 48 * 48)[i] for i in range(3))]
    assert shapes == [(2, 48, 48, 4), (1, 48, 48, 4), (1, 64, 64, 4)]


def test_processes_get_as_many_validation_batches(tmp_path):
    cache = build_cache(make_chips(tmp_path, 5), tmp_path / "val.u8")
    shares = [[share[i] for i in range(len(share))] for share in (ChipDataset(cache, 1, rank, 2) for rank in (0, 1))]
    assert [[batch["counts"] for batch in share] for share in shares] == [[True] * 3, [True, True, False]]


def test_image_and_mask_of_different_sizes(tmp_path):
    chips = make_chips(tmp_path, 1)
    write_png(Path(chips["mask"][0]), np.zeros((10, 10), np.uint8))
    with pytest.raises(InputError, match=r"\(48, 48\).*\(10, 10\)"):
        build_cache(chips, tmp_path / "cache.u8")
    assert not (tmp_path / "cache.u8").exists()


# --- runs


@pytest.fixture(scope="module")
def finished(chips, tmp_path_factory):
    torch.set_num_threads(1)
    lines = []
    result = fit(*chips, tmp_path_factory.mktemp("run"), QUICK, SMALL, progress=lines.append)
    return result, lines


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


def test_same_seed_same_weights(finished, chips, tmp_path):
    again = fit(*chips, tmp_path, QUICK, SMALL, progress=silent)
    assert same_weights(again.checkpoint, finished[0].checkpoint)
    assert same_history(again, finished[0])


def test_other_seed_other_weights(finished, chips, tmp_path):
    other = fit(*chips, tmp_path, replace(QUICK, seed=1, epochs=1), SMALL, progress=silent)
    assert not same_weights(other.checkpoint, finished[0].checkpoint)


def test_finished_run_is_returned_at_once_and_a_changed_one_starts_anew(chips, tmp_path):
    config = replace(QUICK, epochs=1)
    first = fit(*chips, tmp_path, config, SMALL, progress=silent)
    digest, lines = first.checkpoint.read_bytes(), []
    second = fit(*chips, tmp_path, config, SMALL, progress=lines.append)
    assert lines == []
    assert second.history.equals(first.history)
    fit(*chips, tmp_path, replace(config, learning_rate=1e-3), SMALL, progress=lines.append)
    assert "learning_rate 0.0002 -> 0.001" in lines[0]
    assert (tmp_path / "previous" / "best.safetensors").read_bytes() == digest


def test_learns_a_trivial_pattern(chips, tmp_path):
    config = replace(
        QUICK, epochs=4, samples_per_epoch=96, batch_size=8, learning_rate=3e-3, augmentation="flips", loss="bce_dice"
    )
    result = fit(*chips, tmp_path, config, SMALL, progress=silent)
    assert result.history["val_iou"].max() > 0.8


KILLED = """
import os, signal, sys
import pandas as pd, torch
from lib.models import ModelConfig
from lib.training import TrainConfig, fit
import lib.engine
torch.set_num_threads(1)
train, val, out, config, model, batches = sys.argv[1:]
step, seen = lib.engine.SegmentationTask.training_step, 0
def training_step(self, batch, index):
    global seen
    seen += 1
    if seen > int(batches):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, index)
lib.engine.SegmentationTask.training_step = training_step
fit(pd.read_csv(train), pd.read_csv(val), out, TrainConfig(**eval(config)), ModelConfig(**eval(model)))
"""


def test_killed_and_resumed_is_as_never_killed(finished, chips, tmp_path):
    for name, rows in zip(("train", "val"), chips, strict=True):
        rows.to_csv(tmp_path / f"{name}.csv", index=False)
    batches = 5  # two epochs of two batches, and one batch of the third
    arguments = [tmp_path / "train.csv", tmp_path / "val.csv", tmp_path / "run", vars(QUICK), vars(SMALL), batches]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    root = Path(__file__).parents[1]
    process = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert len(pd.read_csv(tmp_path / "run" / "history.csv")) == 2
    lines = []
    resumed = fit(*chips, tmp_path / "run", QUICK, SMALL, progress=lines.append)
    assert "going on" in lines[0]
    assert lines[1].startswith("epoch   3/3")
    assert same_weights(resumed.checkpoint, finished[0].checkpoint)
    assert same_history(resumed, finished[0])
    assert logged(resumed, "val_iou") == pytest.approx(dict(zip([1, 2, 3], resumed.history["val_iou"], strict=True)))


def logged(result: FitResult, name: str) -> dict[int, float]:
    """Curve that TensorBoard shows: epoch -> value."""
    events = EventAccumulator(str(result.checkpoint.parent / "tensorboard")).Reload().Scalars(name)
    assert len({event.step for event in events}) == len(events)
    return {event.step: event.value for event in events}


def test_resumed_with_averaged_weights_schedule_by_step_and_patience(chips, tmp_path, monkeypatch):
    config = replace(
        QUICK,
        ema_decay=0.5,
        schedule="onecycle",
        schedule_per_step=True,
        patience=2,
        optimizer="adamw",
        weight_decay=0.01,
        accumulate=2,
        clip_norm=1.0,
    )
    step, seen = SegmentationTask.training_step, []

    def fail_once(self, batch, index):
        seen.append(index)
        if len(seen) == 6:
            raise RuntimeError("the machine is gone")
        return step(self, batch, index)

    monkeypatch.setattr(SegmentationTask, "training_step", fail_once)
    with pytest.raises(RuntimeError, match="the machine is gone"):
        fit(*chips, tmp_path / "run", config, SMALL, progress=silent)
    resumed = fit(*chips, tmp_path / "run", config, SMALL, progress=silent)
    assert len(seen) == 6 + 2, "went on with the third epoch"
    whole = fit(*chips, tmp_path / "whole", config, SMALL, progress=silent)
    assert same_weights(resumed.checkpoint, whole.checkpoint)
    assert same_history(resumed, whole)


def test_stage_two_starts_from_stage_one(finished, chips, tmp_path):
    config = replace(QUICK, epochs=1, learning_rate=1e-12, augmentation="none")
    second = fit(*chips, tmp_path, config, SMALL, init_from=finished[0].checkpoint, progress=silent)
    for (name, before), after in zip(
        weights(finished[0].checkpoint).items(), weights(second.checkpoint).values(), strict=True
    ):
        if "running_" not in name and "num_batches" not in name:
            torch.testing.assert_close(before, after, atol=1e-6, rtol=0, msg=name)
    facts = read_info(second.checkpoint).provenance
    assert facts["init_sha256"] == load_model(finished[0].checkpoint).digest


def test_stage_two_refuses_what_does_not_fit(finished, chips, tmp_path):
    path = finished[0].checkpoint
    with pytest.raises(CheckpointError, match="context is '64', expected '128'"):
        fit(*chips, tmp_path / "a", QUICK, replace(SMALL, context="128"), init_from=path, progress=silent)
    with pytest.raises(CheckpointError, match="task is 'roads', expected 'buildings'"):
        fit(*chips, tmp_path / "b", QUICK, SMALL, "buildings", init_from=path, progress=silent)
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        fit(*chips, tmp_path / "c", QUICK, SMALL, init_from=tmp_path / "absent", progress=silent)


def test_frozen_encoder_stays(finished, chips, tmp_path):
    config = replace(QUICK, epochs=1, freeze_encoder=True)
    result = fit(*chips, tmp_path, config, SMALL, init_from=finished[0].checkpoint, progress=silent)
    before, after = weights(finished[0].checkpoint), weights(result.checkpoint)
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"decoder", "segmentation_head"}


def test_early_stopping(chips, tmp_path):
    config = replace(QUICK, epochs=6, patience=2, learning_rate=1e-12, augmentation="none", samples_per_epoch=4)
    frozen = replace(config, freeze_encoder=True)
    result = fit(*chips, tmp_path, frozen, SMALL, progress=silent)
    assert len(result.history) < 6
    assert result.best_epoch == len(result.history) - 2


def test_loss_that_is_no_number_names_the_chips(chips, tmp_path, monkeypatch):
    def explode(logits, _mask, _weight):
        return logits.sum() * float("nan")

    monkeypatch.setattr("lib.training.create_loss", lambda *_: explode)
    with pytest.raises(
        TrainingDivergedError, match=r"loss is nan in epoch 1, on the chips \['chip\d', .*learning_rate"
    ):
        fit(*chips, tmp_path, QUICK, SMALL, progress=silent)
    assert not (tmp_path / "done.json").exists()


def test_two_runs_in_one_folder_are_refused(chips, tmp_path):
    def meddle(_line):
        fit(*chips, tmp_path, QUICK, SMALL, progress=silent)

    with pytest.raises(CheckpointError, match=f"process {os.getpid()}.*choose another folder"):
        fit(*chips, tmp_path, replace(QUICK, epochs=1), SMALL, progress=meddle)


def test_lock_of_a_dead_process_is_no_lock(chips, tmp_path):
    (tmp_path / "run.lock").write_text("1")
    fit(*chips, tmp_path, replace(QUICK, epochs=1), SMALL, progress=silent)


def test_interrupt_keeps_what_is_finished_and_the_handler(chips, tmp_path):
    def interrupt(line):
        if line.startswith("epoch   2"):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="All finished epochs are saved"):
        fit(*chips, tmp_path, QUICK, SMALL, progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    lines = []
    fit(*chips, tmp_path, QUICK, SMALL, progress=lines.append)
    assert lines[1].startswith("epoch   3/3")


def test_full_disk_leaves_what_was_saved(chips, tmp_path, monkeypatch):
    save, calls = torch.save, []

    def save_once(checkpoint, path):
        calls.append(path)
        if len(calls) > 1:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(checkpoint, path)

    monkeypatch.setattr("lib.engine.torch.save", save_once)
    with pytest.raises(OSError, match="No space"):
        fit(*chips, tmp_path, QUICK, SMALL, progress=silent)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.glob("*tmp")] == []
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0
    lines = []
    fit(*chips, tmp_path, QUICK, SMALL, progress=lines.append)
    assert lines[1].startswith("epoch   2/3")


def test_two_processes_learn_as_one(tmp_path, monkeypatch):
    """Batch statistics are each process's own on a CPU: here without them, and with an odd number of chips."""

    def without_batch_norm(config):
        network = build_model(config)
        for name, module in list(network.named_modules()):
            if isinstance(module, torch.nn.BatchNorm2d):
                network.set_submodule(name, torch.nn.GroupNorm(1, module.num_features))
        return network

    monkeypatch.setattr("lib.training.build_model", without_batch_norm)
    chips = make_chips(tmp_path, 5), make_chips(tmp_path, 5, seed=1)
    for rows in chips:
        for path in rows["mask"]:
            write_png(Path(path), np.where(cv2.imread(path, cv2.IMREAD_GRAYSCALE) > 127, 255, 0).astype(np.uint8))
    config = replace(QUICK, epochs=2, batch_size=2, augmentation="flips", learning_rate=1e-3, patience=5)
    model = ModelConfig(encoder_name="resnet18")
    one = fit(*chips, tmp_path / "one", config, model, progress=silent)
    two = fit(*chips, tmp_path / "two", replace(config, devices=2, strategy="ddp_fork"), model, progress=silent)
    for name in ("train_loss", "val_loss", "val_iou"):
        np.testing.assert_allclose(one.history[name], two.history[name], atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss": "focall"}, "loss is 'focall': expected one of"),
        ({"crop_px": 100}, "multiple of 32"),
        ({"epochs": 0}, "epochs is 0"),
        ({"schedule": "linear"}, "schedule is 'linear'"),
        ({"batch_size": 3, "devices": 2}, "not a multiple of the 2 processes"),
    ],
)
def test_parameters_are_checked(values, message):
    with pytest.raises(ParameterError, match=message):
        TrainConfig(**values)


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


def test_run_is_described_in_plain_json(finished):
    run = json.loads((finished[0].checkpoint.parent / "run.json").read_text())
    assert run["facts"]["train_chips"] == 5
    assert run["config"]["crop_px"] == 32
