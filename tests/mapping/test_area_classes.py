"""A map of roads and buildings: two rasters and a layer for each, one file for JOSM, comparison a class."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from lib.conflation import compare_map
from lib.errors import ParameterError
from lib.mapping.area import map_rasters
from lib.mapping.layers import LayerOptions, write_layers
from lib.mapping.memory import views_at_once
from lib.mapping.options import MapOptions, rasters_of
from lib.mapping.overview import read_overview
from lib.mapping.predict import predict_image
from lib.networks.calibration import Curve, curves_of_pixels, pixels_kind
from lib.networks.checkpoint import CheckpointInfo, TrainedModel
from lib.networks.models import ModelConfig
from lib.osm.layers import OsmLayers
from lib.show.leaflet import map_page
from lib.show.map_result import result_figure, result_map

BOTH = "roads+buildings"
OPTIONS = MapOptions(window_px=128, overlap_px=32, views="none", backend="torch")
SIDE_PX = 300


class RedAndGreen(nn.Module):
    """Roads are what is red, buildings what is green."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 4.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x[:, :2].float()


@pytest.fixture(autouse=True)
def _exact(exact):
    """All is compared with float32."""


@pytest.fixture
def model() -> TrainedModel:
    info = CheckpointInfo(ModelConfig(classes=2), BOTH, (0.5,) * 3, (0.25,) * 3, (0.5, 0.6), gsd_m=0.5)
    return TrainedModel(RedAndGreen().eval(), info, "a")


@pytest.fixture
def scene(tmp_path, write_scene):
    """A red cross of roads, and four green houses off it."""
    image = np.full((3, SIDE_PX, SIDE_PX), 30, np.uint8)
    image[0, 140:156] = image[0, :, 140:156] = 250
    for top in (40, 220):
        for left in (40, 220):
            image[1, top : top + 30, left : left + 40] = 220
    return write_scene(tmp_path / "scene.tif", image)


@pytest.fixture
def mapped(model, scene, tmp_path):
    map_rasters(model, [scene], tmp_path / "map", OPTIONS, progress=lambda line: None)
    return tmp_path / "map"


def levels(path):
    with rasterio.open(path) as file:
        return file.read(1)


def test_each_class_has_the_rasters_that_its_probabilities_are(model, scene, mapped):
    made = json.loads((mapped / "map.json").read_text())
    assert made["task"] == BOTH and made["threshold"] == {"roads": 0.5, "buildings": 0.6}
    with rasterio.open(scene) as file:
        image = np.moveaxis(file.read(), 0, -1)
    said = predict_image(model, image, "none", 128, 32)
    for plane, (kind, (probability, mask)) in zip(said, rasters_of(BOTH).items(), strict=True):
        np.testing.assert_array_equal(levels(mapped / probability), np.rint(255 * plane))
        least = np.ceil(255 * made["threshold"][kind])
        np.testing.assert_array_equal(levels(mapped / mask) > 0, levels(mapped / probability) >= least)
    assert not (mapped / "probability.tif").exists()


def test_a_threshold_is_of_all_classes_or_of_each(model, scene, mapped):
    before = levels(mapped / "mask_roads.tif")
    made = map_rasters(model, [scene], mapped, replace(OPTIONS, threshold=0.99), progress=lambda line: None)
    assert made["threshold"] == {"roads": 0.99, "buildings": 0.99}
    own = replace(OPTIONS, threshold={"buildings": 0.2, "roads": 0.5})
    assert map_rasters(model, [scene], mapped, own, lambda line: None)["threshold"] == {"roads": 0.5, "buildings": 0.2}
    np.testing.assert_array_equal(levels(mapped / "mask_roads.tif"), before)
    lines = []
    map_rasters(model, [scene], mapped, own, lines.append)
    assert lines[-1].endswith("is finished already")
    with pytest.raises(ParameterError, match="threshold is of roads: expected one for each of roads, buildings"):
        map_rasters(model, [scene], mapped, replace(OPTIONS, threshold={"roads": 0.5}), lambda line: None)
    assert views_at_once(MapOptions(), device="mps", classes=10) < views_at_once(MapOptions(), device="mps")


def test_a_map_of_other_classes_leaves_no_raster_of_the_former(model, scene, mapped, red):
    map_rasters(red(), [scene], mapped, OPTIONS, progress=lambda line: None)
    assert {path.name for path in mapped.glob("*.tif")} == {"probability.tif", "mask.tif"}
    map_rasters(model, [scene], mapped, OPTIONS, progress=lambda line: None)
    assert {path.name for path in mapped.glob("*.tif")} == {name for pair in rasters_of(BOTH).values() for name in pair}


def test_the_layers_of_both_lie_in_one_file(mapped):
    curves, options = {"roads": Curve((0.0, 1.0), (0.3, 0.3), 1.0)}, LayerOptions(formats=("fgb",))
    summary = write_layers(mapped, options, curve=curves)
    roads, houses = (gpd.read_file(mapped / "map.gpkg", layer=kind) for kind in ("roads", "buildings"))
    assert len(roads) == 4 and len(houses) == 4
    assert roads["confidence"].max() == pytest.approx(0.3) and houses["confidence"].min() > 0.8
    assert summary["layers"]["roads"]["features"] == summary["layers"]["buildings"]["features"] == 4
    assert summary["layers"]["buildings"]["area_m2"] == pytest.approx(4 * 30 * 40 / 4, rel=0.01)
    assert summary["files"] == ["map.gpkg", "map.osm", "map_roads.fgb", "map_buildings.fgb"]
    assert len(gpd.read_file(mapped / "map_buildings.fgb")) == 4
    ways = ElementTree.parse(mapped / "map.osm").getroot().findall("way")
    keys = [{tag.get("k") for tag in way.findall("tag")} for way in ways]
    assert keys.count({"highway", "source"}) == keys.count({"building", "source"}) == 4
    assert write_layers(mapped, options, curve=curves) == summary
    former = (mapped / "map.gpkg").stat().st_mtime_ns
    assert write_layers(mapped, curve=curves)["layers"] == summary["layers"]
    assert (mapped / "map.gpkg").stat().st_mtime_ns == former and not (mapped / "map_roads.fgb").exists()


def test_each_class_is_compared_and_shown(mapped, scene):
    write_layers(mapped)
    nothing = gpd.GeoDataFrame({"highway": [], "building": []}, geometry=[], crs=4326)
    osm = OsmLayers(nothing, nothing, None, "nowhere")
    for kind in ("roads", "buildings"):
        assert len(compare_map(mapped, osm, kind=kind).missing) > 0
    with pytest.raises(ParameterError, match="kind is 'roads\\+buildings'"):
        compare_map(mapped, osm)
    drawn = {kind: read_overview(mapped, [scene], raster=raster) for kind, (raster, _) in rasters_of(BOTH).items()}
    assert np.nanmax(np.abs(drawn["roads"].probability - drawn["buildings"].probability)) > 0.5
    names = set(drawn["roads"].layers)
    assert {"roads", "buildings", "missing_roads", "missing_buildings"} <= names
    result_figure(drawn["buildings"], layer="buildings")
    assert "probability, buildings" in map_page(result_map(drawn["roads"], others={"buildings": drawn["buildings"]}))


def test_curves_of_pixels_go_by_class():
    curve = Curve((0.0, 1.0), (0.0, 1.0), 1.0)
    assert (pixels_kind("roads", "roads"), pixels_kind(BOTH, "roads")) == ("pixels", "pixels_roads")
    assert curves_of_pixels({"pixels": curve}, "roads") == {"roads": curve}
    assert curves_of_pixels({"pixels_buildings": curve, "roads": curve}, BOTH) == {"buildings": curve}
