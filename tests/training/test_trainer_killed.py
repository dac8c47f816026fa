"""Training, and prediction after it, killed at any change of its folder, ends as if it had not been."""

import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

TRAIN = """
import warnings
import cv2, numpy as np, pandas as pd, torch
import lib.networks.checkpoint
from lib.chips.manifest import write_png
from lib.mapping.predict import predict_chips
from lib.networks import ModelConfig, load_model
from lib.training.recipe import TrainConfig
from lib.training.runs import keep_previous
from lib.training.trainer import fit

torch.set_num_threads(1)
warnings.simplefilter("ignore")
lib.networks.checkpoint._git_revision = str  # which changes where somebody works on the code meanwhile
folder, rng, rows = Path(sys.argv[2]), np.random.default_rng(0), []
for number in range(4):
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 4 * number + 4 : 4 * number + 12] = 255
    image = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8) + mask[..., None] // 2
    files = {n: str(write_png(folder / f"{n}{number}.png", a)) for n, a in (("image", image), ("mask", mask))}
    rows.append({"chip": f"chip{number}", "gsd_m": 0.5} | files)
chips = pd.DataFrame(rows)
small = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
common = {"batch_size": 2, "crop_px": 32, "accelerator": "cpu", "precision": "32-true", "augmentation": "none"}
# the first stops by patience, since it doesn't move; the second gets better until the last epoch
still = TrainConfig(epochs=4, patience=1, learning_rate=1e-12, **common)
moving = TrainConfig(epochs=2, learning_rate=1e-2, ema_decay=0.5, **common)

def work(out):
    if (out / "anew").exists():
        return keep_previous(out, dict.fromkeys(("config", "model", "facts"), {"seed": 1}), print)
    first = fit(chips[:2], chips[2:], out / "first", still, small)
    second = fit(chips[:2], chips[2:], out / "second", moving, small, init_from=first.checkpoint)
    predict_chips(load_model(second.checkpoint), chips, out / "predicted", tta="none")
"""


@pytest.fixture(scope="module")
def training(killer):
    return killer(TRAIN)


@pytest.fixture(scope="module")
def whole(training):
    return training.whole()


@pytest.fixture(scope="module")
def result(left_in):
    """What a run leaves but for what differs each time: how long epochs took, and TensorBoard's log, which says so."""

    def read(folder):
        left = {name: content for name, content in left_in(folder).items() if "tensorboard/" not in name}
        for name in ("first/history.csv", "second/history.csv"):
            left[name] = pd.read_csv(folder / name).drop(columns="seconds").to_csv()
        return left

    return read


def test_one_run_stops_by_patience_and_the_other_is_best_at_last(whole, result):
    history = {name: pd.read_csv(whole[0] / name / "history.csv") for name in ("first", "second")}
    assert list(history["first"]["epoch"]) == [1, 2] and list(history["second"]["epoch"]) == [0, 1, 2]
    assert history["second"]["val_iou"].idxmax() == 2
    assert {name for name in result(whole[0]) if name.startswith("first/")} == {
        *(f"first/{name}" for name in ("best.safetensors", "done.json", "history.csv", "run.json", "tensorboard"))
    }


@pytest.mark.slow
@settings(max_examples=8)
@given(data=st.data())
def test_killed_at_any_step_training_ends_as_if_it_had_not_been(training, whole, result, data):
    expected, steps = whole
    out = training.fresh()
    training.run(out, data.draw(st.integers(1, steps)), data.draw(st.sampled_from(training.MOMENTS)))
    assert training.run(out).isdigit()
    assert result(out) == result(expected)


def test_killed_as_it_makes_room_for_a_new_run_the_earlier_one_is_whole(training, left_in):
    def folder():
        out = training.fresh()
        for name in ("previous", "tensorboard"):
            (out / name).mkdir(parents=True)
        for name in ("anew", "best.safetensors", "done.json", "tensorboard/log", "previous/history.csv"):
            (out / name).write_text(f"earlier {name}")
        (out / "run.json").write_text(json.dumps(dict.fromkeys(("config", "model", "facts"), {"seed": 0})))
        return out

    expected = folder()
    steps = int(training.run(expected))
    assert {path.name for path in (expected / "previous").iterdir()} == {
        *("best.safetensors", "done.json", "tensorboard", "run.json")
    }
    for killed_at in range(1, steps + 1):
        out = folder()
        training.run(out, killed_at, "after")
        assert training.run(out).isdigit()
        assert left_in(out) == left_in(expected)
