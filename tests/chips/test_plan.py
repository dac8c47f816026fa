"""Labels for a part of an image: no clean chip outside, and nothing known beyond the edge of one across it."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from lib.chips.manifest import read_mask
from lib.chips.options import check_source
from lib.chips.sources import find_scenes
from lib.chips.vectors import chosen_area, clean_areas
from lib.errors import InputError, ParameterError

GSD_M, LEFT, TOP, CRS = 0.5, 500_000.0, 6_700_000.0, "EPSG:32635"  # of the scene of conftest.py, 4 x 4 chips
SOURCE = {"images": "*.tif", "osm": "osm.gpkg", "clean": "truth.gpkg", "clean_area": "labelled.gpkg"}
SHARES = {"val_share": 0.25, "test_share": 0.25}


def save_box(path, left_px, top_px, right_px, bottom_px):
    """A rectangle of the scene as a file of polygons."""
    box = shapely.box(*(LEFT + GSD_M * left_px, TOP - GSD_M * bottom_px, LEFT + GSD_M * right_px, TOP - GSD_M * top_px))
    gpd.GeoDataFrame({"id": [1]}, geometry=[box], crs=CRS).to_file(path)


def places(manifest, label):
    """(row, column) of each chip with that label -> its split."""
    own = manifest[manifest["label"] == label]
    names = own["chip"].str.extract(r"_r(\d+)_c(\d+)$").astype(int) // 100
    return dict(zip(names.itertuples(index=False, name=None), own["split"], strict=True))


def test_chips_outside_have_no_clean_label_and_train(build, area):
    save_box(area / "labelled.gpkg", 50, 0, 400, 200)  # the upper half, from the middle of the first chip on
    manifest = build(area, SOURCE, **SHARES)
    clean, osm = places(manifest, "clean"), places(manifest, "osm")
    assert {place: split for place, split in clean.items() if place[0] == 1} == {
        **dict.fromkeys([(1, 0), (1, 1)], "train"),
        (1, 2): "val",
        (1, 3): "test",
    }
    assert {row for row, _ in clean} == {0, 1}
    assert {split for (row, _), split in osm.items() if row > 1} == {"train"} and len(osm) == 14  # but two that test
    rows = manifest[manifest["label"] == "clean"].set_index("chip")["mask"]
    across, inside = (read_mask(rows[f"scene_r00100_c00{column}00"]) for column in (0, 1))
    assert (across[:, :50] == 127).all() and (across[:, 50:] != 127).all() and (inside != 127).all()
    assert (across[95:, 50:] == 255).all()
    lower = manifest[(manifest["label"] == "osm") & (manifest["chip"] == "scene_r00100_c00000")]["mask"]
    assert (read_mask(lower.iloc[0]) != 127).all()  # the map is known everywhere


def test_two_sources_over_one_file_are_one_scene(build, area):
    save_box(area / "labelled.gpkg", 50, 0, 400, 200)
    whole = build(area, SOURCE, **SHARES)
    osm = {"images": "*.tif", "osm": "osm.gpkg"}
    for clean in (
        {"images": "scene.*", "clean": "truth.gpkg", "clean_area": "labelled.gpkg"},
        {"images": "{id}.tif", "clean": "truth.gpkg", "area": "labelled.gpkg"},
    ):
        columns = ["chip", "label", "split", "mask"]
        assert build(area, [osm, clean], **SHARES)[columns].equals(whole[columns])
    with pytest.raises(ParameterError, match=r"two sources show .*scene\.tif, with osm: 'osm\.gpkg' and osm: 'b"):
        build(area, [osm, {"images": "*.tif", "osm": "b.gpkg"}])


def test_the_hull_of_the_labels(build, area):
    with pytest.raises(InputError, match=r"truth\.gpkg: clean_area is 'hull', but the 1 labels .* enclose no ground"):
        build(area, SOURCE | {"clean_area": "hull"})
    lines = [[(20, 20), (180, 20)], [(20, 120), (180, 120)]]
    shapes = [shapely.LineString(np.array(line) * (GSD_M, -GSD_M) + (LEFT, TOP)) for line in lines]
    gpd.GeoDataFrame({"highway": "residential"}, index=[0, 1], geometry=shapes, crs=CRS).to_file(
        area / "truth.gpkg", layer="roads"
    )
    manifest = build(area, SOURCE | {"clean_area": "hull"}, val_share=0.0, test_share=0.5)
    assert set(places(manifest, "clean")) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    paths = manifest[manifest["label"] == "clean"].set_index("chip")["mask"]
    known = read_mask(paths["scene_r00000_c00000"]) != 127
    assert known[20:, 20:].all() and known.sum() == 80 * 80


def test_an_area_elsewhere_or_without_labels_is_refused(build, area):
    save_box(area / "labelled.gpkg", 1000, 0, 1400, 200)
    with pytest.raises(InputError, match=r"no chip of '\*\.tif' lies in its clean_area 'labelled\.gpkg'"):
        build(area, SOURCE)
    for more, words in (
        ({"clean": None}, "there is no `clean` that it could bound"),
        ({"clean": "masks/{stem}.png", "clean_area": "hull"}, "are mask images, which say 127"),
        ({"clean_area": [24.0, 60.0, 23.0, 61.0]}, r"clean_area is \[24.*in degrees"),
    ):
        with pytest.raises(ParameterError, match=words):
            check_source({key: value for key, value in (SOURCE | more).items() if value})


@pytest.mark.parametrize("key", ["area", "clean_area"])
def test_an_area_that_was_drawn_anew_counts_in_the_same_process(area, key):
    def read(right_px):
        save_box(area / "labelled.geojson", 0, 0, right_px, 400)
        scenes = find_scenes({"images": "*.tif", "clean": "truth.gpkg", key: "labelled.geojson"}, area, GSD_M)
        return chosen_area(scenes[0]) if key == "area" else clean_areas(scenes, {}, "roads")["scene"]

    assert 2 * read(200).area == pytest.approx(read(400).area, rel=1e-3)
