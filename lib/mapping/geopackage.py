"""A map's GeoPackage: its layers with the QGIS styles inside, written whole or not at all."""

import contextlib
import glob
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lib.errors import BusyError, ParameterError, reading
from lib.mapping.styles import STYLES, Style, qml
from lib.paths import is_written, locked, room_for

if TYPE_CHECKING:
    import geopandas as gpd

GEOMETRY_COLUMN = "geom"  # GDAL's name; a style names its layer by both
PATIENCE_S = 60.0  # for another writer of the same file
EXPECTED = "a GeoPackage"

# as QGIS makes it, QgsOgrProvider::saveStyle; it looks for rows whose schema is "", not NULL
_STYLE_TABLE = """
CREATE TABLE IF NOT EXISTS layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
    styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30),
    ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))
"""
_STYLE_CONTENT = """
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, description, last_change)
VALUES ('layer_styles', 'attributes', 'layer_styles', '', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
"""
_STYLE_ROW = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML,
                          styleSLD, useAsDefault, description, owner, ui)
VALUES ('', '', ?, ?, ?, ?, '', 1, '', '', '')
"""


def add_layers(path: Path, layers: Mapping[str, "gpd.GeoDataFrame"]) -> Path:
    """
    Put layers into a map's GeoPackage, with their styles: all of them or none.

    A layer that is there already is replaced, style and all; the others stay, as do styles that people saved for them.
    The file is made where there is none.

    Parameters
    ----------
    path
        Such as map.gpkg.
    layers
        Frames by the name of their layer, one of `lib.mapping.styles.STYLES`, which says whether it holds lines or
        polygons. Columns are written as they are.

    Raises
    ------
    ParameterError
        If there is no style for a layer, or a frame lacks the column that its style needs.
    InputError
        If the file can't be read as a GeoPackage.
    BusyError
        If another program, such as QGIS, has changes in the file that it hasn't put there yet.
    DiskFullError
        If there is no room; the file is then as it was.
    """
    _check(layers)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, PATIENCE_S):
        return _replaced(path, layers)


def _check(layers: Mapping[str, "gpd.GeoDataFrame"]) -> None:
    for name, frame in layers.items():
        if name not in STYLES:
            raise ParameterError(f"Expected layers of {', '.join(STYLES)}; got {name!r}, which has no style.")
        if STYLES[name].column not in frame.columns:
            raise ParameterError(
                f"Layer {name!r}: expected a column {STYLES[name].column!r}, by which it is coloured; got "
                f"{', '.join(map(repr, frame.columns))}."
            )


def _replaced(path: Path, layers: Mapping[str, "gpd.GeoDataFrame"]) -> Path:
    """Write the layers into a copy of the file, then put that in its place."""
    if is_written(path):
        _settle(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*tmp"):  # of a killed writer: the lock keeps others out
        shutil.rmtree(left)
    with room_for(path), tempfile.TemporaryDirectory(".tmp", f".{path.name}.", path.parent) as folder:
        part = Path(folder).joinpath(path.name)
        if is_written(path):
            shutil.copyfile(path, part)
        for name, frame in layers.items():
            _write_layer(part, name, frame)
        with contextlib.closing(sqlite3.connect(part)) as file, file:
            for name in layers:
                _write_style(file, name, STYLES[name])
        part.replace(path)
    return path


def _settle(path: Path) -> None:
    """
    Bring what killed writers left in SQLite's journals into the file: beside a new one they would be taken for its own.

    Raises
    ------
    InputError
        If the file is no GeoPackage.
    BusyError
        If another program has the file open and logs its changes beside it.
    """
    # the last one to close a file takes its log away
    with reading(path, EXPECTED), contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("SELECT count(*) FROM gpkg_contents").fetchone()
    if path.with_name(f"{path.name}-wal").exists():
        raise BusyError(
            f"{path} is open in another program, such as QGIS, which keeps changes beside it. Close the map there, "
            "then run again."
        )


def _write_layer(path: Path, name: str, frame: "gpd.GeoDataFrame") -> None:
    import pyogrio

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # pixels have none
        pyogrio.write_dataframe(
            frame,
            path,
            layer=name,
            driver="GPKG",
            geometry_type="Polygon" if STYLES[name].is_area else "LineString",
            layer_options={"GEOMETRY_NAME": GEOMETRY_COLUMN},
        )


def _write_style(file: sqlite3.Connection, name: str, style: Style) -> None:
    file.execute(_STYLE_TABLE)
    file.execute(_STYLE_CONTENT)
    file.execute("DELETE FROM layer_styles WHERE f_table_name = ?", (name,))
    file.execute(_STYLE_ROW, (name, GEOMETRY_COLUMN, name, qml(style)))


def read_layer(path: Path, layer: str, expected: str = EXPECTED) -> "gpd.GeoDataFrame | None":
    """A layer of a GeoPackage; None where it has no such layer. InputError, with `expected`, where it can't be read."""
    import pyogrio

    with reading(path, expected):
        roll_back(path)
        return pyogrio.read_dataframe(path, layer=layer) if layer in pyogrio.list_layers(path)[:, 0] else None


def read_layers(path: Path) -> dict[str, "gpd.GeoDataFrame"]:
    """The layers of a map by name, in the order of its GeoPackage; errors as `read_layer`."""
    return {name: read_layer(path, name) for name in layer_names(path) if name in STYLES}


def roll_back(path: Path) -> None:
    """Undo what a killed writer left half done, which GDAL refuses to read: it opens for reading alone."""
    if path.with_name(f"{path.name}-journal").is_file():
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as file:
            file.execute("SELECT count(*) FROM sqlite_master")  # SQLite does it before the first reading


def layer_names(path: Path) -> list[str]:
    """Names of the layers of features in a GeoPackage, in their order; InputError where it is none."""
    with reading(path, EXPECTED):
        roll_back(path)
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            rows = file.execute("SELECT table_name FROM gpkg_contents WHERE data_type = 'features' ORDER BY rowid")
            return [name for (name,) in rows]
