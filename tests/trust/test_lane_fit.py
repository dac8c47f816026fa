"""Lane widths: fitted to clean masks, and drawn as sliders ask for them."""

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from shapely import LineString

from lib.chips.cut import ChipOptions
from lib.chips.dataset import build_chips
from lib.chips.manifest import load_manifest, select
from lib.chips.sources import find_scenes
from lib.chips.vectors import read_vectors
from lib.errors import ParameterError
from lib.grid import LONLAT, Grid, project
from lib.masks.offset import shift
from lib.masks.rasterize import rasterize_roads
from lib.osm.lanes import METRIC, PAPER, lane_profile
from lib.trust.lane_fit import drawn_widths, fit_lane_widths, road_drawer, widths_by_class

SIDE, GSD_M = 64, 0.5
STREETS = [[(share, -0.2), (share, 1.2)] for share in (0.2, 0.5, 0.8)]  # of the side of a scene


@pytest.fixture
def surveyed(tmp_path):
    """Makes clean rows, scenes and layers: at each place three streets of a class, which OSM has so far in the east."""

    def make(places: dict, width_m: float, east_m: float):
        frames, side = [], 512
        for name, (lon, lat, highway) in places.items():
            x, y = project(np.array([[lon, lat]]), LONLAT, "EPSG:3857")[0]
            pixel = GSD_M / np.cos(np.radians(lat))
            grid = Grid((pixel, 0, x, 0, -pixel, y), "EPSG:3857", side, side)
            lines = [LineString(grid.pixel_to_world(np.array(street) * side)) for street in STREETS]
            roads = gpd.GeoDataFrame({"highway": [highway] * 3, "width": str(width_m)}, geometry=lines, crs=grid.crs)
            frames.append(shift(roads.drop(columns="width").to_crs(LONLAT), east_m, 0.0))
            mask, options = rasterize_roads(roads, grid), {"width": side, "height": side, "count": 1, "dtype": "uint8"}
            for suffix, pixels in (("", mask // 2 + 40), ("_mask", mask)):
                path, transform = tmp_path / f"{name}{suffix}.tif", rasterio.Affine(*grid.transform)
                with rasterio.open(path, "w", crs=grid.crs, transform=transform, **options) as file:
                    file.write(pixels, 1)
        pd.concat(frames).to_file(tmp_path / "osm.gpkg")
        scenes = find_scenes({"images": "*.tif", "osm": "osm.gpkg", "clean": "{stem}_mask.tif"}, tmp_path, GSD_M)
        layers = read_vectors(scenes, "roads")
        options = ChipOptions(gsd_m=GSD_M, chip_px=256, val_share=0.0, test_share=0.0)
        shifts_m = {name: (-east_m, 0.0) for name in places}
        manifest = load_manifest(build_chips(scenes, layers, tmp_path / "chips", options, METRIC, shifts_m))
        return manifest[manifest["label"] == "clean"], scenes, layers, shifts_m

    return make


def test_vectors_are_moved_at_each_scene_as_on_its_chips(surveyed):
    """One file of a wide area: 12 m are more degrees in Seattle than in Miami."""
    places = {"miami": (-80.2, 25.8, "residential"), "seattle": (-122.3, 47.6, "residential")}
    clean, scenes, layers, shifts_m = surveyed(places, width_m=6.5, east_m=12.0)
    found = fit_lane_widths(clean, clean.iloc[:0], scenes, layers, METRIC, shifts_m)
    assert found.fit_iou[0] > 0.99 and not found.lane_widths_m


def test_lane_widths_are_fitted_to_the_clean_masks(built):
    path, scenes, layers = built
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


def test_what_is_judged_is_what_is_suggested(surveyed):
    """Of classes that the fit has not seen it suggests nothing, though they may be as much too narrow."""
    places = {"a": (27.0, 60.0, "residential"), "b": (27.1, 60.0, "tertiary")}
    clean, scenes, layers, shifts_m = surveyed(places, width_m=13.0, east_m=0.0)
    seen, unseen = (clean[clean["scene"] == name] for name in places)
    found = fit_lane_widths(seen, unseen, scenes, layers, METRIC, shifts_m)
    assert found.lane_widths_m == {"residential": pytest.approx(6.5, abs=0.2)}
    as_suggested = replace(METRIC, lane_width_m=widths_by_class(METRIC) | found.lane_widths_m)
    alone = fit_lane_widths(unseen, unseen, scenes, layers, as_suggested, shifts_m)
    assert found.held_out_iou == (alone.fit_iou[0], alone.fit_iou[0]) and not found.helps


@pytest.mark.parametrize(
    "crs, unit, origin",
    [("EPSG:32635", 1.0, (500_000, 6_652_000)), ("EPSG:3857", 2.0, (3e6, 8_399_738))],
    ids=["utm", "mercator"],  # at 60 degrees north a metre is two web-mercator units
)
def test_roads_are_drawn_where_the_sliders_put_them(crs, unit, origin):
    pixel = GSD_M * unit
    grid = Grid((pixel, 0, origin[0], 0, -pixel, origin[1]), crs, SIDE, SIDE)
    world = grid.pixel_to_world(np.array([[-20.0, 32], [90, 32]]))
    far = grid.pixel_to_world(np.array([[-2e4, -2e4], [-2e4, -3e4]]))
    roads = gpd.GeoDataFrame(
        {"highway": ["residential", "residential"]}, geometry=[LineString(world), LineString(far)], crs=crs
    ).to_crs("EPSG:4326")
    draw = road_drawer(roads, grid, METRIC, 15.0)
    rows = np.nonzero(draw(2.0, ("residential",), 0.0, 0.0)[:, 32])[0]
    assert len(rows) == pytest.approx(8, abs=1) and rows.mean() == pytest.approx(31.5, abs=0.6)  # two lanes of 2 m
    moved = np.nonzero(draw(2.0, ("residential",), 3.0, 5.0)[:, 32])[0]
    assert moved.mean() == pytest.approx(rows.mean() - 10, abs=0.6)  # 5 m north
    assert not draw(2.0, ("primary",), 0.0, 0.0).any() and not draw(2.0, (), 0.0, 0.0).any()
    with pytest.raises(ParameterError, match="CRS"):
        road_drawer(roads, Grid((1, 0, 0, 0, 1, 0), None, SIDE, SIDE), METRIC, 15.0)


def test_widths_of_the_roads_that_are_drawn(built):
    _, scenes, layers = built
    widths = drawn_widths(scenes, layers, METRIC).set_index("highway")["width_m"]
    assert widths.to_dict() == {"residential": 6.5, "track": 2.75}
    assert drawn_widths(scenes, {}, METRIC).empty
