"""The map of an evaluation and the sentence that sums it up."""

import numpy as np
import pandas as pd
import pytest

from lib.chips.manifest import read_mask
from lib.mapping.predict import write_probability
from lib.show import leaflet, storyboard
from lib.show.storyboard import summary, worst_routes

SIDE = 128

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def test_chips(make_chips, tmp_path) -> pd.DataFrame:
    """Four georeferenced chips of one scene, two by two."""
    corners = [(500_000 + SIDE / 2 * (i % 2), 6_700_000 - SIDE / 2 * (i // 2)) for i in range(4)]
    transforms = [f"0.5 0 {x} 0 -0.5 {y}" for x, y in corners]
    chips = make_chips(tmp_path, 4, side_px=SIDE)
    return chips.assign(scene="s", label="clean", crs="EPSG:32635", transform=transforms, width=SIDE, height=SIDE)


@pytest.fixture
def probabilities(test_chips, tmp_path) -> pd.Series:
    """Probability maps that equal the truth, but for two chips without their upper half."""
    paths = []
    for i, mask in enumerate(test_chips["mask"]):
        probability = (read_mask(mask) == 255) * np.float32(0.9)
        probability[: SIDE // 2] *= i not in (0, 3)
        paths.append(write_probability(tmp_path / f"p{i}.png", probability))
    return pd.Series(paths)


def test_the_worst_routes_lie_on_the_map_of_all_chips(test_chips, probabilities):
    ground = storyboard.evaluation_ground(test_chips, probabilities, 0.5)
    assert ground.truth.shape == ground.prediction.shape == ground.image.shape[:2] == (256, 256)
    routes = worst_routes(ground)
    assert 1 <= len(routes) <= 10 and routes.index[0] == 1 and routes["cost"].is_monotonic_decreasing
    page = leaflet.map_page(storyboard.evaluation_map(ground, "roads", {}, routes))
    assert f"1: {routes['reason'].iloc[0]}; " in page
    alone = storyboard.evaluation_ground(test_chips.assign(crs="", transform=""), probabilities, 0.5)
    assert alone.image.shape == (128, 128, 3)
    storyboard.evaluation_map(alone, "roads", {}, worst_routes(alone))


def test_a_truth_that_is_from_osm_says_so(test_chips, probabilities, tmp_path):
    clean = evaluated(test_chips, probabilities, {})
    assert "truth" in clean and "OpenStreetMap" not in clean
    assert "truth, from OpenStreetMap" in evaluated(test_chips.assign(label="osm"), probabilities, {})
    for labels, from_osm in (
        ({"osm": "roads.geojson", "clean": "roads.geojson"}, True),
        ({"clean": "surveyed.geojson"}, False),
        ({"clean": "town.osm.pbf"}, True),
        ({"clean": "overpass"}, True),
    ):
        image = {"images": "image0_0.png", "gsd_m": 0.5} | labels
        recorded = {"data_dir": str(tmp_path), "gsd_m": 0.5, "sources": [image]}
        chips = test_chips.assign(scene="image0_0", crs="", transform="")
        assert ("truth, from OpenStreetMap" in evaluated(chips, probabilities, recorded)) == from_osm


def evaluated(chips, probabilities, recorded):
    """Page of an evaluation's map."""
    ground = storyboard.evaluation_ground(chips, probabilities, 0.5)
    page = leaflet.map_page(storyboard.evaluation_map(ground, "roads", recorded))
    return page[page.rindex("<script>") :]


def test_the_summary_names_the_runs_and_what_is_not_defined():
    rows = [
        {"run": run, "metric": metric, "value": value, "low": value - 0.1, "high": value + 0.1}
        for metric, values in (("IoU, pooled", (0.3, 0.5)), ("APLS", (0.2, np.nan)))
        for run, value in zip(("poor", "good"), values, strict=True)
    ]
    gain = {"difference": "good minus poor", "metric": "APLS", "value": 0.2, "low": 0.1, "high": np.nan, "shown": "yes"}
    alone = pd.DataFrame(columns=list(gain))
    assert len(summary(pd.DataFrame(rows), alone, "good", ["IoU, pooled"], 4)["notes"]) == 1
    record = summary(pd.DataFrame(rows), pd.DataFrame([gain]), "good", ["IoU, pooled", "APLS"], 4)
    assert [row["run"] for row in record["scoreboard"]] == ["poor", "good"]
    assert record["headline"].startswith("IoU, pooled: 0.300 poor, 0.500 good; APLS: 0.200 poor")
    assert "4 test chips" in record["notes"][0] and "good minus poor, APLS: +0.200" in record["notes"][1]
    assert "(95 % interval +0.100 to –)" in record["notes"][1] and "– good" in record["headline"]
    assert record["scoreboard"][0] == {"run": "poor", "IoU, pooled": 0.3, "APLS": 0.2}
    assert record["intervals"][0] == rows[0]
