"""The threshold panel without a front end: what it draws, scores and writes for the next run."""

import cv2
import numpy as np
import pytest
import yaml

from lib.errors import InputError, ParameterError
from lib.grid import MASK_IGNORE
from lib.parameters import check, read_yaml
from lib.show.threshold_panel import ThresholdPanel

pytestmark = pytest.mark.filterwarnings("error")

SIDE = 64


def decoded(panel) -> np.ndarray:
    content = np.frombuffer(panel.picture.value, np.uint8)
    return cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def chips(count: int = 3, side: int = SIDE) -> tuple[list, list, list]:
    rng = np.random.default_rng(1)
    probabilities = [rng.random((side, side), dtype=np.float32) for _ in range(count)]
    masks = [np.where(rng.random((side, side)) < 0.3, np.uint8(255), np.uint8(0)) for _ in range(count)]
    images = [rng.integers(0, 255, (side, side, 3), dtype=np.uint8) for _ in range(count)]
    masks[0][:8] = MASK_IGNORE
    return probabilities, masks, images


def plain_iou(pairs, threshold: float) -> float:
    both = either = 0
    for probability, mask in pairs:
        said, yes, scored = probability >= threshold, mask == 255, mask != MASK_IGNORE
        both += int((said & yes & scored).sum())
        either += int(((said | yes) & scored).sum())
    return both / either


def test_the_threshold_moves_errors_and_scores():
    probabilities, masks, images = chips()
    panel = ThresholdPanel(probabilities, masks, images, names=["a", "b", "c"], threshold=0.5)
    for threshold in (0.01, 0.3, 0.5, 0.77, 0.99):
        panel.threshold.value = threshold
        for place in range(3):
            panel.chip.value = place
            here, pooled = panel.scores()
            pairs = list(zip(probabilities, masks, strict=True))
            assert here == pytest.approx(plain_iou(pairs[place : place + 1], threshold))
            assert pooled == pytest.approx(plain_iou(pairs, threshold))
            assert f"{here:.3f}" in panel.status.value and f"{pooled:.3f}" in panel.status.value
    assert decoded(panel).shape == (SIDE, SIDE, 3)
    assert ThresholdPanel(probabilities, masks, images, threshold=0.4373).threshold.value == 0.44


def test_bad_chips_are_refused():
    probabilities, masks, images = chips()
    with pytest.raises(InputError, match="at least one chip"):
        ThresholdPanel([], [], [])
    with pytest.raises(InputError, match="got 3, 2 and 3"):
        ThresholdPanel(probabilities, masks[:2], images)
    with pytest.raises(InputError, match="Expected a mask"):
        ThresholdPanel([probabilities[0][:5]], masks[:1], images[:1])
    with pytest.raises(ParameterError, match="between 0 and 1"):
        ThresholdPanel(probabilities, masks, images, threshold=25)


def test_a_threshold_is_written_for_the_next_runs_and_taken_back(tmp_path):
    probabilities, masks, images = chips()
    folder = tmp_path / "town"
    panel = ThresholdPanel(probabilities, masks, images, params_dir=folder)
    panel.threshold.value = 0.4
    panel.use.click()
    assert yaml.safe_load((folder / "04_evaluate.yaml").read_text()) == {"threshold": 0.4}
    assert not (folder / "05_map_area.yaml").exists(), "an area without a map gets none by this"
    (folder / "05_map_area.yaml").write_text("images: []  # none\nthreshold: 0.2  # so far\n")
    panel.use.click()
    assert "04_evaluate takes 0.4, 05_map_area takes 0.3" in panel.written.value
    assert (folder / "05_map_area.yaml").read_text() == "images: []  # none\nthreshold: 0.3  # so far\n"
    assert check("04_evaluate", read_yaml(folder / "04_evaluate.yaml"))["threshold"] == 0.4
    panel.reset.click()
    written = [read_yaml(folder / f"{name}.yaml")["threshold"] for name in ("04_evaluate", "05_map_area")]
    assert written == [0.0, 0.0] and "makes of the checkpoint" in panel.written.value


def test_a_file_that_cannot_be_changed_is_said(tmp_path):
    (tmp_path / "04_evaluate.yaml").write_text("- a list\n")
    panel = ThresholdPanel(*chips(1), params_dir=tmp_path)
    panel.use.click()
    assert "Expected keys and values" in panel.written.value
    assert (tmp_path / "04_evaluate.yaml").read_text() == "- a list\n"


def test_no_button_without_a_folder():
    assert len(ThresholdPanel(*chips(1)).column.children) == 3  # chip, slider, what is said


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5])
def test_a_threshold_out_of_range_is_refused(value):
    with pytest.raises(ParameterError, match="threshold"):
        check("04_evaluate", {"threshold": value})
