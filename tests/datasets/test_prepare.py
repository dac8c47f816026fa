"""A city from the bucket to chips: images, labels, truth; what is missing, empty or broken in it."""

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from lib.apls.report import score_files
from lib.chips import ChipOptions, build_chips, find_scenes, load_manifest, read_mask, read_vectors
from lib.datasets.catalogue import DATA_SETS
from lib.datasets.prepare import prepare_city
from lib.errors import InputError
from lib.osm import lane_profile
from lib.paths import ROOT
from lib.rasters import read_grid
from lib.scores.__main__ import main as score_buildings
from lib.vectors import read_challenge_csv, read_vector
from tests.datasets.conftest import NAME, at, geojson, geotiff, tarball, vegas_roads

ROADS, BUILDINGS = DATA_SETS["spacenet-roads"], DATA_SETS["spacenet-buildings"]
LABEL = f"AOI_2_Vegas/geojson_roads/{NAME}_geojson_roads_img{{}}.geojson"
IMAGE = f"AOI_2_Vegas/PS-RGB/{NAME}_PS-RGB_img{{}}.tif"


@pytest.fixture
def prepare(tmp_path):
    """Prepares a city of the given files; returns its record and folder."""

    def run(files, data_set=ROADS, city="Vegas"):
        archives = []
        for number, part in enumerate(files if isinstance(files, list) else [files]):
            archives.append(tmp_path / f"{number}.tar.gz")
            archives[-1].write_bytes(tarball(part))
        return prepare_city(data_set, city, archives, tmp_path / "data" / city), tmp_path / "data" / city

    return run


def test_roads_become_a_source_that_notebooks_take(prepare):
    record, folder = prepare(vegas_roads())
    assert (record["images"], record["labelled"], record["empty"], record["roads"]) == (4, 3, 1, 3)
    assert sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock")) == [
        "city.json", "images", "roads.gpkg", "truth.csv", "unlabelled",
    ]  # fmt: skip
    assert [p.name for p in (folder / "unlabelled").iterdir()] == ["AOI_2_Vegas_img4.tif"]
    source = {"images": "{city}/images/{id}.tif", "clean": "{city}/roads.gpkg", "split": "hash"}
    options = ChipOptions(chip_px=64, gsd_m=1.2)
    scenes = find_scenes(source, folder.parent, 1.2)
    layers = read_vectors(scenes, "roads")
    chips = build_chips(scenes, layers, folder / "chips", options, lane_profile("metric"))
    masks = {row.scene[-4:]: read_mask(row.mask) for row in load_manifest(chips).itertuples()}
    assert not (masks["img2"] == 255).any() and (masks["img3"] == 255).any()
    # two lanes of 3.x m at 1.2 m a pixel, along row 32: between 4 and 7 pixels wide
    column = masks["img1"][:, masks["img1"].shape[1] // 2] == 255
    assert 4 <= column.sum() <= 7 and abs(np.flatnonzero(column).mean() / len(column) - 0.5) < 0.05


def test_the_truth_is_the_challenges(prepare):
    _, folder = prepare(vegas_roads())
    lines = (folder / "truth.csv").read_text().splitlines()
    assert lines[0] == "ImageId,WKT_Pix" and "AOI_2_Vegas_img2,LINESTRING EMPTY" in lines
    found = shapely.from_wkt(next(line for line in lines if "img1" in line).split(",", 1)[1].strip('"'))
    assert shapely.hausdorff_distance(found, shapely.LineString([(10, 32), (54, 32)])) < 1e-3
    scores = score_files([str(folder / "truth.csv")], str(folder / "truth.csv"), "strict", 1.2, None)
    assert scores.images.loc["AOI_2_Vegas_img1", "apls"] == 1.0


def test_one_stretch_serves_the_whole_city(prepare):
    record, folder = prepare(vegas_roads())
    raw = np.concatenate([_pixels(geotiff(n)) for n in range(1, 5)], axis=1)  # (bands, all pixels)
    known = raw[:, (raw > 0).all(axis=0)]
    assert np.allclose(record["stretch"]["black"], np.percentile(known, 2, axis=1))
    assert np.allclose(record["stretch"]["white"], np.percentile(known, 98, axis=1))
    with rasterio.open(folder / "images" / "AOI_2_Vegas_img3.tif") as file:
        pixels, valid = file.read(), file.dataset_mask()
        assert file.dtypes == ("uint8",) * 3 and file.crs == "EPSG:4326"
    assert (valid[0] == 0).all() and (valid[1:] == 255).all() and pixels[:, 1:].min() == 1
    one = _pixels(geotiff(3)).reshape(3, 64, 64)[0, 20, 20]
    black, white = record["stretch"]["black"][0], record["stretch"]["white"][0]
    assert pixels[0, 20, 20] == 1 + round(254 * min(1, max(0, (one - black) / (white - black))))


def _pixels(content):
    with rasterio.MemoryFile(content) as memory, memory.open() as file:
        return file.read().reshape(3, -1).astype(int)


def test_a_city_that_stands_is_left_and_one_that_was_killed_goes_on(prepare, monkeypatch):
    _, folder = prepare(vegas_roads())
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    prepare(vegas_roads())
    assert {p: p.stat().st_mtime_ns for p in before if not p.name.endswith(".lock")} == {
        p: t for p, t in before.items() if not p.name.endswith(".lock")
    }


def spoilt(**changes):
    files = vegas_roads()
    for name, content in changes.pop("files").items():
        files.pop(name, None)
        if content is not None:
            files[name] = content
    return files


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({LABEL.format(1): b'{"type": "FeatureColl'}, r"img1\.geojson: expected a GeoJSON file of labels"),
        ({LABEL.format(1): geojson([shapely.box(*at(1, 1, 9), *at(1, 9, 1))])}, "expected LineStrings, got Polygon"),
        ({IMAGE.format(2): geotiff(2)[:3000]}, r"img2\.tif.*cannot be read"),
        ({IMAGE.format(2): geotiff(2, count=1)}, "expected red, green and blue"),
        ({IMAGE.format(2): geotiff(2, dtype="uint8")}, "expected images of one type"),
        ({f"AOI_2_Vegas/PS-RGB/{NAME}_PS-RGB_overview.tif": geotiff(9)}, r"expected a name such as \.\.\._AOI_2_Vegas"),
        ({IMAGE.format(n): geotiff(n, empty=True) for n in range(1, 5)}, "all no-data"),
        ({IMAGE.format(n): None for n in range(1, 5)}, "found none"),
    ],
)
def test_what_is_broken_in_a_city_is_named(prepare, files, message):
    with pytest.raises(InputError, match=message):
        prepare(spoilt(files=files))


def test_an_image_without_geojson_takes_its_roads_from_the_challenges_csv(prepare):
    line = b'ImageId,WKT_Pix\nAOI_2_Vegas_img1,LINESTRING EMPTY\nAOI_2_Vegas_img4,"LINESTRING (5 5, 5 60, 60 60)"\n'
    record, folder = prepare(spoilt(files={f"AOI_2_Vegas/{NAME}_road_labels.csv": line}))
    assert (record["labelled"], record["empty"], record["roads"]) == (4, 1, 4) and not (folder / "unlabelled").exists()
    roads = gpd.read_file(folder / "roads.gpkg")
    own = roads[roads["image"] == "AOI_2_Vegas_img4"].geometry.iloc[0]
    assert np.allclose(own.coords, [at(4, 5, 5), at(4, 5, 60), at(4, 60, 60)], atol=1e-9)


def test_an_image_of_no_data_among_others_is_no_fault(prepare):
    assert prepare(spoilt(files={IMAGE.format(2): geotiff(2, empty=True)}))[0]["images"] == 4


def vegas_buildings(labelled_by_csv):
    """SpaceNet 2's layout: RGB-PanSharpen, geojson/buildings, summaryData; only the CSV says that image 2 is empty."""
    house = shapely.force_3d(shapely.Polygon([at(1, *xy) for xy in [(10, 10), (30, 10), (30, 20), (10, 20)]]))
    folder = "AOI_2_Vegas_Train"
    files = {f"{folder}/RGB-PanSharpen/RGB-PanSharpen_AOI_2_Vegas_img{n}.tif": geotiff(n) for n in (1, 2)}
    if not labelled_by_csv:
        files[f"{folder}/geojson/buildings/buildings_AOI_2_Vegas_img1.geojson"] = geojson([house], HGT=0)
    text = "ImageId,BuildingId,PolygonWKT_Pix,PolygonWKT_Geo\n"
    text += 'AOI_2_Vegas_img1,0,"POLYGON ((10 10 0, 30 10 0, 30 20 0, 10 20 0, 10 10 0))",""\n'
    text += "AOI_2_Vegas_img2,-1,POLYGON EMPTY,POLYGON EMPTY\n"
    files[f"{folder}/summaryData/AOI_2_Vegas_Train_Building_Solutions.csv"] = text.encode()
    files[f"{folder}/summaryData/notes.csv"] = b"a,b\n"
    return files


@pytest.mark.parametrize("labelled_by_csv", [False, True])
def test_buildings_of_geojson_and_of_the_challenges_csv_are_the_same(prepare, labelled_by_csv, capsys):
    record, folder = prepare(vegas_buildings(labelled_by_csv), BUILDINGS)
    assert (record["labelled"], record["empty"], record["buildings"]) == (2, 1, 1)
    house = gpd.read_file(folder / "buildings.gpkg").geometry[0]
    west, south, east, north = house.bounds
    assert np.allclose([west, north, east, south], [*at(1, 10, 10), *at(1, 30, 20)], atol=1e-9)
    assert "notes.csv is left out" in capsys.readouterr().out
    assert score_buildings([str(folder / "truth.csv")] * 2) == 0
    assert "AOI_2_Vegas_img1,1,0,0" in capsys.readouterr().out


def test_rio_comes_in_two_archives_of_8_bits(prepare):
    """SpaceNet 1: bytes stay as they are, and the label of an empty chip is an empty file."""
    images = {f"3band/3band_AOI_1_RIO_img{n}.tif": geotiff(n, dtype="uint8") for n in (1, 2)}
    house = shapely.box(*at(1, 10, 20), *at(1, 30, 10))
    labels = {"geojson/Geo_AOI_1_RIO_img1.geojson": geojson([house]), "geojson/Geo_AOI_1_RIO_img2.geojson": b""}
    record, folder = prepare([images, labels], BUILDINGS, "Rio")
    assert (record["labelled"], record["empty"], record["stretch"]["black"]) == (2, 1, None)
    with rasterio.open(folder / "images" / "AOI_1_RIO_img1.tif") as file:
        assert (file.read().reshape(3, -1) == _pixels(images["3band/3band_AOI_1_RIO_img1.tif"])).all()
    assert json.loads((folder / "city.json").read_text())["terms"].startswith("SpaceNet, CC BY-SA")


def test_a_real_chip_comes_through(prepare):
    real = ROOT.parent / "shared" / "data" / "spacenet3-vegas-roads"
    if not real.is_dir():
        pytest.skip(f"{real} is not here")
    roads = next(real.rglob("AOI_2_Vegas_img0.geojson"))
    files = {
        f"AOI_2_Vegas/PS-RGB/{NAME}_PS-RGB_img0.tif": next(real.rglob("*_img0.tif")).read_bytes(),
        f"AOI_2_Vegas/geojson_roads/{NAME}_geojson_roads_img0.geojson": roads.read_bytes(),
    }
    record, folder = prepare(files)
    assert (record["images"], record["roads"]) == (1, 38)
    grid = read_grid(folder / "images" / "AOI_2_Vegas_img0.tif")
    # the survey as the challenge's reader brings it to pixels, and as prepared: the same roads
    truth = read_challenge_csv(folder / "truth.csv")["AOI_2_Vegas_img0"]
    surveyed = read_vector(roads, grid)
    own, drawn = (shapely.union_all([shapely.LineString(line) for line in side]) for side in (surveyed, truth))
    assert own.hausdorff_distance(drawn) < 0.02
    lanes = gpd.read_file(folder / "roads.gpkg")["lane_number"]
    assert sorted(lanes) == sorted(gpd.read_file(roads)["lane_number"])
