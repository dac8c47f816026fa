"""Damaged vector files: a result or an error that names the file, in bounded time; a broken row costs that row."""

import json
import struct
import time

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from lib.errors import InputError
from lib.grid import LONLAT
from lib.osm.counts import LayerCount, is_unused
from lib.osm.layers import area_of_interest, read_osm

AREA = (23.9, 59.9, 24.1, 60.1)
HOUSES = [shapely.box(24 + n / 1000, 60, 24.0005 + n / 1000, 60.0005) for n in range(20)]
MOST_S = 5.0  # of CPU time
COUNT = 24


def write(path):
    frame = gpd.GeoDataFrame({"building": ["yes"] * 20, "name": "a house"}, geometry=HOUSES, crs=LONLAT)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        pd.DataFrame({"building": ["yes"] * 20, "geometry": frame.geometry.to_wkt()}).to_csv(path, index=False)
    else:
        frame.to_file(path)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp", ".parquet", ".fgb", ".csv", ".geojsonl"])
def test_a_damaged_file_is_read_or_named(tmp_path, suffix, damages):
    path = write(tmp_path / f"houses{suffix}")
    assert len(read_osm(path).buildings) == 20
    parts = [path, path.with_suffix(".dbf"), path.with_suffix(".shx")] if suffix == ".shp" else [path]
    for part in parts:
        whole = part.read_bytes()
        for what, damaged in damages(whole, COUNT // len(parts)):
            part.write_bytes(damaged)
            for area in (None, AREA):
                started_s = time.process_time()
                try:
                    read_osm(path, area)
                except InputError as error:
                    assert path.name in str(error), what
                assert time.process_time() - started_s < MOST_S, what
        part.write_bytes(whole)


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg", ".parquet"])
def test_a_broken_row_costs_that_row(tmp_path, suffix):
    path = tmp_path / f"drawn{suffix}"
    two_points = struct.pack("<BIII4d", 1, 3, 1, 2, 24.0, 60.0, 24.001, 60.0)
    open_ring = struct.pack("<BIII6d", 1, 3, 1, 3, 24.0, 60.0, 24.001, 60.0, 24.0, 60.001)
    one_point = struct.pack("<BII2d", 1, 2, 1, 24.0, 60.0)
    whole = [shapely.to_wkb(house) for house in HOUSES]
    wkb = [*whole, two_points, one_point, None, open_ring]
    if suffix == ".parquet":
        _write_wkb_parquet(path, wkb)
    elif suffix == ".gpkg":
        import pyogrio

        values = [pd.Series(["yes"] * len(wkb)).to_numpy(dtype=object)]
        wkb = pd.Series(wkb, dtype=object).to_numpy()
        pyogrio.raw.write(path, wkb, values, ["building"], geometry_type="Unknown", crs=LONLAT, driver="GPKG")
    else:
        rings = [[[24.0, 60.0], [24.001, 60.0]], [[24.0, 60.0], [24.001, 60.0], [24.0, 60.001]]]
        shapes = [shapely.geometry.mapping(house) for house in HOUSES]
        shapes += [{"type": "Polygon", "coordinates": [rings[0]]}, {"type": "LineString", "coordinates": rings[0][:1]}]
        shapes += [None, {"type": "Polygon", "coordinates": [rings[1]]}]
        rows = [{"type": "Feature", "properties": {"building": "yes"}, "geometry": shape} for shape in shapes]
        path.write_text(json.dumps({"type": "FeatureCollection", "features": rows}))
    osm = read_osm(path)
    assert len(osm.buildings) == 21 and osm.buildings.is_valid.all()  # an open ring is closed
    (count,) = osm.counts
    assert (count.rows, count.buildings, count.broken) == (24, 21, 3) and len(count.broken_rows) == 3
    assert "21 buildings of 24 rows, 3 left out" in str(count) and count.broken_rows[0] in str(count)
    assert len(read_osm(path, AREA).buildings) == 21


def _write_wkb_parquet(path, wkb):
    import pyarrow.parquet

    column = {"encoding": "WKB", "geometry_types": []}
    geo = {"version": "1.0.0", "primary_column": "shape", "columns": {"shape": column}}
    table = pyarrow.table({"building": ["yes"] * len(wkb), "shape": pyarrow.array(wkb, pyarrow.binary())})
    pyarrow.parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)


def test_a_table_without_geometries_is_refused_in_words(tmp_path):
    pd.DataFrame({"highway": ["primary"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet: expected a GeoParquet file"):
        read_osm(tmp_path / "a.parquet")
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"a\.zip: expected a vector file"):
        read_osm(tmp_path / "a.zip")


def test_a_header_that_declares_more_rows_than_fit_is_refused(tmp_path, monkeypatch):
    import pyogrio

    path = write(tmp_path / "houses.fgb")
    about = pyogrio.read_info(path, force_total_bounds=True)
    monkeypatch.setattr(pyogrio, "read_info", lambda *_, **__: about | {"features": 2**40})
    with pytest.raises(InputError, match=r"houses\.fgb: declares 1099511627776 rows"):
        read_osm(path)


def test_an_area_is_read_from_any_polygons(tmp_path):
    write(tmp_path / "a.gpkg")
    frame = gpd.GeoDataFrame({"highway": ["residential"]}, geometry=[shapely.box(*AREA)], crs=LONLAT)
    frame.to_file(tmp_path / "tagged.gpkg")
    assert area_of_interest(tmp_path / "tagged.gpkg").bounds == pytest.approx(AREA)


def test_scattered_areas_are_read_part_by_part(tmp_path):
    path = write(tmp_path / "houses.gpkg")
    ends = shapely.union_all([shapely.box(23.9995, 59.9995, 24.0007, 60.0007), shapely.box(24.0187, 60.0, 24.03, 60.2)])
    assert len(read_osm(path, ends).buildings) == 2


def test_nothing_of_a_layer_that_could_not_say_so_is_unused():
    count = LayerCount("a", "no tags", rows=3, roads=0, buildings=0, can_tell=False)
    assert is_unused([count]) and not is_unused([]) and not is_unused([count, LayerCount("b", "no tags", 3, 1, 0)])
    assert not is_unused([count, LayerCount("b", "tags of OSM", 0, 0, 0)])
