"""The sheet: scale bars, sizes, files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lib.errors import ParameterError
from lib.show import charts, figures, sheet

pytestmark = pytest.mark.filterwarnings("error")


@given(st.floats(1e-3, 1e7))
def test_scale_bar_length_is_round_and_as_long_as_fits(limit_m):
    length_m = sheet.round_length_m(limit_m)
    assert limit_m / 2.5 <= length_m * 1.000001 and length_m <= limit_m * 1.000001
    digit = length_m / 10.0 ** np.floor(np.log10(length_m) + 1e-9)
    assert round(digit, 6) in (1, 2, 5)


def test_scale_bar_has_its_length(image, quarters, texts):
    figure = figures.label_overlay(image, quarters[0], gsd_m=2.0)
    figure.encoded()
    ax = figure.axes[0]
    bar = ax.lines[-1]
    ends_px = ax.transData.inverted().transform(bar.get_transform().transform(bar.get_xydata()))[:, 0]
    assert (ends_px[1] - ends_px[0]) * 2.0 == pytest.approx(20)  # a quarter of 128 m, rounded down
    assert "20 m" in texts(figure)
    with pytest.raises(ParameterError, match="gsd_m"):
        figures.label_overlay(image, quarters[0], gsd_m=0.0)


def test_sheets_stay_small_and_say_what_they_show(image, quarters):
    figure = figures.comparison(image, *quarters, title="chip")
    mime, content = figure.encoded()
    assert mime == "image/jpeg" and len(content) < 400_000
    assert "chip" in figure.alt
    chart = charts.widths_histogram([3.0, 6.0], ["service", "primary"])
    assert chart.encoded()[0] == "image/png"


def test_save_figure_leaves_one_whole_file(tmp_path, image, quarters):
    path = sheet.save_figure(figures.comparison(image, *quarters), tmp_path / "deep" / "errors")
    with Image.open(path) as written:
        assert written.width > 800
    assert [entry.name for entry in path.parent.iterdir()] == ["errors.jpg"]
