"""Cutting that is killed at any change of its folder, and by a full disk, ends as if it had not been."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

CUT = """
import geopandas as gpd, numpy as np, rasterio, shapely
from lib.chips import ChipOptions, build_chips, find_scenes, load_manifest, read_vectors
from lib.osm import lane_profile
from lib.trust import quality

folder, place = Path(sys.argv[2]), rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 6_700_000)
profile = {"driver": "GTiff", "width": 200, "height": 100, "count": 3, "dtype": "uint8", "transform": place}
with rasterio.open(folder / "scene.tif", "w", crs="EPSG:32635", **profile) as file:
    file.write(np.random.default_rng(0).integers(60, 120, (3, 100, 200), dtype=np.uint8))
for name, y in (("osm", 6_699_970), ("truth", 6_699_975)):
    road = {"highway": ["residential"], "geometry": [shapely.LineString([(499_990, y), (500_110, y)])]}
    gpd.GeoDataFrame(road, crs="EPSG:32635").to_file(folder / f"{name}.gpkg", layer="roads")
scenes = find_scenes({"images": "*.tif", "osm": "osm.gpkg", "clean": "truth.gpkg"}, folder, 0.5)
layers, lanes = read_vectors(scenes, "roads"), lane_profile("metric")

def work(out):
    options = ChipOptions(chip_px=50, class_weights={"residential": 2})
    draft = build_chips(scenes, layers, out, options, lanes, name="draft.csv")
    osm = load_manifest(draft).query("label == 'osm'")
    table = osm[["chip", "split"]].assign(**dict.fromkeys(quality.MEASURES, 0.0))
    table["road_m"] = range(len(table))
    quality.drop_chips(draft, table, ["road_m < 3"])

work(folder / "warm")  # what is read once, such as coordinate systems
"""


@pytest.fixture(scope="module")
def cutting(killer):
    return killer(CUT)


@pytest.fixture(scope="module")
def whole(cutting):
    return cutting.whole()


@settings(max_examples=15)
@given(data=st.data())
def test_killed_at_any_step_cutting_ends_as_if_it_had_not_been(cutting, whole, left_in, data):
    expected, steps = whole
    out = cutting.fresh()
    for _ in range(2):  # a run that goes on may be killed, too
        killed_at = data.draw(st.integers(1, steps))
        cutting.run(out, killed_at, data.draw(st.sampled_from(cutting.MOMENTS)))
        if (out / "manifest.csv").is_file():
            assert (out / "manifest.csv").read_bytes() == (expected / "manifest.csv").read_bytes()
    assert cutting.run(out).isdigit()
    assert left_in(out) == left_in(expected)
