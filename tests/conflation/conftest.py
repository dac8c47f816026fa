"""A mapped place: a scene of 200 m, a road that OSM has, and candidates beside it in the map's GeoPackage."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from rasterio.features import rasterize

SIDE_PX, GSD_M = 400, 0.5


class Place:
    """
    The place, and what makes others like it.

    Attributes
    ----------
    candidates
        Four missing roads, all open; the first joins OSM's road, the second and the third each other.
    osm
        The road along the middle row, as `lib.osm.layers` reads it.
    roads
        What the map found: OSM's road and all candidates, noded nowhere.
    gpkg, scene
        The map of it, and the image: noise, and a bright band where each road lies.
    """

    crs = "EPSG:32635"
    west, north = 500_000.0, 6_700_000.0

    def __init__(self, folder: Path) -> None:
        ends = [((100, 40), (100, 100)), ((30, 150), (170, 150)), ((160, 100), (160, 150)), ((20, 20), (80, 20))]
        lines = [self.at(*line) for line in ends]
        lengths, confidence = [line.length for line in lines], [0.9, 0.6, 0.8, 0.3]
        self.candidates = self.frame(
            lines,
            candidate=[1, 2, 3, 4],
            length_m=lengths,
            confidence=confidence,
            joins=["way/7", "", "", ""],
            joins_highway=["residential", "", "", ""],
            status=["open"] * 4,
        )
        middle = self.at((-50, 100), (250, 100))
        self.osm = self.frame([middle], osm_id=["way/7"], highway=["residential"], width=["8"])
        self.roads = self.frame(
            [middle, *lines], length_m=[300.0, *lengths], width_m=[8.0, *[6.0] * 4], confidence=[0.95, *confidence]
        )
        self.gpkg, self.scene = folder / "map" / "map.gpkg", folder / "scene.tif"
        self.gpkg.parent.mkdir()
        self.roads.to_file(self.gpkg, layer="roads")
        self.candidates.to_file(self.gpkg, layer="missing_roads")
        image = np.random.default_rng(0).integers(60, 100, (SIDE_PX, SIDE_PX), dtype=np.uint8)
        transform = rasterio.Affine(GSD_M, 0, self.west, 0, -GSD_M, self.north)
        profile = {"driver": "GTiff", "width": SIDE_PX, "height": SIDE_PX, "count": 3, "dtype": "uint8"}
        shapes = [(line.buffer(3), 200) for line in self.roads.geometry]
        image = np.maximum(image, rasterize(shapes, image.shape, transform=transform, dtype="uint8"))
        with rasterio.open(self.scene, "w", crs=self.crs, transform=transform, **profile) as file:
            file.write(np.stack([image] * 3))

    def at(self, *xy: tuple[float, float]) -> shapely.LineString:
        """Line through places in metres east and south of the scene's corner."""
        return shapely.LineString([(self.west + x, self.north - y) for x, y in xy])

    def frame(self, geometry: list, **columns: object) -> gpd.GeoDataFrame:
        return gpd.GeoDataFrame(pd.DataFrame(columns, index=range(len(geometry))), geometry=geometry, crs=self.crs)


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path)
