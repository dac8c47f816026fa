"""Columns that spell a tag otherwise than OSM: in capitals, cut to ten letters, with underscores for colons."""

import geopandas as gpd
import pytest
import shapely

from lib.grid import LONLAT
from lib.osm.lanes import road_widths_m
from lib.osm.layers import read_osm
from lib.osm.makers import OSM, as_osm, split_layers

STREETS = [shapely.LineString([(24 + x, 60), (24 + x, 60.004)]) for x in (0.001, 0.002)]


@pytest.mark.parametrize("form", ["{}", "{:.10}"], ids=["whole", "cut"])
@pytest.mark.parametrize("colon", ":_")
@pytest.mark.parametrize("letters", [str.lower, str.upper, str.title])
def test_tags_are_known_however_a_shapefile_spells_them(form, colon, letters):
    """GDAL and GeoPandas write width_carr, others width:carr."""
    tags = {"highway": "primary", "lanes:forward": "3", "lanes:backward": "1", "width:carriageway": "9"}
    spelt = {letters(form.format(tag.replace(":", colon))): [value] for tag, value in tags.items()}
    frame, _ = as_osm(gpd.GeoDataFrame(spelt, geometry=STREETS[:1], crs=LONLAT))
    assert frame[list(tags)].iloc[0].to_dict() == tags


def test_of_two_columns_that_spell_one_tag_the_first_counts():
    frame = gpd.GeoDataFrame({"HIGHWAY": ["primary"], "Highway": ["track"]}, geometry=STREETS[:1], crs=LONLAT)
    assert as_osm(frame)[0]["highway"].tolist() == ["primary"]


def test_a_shapefile_of_geopandas_keeps_lanes_by_direction_and_carriageways(tmp_path):
    tags = {"lanes:forward": ["2", None], "lanes:backward": ["1", None], "width:carriageway": [None, "8"]}
    frame = gpd.GeoDataFrame({"highway": "residential", **tags}, geometry=STREETS, crs=LONLAT)
    frame.to_file(tmp_path / "a.shp")
    assert road_widths_m(read_osm(tmp_path / "a.shp").roads).tolist() == pytest.approx([9.75, 8.0])


def test_tags_that_overture_has_as_columns_are_no_sign_of_it_beside_osms_own():
    tags = {"class": ["II", None], "subtype": [None, "a"], "sources": ["survey", None]}
    frame, maker = as_osm(gpd.GeoDataFrame({"highway": "primary", **tags}, geometry=STREETS, crs=LONLAT))
    assert maker == OSM and len(split_layers(frame)["roads"]) == 2
