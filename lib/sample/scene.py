"""
A satellite image of places known as vectors: ground, streets, roofs, trees and light, painted in that order.

The picture is not a photograph's equal; it holds what makes roads hard to find in one: asphalt of every age,
yards and roofs of the same grey, crowns and shadows over the carriageway, cars, paths that are no roads.
"""

from collections.abc import Callable
from dataclasses import replace

import cv2
import geopandas as gpd
import numpy as np
import shapely

from lib.grid import Grid
from lib.sample import layers as paint
from lib.sample.layers import GROUND, LABEL, Canvas, SceneVectors, Sensor, Sun, generator
from lib.sample.streets import park_cars, pave_streets
from lib.sample.things import grow_trees, homes, plots, raise_roofs

CROPS = np.float32([(126, 118, 72), (94, 106, 60), (148, 134, 94), (114, 96, 76), (86, 98, 56), (138, 126, 86)])
PATCHES = ((170, 0.03), (40, 0.025), (5, 0.03))  # width in pixels and strength of the blotches within a field
NEAR_M = 100.0  # margin around the image from which shadows and road ends reach in


def render_scene(
    vectors: SceneVectors,
    grid: Grid,
    seed: int = 0,
    sun: Sun | None = None,
    sensor: Sensor | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> np.ndarray:
    """
    Render the vectors on the grid.

    Parameters
    ----------
    grid
        Its CRS is the vectors', in metres, north up.
    seed
        The same seed gives the same bytes.
    progress
        Called with the name of each stage as it begins.

    Returns
    -------
    image
        (H, W, 3) uint8, RGB.
    """
    canvas = Canvas(grid, seed, sun or Sun())
    px = to_pixels(vectors, grid)
    stages = {"ground": lay_ground, "fields": plough_fields, "streets": pave_streets}
    stages |= {"cars": park_cars, "roofs": raise_roofs, "trees": grow_trees}
    for stage, work in stages.items():
        progress(stage)
        work(canvas, px)
    progress("light")
    shadow = paint.cast_shadows(canvas.height, canvas.sun, canvas.gsd_m)
    return paint.expose(paint.develop(canvas, shadow), sensor or Sensor(), seed)


def to_pixels(vectors: SceneVectors, grid: Grid) -> SceneVectors:
    """The same vectors in continuous pixels of the grid, those near it only."""
    near = shapely.box(*grid.bounds).buffer(NEAR_M, join_style="mitre")

    def convert(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        frame = frame[frame.intersects(near)].reset_index(drop=True)
        return frame.set_geometry(shapely.transform(frame.geometry.to_numpy(), grid.world_to_pixel))

    return replace(vectors, **{name: convert(frame) for name, frame in vars(vectors).items() if name != "style"})


def lay_ground(canvas: Canvas, px: SceneVectors) -> None:
    """Label the ground, then colour it: two colours a label, mixed by noise of three scales."""
    rng = generator(canvas.seed, "ground")
    shape, m = canvas.label.shape, 1 / canvas.gsd_m
    canvas.label[...] = wilds(px, shape, m, rng)
    # large outlines first, so that what lies within them is painted over them
    cover = px.cover.iloc[np.argsort(-px.cover.area.to_numpy(), kind="stable")]
    kinds = cover["kind"].replace({"yard": "asphalt", "parking": "asphalt"})
    paint.fill(canvas.label, cover.geometry, kinds.map(LABEL).to_numpy())
    lay_yards(canvas, px, rng)
    rails = px.paths.geometry[px.paths["kind"] == "rail"].to_numpy()
    paint.fill_lines(canvas.label, rails, 2.9 * m, LABEL["ballast"])
    low, mid, fine = (paint.value_noise(rng, shape, cell * m) for cell in (45, 5, 0.9))
    first, second, weights = map(np.float32, zip(*GROUND.values(), strict=True))  # (labels, 3) each

    def work(rows: slice) -> None:
        label = canvas.label[rows]
        weight = weights[label]
        noise = weight[..., 0] * low[rows] + weight[..., 1] * mid[rows] + weight[..., 2] * fine[rows]
        mix = np.clip(0.5 + 0.3 * noise, -0.2, 1.2)[..., None]
        canvas.albedo[rows] = np.clip(first[label] + (second[label] - first[label]) * mix, 0, 255)

    paint.strips(shape[0], work)


def wilds(px: SceneVectors, shape: tuple[int, int], m: float, rng: np.random.Generator) -> np.ndarray:
    """Label what nobody mapped: meadow or paving, and away from houses woods or greens with a ragged edge."""
    common, far, level = ("meadow", "wood", 0.05) if px.style == "town" else ("paved", "dry", 0.4)
    # houses and groves on a raster of 8 px, which is enough for what is ragged in the end
    built = np.full(tuple(n // 8 + 1 for n in shape), 255, np.uint8)
    houses = shapely.transform(px.buildings.geometry.to_numpy(), lambda xy: xy / 8)
    paint.fill(built, shapely.buffer(houses, 1.0), 0)
    away_m = np.minimum(cv2.distanceTransform(built, cv2.DIST_L2, 5), 1e4) * 8 / m  # no house at all: endless
    groves = paint.value_noise(rng, built.shape, 40 * m / 8) + 0.5 * paint.value_noise(rng, built.shape, 12 * m / 8)
    inside = cv2.resize(np.float32((groves > level) & (away_m > 20)), shape[::-1])
    ragged = inside + 0.24 * paint.value_noise(rng, shape, 5 * m) > 0.5
    return np.where(ragged, LABEL[far], LABEL[common])


def draw_labels(rng: np.random.Generator, count: int, shares: dict[str, float]) -> np.ndarray:
    """So many labels by lot, each with its share."""
    return rng.choice([LABEL[name] for name in shares], count, p=list(shares.values()))


def lay_yards(canvas: Canvas, px: SceneVectors, rng: np.random.Generator) -> None:
    """Give each house of a town its plot, lawn or not, and a drive to the nearest road."""
    m, label = 1 / canvas.gsd_m, canvas.label
    outlines = homes(px, m)
    count = len(outlines)
    if not count or px.roads.empty:
        return
    before, paved = label.copy(), label == LABEL["asphalt"]
    garden = draw_labels(rng, count, {"lawn": 0.5, "dry": 0.3, "meadow": 0.2})
    gardens = plots(outlines, 20 * m)
    paint.fill(label, gardens, garden)
    label[paved] = LABEL["asphalt"]
    green = rng.random(count) < 0.3  # also where all around is paved
    paint.fill(label, gardens[green], garden[green])
    # a hall has its yard all around, a house now and then a paved or bare one
    hall = shapely.area(outlines) > 450 * m**2
    yard = draw_labels(rng, count, {"gravel": 0.33, "asphalt": 0.35, "paved": 0.18, "soil": 0.06, "concrete": 0.08})
    bare = np.where(hall, rng.random(count) < 0.75, rng.random(count) < 0.16)
    for some, reach_m in ((bare & ~hall, 6.0), (bare & hall, 17.0)):
        paint.fill(label, plots(outlines, reach_m * m)[some], yard[some])
    np.copyto(label, before, where=np.isin(before, [LABEL["field"], LABEL["pitch"], LABEL["water"]]))
    roads = px.roads.geometry.to_numpy()
    drives = shapely.shortest_line(outlines, roads[shapely.STRtree(roads).nearest(outlines)])
    short = (shapely.length(drives) < 40 * m) & (rng.random(count) < 0.85)
    surface = draw_labels(rng, count, {"gravel": 0.4, "asphalt": 0.35, "paved": 0.25})
    drives = shapely.buffer(drives, rng.uniform(1.3, 2.6, count) * m, cap_style="square")
    paint.fill(label, drives[short], surface[short])


def plough_fields(canvas: Canvas, px: SceneVectors) -> None:
    """Cut each field into strips of different crops, with furrows and the tramlines of the tractor."""
    rng = generator(canvas.seed, "fields")
    rows, cols = canvas.label.shape
    for field in px.cover.geometry[px.cover["kind"] == "field"]:
        left, top, right, bottom = np.clip(np.round(field.bounds).astype(int), 0, [cols, rows, cols, rows])
        if right - left < 8 or bottom - top < 8:
            continue
        part = np.s_[top:bottom, left:right]
        sides = np.diff(shapely.get_coordinates(field.minimum_rotated_rectangle), axis=0)[:2]
        long = sides[np.argmax(np.hypot(*sides.T))]
        # metres from the window's corner, along the furrows and across them; float32 (H, W)
        y, x = np.mgrid[: bottom - top, : right - left].astype(np.float32) * np.float32(canvas.gsd_m)
        along, across = paint.turned(x, y, np.arctan2(long[1], long[0]))
        cuts = (np.cumsum(rng.uniform(90, 260, 30)) + along.min()).astype(np.float32)
        colours = CROPS[rng.integers(0, len(CROPS), 32)] * np.float32(rng.uniform(0.9, 1.1, (32, 1)))
        wave = 0.035 * np.sin(across * (2 * np.pi / 2.7)) + 0.02 * np.sin(across * (2 * np.pi / 11.3))
        lane = np.abs(np.mod(across, 21.0) - 10.5)
        wheel = np.float32(-0.10) * (np.abs(lane - 0.95) < 0.4)
        patch = sum(paint.value_noise(rng, x.shape, cell) * spread for cell, spread in PATCHES)
        colour = colours[np.digitize(along, cuts)] * (1 + wave + wheel + patch)[..., None]
        inside = canvas.label[part] == LABEL["field"]
        canvas.albedo[part][inside] = np.clip(colour, 0, 255)[inside]
