"""Nothing vanishes in silence: empty masks are said, and where all are empty without a reason it is an error."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from lib.chips.cut import ChipOptions
from lib.chips.dataset import build_chips
from lib.chips.emptiness import vectors_table, warn_of_splits
from lib.chips.manifest import load_manifest, read_mask
from lib.chips.merging import find_all_scenes
from lib.chips.sources import find_scenes
from lib.chips.vectors import read_vectors
from lib.errors import InputError, ParameterError, PPLinkNetWarning
from lib.osm.lanes import lane_profile

UTM = "EPSG:32635"
LEFT, TOP = 385_500.0, 6_672_900.0
OPTIONS = {"gsd_m": 1.0, "chip_px": 64, "val_share": 0.0, "test_share": 0.0}


def write_scene(path, left):
    transform = rasterio.Affine(1, 0, left, 0, -1, TOP)
    path.parent.mkdir(exist_ok=True)
    options = {"width": 128, "height": 128, "count": 3, "dtype": "uint8", "crs": UTM, "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", **options) as file:
        file.write(np.random.default_rng(0).integers(0, 255, (3, 128, 128), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path):
    write_scene(tmp_path / "a.tif", LEFT)
    write_scene(tmp_path / "b.tif", LEFT + 1000)
    return tmp_path


def street(left, **tags):
    line = shapely.LineString([(left + 10, TOP - 60), (left + 100, TOP - 60)])
    return gpd.GeoDataFrame({key: [value] for key, value in tags.items()}, geometry=[line], crs=UTM)


def build(folder, frame, task="roads", skipped=None, **more):
    if frame is not None:
        frame.to_file(folder / "town.gpkg")
    scenes = find_scenes({"images": "*.tif", "osm": "town.gpkg"} | more, folder, 1.0, skipped)
    layers = read_vectors(scenes, task, skipped)
    options = ChipOptions(task=task, **OPTIONS)
    manifest = load_manifest(
        build_chips(scenes, layers, folder / "chips", options, lane_profile("metric"), skipped=skipped)
    )
    return sum(int((read_mask(path) == 255).sum()) for path in manifest["mask"]), layers


@pytest.mark.parametrize(
    "frame",
    [street(LEFT, highway="footway"), street(LEFT, highway="residential", tunnel="yes")],
    ids=["a class that is not drawn", "a tunnel"],
)
def test_vectors_of_which_nothing_is_drawn_are_an_error_unless_meant(folder, frame):
    with pytest.raises(InputError, match=r"town\.gpkg: every mask of .* 1 roads lie under the chips.*empty: true"):
        build(folder, frame)
    skipped = {}
    with pytest.raises(InputError, match="no chip is left"):
        build(folder, frame, skipped=skipped)
    assert list(skipped) == [str(folder / "town.gpkg")]
    assert build(folder, frame, empty=True)[0] == 0


def test_one_scene_without_roads_among_others_is_said(folder, capsys):
    frame = gpd.pd.concat([street(LEFT, highway="primary"), street(LEFT + 1000, highway="steps")])
    assert build(folder, frame)[0] > 500
    said = capsys.readouterr().out
    assert "no roads drawn from town.gpkg on 1 scenes: b" in said and "though roads lie under 1 of them: b" in said


def test_a_place_without_roads_has_empty_masks(folder, capsys):
    """Beside one that has some: where all masks are empty there is nothing to learn from, unless that is meant."""
    beyond = street(LEFT, highway="primary").translate(0, 80)  # near the scene, which it does not touch
    frame = street(LEFT, highway="primary").set_geometry(beyond)
    nothing = street(LEFT, highway="primary", waterway="stream").assign(highway=None)  # there would be a column for it
    for vectors, task in (
        (frame, "roads"),
        (street(LEFT, highway="primary"), "buildings"),
        (street(LEFT, highway="primary").iloc[:0], "roads"),
        (nothing, "roads"),
    ):
        with pytest.raises(InputError, match=rf"no {task} of `osm` lie under.* is town\.gpkg of this place"):
            build(folder, vectors, task)
        assert build(folder, vectors, task, empty=True)[0] == 0
    assert "no roads drawn from town.gpkg on 2 scenes: a, b" in capsys.readouterr().out
    write_scene(folder / "full" / "c.tif", LEFT + 5000)
    street(LEFT + 5000, highway="primary").to_file(folder / "c.gpkg")
    frame.to_file(folder / "town.gpkg")
    sources = [{"images": "*.tif", "osm": "town.gpkg"}, {"images": "full/*.tif", "osm": "c.gpkg"}]
    scenes = find_all_scenes(sources, folder, 1.0)
    chips = build_chips(
        scenes, read_vectors(scenes, "roads"), folder / "more", ChipOptions(**OPTIONS), lane_profile("metric")
    )
    drawn = {
        scene: sum(int((read_mask(path) == 255).sum()) for path in own)
        for scene, own in load_manifest(chips).groupby("scene")["mask"]
    }
    assert drawn["a"] == drawn["b"] == 0 < drawn["c"]


def test_rows_that_could_not_be_roads_are_an_error_unless_meant(folder):
    with pytest.raises(InputError, match=r"town\.gpkg: its rows lie under the images, but none says"):
        build(folder, street(LEFT, railway="rail"))
    assert build(folder, street(LEFT, railway="rail"), empty=True)[0] == 0
    with pytest.raises(ParameterError, match="'empty' is a bool"):
        build(folder, None, empty="yes")


def test_mask_images_of_nothing_are_an_error_unless_meant(folder):
    for name in ("a", "b"):
        with rasterio.open(
            folder / f"{name}.png", "w", driver="PNG", width=128, height=128, count=1, dtype="uint8"
        ) as f:
            f.write(np.zeros((1, 128, 128), np.uint8))
    with pytest.raises(InputError, match="every mask of .* nothing but background"):
        build(folder, None, osm="{stem}.png")
    assert build(folder, None, osm="{stem}.png", empty=True)[0] == 0


def test_the_table_lists_every_layer_that_was_read(folder):
    street(LEFT, highway="primary").to_file(folder / "town.gpkg", layer="old roads")
    street(LEFT, highway="primary").assign(geometry=[None]).to_file(folder / "town.gpkg", layer="empty")
    frame = gpd.pd.concat([street(LEFT, highway="primary"), street(LEFT, highway="primary").assign(geometry=[None])])
    frame.to_file(folder / "town.gpkg", layer="new roads")
    table = vectors_table(build(folder, None)[1]).set_index("layer")
    assert table["roads"].to_dict() == {"old roads": 1, "empty": 0, "new roads": 1}
    assert set(table["read as"]) == {"tags of OSM"} and set(table["source"]) == {"town.gpkg"}


def test_a_split_without_roads_is_warned_of_where_others_have_some():
    masks = [("osm", "train", 50), ("osm", "val", 0), ("osm", "val", 0), ("osm", "test", 7), ("clean", "val", 0)]
    with pytest.warns(PPLinkNetWarning) as caught:
        warn_of_splits(masks, "roads")
    (said,) = [str(warning.message) for warning in caught]
    assert said.startswith("no val chip of `osm` shows any roads: by it no epoch can be chosen. Take another")


def test_one_road_leaves_splits_without(folder, monkeypatch):
    (folder / "b.tif").unlink()
    for name, value in {"chip_px": 32, "val_share": 0.25, "test_share": 0.25}.items():
        monkeypatch.setitem(OPTIONS, name, value)
    line = shapely.LineString([(LEFT + 5, TOP - 10), (LEFT + 25, TOP - 10)])
    road = gpd.GeoDataFrame({"highway": ["residential"]}, geometry=[line], crs=UTM)
    with pytest.warns(PPLinkNetWarning, match="no (val|test) chip of `osm` shows any roads"):
        build(folder, road)
