"""An area of one's own: its params files, and what a dry run says of it before anything is cut."""

import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from lib import areas
from lib.errors import InputError, ParameterError
from lib.mapping.images import find_images
from lib.parameters import NOTEBOOKS, declared, load
from lib.paths import ROOT, locked

UTM, LEFT, TOP, SIDE_PX = "EPSG:32635", 385_500.0, 6_672_900.0, 512


@pytest.fixture
def town(tmp_path, monkeypatch):
    """Two images of 256 m a side, OSM lines over both, and polygons drawn by hand over the first."""
    for module in ("lib.areas", "lib.layout", "lib.parameters"):
        monkeypatch.setattr(f"{module}.ROOT", tmp_path / "project")
    (tmp_path / "project" / "params" / "demo").mkdir(parents=True)
    (tmp_path / "project" / "notebooks").symlink_to(ROOT / "notebooks")
    folder = tmp_path / "town"
    (folder / "images").mkdir(parents=True)
    for number, name in enumerate("ab"):
        transform = rasterio.Affine(0.5, 0, LEFT + 256 * number, 0, -0.5, TOP)
        options = {"width": SIDE_PX, "height": SIDE_PX, "count": 3, "dtype": "uint8", "crs": UTM}
        with rasterio.open(folder / "images" / f"{name}.tif", "w", transform=transform, **options) as file:
            file.write(np.random.default_rng(number).integers(0, 255, (3, SIDE_PX, SIDE_PX), dtype=np.uint8))
    lines = [shapely.LineString([(LEFT, TOP - y), (LEFT + 512, TOP - y)]) for y in range(20, 256, 40)]
    gpd.GeoDataFrame({"highway": "residential"}, index=range(6), geometry=lines, crs=UTM).to_file(folder / "osm.gpkg")
    save_labels(folder, [line.buffer(4) for line in lines])
    return folder


def save_labels(folder, shapes, **columns):
    frame = gpd.GeoDataFrame(columns or {"id": range(len(shapes))}, geometry=shapes, crs=UTM)
    frame.to_file(folder / "labels.geojson")


def make(folder, name="my-town", **more):
    given = {"images": f"{folder}/images/*.tif", "osm": f"{folder}/osm.gpkg", "clean": f"{folder}/labels.geojson"}
    return areas.new_area(name, **given | more)


def test_chips_of_an_earlier_area_say_nothing_of_the_images(town):
    (town / "chips" / "images").mkdir(parents=True)
    with locked(town / "chips" / "manifest.csv"):
        pass  # as cutting leaves it
    with rasterio.open(town / "chips" / "images" / "c.tif", "w", width=64, height=64, count=3, dtype="uint8") as file:
        file.write(np.zeros((3, 64, 64), np.uint8))
    make(town, images=f"{town}/**/*.tif")
    mapped, first = load("my-town", NOTEBOOKS[-1])["images"], load("my-town", NOTEBOOKS[0])
    assert mapped == ["**/*.tif"] and (first["gsd_m"], first["chip_px"]) == (0.5, 256)


def test_masks_beside_the_images_are_not_mapped(town):
    for name in "ab":
        shutil.copy(town / "images" / f"{name}.tif", town / "images" / f"{name}_mask.tif")
    make(town, clean=f"{town}/images/{{stem}}_mask.tif")
    assert load("my-town", NOTEBOOKS[-1])["images"] == ["images/a.tif", "images/b.tif"]


def test_params_that_the_notebooks_take(town):
    folder = make(town)
    first = load("my-town", NOTEBOOKS[0])
    assert first["data_dir"] == str(town) and first["gsd_m"] == 0.5 and first["render_sample"] is False
    assert first["sources"] == [{"images": "images/*.tif", "osm": "osm.gpkg", "clean": "labels.geojson"}]
    for notebook in NOTEBOOKS:
        text = (folder / f"{notebook}.yaml").read_text()
        said = [line for line in text.splitlines() if line.startswith("# ") and ": " in line]
        assert len(said) >= len(declared(notebook)) - 8  # the others stand there with their own values
        own = {name: first[name] for name in ("data_dir", "render_sample", "sources", "gsd_m", "clean_chips")}
        stated = {
            NOTEBOOKS[0]: own,
            "05_map_area": {"data_dir": str(town), "images": ["images/*.tif"], "osm": "osm.gpkg"},
        }
        defaults = {name: default for name, (_, default) in declared(notebook).items()}
        assert load("my-town", notebook) | {"area": "demo"} == defaults | stated.get(notebook, {})
        uncommented = "\n".join(line.removeprefix("# ") for line in said[1:])
        (folder / f"{notebook}.yaml").write_text(uncommented)
        load("my-town", notebook)  # and are right as they stand there


def test_an_area_that_is_there_or_has_no_such_files_is_refused(town):
    make(town)
    for name, more, words in (
        ("my-town", {}, "there is an area 'my-town'.*make check AREA=my-town"),
        ("../town", {}, "plain name"),
        ("", {}, "plain name"),
        ("my town", {}, "area 'my town': expected the plain name"),
        ("new", {"images": f"{town}/*.jpg"}, r"IMAGES: no image matches .*\*\.jpg"),
        ("new", {"images": str(town)}, "IMAGES: no image in"),
        ("new", {"clean": f"{town}/nothing.gpkg"}, "CLEAN: there is no .*nothing.gpkg"),
        ("new", {"task": "road"}, "expected one of"),
        ("new", {"osm": "none", "clean": ""}, "nothing but CLEAN"),
    ):
        with pytest.raises((InputError, ParameterError), match=words):
            make(town, name, **more)
    assert {path.name for path in (areas.ROOT / "params").iterdir()} == {"demo", "my-town"}
    with pytest.raises(ParameterError, match=r"are \['demo', 'my-town'\]; a new one: make new AREA=my-vilage"):
        load("my-vilage", NOTEBOOKS[0])
    with pytest.raises(ParameterError, match="params/demo/01_rasterize_osm.yaml; write it, empty"):
        load("demo", NOTEBOOKS[0])


def test_folders_missing_parts_and_buildings(town, monkeypatch, capsys):
    monkeypatch.chdir(town)
    make(town, "folder", images="images", osm="", task="buildings")
    assert load("folder", NOTEBOOKS[0])["sources"] == [
        {"images": "images/*.tif", "osm": "overpass", "clean": "labels.geojson"}
    ]
    assert {load("folder", notebook)["task"] for notebook in NOTEBOOKS} == {"buildings"}
    make(town, "alone", osm="none")
    assert load("alone", "03_train_stage2")["start_from"] == ""
    make(town, "nothing", images="", osm="", clean="")
    assert load("nothing", "04_evaluate")["test_label"] == "osm"
    areas.check_area("nothing")
    said = capsys.readouterr().out
    assert "no images yet" in said and "images/*.tif, then: make check AREA=nothing" in said


def test_a_folder_gives_all_its_images_of_a_kind_and_says_which_others_it_leaves(town, capsys):
    (town / "images" / "b.tif").rename(town / "images" / "b.TIF")
    (town / "images" / "._a.jpg").touch()  # as macOS leaves them
    make(town, images=f"{town}/images")
    assert capsys.readouterr().out == ""
    areas.check_area("my-town")
    assert "2 scenes" in capsys.readouterr().out
    (town / "images" / "a.png").touch()
    make(town, "mixed", images=f"{town}/images")
    assert "only .tif are taken, and left out: 1 .png;" in capsys.readouterr().out


@pytest.mark.parametrize("images", ["im[1]", "im[1]/*.tif", "im[1]/*.t[hi]f", "im[1]/b[2].tif"])
def test_what_exists_is_no_pattern_whatever_brackets_its_name_has(town, monkeypatch, capsys, images):
    inside = town.with_name("town [old]")
    town.rename(inside)
    (inside / "images").rename(inside / "im[1]")
    (inside / "im[1]" / "b.tif").rename(inside / "im[1]" / "b[2].tif")
    monkeypatch.chdir(inside)
    areas.new_area("my-town", images, "osm.gpkg", "labels.geojson")
    areas.check_area("my-town")
    assert ("1 scene" if "[2]" in images else "2 scenes") in capsys.readouterr().out
    mapped = load("my-town", "05_map_area")
    found = find_images(mapped["images"], Path(mapped["data_dir"]))
    assert found == [str(inside / "im[1]" / name) for name in ("a.tif", "b[2].tif")[-len(found) :]]
    assert find_images(["im[1]"], inside) == [str(inside / "im[1]")]


def test_the_dry_run_says_what_will_come(town, capsys):
    make(town)
    areas.check_area("my-town")
    said = capsys.readouterr().out
    assert "in all scenes: 12 osm lines, 0 osm polygons, 12 osm drawn, 0 clean lines, 12 clean polygons" in said
    table = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line}
    assert table["a"][:6] == [UTM, "0.50", "3", "512", "x", "512"]
    assert [int(word) for word in table["clean"]] == [2, 4, 2]  # test, train, val
    assert "minutes on two CPU cores" in said and "GB of disk" in said and "warning" not in said
    assert not (town / "chips").exists()


def test_each_scene_is_judged_by_its_own_rows(town, capsys):
    """Whatever stands before them in the file: footways under the first image, streets under the second."""
    of = {
        kind: gpd.GeoDataFrame({"highway": kind}, index=range(3), geometry=lines, crs=UTM)
        for kind, left in (("footway", LEFT), ("residential", LEFT + 256))
        for lines in [[shapely.LineString([(left + 9, TOP - y), (left + 240, TOP - y)]) for y in (9, 120, 247)]]
    }
    for name, kinds in (("one", of), ("other", reversed(of))):
        gpd.pd.concat([of[kind] for kind in kinds]).to_file(town / "osm.gpkg")
        make(town, name, clean=f"{town}/osm.gpkg")
        areas.check_area(name)
        said = capsys.readouterr().out
        assert "6 osm lines, 0 osm polygons, 3 osm drawn" in said and "enclose" not in said


def test_labels_of_a_part_and_few_of_them_are_warned_of(town, capsys):
    corner = [shapely.box(LEFT, TOP - 200, LEFT + 8, TOP), shapely.box(LEFT, TOP - 20, LEFT + 100, TOP)]
    percent = 100 * shapely.union_all(corner).convex_hull.area / 256**2
    save_labels(town, corner)
    make(town)
    areas.check_area("my-town")
    said = capsys.readouterr().out
    assert f"warning: the clean labels enclose {percent:.0f} % of a, and the rest counts as without any" in said
    params = areas.ROOT / "params/my-town/01_rasterize_osm.yaml"
    params.write_text(params.read_text().replace("labels.geojson\n", "labels.geojson\n    clean_area: hull\n"))
    areas.check_area("my-town")
    said = capsys.readouterr().out
    assert "enclose" not in said and "warning: No chip of 'images/*.tif' is left for" in said


@pytest.mark.parametrize(
    ("shapes", "columns", "words"),
    [
        (
            [shapely.box(LEFT, TOP + y, LEFT + 200, TOP + y + 8) for y in (-900, 500)],
            {},
            "12 roads of `osm`, 0 of `clean`",
        ),
        ([shapely.LineString([(LEFT, TOP - 9), (LEFT + 99, TOP - 9)])], {"highway": ["footway"]}, "none is drawn"),
        ([shapely.box(LEFT, TOP - 300, LEFT + 512, TOP)], {}, "none says that it is a road"),
        ([shapely.box(LEFT + 9e5, TOP, LEFT + 9e5 + 9, TOP + 9)], {}, "Is it the extract of this place"),
    ],
    ids=["beside the images", "a footway", "an outline", "far away"],
)
@pytest.mark.filterwarnings("ignore:.*wider than")
def test_nothing_is_learned_from_nothing(town, capsys, shapes, columns, words):
    save_labels(town, shapes, **columns)
    make(town)
    with pytest.raises(InputError, match=rf"my-town can't be learned from as it is:(.|\n)*{words}"):
        areas.check_area("my-town")
    assert "2 scenes" in capsys.readouterr().out


def test_roads_and_buildings_of_one_area(town, capsys):
    both = {"task": "roads+buildings", "clean": f"{town}/osm.gpkg"}
    make(town, "half", **both)
    with pytest.raises(InputError, match=r"no buildings of `osm`.*the class that it holds: `osm: \{CLASS: FILE\}`"):
        areas.check_area("half")
    houses = [
        shapely.box(LEFT + x, TOP - y, LEFT + x + 12, TOP - y + 12) for x in (30, 300) for y in range(35, 256, 40)
    ]
    frame = gpd.GeoDataFrame({"building": "yes"}, index=range(len(houses)), geometry=houses, crs=UTM)
    frame.to_file(town / "osm.gpkg", layer="buildings")
    make(town, "whole", **both)
    capsys.readouterr()
    areas.check_area("whole")
    said = capsys.readouterr().out
    assert "2 scenes, roads" in said and "2 scenes, buildings" in said and "12 osm polygons" in said
    assert all(load("whole", name)["task"] == "roads+buildings" for name in NOTEBOOKS)
    with pytest.raises(ParameterError, match="a mask image is of one class"):
        make(town, "masks", task="roads+buildings", clean=f"{town}/masks/{{stem}}.png")


def test_of_many_bad_files_a_few_are_named(town, capsys):
    make(town)
    (town / "more").mkdir()
    for number in range(9):
        (town / "more" / f"{number}.png").write_bytes((ROOT / "docs" / "scores.md").read_bytes())
    path = areas.ROOT / "params" / "my-town" / f"{NOTEBOOKS[0]}.yaml"
    path.write_text(path.read_text().replace("images/*.tif", "more/*.png"))
    with pytest.raises(InputError) as caught:
        areas.check_area("my-town")
    named = [line for line in str(caught.value).splitlines() if "more/" in line]
    assert len(named) == 5 and "and 4 more files" in str(caught.value)
    assert "in all scenes" not in capsys.readouterr().out, "there are none"
