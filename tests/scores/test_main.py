"""Buildings scored from files: the challenges' CSV, vector files, and files that are neither."""

import gzip
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from lib.errors import status
from lib.paths import ROOT
from lib.scores import __main__

HOUSE, BARN = shapely.box(10, 10, 20, 20), shapely.box(40, 10, 60, 20)


def main(arguments):
    """Exit status of the command."""
    return status(lambda: __main__.main(arguments))


def csv(path, rows, columns="ImageId,BuildingId,PolygonWKT_Pix"):
    lines = [columns] + [f'{image},{n},"{wkt}"{more}' for n, (image, wkt, more) in enumerate(rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def truth(tmp_path):
    rows = [
        ("AOI_2_Vegas_img1", HOUSE.wkt, ""),
        ("AOI_2_Vegas_img1", BARN.wkt, ""),
        ("AOI_3_Paris_img2", "POLYGON EMPTY", ""),
    ]
    return csv(tmp_path / "truth.csv", rows)


def test_a_csv_against_itself_is_perfect_and_empty_images_count(truth, capsys):
    assert main([truth, truth]) == 0
    out, said = capsys.readouterr()
    assert out.splitlines() == [
        "image,tp,fp,fn,precision,recall,f1",
        "AOI_2_Vegas_img1,2,0,0,1.000000000000,1.000000000000,1.000000000000",
        "AOI_3_Paris_img2,0,0,0,1.000000000000,1.000000000000,1.000000000000",
    ]
    assert "2 images, IoU of at least 0.5: precision 1.000000" in said and "AOI_3_Paris" in said
    packed = Path(f"{truth}.gz")
    packed.write_bytes(gzip.compress(Path(truth).read_bytes()))
    assert main([truth, str(packed)]) == 0
    assert capsys.readouterr().out == out


def test_the_confident_proposal_takes_the_house_though_it_stands_last(tmp_path, truth, capsys):
    """Both overlap the house by more than half; the sure one (IoU 0.9) comes first, so that the other is false."""
    shrunk, wide = shapely.box(10, 10, 19, 20), shapely.box(10, 10, 20, 16)
    rows = [("AOI_2_Vegas_img1", wide.wkt, ",0.2"), ("AOI_2_Vegas_img1", shrunk.wkt, ",0.9")]
    columns = "ImageId,BuildingId,WKT_Pix,Confidence"
    assert main([truth, csv(tmp_path / "proposal.csv", rows, columns)]) == 0
    assert "AOI_2_Vegas_img1,1,1,1,0.5" in capsys.readouterr().out
    assert main([truth, str(tmp_path / "proposal.csv"), "--iou", "0.95"]) == 0
    assert "AOI_2_Vegas_img1,0,2,2" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "parquet"])
def test_a_vector_file_has_confidence_as_a_table_has(tmp_path, capsys, suffix):
    """The sure one takes the whole house, so that the other is left its twin of three quarters: both are right."""
    gpd.GeoDataFrame(geometry=[HOUSE, shapely.box(10, 10, 20, 17)]).to_file(tmp_path / "truth.gpkg")
    path, said = tmp_path / f"p.{suffix}", [shapely.box(10, 10, 20, 19), shapely.box(10, 14, 20, 20)]

    def found(column, *values):
        frame = gpd.GeoDataFrame({column: values}, geometry=[shapely.MultiPolygon([said[0]]), said[1]])
        frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
        code = main([str(tmp_path / "truth.gpkg"), str(path)])
        out, words = capsys.readouterr()
        return out.splitlines()[1].split(",")[1:4] if code == 0 else words

    assert found("note", 0.1, 0.9) == found("Confidence", 0.9, 0.1) == ["1", "1", "1"]
    assert found("Confidence", 0.1, 0.9) == found("confidence", "0.1", "0.9") == ["2", "0", "0"]
    assert "row 1: expected a number as Confidence, got nan; fill it in" in found("Confidence", 0.1, float("nan"))
    assert "row 0: expected a number as Confidence, got high" in found("Confidence", "high", "0.9")
    assert main([str(path), str(tmp_path / "truth.gpkg")]) == 0  # of a truth it says nothing


def test_vector_files_in_pixels_and_a_table_of_one_image(tmp_path, capsys):
    gpd.GeoDataFrame(geometry=[HOUSE, BARN]).to_file(tmp_path / "truth.gpkg")
    rows = [("img1", HOUSE.wkt, "")]
    assert main([str(tmp_path / "truth.gpkg"), csv(tmp_path / "p.csv", rows)]) == 0
    assert "img1,1,0,1,1.000000000000,0.500000000000,0.666666666667" in capsys.readouterr().out
    assert main([csv(tmp_path / "p.csv", rows), str(tmp_path / "truth.gpkg")]) == 0
    assert "img1,1,1,0" in capsys.readouterr().out


def test_a_vector_file_among_many_images_goes_by_its_name(tmp_path, truth, capsys):
    for name in ("AOI_2_Vegas_img1", "elsewhere"):
        gpd.GeoDataFrame(geometry=[HOUSE]).to_file(tmp_path / f"{name}.gpkg")
    assert main([truth, str(tmp_path / "AOI_2_Vegas_img1.gpkg")]) == 0
    assert "AOI_2_Vegas_img1,1,0,1" in capsys.readouterr().out
    assert main([truth, str(tmp_path / "elsewhere.gpkg")]) == 1
    assert "call the file like its image" in capsys.readouterr().err


def test_real_footprints_against_themselves(capsys):
    real = ROOT.parent / "shared" / "data" / "spacenet-solaris-samples"
    if not real.is_dir():
        pytest.skip(f"{real} is not here")
    files = [str(real / "geotiff_labels.geojson")] * 2
    assert main([*files, "--grid", str(real / "sample_geotiff.tif")]) == 0
    assert "geotiff_labels,43,0,0,1.000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ImageId,PolygonWKT_Geo\na,POLYGON EMPTY\n", "expected the columns ImageId and PolygonWKT_Pix"),
        ('ImageId,PolygonWKT_Pix\na,"POLYGON EMPTY"\na,"LINESTRING (0 0, 1 1)"\n', r"row 3: expected a POLYGON"),
        ("ImageId,PolygonWKT_Pix\na,POLYGON ((0 0\n", "row 2: expected a POLYGON"),
        ('ImageId,PolygonWKT_Pix\na,"POLYGON ((inf 0, 1 1, 2 2, inf 0))"\n', "row 2: expected a POLYGON in pixels"),
        ('ImageId,PolygonWKT_Pix\na,"POLYGON ((1e30 0, 1 1, 2 2, 1e30 0))"\n', "row 2: expected a POLYGON in pixels"),
        ("ImageId,PolygonWKT_Pix,Confidence\na,POLYGON EMPTY,high\n", "expected numbers as Confidence"),
    ],
)
def test_what_is_no_table_of_buildings_is_refused(text, message, tmp_path, truth, capsys):
    (tmp_path / "bad.csv").write_text(text)
    assert main([truth, str(tmp_path / "bad.csv")]) == 1
    assert message in capsys.readouterr().err


def test_a_vector_file_of_what_is_no_place_is_refused(tmp_path, capsys):
    wedge = shapely.Polygon([(0, 0), (float("inf"), 0), (5, 5)])
    gpd.GeoDataFrame(geometry=[HOUSE, wedge]).to_file(tmp_path / "b.gpkg")
    assert main([str(tmp_path / "b.gpkg"), str(tmp_path / "b.gpkg")]) == 1
    assert "b.gpkg, row 1: expected finite coordinates" in capsys.readouterr().err


def test_degrees_without_a_grid_are_refused(tmp_path, capsys):
    frame = gpd.GeoDataFrame(geometry=[shapely.box(24, 60, 24.001, 60.001)], crs="EPSG:4326")
    for name in ("b.geojson", "b.gpkg"):
        frame.to_file(tmp_path / name)
        assert main([str(tmp_path / name), str(tmp_path / name)]) == 1
        assert "--grid IMAGE" in capsys.readouterr().err


def refusal(capsys, *arguments):
    """What the command says instead of a score."""
    assert main([str(argument) for argument in arguments]) == 1
    out, said = capsys.readouterr()
    assert not out
    return said


@pytest.fixture
def image(tmp_path):
    """Path of an image of 300 x 300 pixels of half a metre."""
    transform = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 6_700_000)
    size = {"width": 300, "height": 300, "count": 1, "dtype": "uint8"}
    with rasterio.open(tmp_path / "image.tif", "w", "GTiff", crs="EPSG:32635", transform=transform, **size) as file:
        file.write(np.zeros((1, 300, 300), np.uint8))
    return tmp_path / "image.tif"


def test_a_map_against_pixels_that_pass_for_a_map_is_refused(tmp_path, image, capsys):
    """Without a CRS, coordinates are taken for the grid's: pixels lie far from the image then."""
    world = shapely.transform(HOUSE, lambda xy: (xy * (0.5, -0.5)) + (500_000, 6_700_000))
    gpd.GeoDataFrame(geometry=[world], crs="EPSG:32635").to_file(tmp_path / "truth.gpkg")
    gpd.GeoDataFrame(geometry=[HOUSE]).to_file(tmp_path / "pixels.gpkg")
    files = [tmp_path / "truth.gpkg", tmp_path / "pixels.gpkg"]
    assert "pixels.gpkg: expected pixels, found what looks like metres of" in refusal(capsys, *files, "--grid", image)
    gpd.GeoDataFrame(geometry=[shapely.box(20, 20, 60, 60)]).to_file(tmp_path / "p.geojson")  # read as degrees
    assert "if the file's coordinates are pixels already" in refusal(
        capsys, files[0], tmp_path / "p.geojson", "--grid", image
    )
    assert main([str(files[0]), csv(tmp_path / "p.csv", [("truth", HOUSE.wkt, "")]), "--grid", str(image)]) == 0
    assert "truth,1,0,0" in capsys.readouterr().out
    speck = world.centroid.buffer(0.2)  # less than a pixel: with a grid it is no degrees
    gpd.GeoDataFrame(geometry=[speck], crs="EPSG:32635").to_file(tmp_path / "speck.gpkg")
    assert main([str(files[0]), str(tmp_path / "speck.gpkg"), "--grid", str(image)]) == 0
    assert "speck,0,1,1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wkt", "message"),
    [
        (shapely.box(24, 60, 24.001, 60.001).wkt, "what looks like degrees"),
        (shapely.box(500_000, 6_700_000, 500_010, 6_700_010).wkt, "what looks like metres of a map"),
    ],
)
def test_tables_of_degrees_or_metres_are_refused(wkt, message, tmp_path, truth, capsys):
    world = csv(tmp_path / "world.csv", [("AOI_2_Vegas_img1", wkt, "")])
    assert f"world.csv: expected pixels, found {message}" in refusal(capsys, truth, world)
    assert f"world.csv: expected pixels, found {message}" in refusal(capsys, world, truth)


def test_a_speck_alone_on_its_image_is_no_degrees(tmp_path, truth, capsys):
    speck = shapely.box(5, 5, 5.5, 5.5).wkt
    rows = [("AOI_2_Vegas_img1", HOUSE.wkt, ""), ("AOI_3_Paris_img2", speck, "")]
    assert main([truth, csv(tmp_path / "p.csv", rows)]) == 0
    assert "AOI_3_Paris_img2,0,1,0" in capsys.readouterr().out


def test_a_second_layer_of_buildings_is_refused_and_other_layers_are_not(tmp_path, truth, capsys):
    path = tmp_path / "AOI_2_Vegas_img1.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.Point(1, 1)]).to_file(path, layer="places")
    gpd.GeoDataFrame(geometry=[HOUSE]).to_file(path, layer="houses", mode="a")
    assert main([truth, str(path)]) == 0
    assert "AOI_2_Vegas_img1,1,0,1" in capsys.readouterr().out
    gpd.GeoDataFrame(geometry=[BARN]).to_file(path, layer="barns", mode="a")
    assert "expected one layer of polygons, found 'houses', 'barns'; merge" in refusal(capsys, truth, path)
