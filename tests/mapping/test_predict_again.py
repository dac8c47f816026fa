"""Predictions of chips that are there, and chips that have changed since."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib.chips.manifest import write_png
from lib.mapping import predict
from lib.mapping.predict import predict_chips, read_probability


@pytest.fixture
def counted_images(monkeypatch):
    """Images that went through a network whose probability is their brightness."""
    seen = []

    def brightness(model, image, *options):
        seen.append(int(image[0, 0, 0]))
        return image[..., 0].astype(np.float32) / 255

    monkeypatch.setattr(predict, "predict_image", brightness)
    return seen


MODEL = SimpleNamespace(digest="abc", info=SimpleNamespace(task="roads"))


def test_a_chip_whose_image_has_changed_is_predicted_again(tmp_path, counted_images):
    grey = lambda level: np.full((8, 8, 3), level, np.uint8)  # noqa: E731
    images = [str(write_png(tmp_path / f"{n}.png", grey(50 + n))) for n in range(3)]
    chips = pd.DataFrame({"chip": ["a", "b", "c"], "image": images})
    paths = predict_chips(MODEL, chips, tmp_path / "out", "none")
    assert counted_images == [50, 51, 52]
    predict_chips(MODEL, chips, tmp_path / "out", "none")
    assert counted_images == [50, 51, 52]
    write_png(tmp_path / "1.png", grey(200))
    predict_chips(MODEL, chips, tmp_path / "out", "none")
    assert counted_images == [50, 51, 52, 200]
    assert (read_probability(paths[1]) == np.float32(200 / 255)).all()
    with (tmp_path / "out" / "predicted_of.txt").open("a") as file:
        file.write("c.png\t12")  # a kill amid a line
    predict_chips(MODEL, chips.tail(1), tmp_path / "out", "none")
    assert counted_images == [50, 51, 52, 200]
