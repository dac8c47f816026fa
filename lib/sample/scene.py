"""
A satellite image of places known as vectors: ground, streets, roofs, trees and light, painted in that order.

The picture is not a photograph's equal; it holds what makes roads hard to find in one: asphalt of every age,
yards and roofs of the same grey, crowns and shadows over the carriageway, cars, paths that are no roads.
"""

import math
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
from lib.sample.things import grow_trees, plant, plots, raise_roofs

CROPS = ((126, 118, 72), (94, 106, 60), (148, 134, 94), (114, 96, 76), (86, 98, 56), (138, 126, 86))


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
    sun, sensor = sun or Sun(), sensor or Sensor()
    shape = (grid.height, grid.width)
    blank = np.zeros((*shape, 3), np.uint8)
    label, height, shade = np.zeros(shape, np.uint8), np.zeros(shape, np.uint16), np.full(shape, 128, np.uint8)
    canvas = Canvas(blank, label, height, shade, grid.gsd_m, seed)
    px = to_pixels(vectors, grid)
    for stage, work in (("ground", lay_ground), ("fields", plough_fields), ("streets", pave_streets)):
        progress(stage)
        work(canvas, px)
    progress("cars")
    park_cars(canvas, px)
    progress("roofs")
    raise_roofs(canvas, px, sun)
    progress("trees")
    crowns = grow_trees(canvas.albedo, canvas.height, plant(canvas, px), canvas.gsd_m, generator(seed, "leaves"))
    progress("light")
    paint.shade_crowns(canvas.shade, canvas.height, crowns, sun, canvas.gsd_m)
    shadow = paint.cast_shadows(canvas.height, sun, canvas.gsd_m)
    return paint.expose(paint.develop(canvas.albedo, canvas.shade, shadow, sun), sensor, seed)


def to_pixels(vectors: SceneVectors, grid: Grid) -> SceneVectors:
    """The same vectors in continuous pixels of the grid, those near it only."""
    margin = 100.0  # metres around the image from where shadows and road ends reach in
    left, bottom, right, top = grid.bounds
    near = shapely.box(left - margin, bottom - margin, right + margin, top + margin)

    def convert(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        frame = frame[frame.intersects(near)].reset_index(drop=True)
        geometry = shapely.transform(frame.geometry.to_numpy(), grid.world_to_pixel)
        return frame.set_geometry(gpd.GeoSeries(geometry, index=frame.index))

    names = ("roads", "paths", "buildings", "cover", "points")
    return replace(vectors, **{name: convert(getattr(vectors, name)) for name in names})


def lay_ground(canvas: Canvas, px: SceneVectors) -> None:
    """Label the ground, then colour it: two colours a label, mixed by noise of three scales."""
    rng = generator(canvas.seed, "ground")
    shape, m = canvas.label.shape, 1 / canvas.gsd_m
    canvas.label[...] = wilds(px, shape, m, rng)
    kinds = px.cover["kind"].replace({"yard": "asphalt", "parking": "asphalt"})
    order = np.argsort(-px.cover.area.to_numpy(), kind="stable")
    outlines = px.cover.geometry.to_numpy()[order]
    paint.fill(canvas.label, outlines, kinds.map(LABEL).to_numpy()[order])
    lay_yards(canvas, px, rng)
    rails = px.paths[px.paths["kind"] == "rail"]
    paint.fill_lines(canvas.label, rails.geometry.to_numpy(), np.full(len(rails), 2.9 * m), LABEL["ballast"])
    low, mid, fine = (paint.value_noise(rng, shape, cell * m) for cell in (45, 5, 0.9))
    first, second, weights = (np.array([row[i] for row in GROUND.values()], np.float32) for i in range(3))

    def work(top: int, bottom: int) -> None:
        part = np.s_[top:bottom]
        label = canvas.label[part]
        share = weights[label]
        noise = share[..., 0] * low[part] + share[..., 1] * mid[part] + share[..., 2] * fine[part]
        mix = np.clip(0.5 + 0.3 * noise, -0.2, 1.2)[..., None]
        canvas.albedo[part] = np.clip(first[label] + (second[label] - first[label]) * mix, 0, 255)

    paint.strips(shape[0], work)


def wilds(px: SceneVectors, shape: tuple[int, int], m: float, rng: np.random.Generator) -> np.ndarray:
    """Label what nobody mapped: meadow or paving, and away from houses woods or greens with a ragged edge."""
    common, far, distance_m, level = ("meadow", "wood", 20, 0.05) if px.style == "town" else ("paved", "dry", 20, 0.4)
    built = np.full(tuple(n // 8 + 1 for n in shape), 255, np.uint8)
    near = shapely.transform(px.buildings.geometry.to_numpy(), lambda xy: xy / 8)
    paint.fill(built, shapely.buffer(near, 1.0), 0)
    away_m = np.minimum(cv2.distanceTransform(built, cv2.DIST_L2, 5), 1e4) * 8 / m  # no house at all: endless
    groves = paint.value_noise(rng, built.shape, 40 * m / 8) + 0.5 * paint.value_noise(rng, built.shape, 12 * m / 8)
    inside = cv2.resize(np.float32((groves > level) & (away_m > distance_m)), shape[::-1])
    ragged = inside + 0.24 * paint.value_noise(rng, shape, 5 * m) > 0.5
    return np.where(ragged, LABEL[far], LABEL[common])


def lay_yards(canvas: Canvas, px: SceneVectors, rng: np.random.Generator) -> None:
    """Give each house of a town its plot, lawn or not, and a drive to the nearest road."""
    homes = px.buildings[px.buildings.area * canvas.gsd_m**2 > 60]
    if px.style != "town" or len(homes) < 4 or px.roads.empty:
        return
    m = 1 / canvas.gsd_m
    outlines = homes.geometry.to_numpy()
    open_land = np.isin(canvas.label, [LABEL["field"], LABEL["pitch"], LABEL["water"]])
    paved = canvas.label == LABEL["asphalt"]
    before = canvas.label.copy()
    garden = rng.choice([LABEL["lawn"], LABEL["dry"], LABEL["meadow"]], len(homes), p=[0.5, 0.3, 0.2])
    gardens = plots(outlines, 20 * m)
    paint.fill(canvas.label, gardens, garden)
    canvas.label[paved] = LABEL["asphalt"]
    green = rng.random(len(homes)) < 0.3  # also where all around is paved
    paint.fill(canvas.label, gardens[green], garden[green])
    # a hall has its yard all around, a house now and then a paved or bare one
    hall = homes.area.to_numpy() * canvas.gsd_m**2 > 450
    yard = [LABEL[name] for name in ("gravel", "asphalt", "paved", "soil", "concrete")]
    yard = rng.choice(yard, len(homes), p=[0.33, 0.35, 0.18, 0.06, 0.08])
    bare = np.where(hall, rng.random(len(homes)) < 0.75, rng.random(len(homes)) < 0.16)
    for some, reach_m in ((bare & ~hall, 6.0), (bare & hall, 17.0)):
        paint.fill(canvas.label, plots(outlines, reach_m * m)[some], yard[some])
    np.copyto(canvas.label, before, where=open_land)
    roads = px.roads.geometry.to_numpy()
    nearest = shapely.STRtree(roads).nearest(outlines)
    drives = shapely.shortest_line(outlines, roads[nearest])
    short = (shapely.length(drives) < 40 * m) & (rng.random(len(drives)) < 0.85)
    surface = rng.choice([LABEL["gravel"], LABEL["asphalt"], LABEL["paved"]], len(drives), p=[0.4, 0.35, 0.25])
    drives = shapely.buffer(drives, rng.uniform(1.3, 2.6, len(drives)) * m, cap_style="square")
    paint.fill(canvas.label, drives[short], surface[short])


def plough_fields(canvas: Canvas, px: SceneVectors) -> None:
    """Cut each field into strips of different crops, with furrows and the tramlines of the tractor."""
    rng = generator(canvas.seed, "fields")
    rows, cols = canvas.label.shape
    for field in px.cover.geometry[px.cover["kind"] == "field"]:
        left, top, right, bottom = np.clip(np.round(field.bounds).astype(int), 0, [cols, rows, cols, rows])
        if right - left < 8 or bottom - top < 8:
            continue
        part = np.s_[top:bottom, left:right]
        corners = np.asarray(field.minimum_rotated_rectangle.exterior.coords)
        sides = np.diff(corners, axis=0)[:2]
        long = sides[np.argmax(np.hypot(*sides.T))]
        angle = float(np.arctan2(long[1], long[0]))
        y, x = np.mgrid[top:bottom, left:right].astype(np.float32) * np.float32(canvas.gsd_m)
        cos, sin = math.cos(angle), math.sin(angle)
        along = (x - x[0, 0]) * cos + (y - y[0, 0]) * sin
        across = (y - y[0, 0]) * cos - (x - x[0, 0]) * sin
        cuts = (np.cumsum(rng.uniform(90, 260, 30)) + along.min()).astype(np.float32)
        crop = np.digitize(along, cuts)
        colours = np.array(CROPS, np.float32)[rng.integers(0, len(CROPS), 32)] * rng.uniform(0.9, 1.1, (32, 1)).astype(
            np.float32
        )
        wave = 0.035 * np.sin(across * (2 * math.pi / 2.7)) + 0.02 * np.sin(across * (2 * math.pi / 11.3))
        lane = np.abs(np.mod(across, 21.0) - 10.5)
        wheel = np.float32(-0.10) * (np.abs(lane - 0.95) < 0.4)
        patch = sum(
            paint.value_noise(rng, x.shape, cell) * amount for cell, amount in ((170, 0.03), (40, 0.025), (5, 0.03))
        )
        tone = (1 + wave + wheel + patch)[..., None]
        inside = canvas.label[part] == LABEL["field"]
        canvas.albedo[part][inside] = np.clip(colours[crop] * tone, 0, 255)[inside]
