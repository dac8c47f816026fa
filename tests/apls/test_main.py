"""`python -m lib.apls` on files."""

import io

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

from lib.apls import __main__
from lib.apls.scoring import score
from lib.errors import InputError, status
from lib.grid import LONLAT, project
from lib.rasters import read_grid
from lib.vectors import roadio


def main(arguments):
    """Exit status of the command."""
    return status(lambda: __main__.main(arguments))


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
    assert "none.csv: no such file; expected a readable CSV file" in capsys.readouterr().err


def test_command_line_on_vector_files(tmp_path, capsys, road):
    roadio.write_vector(tmp_path / "t.gpkg", [road(0, 0, 100, 0)])
    roadio.write_vector(tmp_path / "p.geojson", [road(0, 0, 90, 0)])
    assert main([str(tmp_path / "t.gpkg"), str(tmp_path / "p.geojson"), "--mode", "strict"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "p,0.900000000000,1.000000000000,0.947368421053"


@pytest.mark.parametrize("gsd", ["0", "-1", "nan", "inf"])
def test_a_pixel_has_a_size(tmp_path, capsys, road, gsd):
    roadio.write_challenge_csv(tmp_path / "t.csv", {"a": [road(0, 0, 100, 0)]})
    for mode in ("strict", "challenge"):
        assert main([str(tmp_path / "t.csv"), str(tmp_path / "t.csv"), "--mode", mode, "--gsd", gsd]) == 1
        assert "Expected gsd_m, the metres of a pixel, above 0" in capsys.readouterr().err


def test_command_line_on_a_map_and_a_csv(tmp_path, capsys, road):
    """The truth in the world, the proposal in pixels: the grid of the image brings them together."""
    transform = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 6_700_000)
    size = {"width": 300, "height": 300, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "image.tif", "w", "GTiff", crs="EPSG:32635", transform=transform, **size) as file:
        file.write(np.zeros((1, 300, 300), np.uint8))
    grid = read_grid(tmp_path / "image.tif")
    roads = [road(20, 30, 220, 30), road(120, 10, 120, 30, 120, 250)]
    roadio.write_vector(tmp_path / "img7.gpkg", roads, grid)
    gpd.read_file(tmp_path / "img7.gpkg").to_crs(4326).to_file(tmp_path / "img7.geojson")
    roadio.write_challenge_csv(tmp_path / "one.csv", {"AOI_2_Vegas_img7": roads})
    roadio.write_challenge_csv(tmp_path / "two.csv", {"img7": roads, "img8": roads})
    roadio.write_challenge_csv(tmp_path / "others.csv", {"img8": roads, "img9": roads})
    options = ["--grid", str(tmp_path / "image.tif"), "--mode", "strict"]

    def run(*names):
        return main([*(str(tmp_path / name) for name in names), *options]), capsys.readouterr()

    for names in (("img7.geojson", "one.csv"), ("img7.gpkg", "two.csv"), ("two.csv", "img7.geojson")):
        code, out = run(*names)
        assert code == 0 and float(out.out.splitlines()[1].split(",")[-1]) == pytest.approx(1.0, abs=1e-6), names
    assert run("img7.geojson", "img7.gpkg")[0] == 0
    code, out = run("img7.geojson", "others.csv")
    assert code == 1 and "img8, img9; call the file like its image" in out.err
    code, out = run("img7.gpkg", "one.csv", "two.csv")
    assert code == 1 and "files of one kind" in out.err
    assert main([str(tmp_path / "img7.gpkg"), str(tmp_path / "img7.geojson"), "--mode", "strict"]) == 1
    assert "give the grid" in capsys.readouterr().err


def test_strict_is_in_metres_where_pixels_are_oblong(tmp_path, capsys):
    """A street 3.6 m off keeps its places and one 4.6 m off loses them, on squares of metres and of degrees."""
    east, north, utm = 450_000.0, 5_411_000.0, "EPSG:32631"  # Paris
    lon, lat = project(np.array([(east, north)]), utm, LONLAT)[0]
    size = {"width": 1300, "height": 1300, "count": 1, "dtype": "uint8"}
    for name, crs, side, left, top in (("m", utm, 0.3, east, north), ("deg", LONLAT, 2.7e-6, lon, lat)):
        transform = rasterio.Affine(side, 0, left, 0, -side, top)
        with rasterio.open(tmp_path / f"{name}.tif", "w", "GTiff", crs=crs, transform=transform, **size) as file:
            file.write(np.zeros((1, 1300, 1300), np.uint8))

    def score_of(move, grid, mode="strict"):
        for name, (right_m, up_m) in (("t", (0, 0)), ("p", move)):
            ends = np.array([(50.0, -50.0), (150.0, -50.0)]) if move[1] else np.array([(50.0, -50.0), (50.0, -150.0)])
            street = shapely.LineString(ends + (east + right_m, north + up_m))
            gpd.GeoDataFrame(geometry=[street], crs=utm).to_file(tmp_path / f"{name}.gpkg")
        files = [str(tmp_path / name) for name in ("t.gpkg", "p.gpkg")]
        assert main([*files, "--mode", mode, "--grid", str(tmp_path / f"{grid}.tif")]) == 0
        return float(capsys.readouterr().out.splitlines()[1].split(",")[-1])

    for grid in ("m", "deg"):
        found = [score_of(move, grid) for move in ((3.6, 0), (0, 3.6), (4.6, 0), (0, 4.6))]
        assert found == pytest.approx([1, 1, 0, 0], abs=1e-6), grid
    # the challenge is defined in the image's own pixels: 4 m are 16 of them, 3.2 m eastward and 4.9 m northward
    found = [score_of(move, "deg", "challenge") for move in ((3.6, 0), (0, 4.6))]
    assert found == pytest.approx([0, 1], abs=1e-3)


def test_degrees_metres_and_strangers_are_no_pixels(tmp_path, capsys):
    """Coordinates of the world, and files that share no image, end the command in words."""
    degrees = "LINESTRING (-115.1700 36.1200, -115.1682 36.1200, -115.1664 36.1215)"
    metres = "LINESTRING (664000 4000000, 664200 4000000, 664400 4000150)"
    pixels = "LINESTRING (0 0, 650 10)"
    for number, wkt in enumerate((degrees, metres, pixels)):
        (tmp_path / f"{number}.csv").write_text(f'ImageId,WKT_Pix\nA_1_V_img1,"{wkt}"\n')
    (tmp_path / "other.csv").write_text(f'ImageId,WKT_Pix\nA_1_V_img2,"{pixels}"\n')
    for mode in ("strict", "challenge"):
        for pair, message in ((("0", "0"), "degrees"), (("0", "2"), "degrees"), (("2", "1"), "metres of a map")):
            assert main([*(str(tmp_path / f"{name}.csv") for name in pair), "--mode", mode]) == 1
            out = capsys.readouterr()
            assert message in out.err and "A_1_V_img1" not in out.out
    assert main([str(tmp_path / "2.csv"), str(tmp_path / "other.csv")]) == 1
    assert "found none in both: A_1_V_img1 against A_1_V_img2" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["strict", "challenge"])
@pytest.mark.parametrize("far", ["1e12", "1e30", "-1e300"])
def test_a_road_that_is_too_long_for_any_image_is_refused_by_its_line(tmp_path, capsys, mode, far):
    good = 'ImageId,WKT_Pix\na,"LINESTRING (0 0, 100 0)"\nb,"LINESTRING (0 0, 100 0)"\n'
    (tmp_path / "t.csv").write_text(good)
    (tmp_path / "p.csv").write_text(f'{good}b,"LINESTRING (5 5, 50 {far})"\n')
    assert main([str(tmp_path / "t.csv"), str(tmp_path / "p.csv"), "--mode", mode]) == 1
    out, said = capsys.readouterr()
    assert out.splitlines()[1:] == ["a,1.000000000000,1.000000000000,1.000000000000"]
    assert "refused, left out of every mean: b:" in said and "p.csv, line 4: expected pixels, found a coord" in said
    lines = [np.array([[5.0, 5.0], [50.0, float(far)]])]
    with pytest.raises(InputError, match=r"up to 1e\+07 px in proposal road 0"):
        score([np.array([[0.0, 0.0], [100.0, 0.0]])], lines, mode)
