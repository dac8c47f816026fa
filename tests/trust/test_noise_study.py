"""OSM roads against surveyed ones."""

import geopandas as gpd
import pytest
import shapely

from lib.errors import InputError
from lib.paths import ROOT
from lib.trust import noise_study

VEGAS = ROOT.parent / "shared/data/spacenet3-vegas-roads/gt_json_prop_json/AOI_2_Vegas_Train"


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
    assert table["offset_m"].agg(["min", "max"]).round(1).tolist() == [1.5, 2.8]


def test_a_study_needs_two_folders(tmp_path):
    with pytest.raises(InputError, match="one other"):
        noise_study.study(tmp_path / "nowhere")
    for name in ("osm", "survey"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="namesake"):
        noise_study.study(tmp_path)


ROADS = [[(0, 0), (600, 0), (600, 600)], [(0, 0), (0, 600), (600, 600)]]
OTHERS = {"footway": [(0, 0), (600, 600)], "steps": [(300, 0), (300, 600)], "proposed": [(0, 300), (600, 300)]}


@pytest.fixture
def write(tmp_path):
    """Writes classes and lines, metres, as a file of the folder; gives the folder."""

    def make(name: str, classes: list, lines: list):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        geometry = [shapely.LineString(line) for line in lines]
        frame = gpd.GeoDataFrame({"highway": classes}, geometry=geometry, crs="EPSG:32635")
        frame.set_geometry(frame.translate(385_000, 6_671_000)).to_file(tmp_path / name)
        return tmp_path

    return make


def test_what_is_no_road_of_the_profile_counts_in_no_number(write):
    write("survey/a.shp", ["residential"] * 2, ROADS)  # beside it .dbf, .prj, ..., which are no pairs
    folder = write("osm/a.shp", ["residential"] * 2 + list(OTHERS), [*ROADS, *OTHERS.values()])
    (found,) = noise_study.study(folder)
    row = found.row
    assert (row["iou"], row["apls"], row["osm_km"], row["surveyed_km"]) == pytest.approx((1, 1, 2.4, 2.4))


def test_places_without_roads(write, tmp_path, capsys):
    for folder in ("osm", "survey"):
        write(f"{folder}/both.gpkg", ["residential"] * 2, ROADS)
        write(f"{folder}/none.gpkg", ["footway"], [OTHERS["footway"]])
        (tmp_path / folder / ".DS_Store").write_text("a viewer's")
    write("osm/unsurveyed.gpkg", ["residential"], ROADS[:1])
    write("survey/unsurveyed.gpkg", ["steps"], [OTHERS["steps"]])
    table = noise_study.table(noise_study.study(tmp_path))
    assert table[["place", "iou", "apls"]].to_numpy().tolist() == [["both", 1, 1], ["unsurveyed", 0, 0]]
    assert "none.gpkg: no road in either file" in capsys.readouterr().out
