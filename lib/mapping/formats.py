"""Layers of a map in the formats that other programs ask for; each file is written whole or not at all."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import PPLinkNetWarning
from lib.grid import LONLAT
from lib.paths import whole_file, write_whole
from lib.vectors.roadio import UNFIT_IN_ID, write_challenge_csv

if TYPE_CHECKING:
    import geopandas as gpd

    from lib.grid import Grid

LARGE_GEOJSON_BYTES = 100e6  # browsers and editors read it at once, as text


def write_parquet(path: Path, layer: "gpd.GeoDataFrame", grid: "Grid") -> None:
    """GeoParquet 1.1 with a box for each row (covering), by which DuckDB, GDAL and geopandas read a part."""
    with whole_file(path) as part:
        layer.to_parquet(part, index=False, compression="zstd", schema_version="1.1.0", write_covering_bbox=True)


def write_geojson(path: Path, layer: "gpd.GeoDataFrame", grid: "Grid") -> None:
    """RFC 7946: longitude and latitude to 7 digits, about a centimetre, exterior rings counterclockwise."""
    with whole_file(path) as part:
        _write(part, path.stem, layer.to_crs(LONLAT), "GeoJSON", {"RFC7946": "YES", "COORDINATE_PRECISION": "7"})
        size = part.stat().st_size
    if size > LARGE_GEOJSON_BYTES:
        warnings.warn(
            f"{path} is {size / 1e6:.0f} MB large; GeoJSON is read as a whole: take map.gpkg or FlatGeobuf for such an "
            "area.",
            PPLinkNetWarning,
            stacklevel=2,
        )


def write_flatgeobuf(path: Path, layer: "gpd.GeoDataFrame", grid: "Grid") -> None:
    """FlatGeobuf with its spatial index; rows stand in the order of the index."""
    with whole_file(path) as part:
        _write(part, path.stem, layer, "FlatGeobuf", {"SPATIAL_INDEX": "YES"})


def write_csv(path: Path, layer: "gpd.GeoDataFrame", grid: "Grid") -> None:
    """SpaceNet's CSV in pixels of the grid, of one image, named as the folder: ImageId,WKT_Pix, or its buildings'."""
    import shapely

    image = UNFIT_IN_ID.sub("_", path.absolute().parent.name)
    shapes = shapely.transform(layer.geometry.to_numpy(), grid.world_to_pixel)
    if "area_m2" not in layer:
        write_challenge_csv(path, {image: [np.asarray(line.coords) for line in shapes]})
        return
    rows = ["ImageId,BuildingId,PolygonWKT_Pix,Confidence"]
    for number, (shape, confidence) in enumerate(zip(shapes, layer["confidence"].fillna(0), strict=True), 1):
        rows.append(f'{image},{number},"{shapely.to_wkt(shape, rounding_precision=3)}",{confidence:.4f}')
    rows += [] if len(layer) else [f"{image},-1,POLYGON EMPTY,0"]
    write_whole(path, "\n".join(rows) + "\n")


def _write(path: Path, name: str, layer: "gpd.GeoDataFrame", driver: str, options: dict[str, str]) -> None:
    """Write a layer under a name: GDAL would take that of the temporary file."""
    import pyogrio

    path.unlink()  # the empty place holder: GDAL would try to read it
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # pixels have none
        pyogrio.write_dataframe(layer, path, layer=name, driver=driver, layer_options=options)


WRITERS: dict[str, Callable[[Path, "gpd.GeoDataFrame", "Grid"], None]] = {
    "parquet": write_parquet,
    "geojson": write_geojson,
    "fgb": write_flatgeobuf,
    "csv": write_csv,
}
IN_DEGREES = ("geojson",)  # formats that a map without CRS has no place in
