"""The sample's files: written whole, once, and the same for the same seed."""

import json
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio

from lib.osm.layers import read_osm
from lib.sample import places
from lib.sample.places import OSM_ROAD_TAGS, PLACES, make_sample

SIZE_PX = 448


@pytest.fixture
def small_places(monkeypatch):
    """The sample, cut down to one chip a scene."""
    windows = {"helsinki": (650, 1900), "town": (2000, 1200)}
    for name, (col, row) in windows.items():
        whole = PLACES[name]
        left, top = whole.grid().pixel_to_world(np.array([[col, row]]))[0]
        small = replace(whole, left_m=left, top_m=top, width_px=SIZE_PX, height_px=SIZE_PX)
        monkeypatch.setitem(PLACES, name, small)


def test_sample_is_written_whole_once(tmp_path, small_places):
    stages = []
    record = make_sample(tmp_path / "demo", seed=0, progress=stages.append)
    files = sorted(str(path.relative_to(record.parent)) for path in record.parent.rglob("*") if path.is_file())
    expected = [f"images/{n}.tif" for n in PLACES] + ["sample.json", "sample.json.lock"]
    expected += [f"vectors/{n}_{kind}.gpkg" for n in PLACES for kind in ("osm", "truth")]
    assert files == sorted(expected) and stages
    settings_ = json.loads(record.read_text(encoding="utf-8"))
    assert settings_["true_offsets_m"]["helsinki"] == [3.0, -2.0] and settings_["seed"] == 0
    assert "OpenStreetMap contributors" in settings_["attribution"]
    with rasterio.open(record.parent / "images/town.tif") as scene:
        assert scene.crs.to_epsg() == 32635 and scene.res == (0.5, 0.5) and scene.count == 3
        assert tuple(scene.transform)[:6] == PLACES["town"].grid().transform
        assert scene.read().std() > 15
    truth = read_osm(record.parent / "vectors/town_truth.gpkg")
    assert truth.roads.crs.to_epsg() == 4326 and len(truth.buildings) > 2000
    assert pd.to_numeric(truth.roads["width"]).between(2.4, 40).all()
    known = gpd.read_file(record.parent / "vectors/town_osm.gpkg", layer="roads")
    assert {"osm_id", *OSM_ROAD_TAGS} <= set(known.columns)

    before = {path: path.stat().st_mtime_ns for path in record.parent.rglob("*")}
    stages.clear()
    assert make_sample(record.parent, seed=0, progress=stages.append) == record
    assert not stages and before == {path: path.stat().st_mtime_ns for path in record.parent.rglob("*")}

    again = make_sample(tmp_path / "again", seed=0)
    for file in set(files) - {"sample.json.lock"}:
        assert (again.parent / file).read_bytes() == (record.parent / file).read_bytes(), file


def test_broken_run_leaves_no_sample(tmp_path, small_places, monkeypatch):
    record = tmp_path / "sample.json"
    record.write_text('{"version": 0}')  # of an older sample
    monkeypatch.setattr(places, "write_scene", _full_disk)
    with pytest.raises(OSError, match="disk"):
        make_sample(tmp_path, seed=1)
    assert not record.exists()
    assert not [path for path in tmp_path.rglob(".*")], "no temporary file stays"


@pytest.mark.parametrize("content", ["[]", "3", "null", "", "{", '{"version": 0}'])
def test_a_record_that_is_none_is_no_sample(tmp_path, content):
    (tmp_path / "sample.json").write_text(content)
    assert not places.is_complete(tmp_path / "sample.json", {"version": places.VERSION})


def _full_disk(*_):
    raise OSError("disk is full")
