"""Other formats of a map's layers, as their specifications have them."""

import json

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from lib.errors import PPLinkNetWarning
from lib.grid import Grid
from lib.mapping import formats
from lib.mapping.formats import WRITERS
from lib.vectors.buildingio import read_building_csv
from lib.vectors.roadio import read_challenge_csv

GRID = Grid((0.5, 0, 452_000, 0, -0.5, 35_000), "EPSG:32636", 400, 300)


def frame(*shapes: shapely.Geometry) -> gpd.GeoDataFrame:
    """Shapes in pixels of GRID, as a layer."""
    world = shapely.transform(np.array(shapes, object), GRID.pixel_to_world)
    return gpd.GeoDataFrame({"confidence": [0.75] * len(shapes)}, geometry=world, crs=GRID.crs)


ROADS = frame(shapely.LineString([(10, 20), (200, 40)]), shapely.LineString([(200, 40), (300, 250)]))
HOUSES = frame(
    shapely.Polygon([(10, 10), (10, 60), (60, 60), (60, 10)], [[(20, 20), (30, 20), (30, 30), (20, 30)]]),
    shapely.box(100, 100, 130, 120),
).assign(area_m2=[600.0, 150.0])


def test_geoparquet_has_a_box_for_each_row(tmp_path):
    path = tmp_path / "map.parquet"
    WRITERS["parquet"](path, ROADS, GRID)
    about = json.loads(pq.read_metadata(path).metadata[b"geo"])
    assert about["version"] == "1.1.0"
    assert about["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    boxes = pq.read_table(path, columns=["bbox"]).to_pandas()["bbox"].tolist()
    assert [tuple(box[key] for key in ("xmin", "ymin", "xmax", "ymax")) for box in boxes] == [
        shape.bounds for shape in ROADS.geometry
    ]
    right = ROADS.geometry[1].centroid.buffer(5).bounds
    assert len(gpd.read_parquet(path, bbox=right)) == 1
    assert gpd.read_parquet(path).equals(ROADS)


def test_geojson_is_in_degrees_of_seven_digits_with_rings_to_the_right(tmp_path):
    path = tmp_path / "map.geojson"
    for layer in (HOUSES, HOUSES.set_geometry(HOUSES.geometry.reverse())):
        WRITERS["geojson"](path, layer, GRID)
        content = json.loads(path.read_text())
        assert content["type"] == "FeatureCollection" and "crs" not in content  # RFC 7946, section 4
        for feature in content["features"]:
            exterior, *holes = (shapely.LinearRing(ring) for ring in feature["geometry"]["coordinates"])
            assert exterior.is_ccw and not any(hole.is_ccw for hole in holes)  # section 3.1.6
            for lon, lat in exterior.coords:
                assert 32 < lon < 33 and 0 < lat < 1  # longitude first
                assert (lon, lat) == (round(lon, 7), round(lat, 7))
        again = gpd.read_file(path).to_crs(GRID.crs)
        assert shapely.hausdorff_distance(again.union_all(), HOUSES.union_all()) < 0.02


def test_flatgeobuf_has_its_index(tmp_path):
    path = tmp_path / "map.fgb"
    WRITERS["fgb"](path, ROADS, GRID)
    info = pyogrio.read_info(path)
    assert info["capabilities"]["fast_spatial_filter"] and info["crs"] == GRID.crs
    assert sorted(gpd.read_file(path).geometry.to_wkt()) == sorted(ROADS.geometry.to_wkt())


@pytest.mark.parametrize("name", ["map.geojson", "map_roads.fgb"])
def test_a_layer_is_called_as_its_file(tmp_path, name):
    path = tmp_path / name
    WRITERS[path.suffix[1:]](path, ROADS, GRID)
    assert pyogrio.list_layers(path)[:, 0].tolist() == [path.stem]
    assert b".tmp" not in path.read_bytes()


def test_the_challenges_csv_is_in_pixels_and_named_as_the_folder(tmp_path):
    path = tmp_path / "kampala" / "map.csv"
    WRITERS["csv"](path, ROADS, GRID)
    roads = read_challenge_csv(path)
    assert list(roads) == ["kampala"]
    assert np.vstack(roads["kampala"]) == pytest.approx(
        np.array([(10, 20), (200, 40), (200, 40), (300, 250)]), abs=1e-6
    )
    WRITERS["csv"](path, HOUSES, GRID)
    header, first, second = path.read_text().splitlines()
    assert header == "ImageId,BuildingId,PolygonWKT_Pix,Confidence"
    assert first.startswith('kampala,1,"POLYGON ((10') and second.endswith('",0.7500')
    assert shapely.from_wkt(second.split('"')[1]).equals(shapely.box(100, 100, 130, 120))
    WRITERS["csv"](path, HOUSES.assign(confidence=[np.nan, 0.75]), GRID)  # nothing was seen in the first one
    assert [row.rsplit(",", 1)[1] for row in path.read_text().splitlines()[1:]] == ["0.0000", "0.7500"]


def test_a_map_without_features_is_a_csv_of_its_class(tmp_path):
    path = tmp_path / "map.csv"
    WRITERS["csv"](path, HOUSES[:0], GRID)
    assert read_building_csv(path) == ({tmp_path.name: []}, {tmp_path.name: []})
    WRITERS["csv"](path, ROADS[:0], GRID)
    assert [len(road) for road in read_challenge_csv(path)[tmp_path.name]] == [0]


@pytest.mark.parametrize("layer", [ROADS, HOUSES])
@pytest.mark.parametrize(
    ("folder", "image"), [("#1, north", "_1_ north"), ("ImageIdeas", "_mageIdeas"), ('"q"', "_q_")]
)
def test_an_image_is_called_as_its_folder_as_far_as_it_can_be(tmp_path, layer, folder, image):
    path = tmp_path / folder / "map.csv"
    WRITERS["csv"](path, layer, GRID)
    read = read_challenge_csv(path) if layer is ROADS else read_building_csv(path)[0]
    assert list(read) == [image]


def test_a_large_geojson_says_what_to_take_instead(tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "LARGE_GEOJSON_BYTES", 100)
    with pytest.warns(PPLinkNetWarning, match="take map.gpkg or FlatGeobuf"):
        WRITERS["geojson"](tmp_path / "map.geojson", ROADS, GRID)


@pytest.mark.parametrize("name", ["parquet", "fgb", "csv"])
def test_pixels_are_written_as_they_are(tmp_path, name):
    grid = Grid((1, 0, 0, 0, 1, 0), None, 400, 300)
    layer = gpd.GeoDataFrame({"confidence": [0.5]}, geometry=[shapely.LineString([(1, 2), (30, 4)])])
    path = tmp_path / f"map.{name}"
    WRITERS[name](path, layer, grid)
    if name == "csv":
        return
    read = gpd.read_parquet(path) if name == "parquet" else gpd.read_file(path)
    assert read.crs is None and read.geometry.equals(layer.geometry)
