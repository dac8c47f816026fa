"""OSM roads against surveyed ones."""

import pytest

from lib.errors import InputError
from lib.paths import ROOT
from lib.trust import noise_study

VEGAS = ROOT.parent / "shared/data/spacenet3-vegas-roads/gt_json_prop_json/AOI_2_Vegas_Train"


def test_seven_surveyed_places():
    if not VEGAS.is_dir():
        pytest.skip("the pairs of Las Vegas are not here")
    pairs = noise_study.study(VEGAS)
    table = noise_study.table(pairs)
    assert len(table) == 7 and (table["iou_moved"] > table["iou"]).all()
    # the figures that notebook 1 states
    assert table["iou"].agg(["min", "max", "mean"]).round(2).tolist() == [0.35, 0.6, 0.48]
    assert table["iou_moved"].agg(["min", "max", "mean"]).round(2).tolist() == [0.44, 0.71, 0.57]
    assert table["apls"].agg(["min", "max", "mean"]).round(2).tolist() == [0.41, 0.78, 0.65]
    assert table["offset_m"].agg(["min", "max"]).round(1).tolist() == [1.4, 2.8]


def test_a_study_needs_two_folders(tmp_path):
    with pytest.raises(InputError, match="one other"):
        noise_study.study(tmp_path / "nowhere")
    for name in ("osm", "survey"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="namesake"):
        noise_study.study(tmp_path)
