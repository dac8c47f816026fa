"""APLS of whole files: means, and what they leave out."""

import gzip

import numpy as np
import pandas as pd
import pytest

from lib import apls
from lib.vectors import roadio


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


@pytest.mark.parametrize(
    ("image", "city"),
    [
        ("AOI_2_Vegas_img1", "AOI_2_Vegas"),
        ("SN3_roads_train_AOI_2_Vegas_PS-RGB_img1", "AOI_2_Vegas"),
        ("SN3_roads_train_AOI_3_Paris_geojson_roads_speed_img12", "AOI_3_Paris"),
        ("SN5_roads_train_AOI_7_Moscow_PS-MS_chip0", "AOI_7_Moscow"),
        ("SN5_roads_test_public_AOI_9_San_Juan_PS-RGB_chip3", "AOI_9_San_Juan"),
        ("AOI_9_San_Juan_chip3", "AOI_9_San_Juan"),
        ("RGB-PanSharpen_AOI_5_Khartoum_img70.tif", "AOI_5_Khartoum"),
        ("AOI_11_Rotterdam_Train_img1", "AOI_11_Rotterdam"),
        ("town_north_img_7", "town_north_img"),
        ("103201_mask", "103201_mask"),
    ],
)
def test_city_of_an_image(image, city):
    assert apls.city_of(image) == city


def test_refusals_of_vector_files_name_file_and_road(tmp_path):
    roads = [np.array([(0, 0), (100, 0.0)]), np.array([(0, 0), (0, 90), (0, 90), (50, 90.0)])]
    truth, proposal = tmp_path / "truth.gpkg", tmp_path / "proposal.gpkg"
    for own, damaged in ((roads[:1], roads), (roads, roads[:1])):
        roadio.write_vector(truth, own)
        roadio.write_vector(proposal, damaged)
        [(image, why)] = apls.score_files(truth, proposal).refused.items()
        path = truth if own is roads else proposal
        assert image == "proposal" and why.startswith(f"{path}, road 1: expected consecutive points at least")


def test_ids_match_whatever_program_wrote_them(tmp_path):
    """Quotes, spaces and carriage returns around an id are no part of it."""
    line = '"LINESTRING (0 0, 100 0)"'
    (tmp_path / "t.csv").write_text(f'"ImageId","WKT_Pix"\n"A_1_x_i1",{line}\nA_1_x_i2 ,{line}\n', newline="")
    for name, ends in (("unix", "\n"), ("windows", "\r\n"), ("old", "\r")):
        rows = [
            "ImageId,WKT_Pix",
            f" A_1_x_i1,{line}",
            f'"A_1_x_i2 ",{line}',
            "A_1_x_i3,POLYGON EMPTY",
            "A_1_x_i4,None",
        ]
        (tmp_path / f"{name}.csv").write_bytes(ends.join(rows).encode())
        summary = apls.score_files(tmp_path / "t.csv", tmp_path / f"{name}.csv")
        assert summary.images["apls"].to_dict() == {"A_1_x_i1": 1.0, "A_1_x_i2": 1.0}
        assert summary.only_proposal == ["A_1_x_i3", "A_1_x_i4"]
