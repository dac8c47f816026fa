"""Trust: the quality table, rules that drop chips, offsets from predictions, fitted lane widths, surveyed pairs."""

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

from lib.chips.cut import ChipOptions
from lib.chips.dataset import build_chips
from lib.chips.manifest import WEIGHT_ONE, load_manifest, read_mask, read_weights, select
from lib.chips.sources import find_scenes, read_vectors
from lib.errors import InputError, ParameterError
from lib.osm.lanes import METRIC, PAPER, lane_profile
from lib.paths import ROOT
from lib.show import label_figures
from lib.trust import alignment, noise_study, quality
from lib.trust.lane_fit import fit_lane_widths

SIDE_PX, GSD_M = 400, 0.5
ORIGIN = (500_000.0, 6_700_000.0)
VEGAS = ROOT.parent / "shared/data/spacenet3-vegas-roads/gt_json_prop_json/AOI_2_Vegas_Train"
SOURCE = {"images": "*.tif", "osm": "osm.gpkg", "clean": "truth.gpkg"}


@pytest.fixture
def area(tmp_path):
    """200 m a side: a residential street along the middle, truly 10 m wide, and a track that only the west has."""
    image = np.random.default_rng(0).integers(60, 120, (3, SIDE_PX, SIDE_PX), dtype=np.uint8)
    options = {"driver": "GTiff", "width": SIDE_PX, "height": SIDE_PX, "count": 3, "dtype": "uint8"}
    transform = rasterio.Affine(GSD_M, 0, ORIGIN[0], 0, -GSD_M, ORIGIN[1])
    with rasterio.open(tmp_path / "scene.tif", "w", crs="EPSG:32635", transform=transform, **options) as file:
        file.write(image)
    x, middle = ORIGIN[0], ORIGIN[1] - 95.0
    street = shapely.LineString([(x - 50, middle), (x + 250, middle)])
    track = shapely.LineString([(x + 10, middle + 50), (x + 40, middle + 50)])
    lines = {"highway": ["residential", "track"]}
    gpd.GeoDataFrame(lines, geometry=[street, track], crs="EPSG:32635").to_file(tmp_path / "osm.gpkg", layer="roads")
    truth = gpd.GeoDataFrame(lines | {"width": ["10", "3"]}, geometry=[street, track], crs="EPSG:32635")
    truth.to_file(tmp_path / "truth.gpkg", layer="roads")
    return tmp_path


def build(area, **options):
    scenes = find_scenes(SOURCE, area, GSD_M)
    layers = read_vectors(scenes, "roads")
    options = ChipOptions(**{"chip_px": 100, "gsd_m": GSD_M, "val_share": 0.25, "test_share": 0.25} | options)
    return build_chips(scenes, layers, area / "chips", options, METRIC), scenes, layers


def table_of(path, scenes, layers):
    offsets = pd.DataFrame([["scene", "image", 3.0, 4.0, 0.9, 0.1]], columns=["scene", "by", *alignment.OFFSET_COLUMNS])
    return quality.chip_table(load_manifest(path), scenes, layers, "roads", METRIC, offsets, {})


def test_the_table_measures_each_chip(area):
    path, scenes, layers = build(area)
    layers = {name: replace(layer, date="2020-01-01T00:00:00Z") for name, layer in layers.items()}
    table = table_of(path, scenes, layers).set_index("chip")
    assert table["road_m"].max() == pytest.approx(50.0, abs=0.1)  # the street crosses a chip of 50 m
    assert table["road_m"].min() == 0 and table.loc["scene_r00000_c00000", "road_m"] == pytest.approx(30.0, abs=0.1)
    assert set(table["offset_m"]) == {5.0} and set(table["confidence"]) == {0.9}
    assert (table["osm_age_years"] > 5).all() and table["iou_predicted"].isna().all()
    crossed = table[table["road_m"] > 45]
    assert crossed["iou_clean"].to_numpy() == pytest.approx(6.5 / 10, abs=0.06)  # a pixel is 0.5 m
    assert crossed["foreground"].to_numpy() == pytest.approx(6.5 / 50, abs=0.02)


def test_rules_drop_training_chips_of_osm_and_give_them_back(area):
    path, scenes, layers = build(area)
    table, before = table_of(path, scenes, layers), load_manifest(path)
    report = quality.drop_chips(path, table, ["road_m < 10", "road_m<=40"])
    assert report.to_dict("list") == {"rule": ["road_m < 10", "road_m<=40"], "met": [5, 6], "dropped": [5, 1]}
    after = load_manifest(path)
    gone = after[after["dropped"] != ""]
    assert set(gone["label"]) == {"osm"} and set(gone["split"]) == {"train"} and len(gone) == 6
    assert len(select(after, "osm", "train")) == 2
    assert len(select(after, "clean", "train")) == len(select(before, "clean", "train"))
    written = pd.read_csv(path.with_name("quality.csv"))
    assert list(written["chip"]) == list(table["chip"]) and (written["dropped"].notna()).sum() == 6
    quality.drop_chips(path, table, [])
    assert load_manifest(path).equals(before)
    with pytest.raises(InputError, match="drop all 8 chips"):
        quality.drop_chips(path, table, ["road_m >= 0"])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("roadm < 5", "nearest is 'road_m'"),
        ("road_m", "a rule is a measure"),
        ("road_m < x", "a rule is a measure"),
        ("road_m < 5 or True", "a rule is a measure"),
        ("__import__('os') < 5", "a rule is a measure"),
        (5, "a rule is a measure"),
    ],
)
def test_a_rule_that_cannot_be_read_says_so(rule, message):
    with pytest.raises(ParameterError, match=message):
        quality.meets(pd.DataFrame({"road_m": [1.0]}), rule)


def test_what_is_not_known_meets_no_rule():
    table = pd.DataFrame({"iou_clean": [np.nan, 0.2]})
    assert quality.meets(table, "iou_clean != 0.3").tolist() == [False, True]
    assert quality.meets(table, "iou_clean<3e-1").tolist() == [False, True]


def test_the_ignore_band_and_the_weights_are_in_the_files(area):
    manifest = load_manifest(build(area, ignore_band_m=1.0, class_weights={"track": 0.25, "residential": 2})[0])
    rows = manifest[(manifest.label == "osm") & (manifest.chip == "scene_r00000_c00000")]
    mask, weights = read_mask(rows["mask"].iloc[0]), read_weights(rows["weight"].iloc[0])
    column = mask[:, 50]  # the track: 2.75 m wide, 1 m either side of both edges is not known
    assert (column == 127).sum() * GSD_M == pytest.approx(3.75, abs=1.1) and (column == 255).sum() <= 2
    assert sorted(np.unique(weights)) == [0.25, 1.0]
    assert (manifest.loc[manifest.label == "clean", "weight"] == "").all()
    assert not any((read_mask(p) == 127).any() for p in manifest.loc[manifest.label == "clean", "mask"])
    again = load_manifest(build(area)[0])
    assert (again["weight"] == "").all() and not (read_mask(again["mask"][0]) == 127).any()


@pytest.mark.parametrize("weights", [{"track": -1}, {"track": 256 / WEIGHT_ONE}, {"track": "x"}])
def test_weights_that_no_file_can_hold_are_refused(weights):
    with pytest.raises(ParameterError, match=r"class_weights\['track'\]"):
        ChipOptions(class_weights=weights)


def test_unknown_classes_are_refused(area):
    with pytest.raises(ParameterError, match="nearest is 'residential'"):
        build(area, class_weights={"residental": 2.0})
    with pytest.raises(ParameterError, match="have none"):
        ChipOptions(task="buildings", class_weights={"track": 2.0})


def test_lane_widths_are_fitted_to_the_clean_masks(area):
    path, scenes, layers = build(area)
    manifest = load_manifest(path)
    clean = [select(manifest, "clean", split) for split in ("train", "val")]
    found = fit_lane_widths(*clean, scenes, layers, lane_profile("metric"))
    assert found.lane_widths_m["residential"] == pytest.approx(5.0, abs=0.3)  # two lanes, 10 m
    assert found.helps and found.held_out_iou[0] == pytest.approx(0.65, abs=0.06) and found.held_out_iou[1] > 0.93
    assert found.record()["held_out_iou"][1] == found.held_out_iou[1]
    alone = fit_lane_widths(clean[0], clean[1].iloc[:0], scenes, layers, METRIC)
    assert not alone.helps and alone.record()["held_out_iou"] is None
    assert fit_lane_widths(clean[0].iloc[:0], clean[1], scenes, layers, METRIC) is None
    with pytest.raises(ParameterError, match="in pixels"):
        fit_lane_widths(*clean, scenes, layers, PAPER)


@pytest.mark.slow
def test_offsets_of_the_sample_are_right_within_a_pixel_though_chips_are_coarser(tmp_path):
    from lib.sample.places import TRUE_OFFSETS_M, make_sample

    make_sample(tmp_path)
    source = {"images": "images/*.tif", "osm": "vectors/{stem}_osm.gpkg"}
    scenes = find_scenes(source, tmp_path, 1.0)  # chips of 1 m: the offset is measured in the file's pixels, 0.5 m
    found = alignment.scene_offsets(scenes, read_vectors(scenes, "roads"), "roads", METRIC)
    assert len(found) == len(scenes) == 2
    for row in found.itertuples():
        east_m, north_m = TRUE_OFFSETS_M[row.scene]
        assert np.hypot(row.dx_m + east_m, row.dy_m + north_m) < 0.5
        assert row.confidence > alignment.LEAST_CONFIDENCE


def test_predictions_are_believed_before_the_image_and_only_where_certain():
    columns = ["scene", "by", *alignment.OFFSET_COLUMNS]
    rows = [["a", "prediction", 1, 2, 0.9, 0], ["a", "image", 3, 4, 0.9, 0]]
    rows += [["b", "prediction", 1, 2, 0.1, 0], ["b", "image", 3, 4, 0.9, 0], ["c", "image", 1, 1, 0.2, 0]]
    found = alignment.certain(pd.DataFrame(rows, columns=columns))
    assert found["dx_m"].to_dict() == {"a": 1, "b": 3}


def test_seven_surveyed_places():
    if not VEGAS.is_dir():
        pytest.skip("the pairs of Las Vegas are not here")
    pairs = noise_study.study(VEGAS)
    table = noise_study.table(pairs)
    assert len(table) == 7 and (table["iou_moved"] > table["iou"]).all()
    # the figures that notebook 1 states
    assert table["iou"].agg(["min", "max", "mean"]).round(2).tolist() == [0.35, 0.6, 0.48]
    assert table["iou_moved"].agg(["min", "max", "mean"]).round(2).tolist() == [0.44, 0.71, 0.57]
    assert table["apls"].agg(["min", "max", "mean"]).round(2).tolist() == [0.41, 0.78, 0.65]
    assert table["offset_m"].agg(["min", "max"]).round(1).tolist() == [1.4, 2.8]
    assert label_figures.study_figure(pairs[:2]).encoded()[0] == "image/jpeg"


def test_a_study_needs_two_folders(tmp_path):
    with pytest.raises(InputError, match="one other"):
        noise_study.study(tmp_path / "nowhere")
    for name in ("osm", "survey"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="namesake"):
        noise_study.study(tmp_path)
