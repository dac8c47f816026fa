"""Whatever chips are called: the panel shows it as it is written."""

import numpy as np
import pytest

from lib.show.threshold_panel import ThresholdPanel

pytestmark = pytest.mark.filterwarnings("error")


def test_the_threshold_panel_shows_its_text(image, quarters, text):
    chips = ThresholdPanel([quarters[0] / 255.0], [quarters[0]], [image], names=[text])
    assert chips.chip.options == ((text, 0),) and not chips.chip.description_allow_html
    assert np.isfinite(chips.scores()).all()
