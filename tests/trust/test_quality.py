"""The quality table, rules that drop chips, and how OSM agrees with clean masks."""

from dataclasses import replace

import pandas as pd
import pytest

from lib.chips.manifest import load_manifest, select
from lib.errors import InputError
from lib.osm.lanes import METRIC
from lib.trust import quality
from lib.trust.alignment import OFFSET_COLUMNS


def table_of(path, scenes, layers, model=None):
    offsets = pd.DataFrame([["scene", "image", 3.0, 4.0, 0.9, 0.1]], columns=["scene", "by", *OFFSET_COLUMNS])
    return quality.chip_table(load_manifest(path), scenes, layers, "roads", METRIC, offsets, {}, model)


def test_the_table_measures_each_chip(built):
    path, scenes, layers = built
    layers = {name: replace(layer, date="2020-01-01T00:00:00Z") for name, layer in layers.items()}
    table = table_of(path, scenes, layers).set_index("chip")
    assert table["road_m"].max() == pytest.approx(50.0, abs=0.1)  # the street crosses a chip of 50 m
    assert table["road_m"].min() == 0 and table.loc["scene_r00000_c00000", "road_m"] == pytest.approx(30.0, abs=0.1)
    assert set(table["offset_m"]) == {5.0} and set(table["confidence"]) == {0.9}
    assert (table["osm_age_years"] > 5).all() and table["iou_predicted"].isna().all()
    crossed = table[table["road_m"] > 45]
    assert crossed["iou_clean"].to_numpy() == pytest.approx(6.5 / 10, abs=0.06)  # a pixel is 0.5 m
    assert crossed["foreground"].to_numpy() == pytest.approx(6.5 / 50, abs=0.02)


def test_a_model_judges_each_label(built, bright_model):
    path, scenes, layers = built
    table = table_of(path, scenes, layers, bright_model(threshold=0.5))  # of images that are dark: it sees no street
    assert (table["iou_predicted"] == (table["foreground"] == 0)).all()
    assert set(table["iou_predicted"]) == {0.0, 1.0}


def test_rules_drop_training_chips_of_osm_and_give_them_back(built):
    path, scenes, layers = built
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


def test_a_chip_is_taken_out_by_its_name_whatever_its_label_and_split(built):
    path, scenes, layers = built
    table, before = table_of(path, scenes, layers), load_manifest(path)
    test = before[before["split"] == "test"]["chip"].iloc[0]
    noisy = before[(before["split"] == "train") & (before["label"] == "osm")]["chip"].iloc[0]
    rules = ["road_m >= 30", {"chip": test, "reason": "clouds"}, {"chip": noisy, "reason": "a,b"}]
    report = quality.drop_chips(path, table, rules)
    assert report["rule"].tolist()[1:] == [f"{test}, by hand: clouds", f"{noisy}, by hand: a,b"]
    after = load_manifest(path)
    assert set(after.loc[after["chip"] == test, "dropped"]) == {"by hand: clouds"}
    assert set(after.loc[after["chip"] == noisy, "dropped"]) == {"by hand: a,b"}, "a name comes before a measure"
    assert len(after[after["chip"] == noisy]) == 2, "with its label of OSM and with the clean one"
    assert test not in set(select(after, "clean", "test")["chip"])
    assert len(select(after, "clean", "test")) == len(select(before, "clean", "test")) - 1
    assert (after.loc[(after["split"] != "train") & (after["chip"] != test), "dropped"] == "").all()
    assert after.attrs["sha256"] == before.attrs["sha256"], "what was trained on is the same"
    quality.drop_chips(path, table, [])
    assert load_manifest(path).equals(before)
    with pytest.raises(InputError, match=f"drop names {test}x .*the nearest is {test}.*take these rules out"):
        quality.drop_chips(path, table, [{"chip": f"{test}x", "reason": "gone"}])


def test_a_draft_becomes_the_manifest_once_it_is_judged(built):
    path, scenes, layers = built
    table, draft = table_of(path, scenes, layers), path.rename(path.with_name("draft.csv"))
    quality.drop_chips(draft, table, ["road_m < 10"])
    assert (load_manifest(path)["dropped"] != "").sum() == 5 and (load_manifest(draft)["dropped"] == "").all()
    with pytest.raises(InputError, match="other chips than when they were judged"):
        quality.drop_chips(draft, table.iloc[1:], [])


def test_osm_is_scored_against_clean_masks_where_a_chip_has_both(built):
    manifest = load_manifest(built[0])
    agreement = quality.label_agreement(manifest)
    assert quality.summary(agreement)["chips"] == len(agreement) == (manifest["label"] == "osm").sum()
    assert quality.summary(quality.label_agreement(manifest[manifest.label == "osm"])) is None
