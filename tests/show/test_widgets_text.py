"""Whatever classes, chips and files are called: panels show it as it is written."""

import html

import numpy as np
import pytest
import yaml

from lib.errors import ParameterError
from lib.show import widgets

pytestmark = pytest.mark.filterwarnings("error")


def test_panels_show_their_text(image, quarters, text, tmp_path):
    def refuse(lane_width, classes, dx_m, dy_m):
        if lane_width != 3.25:
            raise ParameterError(text)
        return quarters[0]

    path = tmp_path / f"{text[:30].replace('/', '')}.yaml"
    panel = widgets.LanePanel(image, refuse, classes=[text], tables={text: ({}, {text: 3.0})}, profile_path=path)
    assert html.escape(text) in panel.status.value and panel.boxes[0].description == text
    panel.save_profile()
    assert panel.status.value == f"saved to {html.escape(str(path))}"
    saved = yaml.safe_load(path.read_text())
    assert saved["classes"] == [text] and saved["lane_widths_m"] == {text: 3.0}
    chips = widgets.ThresholdPanel([quarters[0] / 255.0], [quarters[0]], [image], names=[text])
    assert chips.chip.options == ((text, 0),) and not chips.chip.description_allow_html
    assert not panel.boxes[0].description_allow_html and np.isfinite(chips.scores()).all()
