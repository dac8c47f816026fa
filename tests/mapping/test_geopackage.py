"""A map's GeoPackage: layers with their default styles, all of them or none."""

import contextlib
import shutil
import sqlite3

import geopandas as gpd
import pyogrio
import pytest
import shapely

from lib.errors import BusyError, DiskFullError, InputError, ParameterError
from lib.mapping import geopackage
from lib.mapping.geopackage import add_layers, layer_names, read_layers
from lib.mapping.styles import STYLES, qml

LINE, AREA = shapely.LineString([(0, 0), (10, 5)]), shapely.box(0, 0, 4, 3)


def frame(name: str, count: int = 2) -> gpd.GeoDataFrame:
    style = STYLES[name]
    values = [style.looks[k % len(style.looks)].value for k in range(count)]
    geometry = [AREA if style.is_area else LINE] * count
    return gpd.GeoDataFrame({style.column: values, "note": "</layer> & 'x'"}, geometry=geometry, crs="EPSG:32636")


def styles(path) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(path)) as file:
        columns = "f_table_catalog, f_table_schema, f_table_name, f_geometry_column, useAsDefault, styleQML"
        return file.execute(f"SELECT {columns} FROM layer_styles ORDER BY f_table_name").fetchall()


def test_every_layer_of_a_map_has_one_default_style(tmp_path):
    path = tmp_path / "map.gpkg"
    add_layers(path, {"roads": frame("roads")})
    add_layers(path, {name: frame(name) for name in STYLES if name != "roads"})
    assert sorted(layer_names(path)) == sorted(STYLES)
    # as QGIS asks for it: schema and catalogue are "", and the geometry column is the layer's
    assert styles(path) == [("", "", name, "geom", 1, qml(STYLES[name])) for name in sorted(STYLES)]
    for name, style in STYLES.items():
        info = pyogrio.read_info(path, layer=name)
        assert info["geometry_name"] == "geom" and info["crs"] == "EPSG:32636"
        assert info["geometry_type"] == ("Polygon" if style.is_area else "LineString")
        read = gpd.read_file(path, layer=name)
        assert read[style.column].tolist() == frame(name)[style.column].tolist()
    with contextlib.closing(sqlite3.connect(path)) as file:
        listed = file.execute("SELECT data_type FROM gpkg_contents WHERE table_name = 'layer_styles'").fetchall()
        assert listed == [("attributes",)] and file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_layer_is_replaced_with_its_style_and_the_others_keep_theirs(tmp_path):
    path = tmp_path / "map.gpkg"
    add_layers(path, {"roads": frame("roads"), "missing_roads": frame("missing_roads")})
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE layer_styles SET styleQML = 'mine' WHERE f_table_name = 'roads'")
    add_layers(path, {"missing_roads": frame("missing_roads", 5)})
    assert len(gpd.read_file(path, layer="missing_roads")) == 5 and len(gpd.read_file(path, layer="roads")) == 2
    assert [(row[2], row[5] == "mine") for row in styles(path)] == [("missing_roads", False), ("roads", True)]


def test_layers_come_all_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "map.gpkg"
    add_layers(path, {"roads": frame("roads")})
    before = path.read_bytes()
    write = geopackage._write_layer

    def fails(file, name, rows):
        if name == "buildings":
            raise OSError(28, "No space left on device")
        write(file, name, rows)

    monkeypatch.setattr(geopackage, "_write_layer", fails)
    with pytest.raises(DiskFullError, match="map.gpkg was not written, what was there before stays"):
        add_layers(path, {"missing_roads": frame("missing_roads"), "buildings": frame("buildings")})
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.gpkg", "map.gpkg.lock"]


@pytest.mark.parametrize("name", ["map.gpkg", "[1].gpkg"])
def test_what_a_killed_writer_left_goes(tmp_path, monkeypatch, name):
    write, parts = geopackage._write_layer, []
    monkeypatch.setattr(geopackage, "_write_layer", lambda part, *what: parts.append(part) or write(part, *what))
    add_layers(tmp_path / name, {"roads": frame("roads")})
    parts[0].parent.mkdir()
    parts[0].write_bytes(b"half")
    add_layers(tmp_path / name, {"roads": frame("roads")})
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, f"{name}.lock"])


@pytest.mark.parametrize("folder", ["#2 north", "what?", "50%25 done"])
def test_a_folder_may_have_any_name(tmp_path, folder):
    path = add_layers(tmp_path / folder / "map.gpkg", {"roads": frame("roads")})
    assert list(read_layers(path)) == ["roads"]


def test_a_file_with_changes_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "map.gpkg"
    add_layers(path, {"roads": frame("roads")})
    with contextlib.closing(sqlite3.connect(path)) as other:  # as QGIS does
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("UPDATE layer_styles SET styleQML = 'mine'")
        other.commit()
        with pytest.raises(BusyError, match="is open in another program, such as QGIS"):
            add_layers(path, {"roads": frame("roads")})
    add_layers(path, {"buildings": frame("buildings")})
    assert [(row[2], row[5] == "mine") for row in styles(path)] == [("buildings", False), ("roads", True)]


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_what_a_killed_program_left_in_the_journal_is_not_lost_nor_taken_for_the_new_files(tmp_path, mode):
    path, killed = tmp_path / "map.gpkg", tmp_path / "killed" / "map.gpkg"
    killed.parent.mkdir()
    add_layers(path, {"roads": frame("roads")})
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"PRAGMA journal_mode = {mode}")
        other.execute("PRAGMA cache_spill = 1")
        other.execute("PRAGMA cache_size = 1")
        other.execute("BEGIN")
        other.execute("UPDATE layer_styles SET styleQML = hex(randomblob(200000))")
        if mode == "WAL":
            other.execute("UPDATE layer_styles SET styleQML = 'mine'")
            other.execute("COMMIT")
        for part in tmp_path.glob("map.gpkg*"):
            shutil.copy(part, killed.parent)
    assert len(list(killed.parent.iterdir())) > 2  # the file, its lock, and a journal
    add_layers(killed, {"buildings": frame("buildings")})
    kept = "mine" if mode == "WAL" else qml(STYLES["roads"])
    assert [row[5] for row in styles(killed)] == [qml(STYLES["buildings"]), kept]
    assert sorted(p.name for p in killed.parent.iterdir()) == ["map.gpkg", "map.gpkg.lock"]


def test_what_is_no_layer_of_a_map_is_refused(tmp_path):
    path = tmp_path / "map.gpkg"
    with pytest.raises(ParameterError, match="'rivers', which has no style"):
        add_layers(path, {"rivers": frame("roads")})
    with pytest.raises(ParameterError, match="a column 'status', by which it is coloured"):
        add_layers(path, {"missing_roads": frame("roads")})
    assert not path.exists()
    path.write_text("no database at all, but long enough to be taken for one" * 20)
    with pytest.raises(InputError, match="expected a GeoPackage"):
        add_layers(path, {"roads": frame("roads")})
