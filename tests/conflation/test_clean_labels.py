"""The loop: a candidate is accepted, and the next training learns from a clean mask that holds it."""

import geopandas as gpd
import numpy as np
import pytest
import shapely

from lib.chips.cut import ChipOptions
from lib.chips.dataset import build_chips
from lib.chips.manifest import grid_of, load_manifest, read_mask, select
from lib.chips.plan import chip_windows
from lib.chips.sources import find_scenes
from lib.chips.vectors import read_vectors
from lib.conflation.clean_labels import MARGIN_M, export_reviewed
from lib.conflation.review import carry_over, decide
from lib.errors import InputError, ParameterError
from lib.grid import MERCATOR_HALF_SIDE_M, Grid
from lib.networks import ModelConfig
from lib.osm.lanes import lane_profile
from lib.osm.layers import area_of_interest, read_osm
from lib.training import TrainConfig, fit


def decided(gpkg, *statuses):
    for candidate, status in enumerate(statuses, 1):
        decide(gpkg, "missing_roads", candidate, status)
    return gpkg


def masks_at(chips, line) -> np.ndarray:
    """Values of the clean masks along a line that lie in one of the chips, 0 to 255."""
    points = shapely.get_coordinates(shapely.segmentize(line, 1.0))
    values = []
    for chip in chips.itertuples():
        mask = read_mask(chip.mask)
        col, row = np.floor(grid_of(chip).world_to_pixel(points)).astype(int).T
        inside = (col >= 0) & (row >= 0) & (col < mask.shape[1]) & (row < mask.shape[0])
        values.append(mask[row[inside], col[inside]])
    return np.concatenate(values)


@pytest.mark.filterwarnings("ignore:.*")
def test_an_accepted_road_is_in_the_clean_masks_of_the_next_training(tmp_path, place, one_thread):
    decided(place.gpkg, "accepted", "accepted", "rejected", "skipped")
    km2 = export_reviewed(place.gpkg, tmp_path / "reviewed.gpkg", place.osm, place.scene)
    assert 0.030 < km2 < 0.040  # 200 m squared without what is skipped
    reviewed = "reviewed.gpkg"
    source = {"images": "scene.tif", "osm": "osm.gpkg", "clean": reviewed, "area": reviewed}
    place.osm.to_file(tmp_path / "osm.gpkg", layer="roads")
    options = ChipOptions(chip_px=64, gsd_m=0.5, val_share=0.3, test_share=0.0)
    scenes = find_scenes(source, tmp_path, options.gsd_m)
    layers = read_vectors(scenes, "roads")
    chips = load_manifest(build_chips(scenes, layers, tmp_path / "chips", options, lane_profile("metric")))
    clean, osm = chips[chips["label"] == "clean"], chips[chips["label"] == "osm"]
    accepted, other, rejected, skipped = place.candidates.geometry
    for line in (accepted, other):
        assert (masks_at(clean, line) == 255).mean() > 0.95
    assert (masks_at(osm, other) == 0).all()
    assert (masks_at(clean, rejected.interpolate(25).buffer(1).exterior) == 0).all()
    assert not len(masks_at(clean, skipped))  # no chip there
    model = ModelConfig(architecture="linknet", context="32", encoder_name="resnet18", encoder_weights=None)
    config = TrainConfig(epochs=1, batch_size=2, crop_px=64, samples_per_epoch=2)
    train, val = select(chips, "clean", "train"), select(chips, "clean", "val")
    assert fit(train, val, tmp_path / "run", config, model).checkpoint.is_file()


def test_the_file_holds_osm_and_what_was_accepted_with_class_and_width(tmp_path, place):
    decided(place.gpkg, "accepted", "accepted", "rejected", "open")
    export_reviewed(place.gpkg, tmp_path / "reviewed.gpkg", place.osm.to_crs("EPSG:3857"), place.scene)
    roads = read_osm(tmp_path / "reviewed.gpkg").roads.to_crs(place.crs)
    assert roads["highway"].tolist() == ["residential", "residential", "road"]
    assert roads["width"].tolist() == ["8", "6.0", "6.0"]
    assert roads["osm_id"].tolist() == ["way/7", None, None]
    lines = [place.osm.geometry[0], *place.candidates.geometry[:2]]
    assert [a.hausdorff_distance(b) < 1e-6 for a, b in zip(roads.geometry, lines, strict=True)] == [True] * 3


def test_ground_in_doubt_is_left_out(tmp_path, place):
    decided(place.gpkg, "accepted", "skipped", "rejected", "open")
    unseen = place.frame([place.at((0, 60), (40, 60))], osm_id=["way/9"], highway=["track"])
    unseen.to_file(place.gpkg, layer="unseen_roads")
    km2 = export_reviewed(place.gpkg, tmp_path / "reviewed.gpkg", place.osm, place.scene)
    ground = gpd.read_file(tmp_path / "reviewed.gpkg", layer="area").to_crs(place.crs).union_all()
    assert ground.area / 1e6 == pytest.approx(km2)
    doubt = [*place.candidates.geometry[[1, 3]], unseen.geometry[0]]
    assert min(ground.distance(line) for line in doubt) == pytest.approx(MARGIN_M, abs=0.2)
    corners = shapely.box(place.west, place.north - 200, place.west + 200, place.north).exterior
    assert ground.covers(corners.difference(shapely.union_all(doubt).buffer(MARGIN_M + 0.1)))


@pytest.mark.parametrize(("crs", "unit"), [("EPSG:4326", 1.0), ("EPSG:3857", MERCATOR_HALF_SIDE_M / 180)])
def test_ground_across_the_antimeridian_is_no_larger_than_elsewhere(tmp_path, crs, unit):
    grid = Grid((1e-5 * unit, 0, 179.999 * unit, 0, -1e-5 * unit, 0.0), crs, 200, 200)  # 222 m on the equator
    lines = [shapely.LineString(grid.pixel_to_world(np.array(xy))) for xy in ([(5, 20), (195, 20)], [(9, 99), (9, 60)])]
    candidates = gpd.GeoDataFrame({"confidence": [0.9, 0.9]}, geometry=lines, crs=crs)
    earlier = candidates.assign(candidate=[1, 2], status=["accepted", "rejected"])
    candidates = carry_over(candidates, earlier)
    assert candidates["status"].tolist() == ["accepted", "rejected"]
    candidates.to_file(tmp_path / "map.gpkg", layer="missing_roads")
    nothing = gpd.GeoDataFrame({"osm_id": [], "highway": []}, geometry=[], crs="EPSG:4326")
    km2 = export_reviewed(tmp_path / "map.gpkg", tmp_path / "reviewed.gpkg", nothing, grid)
    assert km2 == pytest.approx(0.224**2, rel=0.02)
    ground = area_of_interest(tmp_path / "reviewed.gpkg")
    assert all(ground.covers(area_of_interest(grid.window(*chip))) for chip in chip_windows(grid, 40))
    roads = read_osm(tmp_path / "reviewed.gpkg", grid).roads
    assert len(roads) == 1 and roads.length.sum() == pytest.approx(190e-5, rel=0.01)


def test_houses_are_replaced_left_and_added_as_decided(tmp_path, place):
    def house(x, y, **columns):
        return place.frame([shapely.box(*place.at((x, y + 10), (x + 12, y)).bounds)], confidence=0.8, **columns)

    osm = gpd.pd.concat([house(x, 20, osm_id=f"way/{n}", building="house") for n, x in enumerate((20, 80, 140))])
    gpkg = tmp_path / "houses.gpkg"
    house(20, 100, candidate=[1], status="accepted").to_file(gpkg, layer="missing_buildings")
    changed = [(24, 0, "accepted"), (84, 1, "rejected"), (144, 2, "open")]
    rows = [house(x, 22, candidate=[n], osm_id=f"way/{n}", status=status) for x, n, status in changed]
    gpd.pd.concat(rows).to_file(gpkg, layer="changed_buildings")
    house(160, 160, osm_id="way/5").to_file(gpkg, layer="vanished_buildings")
    export_reviewed(gpkg, tmp_path / "reviewed.gpkg", osm, place.scene, "buildings")
    found = read_osm(tmp_path / "reviewed.gpkg", layers=("buildings",)).buildings.to_crs(place.crs)
    expected = [osm.geometry.iloc[1], house(20, 100).geometry[0], rows[0].geometry[0]]
    assert [a.hausdorff_distance(b) < 1e-6 for a, b in zip(found.geometry, expected, strict=True)] == [True] * 3
    ground = gpd.read_file(tmp_path / "reviewed.gpkg", layer="area").to_crs(place.crs).union_all()
    assert ground.distance(rows[2].geometry[0]) > 14 and ground.distance(house(160, 160).geometry[0]) > 14


def test_a_map_without_reviewed_ground_is_refused(tmp_path, place):
    with pytest.raises(ParameterError, match="roads, buildings"):
        export_reviewed(place.gpkg, tmp_path / "reviewed.gpkg", place.osm, place.scene, "trees")
    with pytest.raises(InputError, match="expected a layer 'missing_buildings'"):
        export_reviewed(place.gpkg, tmp_path / "reviewed.gpkg", place.osm, place.scene, "buildings")
    everywhere = place.frame([place.at(*[(x, y) for x in range(0, 201, 20) for y in (-9, 209)])], osm_id=["way/9"])
    everywhere.to_file(place.gpkg, layer="unseen_roads")
    with pytest.raises(InputError, match="every candidate is decided, found none"):
        export_reviewed(place.gpkg, tmp_path / "reviewed.gpkg", place.osm, place.scene)
    assert not (tmp_path / "reviewed.gpkg").exists()
