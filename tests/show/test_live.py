"""A training that is looked at: the bar, the curves, and the same weights as without."""

import re
import signal

import cv2
import numpy as np
import pytest

from lib.networks.models import ModelConfig
from lib.show import live
from lib.show.live import LiveTraining, watchers
from lib.show.pages import _OVERWRITTEN
from lib.training.recipe import TrainConfig
from lib.training.trainer import fit

SMALL = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
QUICK = TrainConfig(epochs=2, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true")

pytestmark = pytest.mark.usefixtures("one_thread")


class Seen(LiveTraining):
    """Notes what is said and drawn, as it changes."""

    def __init__(self):
        super().__init__("a < b")
        self.lines, self.pictures = [], []
        self.said.observe(lambda change: self.lines.append(change.new), "value")
        self.curves.observe(lambda change: self.pictures.append(change.new), "value")


@pytest.fixture
def shown(monkeypatch):
    """What is displayed; nothing is left out for the time that it takes."""
    found = []
    monkeypatch.setattr(live, "display", found.append)
    monkeypatch.setattr(live, "REFRESH_S", 0)
    monkeypatch.setattr(live, "REDRAW_S", 0)
    return found


def test_bar_and_curves_grow_and_the_weights_are_the_same(chips, tmp_path, shown):
    seen, lines = Seen(), []
    first = fit(*chips, tmp_path / "a", QUICK, SMALL, progress=lines.append, callbacks=[seen])
    second = fit(*chips, tmp_path / "b", QUICK, SMALL, progress=lines.append)
    assert first.checkpoint.read_bytes()[-1000:] == second.checkpoint.read_bytes()[-1000:]
    assert len(lines) == 4, "one line an epoch, with a bar and without"
    assert shown == [seen.box] and seen.bar.value == seen.bar.max == 4 and seen.bar.bar_style == "success"
    form = r"epoch 1 of 2 · step 1 of 2 · loss 0\.\d{4} · 0:\d\d:\d\d left"
    assert re.fullmatch(form, seen.lines[0]) and "epoch 2 of 2 · step 2 of 2" in seen.lines[3]
    assert seen.lines[3].endswith("0:00:00 left") and seen.lines[-1].startswith("epoch 2 of 2 · done in 0:")
    pixels = [cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR) for picture in seen.pictures]
    assert len(pixels) >= 2 and not np.array_equal(pixels[0], pixels[1])
    again = Seen()
    fit(*chips, tmp_path / "a", QUICK, SMALL, progress=lines.append, callbacks=[again])
    assert len(shown) == 1, "what is finished shows no bar"


def test_an_interrupt_says_where_and_the_next_call_counts_from_there(chips, tmp_path, shown):
    def interrupt(line):
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        stopped = Seen()
        with pytest.raises(KeyboardInterrupt):
            fit(*chips, tmp_path, QUICK, SMALL, progress=interrupt, callbacks=[stopped])
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped.bar.bar_style == "danger" and stopped.lines[-1].endswith("stopped: KeyboardInterrupt")
    seen = Seen()
    fit(*chips, tmp_path, QUICK, SMALL, progress=lambda line: None, callbacks=[seen])
    assert seen.bar.max == 2 and seen.lines[0].startswith("epoch 2 of 2 · step 1 of 2")
    assert seen.pictures[0], "the curves of what was trained before are there at once"


def test_where_nobody_looks_on_an_epoch_says_where_it_is(chips, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(live, "PAUSE_S", 0)
    (spoken,) = watchers()
    fit(*chips, tmp_path, QUICK, SMALL, callbacks=[spoken])
    said = capsys.readouterr().out
    assert "epoch 1: step 1 of 2 \repoch 1: step 2 of 2 \r" in said and "epoch 2: validation 1 of" in said
    lines = _OVERWRITTEN.sub("", said).splitlines()
    assert [line for line in lines if re.match(r"epoch +\d/2", line)] and not [n for n in lines if "step" in n]
