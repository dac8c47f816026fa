import geopandas as gpd
import pytest
import shapely

from lib.errors import InputError
from lib.grid import LONLAT
from lib.osm.layers import read_osm

BOX = (24.94, 60.165, 24.946, 60.169)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".parquet", ".shp"])
def test_vector_files(tmp_path, suffix, helsinki_pbf):
    osm = read_osm(helsinki_pbf, BOX)
    path = tmp_path / f"helsinki{suffix}"
    lines = osm.roads[osm.roads.geom_type == "LineString"]
    if suffix == ".gpkg":
        lines.to_crs("EPSG:3067").to_file(path, layer="roads")
        osm.buildings.to_crs("EPSG:3067").to_file(path, layer="buildings")
    elif suffix == ".parquet":
        lines.to_parquet(path)
    else:
        lines[["osm_id", "highway", "lanes", "geometry"]].to_file(path)
    again = read_osm(path, BOX)
    columns = ["osm_id", "highway", "lanes"]
    assert sorted(again.roads[columns].astype(str).to_numpy().tolist()) == sorted(
        lines[columns].astype(str).to_numpy().tolist()
    )
    assert len(again.buildings) == (len(osm.buildings) if suffix == ".gpkg" else 0)
    assert len(read_osm(path, (24.94, 60.165, 24.942, 60.167)).roads) < len(lines)


def test_untagged_lines_are_roads_and_invalid_buildings_are_repaired(tmp_path):
    bow_tie = shapely.Polygon([(0, 0), (0.001, 0.001), (0.001, 0), (0, 0.001)])
    shapes = [shapely.LineString([(0, 0), (1, 1)]), bow_tie]
    path = tmp_path / "plain.geojson"
    gpd.GeoDataFrame({"name": ["a", "b"]}, geometry=shapes, crs=LONLAT).to_file(path)
    osm = read_osm(path)
    assert len(osm.roads) == len(osm.buildings) == 1
    assert osm.buildings.is_valid.all()


def test_tags_that_an_export_spelled_none_are_not_there(tmp_path):
    path = tmp_path / "spelled.geojson"
    tags = {"highway": ["residential", "None"], "tunnel": ["None", "yes"], "lanes": ["nan", "2"]}
    shapes = [shapely.LineString([(0, 0), (1, 1)])] * 2
    gpd.GeoDataFrame(tags, geometry=shapes, crs=LONLAT).to_file(path)
    roads = read_osm(path).roads
    assert roads[["highway", "tunnel", "lanes"]].to_numpy().tolist() == [["residential", None, None]]


def test_a_line_is_drawn_once_in_either_direction_unless_its_tags_differ(tmp_path):
    line, beside = shapely.LineString([(0, 0), (0.5, 0.2), (1, 1)]), shapely.LineString([(0, 0), (0.5, 0.3), (1, 1)])
    shapes, tags = [line, line.reverse(), beside, line, line], ["primary", "primary", "primary", "track", "primary"]
    gpd.GeoDataFrame({"highway": tags}, geometry=shapes, crs=LONLAT).to_file(tmp_path / "edges.geojson")
    osm = read_osm(tmp_path / "edges.geojson")
    assert osm.roads["highway"].tolist() == ["primary", "primary", "track"]
    assert [str(count) for count in osm.counts] == ["edges (tags of OSM): 3 roads of 5 rows, 2 that repeat another"]


def test_layers_without_a_crs_are_named(tmp_path):
    path = tmp_path / "plain.gpkg"
    with pytest.warns(UserWarning, match="crs"):
        gpd.GeoDataFrame(geometry=[shapely.LineString([(0, 0), (1, 1)])]).to_file(path, layer="ways")
    for area in (None, BOX):
        with pytest.raises(InputError, match="plain.gpkg: layer 'ways' states no CRS"):
            read_osm(path, area)


def test_damaged_vector_files_are_named(tmp_path):
    for name in ("text.gpkg", "text.geojson", "text.parquet"):
        (tmp_path / name).write_text("no vectors")
        with pytest.raises(InputError, match=f"{name}: expected"):
            read_osm(tmp_path / name)
