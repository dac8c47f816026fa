# ruff: noqa: E501  a row of the table is a line
"""Files as their makers write them, small: what is drawn of each. The table in docs/own-imagery.md is made of these."""

import gzip
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from lib.errors import InputError
from lib.grid import LONLAT
from lib.osm.lanes import road_widths_m
from lib.osm.layers import read_osm
from lib.paths import ROOT

BOX = shapely.box(24.0, 60.0, 24.002, 60.002)


def street(number: int) -> shapely.LineString:
    return shapely.LineString([(24 + number / 1000, 60), (24 + number / 1000, 60.004)])


def house(number: int) -> shapely.Polygon:
    return shapely.box(24.01 + number / 1000, 60, 24.0105 + number / 1000, 60.0005)


def save(path: Path, shapes: list, layer: str | None = None, **columns: list) -> Path:
    gpd.GeoDataFrame(columns, geometry=shapes, crs=LONLAT).to_file(path, **({"layer": layer} if layer else {}))
    return path


def columns_of_osm(folder):
    tags = {"highway": ["primary", "residential", None], "lanes": ["4", None, None], "building": [None, None, "yes"]}
    return save(folder / "a.gpkg", [street(1), street(2), house(1)], "map", **tags)


def capitals(folder):
    return save(folder / "a.shp", [street(1), street(2)], HIGHWAY=["primary", "residential"], LANES=["4", None])


def geofabrik_zip(folder):
    roads = {"fclass": ["primary", "track_grade2", "residential"], "tunnel": ["F", "F", "T"], "oneway": ["B", "B", "B"]}
    save(folder / "gis_osm_roads_free_1.shp", [street(1), street(2), street(3)], **roads)
    save(folder / "gis_osm_landuse_a_free_1.shp", [house(1)], fclass=["residential"])
    save(folder / "gis_osm_waterways_free_1.shp", [street(4)], fclass=["stream"])
    save(folder / "gis_osm_buildings_a_free_1.shp", [house(2), house(3)], fclass=["building"] * 2, type=[None, "barn"])
    parts = list(folder.glob("gis*"))
    with zipfile.ZipFile(folder / "town-latest-free.shp.zip", "w") as archive:
        for part in parts:
            archive.write(part, part.name)
    return folder / "town-latest-free.shp.zip"


def geofabrik_folder(folder):
    geofabrik_zip(folder).unlink()
    return folder


def geofabrik_gpkg(folder):
    save(folder / "a.gpkg", [street(1)], "gis_osm_roads_free", fclass=["primary"])
    return save(folder / "a.gpkg", [house(1)], "gis_osm_landuse_a_free", fclass=["residential"])


def ogr2ogr(folder):
    other = ['"lanes"=>"4"', '"layer"=>"-1","tunnel"=>"yes"', None]
    classes = ["primary", "residential", None]
    save(folder / "a.gpkg", [street(1), street(2), street(3)], "lines", highway=classes, other_tags=other)
    route = ['"route"=>"bus","highway"=>"primary"']
    save(folder / "a.gpkg", [street(4)], "multilinestrings", osm_id=["3"], type=["route"], other_tags=route)
    ids = {"osm_id": [None, None, "7", None], "osm_way_id": ["4", "5", None, "6"]}
    tags = {"amenity": ["parking", None, None, None], "building": [None, None, None, "yes"]}
    other = [*['"highway"=>"service"'] * 3, None]
    shapes = [house(1), house(2), house(3), house(4)]
    return save(folder / "a.gpkg", shapes, "multipolygons", **ids, **tags, other_tags=other)


def osmnx_edges(folder):
    classes = ["['service', 'primary']", "residential", "['primary', 'service']"]
    tags = {"highway": classes, "lanes": ["['2', '4']", None, "['4', '2']"], "oneway": [False, True, False]}
    save(folder / "a.gpkg", [street(1), street(2), street(1).reverse()], "edges", **tags)
    return save(folder / "a.gpkg", [shapely.Point(24, 60)], "nodes", highway=["crossing"])


def osmnx_parquet(folder):
    tags = {"highway": [["service", "primary"], ["residential"]], "lanes": [["2", "4"], None], "oneway": [False, True]}
    gpd.GeoDataFrame(tags, geometry=[street(1), street(2)], crs=LONLAT).to_parquet(folder / "a.parquet")
    return folder / "a.parquet"


def nullable_parquet(folder):
    tags = {"highway": ["residential", None], "building": [None, "yes"]}
    frame = gpd.GeoDataFrame(pd.DataFrame(tags).astype("string"), geometry=[street(1), house(1)], crs=LONLAT)
    frame.to_parquet(folder / "a.parquet")
    return folder / "a.parquet"


def features(path: Path, rows: list[tuple], separator: str = "") -> Path:
    """GeoJSON of (properties, geometry): a collection, or with a separator one feature after the other."""
    made = [{"type": "Feature", "properties": p, "geometry": shapely.geometry.mapping(g)} for p, g in rows]
    whole = (
        separator.join(map(json.dumps, made))
        if separator
        else json.dumps({"type": "FeatureCollection", "features": made})
    )
    path.write_bytes(gzip.compress(whole.encode()) if path.suffix == ".gz" else whole.encode())
    return path


def osmtogeojson(folder):
    tags = [
        {"highway": "primary", "lanes": 4, "tunnel": False},
        {"railway": "rail"},
        {"highway": "service", "tunnel": "yes"},
    ]
    rows = [({"type": "way", "id": i, "tags": tags[i]}, street(i)) for i in range(3)]
    return features(folder / "a.geojson", [*rows, ({"type": "way", "id": 9, "tags": {"building": "yes"}}, house(1))])


def tags_as_text(folder):
    tags = ['{"highway": "primary", "lanes": "4"}', '{"railway": "rail"}']
    return save(folder / "a.gpkg", [street(1), street(2)], tags=tags)


def osmium_export(folder):
    ring = shapely.LineString(house(1).exterior.coords)
    rows = [({"highway": "residential"}, ring), ({"highway": "residential"}, shapely.MultiPolygon([house(1)]))]
    return features(folder / "a.geojson", rows)


def overture_segments(folder):
    none = dict.fromkeys(("width_rules", "road_flags", "road_surface", "access_restrictions", "subclass_rules"))
    denied = [{"access_type": "denied", "when": {"heading": "backward", "mode": None}, "between": [0.0, 0.5]}]
    half = [{"values": ["is_tunnel"], "between": [0.5, 1.0]}]
    rows = [
        none | {"class": "primary", "width_rules": [{"value": 12.0, "between": None}]},
        none | {"class": "residential", "road_flags": half, "access_restrictions": denied},
        none | {"class": "secondary", "subclass_rules": [{"value": "link", "between": None}]},
        none | {"class": "standard_gauge", "subtype": "rail"},
    ]
    frame = pd.DataFrame([{"id": f"s{n}", "subtype": "road", **row} for n, row in enumerate(rows)])
    shapes = [street(n) for n in range(4)]
    gpd.GeoDataFrame(frame, geometry=shapes, crs=LONLAT).to_parquet(folder / "a.parquet", write_covering_bbox=True)
    return folder / "a.parquet"


def overture_buildings(folder):
    rows = {"id": ["a", "b"], "subtype": [None, "residential"], "class": [None, "house"], "has_parts": [False, None]}
    gpd.GeoDataFrame(rows, geometry=[house(1), house(2)], crs=LONLAT).to_parquet(folder / "a.parquet")
    return folder / "a.parquet"


def overture_land_use(folder):
    rows = {"subtype": ["residential"], "class": ["residential"], "sources": ["[]"], "names": [None]}
    return save(folder / "a.geojson", [house(1)], **rows)


def microsoft_lines(folder):
    return features(folder / "a.csv.gz", [({"height": -1.0}, house(1)), ({"height": -1.0}, house(2))], "\n")


def microsoft_states(folder):
    return features(folder / "a.geojson", [({"release": 1}, house(1)), ({"release": 1}, house(2))])


def google_csv(folder):
    lines = ["latitude,longitude,area_in_meters,confidence,geometry"]
    lines += [f'60.0,24.0,20.5,0.8,"{house(n).wkt}"' for n in (1, 2)]
    (folder / "a.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return folder / "a.csv.gz"


def spacenet(folder):
    return save(folder / "a.geojson", [street(1), street(2)], road_type=["5", "5"], lane_number=["4", "2"])


def study_area(folder):
    save(folder / "a.gpkg", [house(1)], "buildings", building=["yes"])
    return save(folder / "a.gpkg", [BOX], "aoi", name=["study area"])


def named_layers(folder):
    save(folder / "a.gpkg", [street(1)], "roads", surveyed=["2020"])
    save(folder / "a.gpkg", [house(1)], "building footprints", surveyed=["2020"])
    return save(folder / "a.gpkg", [BOX], "aoi", name=["study area"])


def railways(folder):
    return save(folder / "a.geojson", [street(1)], railway=["rail"])


def csv_in_pixels(folder):
    (folder / "a.csv").write_text('ImageId,WKT_Pix\nimg1,"LINESTRING (10 10, 300 420)"\n')
    return folder / "a.csv"


@dataclass(frozen=True)
class Source:
    """Who writes such files, what is read of them (a row of the page), and what comes out of a small one."""

    who: str
    files: str
    read: str
    write: Callable[[Path], Path]
    widths_m: tuple[float, ...] = ()  # of what is drawn, in the file's order
    buildings: int = 0
    refused: str = ""  # words of the error


OSM_COLUMNS = "columns named as OSM's tags, in any letters; shapefiles' ten letters are completed"
BY_GEOMETRY = "no tags: lines are roads, polygons buildings"
# fmt: off
SOURCES = [
    Source("QGIS, QuickOSM, HOT, you", "`.gpkg` `.geojson` `.fgb` `.parquet` ...", OSM_COLUMNS, columns_of_osm, (14.0, 6.5), 1),
    Source("the same", "`.shp`", OSM_COLUMNS, capitals, (14.0, 6.5)),
    Source("Geofabrik", "`.shp.zip`", "`fclass` of roads and buildings; the other layers have one, too, and are left", geofabrik_zip, (7.0, 2.75), 2),
    Source("Geofabrik", "the unpacked folder", "as the zip", geofabrik_folder, (7.0, 2.75), 2),
    Source("Geofabrik", "`.gpkg`", "as the zip", geofabrik_gpkg, (7.0,)),
    Source("ogr2ogr, QGIS (GDAL's OSM driver)", "`.gpkg`", "`lines` and `multipolygons` with `other_tags`; routes are no roads", ogr2ogr, (14.0, 4.875, 4.875, 4.875), 1),
    Source("osmnx", "`.gpkg`", "edges, two-way streets once; of a merged edge the widest class and most lanes", osmnx_edges, (14.0, 4.0625)),
    Source("osmnx", "`.parquet` `.geojson`", "edges, with lists", osmnx_parquet, (14.0, 4.0625)),
    Source("GeoPandas, DuckDB", "`.parquet`", "any column type", nullable_parquet, (6.5,), 1),
    Source("osmtogeojson, overpass turbo", "`.geojson`", "flat tags or nested `tags`, booleans and numbers", osmtogeojson, (14.0,), 1),
    Source("PostGIS, ohsome", "any", "`tags` as JSON or hstore text", tags_as_text, (14.0,)),
    Source("osmium export", "`.geojson`", "a closed way is there as line and polygon: drawn once, as a line", osmium_export, (6.5,)),
    Source("Overture, segments", "`.parquet`", "`class`, `subclass`, width, surface, level, flags, one-way; cut where they change", overture_segments, (12.0, 4.0625, 4.25)),
    Source("Overture, buildings", "`.parquet`", "all polygons", overture_buildings, (), 2),
    Source("Overture, other themes", "any", "nothing: not guessed at", overture_land_use),
    Source("Microsoft, by quadkey", "`.csv.gz`, `.geojsonl`", "GeoJSON, one feature a line, whatever the name", microsoft_lines, (), 2),
    Source("Microsoft, by state", "`.geojson`", BY_GEOMETRY, microsoft_states, (), 2),
    Source("Google Open Buildings", "`.csv` `.csv.gz`", "WKT in `geometry`, degrees", google_csv, (), 2),
    Source("SpaceNet", "`.geojson`", "lines with `lane_number`", spacenet, (13.0, 6.5)),
    Source("a project's GeoPackage", "`.gpkg`", "beside layers with tags the others are left, such as a study area", study_area, (), 1),
    Source("the same, without tags", "`.gpkg`", "layers called roads, streets, buildings, footprints; the others are left", named_layers, (6.5,), 1),
    Source("OSM without `highway` and `building`", "any", "nothing: railways are no roads", railways),
    Source("SpaceNet's challenge CSV", "`.csv`", "refused: lines in pixels have no place", csv_in_pixels, refused="no layer with lines or polygons"),
]
# fmt: on


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.write.__name__)
def test_what_is_drawn_of_each_makers_file(source, tmp_path):
    path = source.write(tmp_path)
    if source.refused:
        with pytest.raises(InputError, match=source.refused):
            read_osm(path)
        return
    for area in (None, (23.9, 59.9, 24.1, 60.1)):
        osm = read_osm(path, area)
        widths_m = road_widths_m(osm.roads)
        assert widths_m[widths_m > 0].tolist() == pytest.approx(source.widths_m)
        assert len(osm.buildings) == source.buildings
        assert sum(count.roads for count in osm.counts) == len(osm.roads)


def test_the_page_lists_what_is_read():
    rows = [f"| {source.who} | {source.files} | {source.read} |" for source in SOURCES]
    table = "\n".join(["| from | files | what is read |", "| --- | --- | --- |", *rows])
    assert table in (ROOT / "docs/own-imagery.md").read_text(), f"the table in docs/own-imagery.md should be\n{table}"


def test_a_segment_is_cut_where_its_tunnel_begins_and_its_one_way_ends(tmp_path):
    roads = read_osm(overture_segments(tmp_path)).roads
    halves = roads[roads["osm_id"] == "s1"]
    assert halves["tunnel"].tolist() == [None, "yes"] and halves["oneway"].tolist() == ["yes", None]
    assert halves.length.tolist() == pytest.approx([0.002, 0.002])
    assert np.allclose(halves.geometry.iloc[0].coords[-1], halves.geometry.iloc[1].coords[0])


def test_a_closed_way_of_gdal_is_an_area_unless_another_key_made_it_a_polygon(tmp_path):
    roads = read_osm(ogr2ogr(tmp_path)).roads
    closed = roads[roads["highway"] == "service"]
    assert closed.geom_type.tolist() == ["LineString", "Polygon", "Polygon"]
    assert closed["osm_id"].tolist() == ["4", "5", "7"]


def test_a_zipped_file_leaves_nothing_beside_it(tmp_path):
    read_osm(google_csv(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv.gz"]
