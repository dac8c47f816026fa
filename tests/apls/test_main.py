"""`python -m lib.apls` on files."""

import io

import pandas as pd
import pytest

from lib.apls.__main__ import main
from lib.mapping import roadio


def test_command_line(tmp_path, capsys, road):
    roadio.write_challenge_csv(tmp_path / "t.csv", {"A_1_x_i1": [road(0, 0, 100, 0)], "A_1_x_i2": []})
    roadio.write_challenge_csv(tmp_path / "t2.csv", {"A_1_x_i3": [road(0, 0, 1, 0)]})
    roadio.write_challenge_csv(tmp_path / "p.csv", {"A_1_x_i1": [road(0, 0, 90, 0)]})
    assert main([str(tmp_path / "t.csv"), str(tmp_path / "t2.csv"), str(tmp_path / "p.csv")]) == 0
    out = capsys.readouterr()
    frame = pd.read_csv(io.StringIO(out.out))
    assert list(frame) == ["ImageId", "truth_to_proposal", "proposal_to_truth", "apls"]
    assert frame.iloc[0].tolist() == ["A_1_x_i1", pytest.approx(0.9), 1.0, pytest.approx(0.9473684210526)]
    assert "overall, mean over cities: 0.947368" in out.err
    assert "left out of every mean: 2 (A_1_x_i2, A_1_x_i3)" in out.err

    (tmp_path / "bad.csv").write_text('ImageId,WKT_Pix\nA_1_x_i1,"LINESTRING (0 0, 9 0, 0 0)"\n')
    assert main([str(tmp_path / "t.csv"), str(tmp_path / "bad.csv")]) == 1
    assert "bad.csv, line 2" in capsys.readouterr().err
    assert main([str(tmp_path / "t.csv"), str(tmp_path / "none.csv")]) == 1
    assert "none.csv: expected a readable CSV file" in capsys.readouterr().err


def test_command_line_on_vector_files(tmp_path, capsys, road):
    roadio.write_vector(tmp_path / "t.gpkg", [road(0, 0, 100, 0)])
    roadio.write_vector(tmp_path / "p.geojson", [road(0, 0, 90, 0)])
    assert main([str(tmp_path / "t.gpkg"), str(tmp_path / "p.geojson"), "--mode", "strict"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "p,0.900000000000,1.000000000000,0.947368421053"
