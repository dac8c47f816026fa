"""A map's folder against OSM: candidates in its GeoPackage, decisions that last, files without what was rejected."""

import json
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from lib import progress
from lib.conflation.comparison import compare_map, write_reviewed
from lib.conflation.review import decide, read_statuses
from lib.errors import InputError
from lib.mapping.geopackage import read_layer
from lib.mapping.layers import LayerOptions, write_layers
from lib.networks.calibration import Curve

GONE = 1  # of the town's streets, the one that its map lacks


@pytest.fixture
def mapped(town, grid, tmp_path):
    """The town as a network sees it, mapped: probability.tif, mask.tif, map.json and its layers."""
    profile = {"driver": "GTiff", "width": grid.width, "height": grid.height, "count": 1, "dtype": "uint8"}
    profile |= {"crs": grid.crs, "transform": rasterio.Affine(*grid.transform)}
    values = np.rint(town.probability * 255).astype(np.uint8)
    for name, pixels in (("probability", values), ("mask", np.where(values > 127, 255, 0).astype(np.uint8))):
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as file:
            file.write(pixels, 1)
            file.write_mask(True)
    (tmp_path / "map.json").write_text(json.dumps({"task": "roads"}))
    write_layers(tmp_path)
    return tmp_path


@pytest.fixture
def osm(town):
    """The town's OSM without one street."""
    return SimpleNamespace(roads=town.roads.drop(index=GONE).reset_index(drop=True))


def decide_all(mapped, status):
    for number in read_statuses(mapped / "map.gpkg", "missing_roads"):
        decide(mapped / "map.gpkg", "missing_roads", number, status)


def test_what_osm_lacks_is_a_layer_with_numbers_and_decisions_that_last(mapped, osm, town, monkeypatch):
    monkeypatch.setattr(progress, "PAUSE_S", 0)
    lines = []
    first = compare_map(mapped, osm, progress=lines.append)
    assert lines[0].startswith("comparing: probability at row 0 of ")
    street = town.roads.geometry[GONE].buffer(6)
    assert len(first.missing) >= 1 and first.missing.within(street).all()
    layer = read_layer(mapped / "map.gpkg", "missing_roads")
    assert sorted(layer["candidate"]) == sorted(first.missing["candidate"])
    assert set(layer["status"]) == {"open"} and layer["confidence"].between(0.5, 1).all()
    assert read_layer(mapped / "map.gpkg", "unseen_roads").empty

    number = int(layer["candidate"].iloc[0])
    decide(mapped / "map.gpkg", "missing_roads", number, "accepted")
    again = compare_map(mapped, osm, curves={"roads": Curve((0.0, 1.0), (0.1, 0.2), 1.0)}).missing
    row = again[again["candidate"] == number].iloc[0]
    assert row["status"] == "accepted" and 0.1 <= row["confidence"] <= 0.2


def test_what_was_rejected_leaves_all_files_and_does_not_come_back(mapped, osm):
    options = LayerOptions(formats=("geojson",), highway="residential", upload=True)
    write_layers(mapped, options)
    missing, before = compare_map(mapped, osm).missing, gpd.read_file(mapped / "map.gpkg", layer="roads")
    decide_all(mapped, "rejected")
    summary = write_reviewed(mapped)
    for name in ("map.gpkg", "map.geojson"):
        left = gpd.read_file(mapped / name, **({"layer": "roads"} if name == "map.gpkg" else {}))
        lost_m = before["length_m"].sum() - left["length_m"].sum()
        assert lost_m == pytest.approx(missing["length_m"].sum(), abs=20), name
    assert summary["length_km"] == pytest.approx(left["length_m"].sum() / 1000, abs=0.01)
    assert write_layers(mapped, options) == summary  # as they were asked for; nothing is left to write
    text = (mapped / "map.osm").read_text()
    assert text.count('v="residential"') == text.count("<way") == len(left) and "never" not in text
    again = compare_map(mapped, osm).missing
    assert set(again["status"]) == {"rejected"} and sorted(again["candidate"]) == sorted(missing["candidate"])


@pytest.mark.parametrize("status", ["accepted", "open"])
def test_a_rejection_that_is_taken_back_leaves_no_trace(mapped, osm, status):
    files = ("map.osm", "layers.json")
    before = gpd.read_file(mapped / "map.gpkg", layer="roads"), [(mapped / name).read_text() for name in files]
    missing = compare_map(mapped, osm).missing
    decide_all(mapped, "rejected")
    write_reviewed(mapped)
    assert [(mapped / name).read_text() for name in files] != before[1]
    compare_map(mapped, osm)
    decide_all(mapped, status)
    write_layers(mapped)  # as notebook 5, made again
    again = compare_map(mapped, osm).missing
    write_reviewed(mapped)
    assert set(again["status"]) == {status} and sorted(again["candidate"]) == sorted(missing["candidate"])
    assert gpd.read_file(mapped / "map.gpkg", layer="roads").equals(before[0])
    assert [(mapped / name).read_text() for name in files] == before[1]


def test_other_formats_of_a_reviewed_map_lack_what_was_rejected(mapped, osm):
    compare_map(mapped, osm)
    decide_all(mapped, "rejected")
    features = write_reviewed(mapped)["features"]
    assert write_layers(mapped, LayerOptions(formats=("fgb",)))["features"] == features
    assert len(gpd.read_file(mapped / "map.fgb")) == features


def test_a_folder_without_a_map_is_refused(mapped, tmp_path, osm):
    (tmp_path / "traced.gpkg").unlink()  # of a map that was made before there was one
    with pytest.raises(InputError, match=r"traced.gpkg and layers.json; write them first \(python -m lib.mapping\)"):
        compare_map(tmp_path, osm)
    write_layers(tmp_path)
    compare_map(tmp_path, osm)
    (tmp_path / "layers.json").unlink()
    with pytest.raises(InputError, match="expected a map with its layers"):
        write_reviewed(tmp_path)
