"""From a map's folder to its layers: what is in them, in any CRS, and what happens when it is asked for again."""

import json
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import osmium
import osmnx
import pyogrio
import pyproj
import pytest
import rasterio
import shapely

from lib.errors import InputError, ParameterError
from lib.grid import Grid, project
from lib.mapping import geopackage, layers
from lib.mapping.area import map_rasters
from lib.mapping.layers import LayerOptions, write_layers
from lib.mapping.options import MASK, PROBABILITY, MapOptions
from lib.osm import read_osm
from lib.vectors.buildings import BuildingOptions
from lib.vectors.roadgraph import GraphOptions, graph_to_mask

SIDE = 320
WIDTH_PX = 10.0
LONG = np.array([[20.0, 160.0], [300.0, 160.0]])  # x, y, px
CROSSING = np.array([[200.0, 30.0], [200.0, 290.0]])
HOUSE = shapely.box(40, 40, 70, 64)  # px
GRIDS = {
    "utm": Grid((0.5, 0, 385_000, 0, -0.5, 6_672_000), "EPSG:32635", SIDE, SIDE),
    "web mercator": Grid((1.0, 0, 2_776_000, 0, -1.0, 8_438_000), "EPSG:3857", SIDE, SIDE),  # 0.5 m on the ground
    "degrees": Grid((9e-6, 0, 24.9, 0, -4.5e-6, 60.0), "EPSG:4326", SIDE, SIDE),
    "pixels": Grid((1, 0, 0, 0, 1, 0), None, SIDE, SIDE),
}
EVERYTHING = LayerOptions(formats=("parquet", "geojson", "fgb", "csv"), block_px=256)


def write_map(folder: Path, grid: Grid, task: str = "roads", certainty: float = 0.8) -> Path:
    """A folder as the prediction leaves it: two roads that cross, or a house; half as certain in the right half."""
    roads = graph_to_mask([LONG, CROSSING], (SIDE, SIDE), WIDTH_PX)
    houses = np.zeros((SIDE, SIDE), np.uint8)
    houses[40:64, 40:70] = 255
    mask = roads if task == "roads" else houses
    probability = np.full((SIDE, SIDE), round(255 * certainty), np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8", "crs": grid.crs}
    if grid.crs is not None:
        profile["transform"] = rasterio.Affine(*grid.transform)
    for name, pixels in ((PROBABILITY, probability), (MASK, mask)):
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(folder / name, "w", **profile) as file:
            file.write(pixels, 1)
            file.write_mask(np.full((SIDE, SIDE), 255, np.uint8))
    (folder / layers.MAP).write_text(json.dumps({"task": task, "threshold": 0.5, "options": {"gsd_m": 0.5}}))
    return folder


def ground_m(grid: Grid, line: np.ndarray) -> float:
    lonlat = project(grid.pixel_to_world(line), grid.crs, "EPSG:4326")
    return pyproj.Geod(ellps="WGS84").line_length(*lonlat.T)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", GRIDS)
def test_roads_have_their_place_length_width_and_confidence_in_any_crs(name, tmp_path):
    grid, folder = GRIDS[name], write_map(tmp_path / "kampala", GRIDS[name])
    formats = tuple(kind for kind in EVERYTHING.formats if grid.crs is not None or kind != "geojson")
    summary = write_layers(folder, replace(EVERYTHING, formats=formats))
    roads = gpd.read_file(folder / "map.gpkg", layer="roads")
    assert list(roads.columns) == ["length_m", "width_m", "confidence", "confidence_class", "geometry"]
    assert (roads.crs is None) == (grid.crs is None)
    assert roads.crs == grid.crs or grid.crs is None
    expected_m = 0.5 * 540 if grid.crs is None else ground_m(grid, LONG) + ground_m(grid, CROSSING)
    assert roads["length_m"].sum() == pytest.approx(expected_m, abs=3)
    assert roads["width_m"].to_numpy() == pytest.approx(WIDTH_PX * 0.5, abs=0.5)
    assert roads["confidence"].to_numpy() == pytest.approx(0.8)
    assert set(roads["confidence_class"]) == {"likely"}
    # they meet in one point, four of them
    middle = shapely.Point(grid.pixel_to_world(np.array([200.0, 160.0])))
    ends = shapely.get_coordinates([line.boundary for line in roads.geometry])
    places, times = np.unique(ends, axis=0, return_counts=True)
    assert times.max() == 4
    pixel = np.hypot(grid.transform[0], grid.transform[4])
    assert shapely.Point(places[times.argmax()]).distance(middle) < 1.5 * pixel

    # all files hold the same
    assert set(summary["files"]) == {"map.gpkg", *(f"map.{kind}" for kind in formats)} | (
        {"map.osm"} if grid.crs is not None else set()
    )
    for kind in {"parquet", "fgb"} & set(formats):
        path = folder / f"map.{kind}"
        other = gpd.read_parquet(path) if kind == "parquet" else gpd.read_file(path)
        assert other.crs == roads.crs and len(other) == len(roads)
        assert sorted(other.geometry.to_wkt()) == sorted(roads.geometry.to_wkt())
        assert other["length_m"].sum() == pytest.approx(roads["length_m"].sum())
    assert summary["length_km"] == pytest.approx(roads["length_m"].sum() / 1000, abs=1e-3)
    assert summary["classes"] == {"sure": 0, "likely": 4, "doubtful": 0}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("image_m", [1.0, 0.5, 0.3])
def test_an_image_without_place_that_is_resampled_keeps_its_metres(tmp_path, red, write_scene, image_m):
    """Of a network that learned from 0.5 m a pixel."""
    image = np.full((3, 200, 300), 10, np.uint8)
    image[:, 92:108, 50:250] = 250
    scene = write_scene(tmp_path / "a.tif", image, crs=None, transform=rasterio.Affine.identity())
    options = MapOptions(window_px=256, overlap_px=32, views="none", gsd_m=image_m)
    map_rasters(red(), [scene], tmp_path / "map", options, lambda line: None)
    write_layers(tmp_path / "map")
    roads = gpd.read_file(tmp_path / "map/map.gpkg", layer="roads")
    # ends of a centre line lie half a width inside
    assert roads["length_m"].sum() == pytest.approx(200 * image_m, abs=18 * image_m)
    assert roads["width_m"].to_numpy() == pytest.approx(16 * image_m, rel=0.1)
    assert roads.total_bounds[[0, 2]] * 0.5 == pytest.approx(np.array([50, 250]) * image_m, abs=9 * image_m)

    # where somebody says another size, the same rasters are traced anew
    write_layers(tmp_path / "map", LayerOptions(gsd_m=2 * image_m))
    again = gpd.read_file(tmp_path / "map/map.gpkg", layer="roads")
    assert again["length_m"].sum() == pytest.approx(2 * roads["length_m"].sum(), rel=0.05)
    facts = json.loads((tmp_path / "map/map.json").read_text())
    facts["options"]["gsd_m"] = 2 * image_m
    (tmp_path / "map/map.json").write_text(json.dumps(facts))
    assert write_layers(tmp_path / "map")["length_km"] == pytest.approx(again["length_m"].sum() / 1000, abs=1e-3)


def test_the_osm_file_is_the_same_network_for_pyosmium_osmnx_and_this_project(tmp_path):
    folder = write_map(tmp_path, GRIDS["utm"])
    write_layers(folder, LayerOptions(highway="residential"))
    classes = [item.tags["highway"] for item in osmium.FileProcessor(folder / "map.osm") if item.is_way()]
    assert classes == ["residential"] * 4
    # osmnx keeps streets in both directions
    graph = osmnx.graph_from_xml(folder / "map.osm", bidirectional=True, simplify=True, retain_all=True)
    assert sorted(degree for _, degree in graph.degree()) == [2, 2, 2, 2, 8]
    roads = gpd.read_file(folder / "map.gpkg", layer="roads")
    again = read_osm(folder / "map.osm").roads.to_crs(roads.crs)
    assert again.length.sum() == pytest.approx(roads.length.sum(), rel=1e-4)
    assert shapely.hausdorff_distance(again.union_all(), roads.union_all()) < 0.02


def test_buildings_have_their_area_on_the_ground(tmp_path):
    for name in ("utm", "web mercator"):
        grid, folder = GRIDS[name], write_map(tmp_path / name, GRIDS[name], "buildings", certainty=0.95)
        summary = write_layers(folder, EVERYTHING)
        houses = gpd.read_file(folder / "map.gpkg", layer="buildings")
        assert list(houses.columns) == ["area_m2", "confidence", "confidence_class", "geometry"]
        lonlat = project(grid.pixel_to_world(np.array(HOUSE.exterior.coords)), grid.crs, "EPSG:4326")
        expected_m2 = abs(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(*lonlat.T)[0])
        assert houses["area_m2"].sum() == pytest.approx(expected_m2, rel=2e-3)
        assert houses["confidence_class"].tolist() == ["sure"] and summary["features"] == 1
        in_pixels = shapely.transform(houses.geometry[0], grid.world_to_pixel)
        assert in_pixels.symmetric_difference(HOUSE).area < 1e-3
        assert len(read_osm(folder / "map.osm").buildings) == 1


def test_what_is_there_already_stays_and_other_formats_need_no_tracing(tmp_path, monkeypatch):
    folder = write_map(tmp_path, GRIDS["utm"])
    first = write_layers(folder, LayerOptions(formats=("csv",)))
    # somebody has compared and reviewed meanwhile
    missing = gpd.read_file(folder / "map.gpkg", layer="roads").assign(status="accepted")
    geopackage.add_layers(folder / "map.gpkg", {"missing_roads": missing})
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("map.*[!k]")}
    monkeypatch.setattr(layers, "trace", lambda *_: pytest.fail("traced again"))
    assert write_layers(folder, LayerOptions(formats=("csv",))) == first
    assert write_layers(folder, LayerOptions(formats=("csv",), block_px=512)) == first
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("map.*[!k]")} == before
    write_layers(folder, LayerOptions(formats=("fgb",)))
    assert (folder / "map.fgb").is_file() and not (folder / "map.csv").is_file()  # nobody asks for it now
    assert geopackage.layer_names(folder / "map.gpkg") == ["roads", "missing_roads"]
    # another tracing, or another curve, is another map; what people decided stays
    monkeypatch.undo()
    write_layers(folder, LayerOptions(roads=GraphOptions(tolerance_m=3.0)))
    assert sorted(geopackage.layer_names(folder / "map.gpkg")) == ["missing_roads", "roads"]
    before = gpd.read_file(folder / "map.gpkg", layer="roads")["confidence"]
    write_layers(folder, LayerOptions(roads=GraphOptions(tolerance_m=3.0)), curve=np.square)
    after = gpd.read_file(folder / "map.gpkg", layer="roads")["confidence"]
    assert (after < before).all() and (after >= before**2 - 1e-3).all()


def test_a_map_without_roads_has_an_empty_layer(tmp_path):
    folder = write_map(tmp_path, GRIDS["utm"])
    with rasterio.open(folder / "mask.tif", "r+") as file:
        file.write(np.zeros((SIDE, SIDE), np.uint8), 1)
    summary = write_layers(folder, EVERYTHING)
    assert summary["features"] == 0 and summary["length_km"] == 0
    info = pyogrio.read_info(folder / "map.gpkg", layer="roads")
    assert info["features"] == 0 and info["geometry_type"] == "LineString" and info["crs"] == "EPSG:32635"
    assert "LINESTRING EMPTY" in (folder / "map.csv").read_text()
    for name in summary["files"]:
        assert (folder / name).stat().st_size


def test_what_was_not_seen_is_no_road(tmp_path):
    folder = write_map(tmp_path, GRIDS["utm"])
    seen = np.full((SIDE, SIDE), 255, np.uint8)
    seen[:, 190:] = 0
    with rasterio.open(folder / "mask.tif", "r+") as file:
        file.write_mask(seen)
    write_layers(folder)
    assert len(gpd.read_file(folder / "map.gpkg", layer="roads")) == 1


def test_a_road_over_a_gap_in_the_image_is_as_sure_as_what_was_seen_of_it(tmp_path):
    folder, gap = write_map(tmp_path, GRIDS["utm"]), np.s_[:, 90:110]
    for name in (PROBABILITY, MASK):  # as maps have it: 0 where nothing was seen
        with rasterio.open(folder / name, "r+") as file:
            pixels, seen = file.read(1), np.full((SIDE, SIDE), 255, np.uint8)
            pixels[gap] = seen[gap] = 0
            file.write(pixels, 1)
            file.write_mask(seen)
    write_layers(folder)
    roads = gpd.read_file(folder / "map.gpkg", layer="roads")
    over = roads[roads.intersects(shapely.Point(GRIDS["utm"].pixel_to_world(np.array([100.0, 160.0]))).buffer(1))]
    assert len(over) == 1 and over["length_m"].item() > 80
    assert roads["confidence"].to_numpy() == pytest.approx(0.8)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_folder_that_is_no_map_is_named(tmp_path):
    with pytest.raises(InputError, match=r"map\.json: expected a map's JSON"):
        write_layers(tmp_path)
    folder = write_map(tmp_path / "a", GRIDS["utm"], task="rivers")
    with pytest.raises(ParameterError, match=r"task of .*map\.json"):
        write_layers(folder)
    folder = write_map(tmp_path / "b", GRIDS["utm"])
    (folder / "mask.tif").write_bytes((folder / "mask.tif").read_bytes()[:900])
    with pytest.raises(InputError, match=r"mask\.tif"):
        write_layers(folder)
    assert not (folder / "map.gpkg").exists()
    folder = write_map(tmp_path / "c", GRIDS["pixels"])
    with pytest.raises(InputError, match="no CRS, so that there is no geojson of it"):
        write_layers(folder, LayerOptions(formats=("geojson",)))
    (folder / "map.json").write_text('{"task": "roads"}')
    with pytest.raises(InputError, match="give gsd_m, metres a pixel"):
        write_layers(folder)
    assert write_layers(folder, LayerOptions(gsd_m=0.5))["length_km"] == pytest.approx(0.27, abs=3e-3)
    write_map(folder, GRIDS["utm"])
    (write_map(tmp_path / "d", GRIDS["web mercator"]) / "mask.tif").replace(folder / "mask.tif")
    with pytest.raises(InputError, match="expected one grid"):
        write_layers(folder)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"formats": ("shp",)}, "the nearest is"),
        ({"highway": "road'/>"}, "a value of OSM's key highway"),
        ({"source": "two\nlines"}, "on one line"),
        ({"block_px": 513}, "multiple of 2"),
        ({"roads": BuildingOptions()}, "GraphOptions"),
    ],
)
def test_options_out_of_range_are_refused(values, says):
    with pytest.raises(ParameterError, match=says):
        LayerOptions(**values)
