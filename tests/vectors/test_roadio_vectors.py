"""Road networks in vector files: what is written comes back equal, and what is no road network in pixels is refused."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
from shapely import LineString, MultiLineString, Point

from lib.errors import InputError
from lib.vectors import roadio

ROADS = [np.array(line, float) for line in ([(0, 0), (100, 10)], [(5, 5), (6, 6), (7, 5)], [(900, 1), (1, 900)])]
SUFFIXES = ["geojson", "json", "gpkg", "fgb", "shp", "parquet", "geoparquet"]


class Doubled:
    """A grid of 2 m pixels whose world is upside down."""

    crs = "EPSG:32633"

    def world_to_pixel(self, xy):
        return xy / [2.0, -2.0]

    def pixel_to_world(self, xy):
        return xy * [2.0, -2.0]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("grid", [None, Doubled()])
def test_what_is_written_comes_back_equal_and_in_order(tmp_path, suffix, grid):
    path = tmp_path / f"roads.{suffix}"
    roadio.write_vector(path, [*ROADS[::-1], np.empty((0, 2))], grid)
    back = roadio.read_vector(path, grid)
    assert [line.round(4).tolist() for line in back] == [line.tolist() for line in ROADS[::-1]]
    assert {p.name for p in tmp_path.iterdir()} <= {f"roads.{s}" for s in (suffix, "shx", "dbf", "prj", "cpg")}
    frame = gpd.read_parquet(path) if "parquet" in suffix else gpd.read_file(path)
    assert len(frame) == 3 and (frame.crs == (grid.crs if grid else None) or suffix.endswith("json"))
    if "parquet" not in suffix:
        assert pyogrio.read_info(path)["features"] == 3


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_roads_come_back_as_none(tmp_path, suffix):
    roadio.write_vector(tmp_path / f"roads.{suffix}", [])
    assert roadio.read_vector(tmp_path / f"roads.{suffix}") == []


def test_a_shapefile_keeps_nothing_of_the_one_before_it(tmp_path):
    roadio.write_vector(tmp_path / "roads.shp", ROADS, Doubled())
    (tmp_path / "roads.qix").write_bytes(b"an index of other roads")
    roadio.write_vector(tmp_path / "roads.shp", ROADS[:1])
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".cpg", ".dbf", ".shp", ".shx"]
    assert len(roadio.read_vector(tmp_path / "roads.shp")) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_write_leaves_the_former_file_alone(tmp_path, suffix, monkeypatch):
    roadio.write_vector(tmp_path / f"roads.{suffix}", ROADS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    for name in ("to_file", "to_parquet"):
        monkeypatch.setattr(gpd.GeoDataFrame, name, full)
    with pytest.raises(OSError, match="No space"):
        roadio.write_vector(tmp_path / f"roads.{suffix}", ROADS[:1])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_names_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"ends in \.geojson"):
        roadio.write_vector(tmp_path / "roads.kml", ROADS)
    assert not list(tmp_path.iterdir())


def layer(path, lines, crs=None, **options):
    gpd.GeoDataFrame(geometry=lines, crs=crs).to_file(path, **options)
    return path


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_vector_files_are_checked(tmp_path):
    with pytest.raises(InputError, match="readable vector file"):
        roadio.read_vector(tmp_path / "none.gpkg")
    with pytest.raises(InputError, match="expected lines, found Point"):
        roadio.read_vector(layer(tmp_path / "points.geojson", [Point(1, 1)], 4326))
    many = MultiLineString([[(0, 0), (9, 9)], [(20, 0), (29, 9)]])
    assert len(roadio.read_vector(layer(tmp_path / "multi.gpkg", [many, None, LineString()]))) == 2
    pd.DataFrame({"road": [1]}).to_parquet(tmp_path / "table.parquet")
    with pytest.raises(InputError, match=r"table\.parquet: expected a readable vector file"):
        roadio.read_vector(tmp_path / "table.parquet")
    pyogrio.write_dataframe(pd.DataFrame({"road": [1]}), tmp_path / "table.gpkg")
    with pytest.raises(InputError, match=r"table\.gpkg: .* a table without geometry"):
        roadio.read_vector(tmp_path / "table.gpkg")


@pytest.mark.parametrize("suffix", ["gpkg", "shp", "fgb", "parquet"])
def test_coordinates_that_are_no_pixels_are_refused(tmp_path, suffix):
    degrees = gpd.GeoDataFrame(geometry=[LineString([(24.9, 60.1), (24.91, 60.11)])], crs=4326)
    for name, frame in (("degrees", degrees), ("metres", degrees.to_crs(32635))):
        path = tmp_path / f"{name}.{suffix}"
        frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
        with pytest.raises(
            InputError, match=rf"{path.name}: expected pixels, found coordinates of WGS.84.*give the grid"
        ):
            roadio.read_vector(path)
        bare = tmp_path / f"bare_{name}.{suffix}"
        frame = frame.set_crs(None, allow_override=True)
        frame.to_parquet(bare) if suffix == "parquet" else pyogrio.write_dataframe(frame, bare)
        with pytest.raises(InputError, match=f"looks like {name}"):
            roadio.read_vector(bare)


def test_geojson_claims_degrees_of_pixels_too(tmp_path):
    lonlat = layer(tmp_path / "lonlat.geojson", [LineString([(24.9, 60.1), (24.91, 60.11)])], 4326)
    with pytest.raises(InputError, match="looks like degrees"):
        roadio.read_vector(lonlat)
    pixels = layer(tmp_path / "pixels.geojson", [LineString([(0, 0), (700, 650)])], 4326)
    assert roadio.read_vector(pixels)[0].tolist() == [[0, 0], [700, 650]]
    with pytest.raises(InputError, match="expected degrees, as its CRS WGS 84 says"):
        roadio.read_vector(pixels, Doubled())


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_second_layer_of_lines_is_refused_by_name_and_other_layers_are_not(tmp_path):
    path = layer(tmp_path / "roads.gpkg", [LineString([(0, 0), (700, 650)])], layer="roads")
    layer(path, [Point(1, 1)], layer="places", mode="a")
    layer(path, [], layer="drafts", mode="a", geometry_type="LineString")
    assert len(roadio.read_vector(path)) == 1
    layer(path, [LineString([(0, 0), (700, 640)])], layer="roads_2019", mode="a")
    with pytest.raises(InputError, match="expected one layer of lines, found 'roads', 'roads_2019'"):
        roadio.read_vector(path)


@pytest.mark.parametrize("suffix", ["geojson", "gpkg", "fgb", "shp", "parquet"])
def test_damaged_vector_files_are_named_or_read(tmp_path, damages, suffix):
    path = tmp_path / f"roads.{suffix}"
    roadio.write_vector(path, ROADS)
    for what, data in damages(path.read_bytes(), 40):
        path.write_bytes(data)
        try:
            assert all(line.shape[1] == 2 for line in roadio.read_vector(path))
        except InputError as error:
            assert path.name in str(error), what
