import geopandas as gpd
import pytest
import shapely

from lib.errors import InputError, ParameterError
from lib.grid import LONLAT, Grid
from lib.osm.layers import area_of_interest, read_osm
from lib.paths import ROOT

SHARED = ROOT.parent / "shared"
BOX = (24.94, 60.165, 24.946, 60.169)


def test_only_the_area_is_kept(helsinki_pbf):
    whole, part = read_osm(helsinki_pbf), read_osm(helsinki_pbf, BOX)
    box = shapely.box(*BOX)
    assert 0 < len(part.roads) < len(whole.roads)
    assert part.roads.intersects(box).all()
    assert len(part.roads) == whole.roads.intersects(box).sum()
    assert len(part.buildings) == whole.buildings.intersects(box).sum()
    assert read_osm(helsinki_pbf, BOX, layers=("roads",)).buildings.empty


def test_elsewhere_is_an_error_and_an_empty_street_is_none(tmp_path, helsinki_pbf):
    path = tmp_path / "helsinki.geojson"
    read_osm(helsinki_pbf).buildings[["building", "geometry"]].to_file(path)
    for source in (helsinki_pbf, path):
        with pytest.raises(InputError, match="elsinki.* not the area .*extract of this place"):
            read_osm(source, (-115.2, 36.1, -115.1, 36.2))
        with pytest.raises(InputError, match="swapped"):
            read_osm(source, (60.165, 24.94, 60.169, 24.946))
    inside_without_roads = (24.9352, 60.1642, 24.93521, 60.16421)
    assert read_osm(helsinki_pbf, inside_without_roads).roads.empty


def test_what_cannot_be_read_is_refused(tmp_path, helsinki_pbf):
    with pytest.raises(InputError, match="none.osm.pbf: no such file"):
        read_osm(tmp_path / "none.osm.pbf")
    with pytest.raises(ParameterError, match="rivers"):
        read_osm(helsinki_pbf, layers=("rivers",))
    with pytest.raises(ParameterError, match="needs an area"):
        read_osm("overpass")


def test_areas_of_interest(tmp_path):
    grid = Grid((0.5, 0.0, 385500.0, 0.0, -0.5, 6673300.0), "EPSG:32635", 400, 300)
    from_grid = area_of_interest(grid)
    frame = gpd.GeoDataFrame(geometry=[from_grid], crs=LONLAT).to_crs("EPSG:3857")
    assert area_of_interest(frame).bounds == pytest.approx(from_grid.bounds, abs=1e-7)
    assert area_of_interest(BOX).bounds == BOX
    grown = area_of_interest(BOX, margin_m=111.0).bounds
    assert grown[3] - BOX[3] == pytest.approx(0.001, rel=0.02)
    for wrong in ((200, 0, 201, 1), (1, 1, 0, 0), shapely.Polygon()):
        with pytest.raises(InputError, match="area of interest"):
            area_of_interest(wrong)
    with pytest.raises(InputError, match="no image"):
        area_of_interest(tmp_path)


def test_crossing_rings_of_an_area_are_mended(tmp_path):
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    outside = shapely.Polygon(shapely.box(4, 0, 6, 2).exterior, [shapely.box(5, 1, 7, 1.5).exterior])
    gpd.GeoDataFrame(geometry=[bow, outside], crs=LONLAT).to_file(tmp_path / "area.gpkg")
    for area in (tmp_path / "area.gpkg", shapely.MultiPolygon([bow, outside])):
        found = area_of_interest(area)
        assert found.is_valid and set(shapely.get_type_id(shapely.get_parts(found))) == {3}
        # where a ring crosses itself, both sides are inside
        assert shapely.intersection(found, shapely.box(-1, -1, 3, 3)).area == pytest.approx(2)
        assert found.covers(shapely.box(4, 0, 4.9, 2)) and not found.contains(shapely.Point(5.5, 1.2))


def test_a_file_without_polygons_is_no_area(tmp_path):
    path = tmp_path / "lines.geojson"
    gpd.GeoDataFrame(geometry=[shapely.LineString([(0, 0), (1, 1)])], crs=LONLAT).to_file(path)
    with pytest.raises(InputError, match="lines.geojson: expected the polygons"):
        area_of_interest(path)


def test_a_folder_of_images_is_one_area():
    folder = SHARED / "data/hot-fair-kampala-buildings/tiles"
    if not folder.is_dir():
        pytest.skip("../shared is absent")
    area = area_of_interest(folder)
    assert read_osm(folder.parent / "labels.geojson", area).buildings.shape[0] > 100
