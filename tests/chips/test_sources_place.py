"""Where scenes lie: across the antimeridian, by a key of their source, or nowhere; files of users that went wrong."""

import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.transform import Affine

from lib.chips.manifest import read_image, read_mask
from lib.chips.sources import find_scenes
from lib.errors import InputError, ParameterError
from lib.grid import LONLAT, Grid, project
from lib.osm.layers import area_of_interest
from lib.paths import ROOT
from lib.show import split_map

CASES = ROOT.parent / "shared" / "cases" / "labels"
ALL = {"val_share": 0.0, "test_share": 0.0, "chip_px": 512}
JGW = "1.0\n0.0\n0.0\n-1.0\n385000.5\n6670999.5\n"
UTM = "EPSG:32635"


def write(path, transform, crs, side=200):
    profile = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=crs, transform=Affine(*transform), **profile) as file:
        file.write(np.full((3, side, side), 90, np.uint8))


def streets(path, lines, crs=LONLAT):
    tags = {"highway": ["residential"] * len(lines), "width": ["50"] * len(lines)}
    gpd.GeoDataFrame(tags, geometry=[shapely.LineString(line) for line in lines], crs=crs).to_file(path)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:3460", (5.0, 0, 2_132_685.0, 0, -5.0, 4_016_172.0)),  # Fiji's own grid
        ("EPSG:32701", (5.0, 0, 179_600.0, 0, -5.0, 8_135_000.0)),
        (LONLAT, (5e-5, 0, 179.995, 0, -5e-5, -16.85)),  # degrees go on beyond 180
        (LONLAT, (5e-5, 0, -180.005, 0, -5e-5, -16.85)),
        ("EPSG:3857", (5.0, 0, 20_037_508.34 - 500, 0, -5.0, -1_902_000.0)),
    ],
    ids=["Fiji", "UTM", "degrees east", "degrees west", "mercator"],
)
def test_a_scene_across_the_antimeridian_has_its_streets_on_both_sides(build, tmp_path, crs, transform):
    write(tmp_path / "a.tif", transform, crs)
    grid = Grid(transform, crs, 200, 200)
    outline = area_of_interest(grid)
    assert len(outline.geoms) == 2 and np.allclose(np.abs(outline.bounds)[[0, 2]], 180)
    assert shapely.area(outline) < 2e-4
    grown = area_of_interest(outline, 100.0)
    assert grown.covers(outline) and len(grown.geoms) == 2
    assert np.abs(shapely.get_coordinates(grown)[:, 0]).min() > 179.98
    inner = project(grid.pixel_to_world(np.array([[40.0, 0], [40, 200], [160, 0], [160, 200]])), crs, LONLAT)
    inner[:, 0] = (inner[:, 0] + 180) % 360 - 180
    assert inner[0, 0] > 179 and inner[2, 0] < -179
    streets(tmp_path / "streets.geojson", [inner[:2], inner[2:]])
    manifest = build(tmp_path, {"images": "*.tif", "osm": "streets.geojson"}, gsd_m=5.0, **ALL)
    mask = read_mask(manifest["mask"][0])
    row = (mask[mask.shape[0] // 2] == 255).astype(int)
    assert (np.diff(row) == 1).sum() == 2 and 16 <= row.sum() <= 24  # two streets of 50 m
    split_map(manifest)


def test_only_scenes_over_the_antimeridian_are_in_two_parts():
    beside = Grid((5e-5, 0, 179.99, 0, -5e-5, -16.85), LONLAT, 200, 200)  # ends at 180
    assert beside.footprint_wkt().startswith("POLYGON") and not beside.is_over_antimeridian
    assert area_of_interest(beside, 50.0).bounds[0] == -180
    turned = Grid((5e-5, 0, 190.0, 0, -5e-5, -16.85), LONLAT, 200, 200)  # longitudes from 0 to 360
    assert area_of_interest(turned).bounds == pytest.approx((-170, -16.86, -169.99, -16.85))
    assert turned.world_to_pixel([[-169.995, -16.855]]) == pytest.approx(np.array([[100, 100]]))


def test_a_source_states_the_crs_of_world_files(build, tmp_path):
    Image.new("RGB", (400, 400), (90, 90, 90)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jgw").write_text(JGW)
    streets(tmp_path / "streets.gpkg", [[(385_000, 6_670_800), (385_400, 6_670_800)]], UTM)
    source = {"images": "*.jpg", "osm": "streets.gpkg"}
    with pytest.raises(InputError, match=r"a\.jpg is not georeferenced: .*no CRS. Give its source the `crs`"):
        build(tmp_path, source, gsd_m=1.0)
    with pytest.raises(InputError, match=r"a\.jpg is not georeferenced .*give masks, or the `crs`"):
        build(tmp_path, source | {"gsd_m": 1.0}, gsd_m=1.0)
    with pytest.raises(ParameterError, match="crs is 'EPSG:none'"):
        build(tmp_path, source | {"crs": "EPSG:none"}, gsd_m=1.0)
    as_text, as_number = (build(tmp_path, source | {"crs": crs}, gsd_m=1.0, **ALL) for crs in (UTM, 32635))
    assert list(as_text["crs"]) == list(as_number["crs"]) == [UTM]
    mask = read_mask(as_number["mask"][0])
    assert (mask[:, 200] == 255).sum() == 50


def test_a_given_gsd_wins_over_a_guess_from_a_name_and_not_over_a_place(tmp_path):
    for name in ("1238424-1046544-21.png", "town-2021-11-14.png"):
        Image.new("RGB", (256, 256)).save(tmp_path / name)
    write(tmp_path / "placed.tif", (0.5, 0, 385_000.0, 0, -0.5, 6_671_000.0), UTM, 256)
    scenes = find_scenes({"images": "*.*", "clean": "masks/{stem}.png", "gsd_m": 1.0}, tmp_path, 1.0)
    assert [(scene.grid.width, scene.grid.crs) for scene in scenes] == [(256, None), (128, UTM), (256, None)]


@pytest.mark.parametrize("key", [{"gsd_m": 0}, {"gsd_m": "1"}, {"gsd_m": True}, {"bands": 3}, {"bands": [1, 2]}])
def test_values_of_a_source_that_make_no_sense(tmp_path, key):
    with pytest.raises(ParameterError, match=f"a source: '?{next(iter(key))}'? is"):
        find_scenes({"images": "*.tif", "osm": "x.gpkg"} | key, tmp_path, 1.0)


def test_bands_of_a_source_are_cut(build, tmp_path):
    write(tmp_path / "a.tif", (1.0, 0, 385_000.0, 0, -1.0, 6_671_000.0), UTM)
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.write(np.full((200, 200), 7, np.uint8), 1)
    streets(tmp_path / "s.gpkg", [[(385_000, 6_670_900), (385_200, 6_670_900)]], UTM)
    source = {"images": "*.tif", "osm": "s.gpkg", "bands": [3, 2, 1]}
    assert read_image(build(tmp_path, source, gsd_m=1.0, **ALL)["image"][0])[5, 5].tolist() == [90, 90, 7]


def test_a_scene_too_large_at_the_chips_gsd_is_named(tmp_path):
    write(tmp_path / "a.tif", (90.0, 0, 385_000.0, 0, -90.0, 6_671_000.0), UTM, 1200)
    with pytest.raises(InputError, match=r"a\.tif is 2160000 x 2160000 px at 0\.05 m.*larger gsd_m"):
        find_scenes({"images": "*.tif", "osm": "x.gpkg"}, tmp_path, 0.05)


@pytest.fixture
def case(tmp_path):
    """The input of a case that a user met, copied to where chips may be written."""

    def copied(name) -> Path:
        if not CASES.is_dir():
            pytest.skip("the cases of users are not here (../shared/cases)")
        shutil.copytree(CASES / name / "input", tmp_path, dirs_exist_ok=True)
        return tmp_path

    return copied


def test_case_04_a_road_of_12_m_in_degrees_and_in_oblong_pixels(build, case):
    folder = case("04_degrees_not_square_on_the_ground")
    for name in ("degrees", "oblong"):
        source = {"images": f"images/{name}.tif", "osm": f"{name}.geojson"}
        mask = read_mask(build(folder, source, gsd_m=0.5, **ALL | {"chip_px": 2048})["mask"][0]) == 255
        assert mask[10].sum() * 0.5 == pytest.approx(12, abs=0.6) == mask[:, 10].sum() * 0.5


def test_case_09_palettes(build, case):
    folder = case("09_paletted_imagery")
    for name in ("ortho.tif", "scan.png"):
        source = {"images": f"images/{name}", "clean": "masks/m.tif", "gsd_m": 1.0}
        assert read_image(build(folder, source, gsd_m=1.0, **ALL)["image"][0])[100, 100].tolist() == [30, 160, 60]


def test_case_12_the_antimeridian(build, case):
    folder = case("12_antimeridian")
    manifest = build(folder, {"images": "images/*.tif", "osm": "taveuni.geojson"}, gsd_m=5.0, **ALL)
    assert (np.diff((read_mask(manifest["mask"][0])[200] == 255).astype(int)) == 1).sum() == 2
    assert len(shapely.from_wkt(manifest["footprint"][0]).geoms) == 2


def test_cases_13_to_16_places(build, case):
    (tile,) = find_scenes({"images": "images/*/*/*.png", "osm": "overpass"}, case("13_tms_tiles"), 1.0)
    assert tile.grid.footprint_wkt().split("((")[1].split()[1].startswith("60.1")
    source, skipped = {"images": "images/local.tif", "clean": "masks/m.tif"}, {}
    assert find_scenes(source, case("14_local_crs"), 1.0, skipped) == [] and "local" in next(iter(skipped.values()))
    assert len(build(case("14_local_crs"), source | {"gsd_m": 1.0}, gsd_m=1.0, **ALL)) == 1
    dates = {"images": "images/*2021-05-14.png", "clean": "masks/{stem}.png", "gsd_m": 1.0}
    found = find_scenes(dates, case("15_dates_taken_for_tiles"), 1.0)
    assert [(scene.grid.width, scene.grid.crs) for scene in found] == [(256, None)] * 2
    survey = {"images": "images/*.jpg", "osm": "streets.geojson", "crs": UTM}
    assert (read_mask(build(case("16_world_file_without_prj"), survey, gsd_m=1.0, **ALL)["mask"][0]) == 255).any()
