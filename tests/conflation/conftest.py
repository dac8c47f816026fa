"""A town of straight streets with probabilities that show all of it; and a scene whose candidates stand in a map."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from rasterio.features import rasterize

from lib.conflation.ground import ground_of_arrays
from lib.grid import Grid

SIDE_PX, GSD_M = 400, 1.0  # of the town
SCENE_PX, SCENE_GSD_M = 400, 0.5
LEFT, TOP = 500_000.0, 6_700_000.0
WIDTH_M = 6.5  # of a residential street in the metric profile


@pytest.fixture(scope="session")
def grid() -> Grid:
    """400 m of UTM ground at 1 m."""
    return Grid((GSD_M, 0.0, LEFT, 0.0, -GSD_M, TOP), "EPSG:32635", SIDE_PX, SIDE_PX)


@pytest.fixture(scope="session")
def roads_frame(grid):
    """Makes an OSM-like frame of roads from polylines in pixels: osm_id way/0, way/1, ...; tags as columns."""

    def make(lines: list, **tags) -> gpd.GeoDataFrame:
        geometry = [shapely.LineString(grid.pixel_to_world(np.array(line, float))) for line in lines]
        table = {"osm_id": [f"way/{i}" for i in range(len(lines))], "highway": "residential"} | tags
        return gpd.GeoDataFrame(table, geometry=geometry, crs=grid.crs)

    return make


@pytest.fixture(scope="session")
def polygons_frame(grid):
    """Makes a frame of boxes (left, top, right, bottom) in pixels, osm_id way/0, way/1, ..."""

    def make(boxes: list) -> gpd.GeoDataFrame:
        shapes = [shapely.box(*box) for box in boxes]
        geometry = shapely.transform(np.array(shapes, object), grid.pixel_to_world)
        ids = [f"way/{i}" for i in range(len(boxes))]
        return gpd.GeoDataFrame({"osm_id": ids, "building": "yes"}, geometry=geometry, crs=grid.crs)

    return make


@pytest.fixture(scope="session")
def town(grid, roads_frame):
    """Streets in a grid of blocks; their drawing as probabilities: 0.9 on a street, 0.02 elsewhere, blurred."""
    across = [[(0, y), (SIDE_PX, y)] for y in (60, 200, 340)]
    along = [[(x, 60), (x, 340)] for x in (80, 200, 320)]
    lines = across + along
    drawn = np.full((SIDE_PX, SIDE_PX), 0.02, np.float32)
    for line in lines:
        cv2.polylines(drawn, [np.array(line, np.int32)], False, 0.9, 7)
    probability = cv2.GaussianBlur(drawn, (0, 0), 1.0)
    image = np.full((SIDE_PX, SIDE_PX, 3), 120, np.uint8)
    return SimpleNamespace(
        lines=lines,
        roads=roads_frame(lines),
        probability=probability,
        image=image,
        ground=ground_of_arrays(grid, probability, image),
    )


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
        image = np.random.default_rng(0).integers(60, 100, (SCENE_PX, SCENE_PX), dtype=np.uint8)
        transform = rasterio.Affine(SCENE_GSD_M, 0, self.west, 0, -SCENE_GSD_M, self.north)
        profile = {"driver": "GTiff", "width": SCENE_PX, "height": SCENE_PX, "count": 3, "dtype": "uint8"}
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
