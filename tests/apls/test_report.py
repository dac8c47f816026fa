"""APLS of whole files: means, and what they leave out."""

import gzip

import pandas as pd
import pytest

from lib import apls
from lib.mapping import roadio


def test_means_are_the_challenges_and_say_what_they_leave_out():
    frame = pd.DataFrame({"ImageId": ["A_1_x_img1", "A_1_x_img2", "B_2_y_img1"], "apls": [0.2, 0.4, 0.9]})
    summary = apls.summarise(frame, ["A_1_x_img3", "C_3_z_img1"], ["B_2_y_img7"])
    assert summary.cities["apls"].to_dict() == pytest.approx({"A_1_x": 0.3, "B_2_y": 0.9, "C_3_z": 0.0})
    assert summary.overall == pytest.approx(0.4)
    assert summary.image_mean == pytest.approx(0.5)
    assert summary.with_missing == pytest.approx(0.3)
    text = apls.describe(summary)
    assert "in the truth only, left out of every mean: 2" in text
    assert "B_2_y_img7" in text


def test_gzipped_cases_are_read(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b'ImageId,WKT_Pix\na,"LINESTRING (0 0, 1 1)"\n'))
    assert roadio.read_challenge_csv(tmp_path / "t.csv.gz")["a"][0].tolist() == [[0, 0], [1, 1]]
