"""The streets of a scene: carriageways with their age, repairs and paint, pavements, paths, rails, and cars."""

import itertools
from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import shapely
from shapely import LineString

from lib.sample import layers as paint
from lib.sample.layers import LABEL, Canvas, PerShape, SceneVectors, generator

CARS = np.float32(
    [(214, 214, 212), (196, 197, 198), (52, 53, 56), (38, 38, 42), (120, 122, 126), (150, 152, 155)]
    + [(52, 70, 104), (128, 44, 40), (226, 226, 224), (96, 88, 76)]
)
PAINT = (214, 214, 208)
MAIN_CLASSES = ("motorway", "trunk", "primary", "secondary", "tertiary")
QUIET_CLASSES = ("residential", "unclassified", "living_street")
LOOSE_SURFACES = ("gravel", "fine_gravel", "unpaved", "ground", "dirt", "compacted", "sand", "grass")
SETT_SURFACES = ("cobblestone", "sett", "unhewn_cobblestone", "paving_stones")


def street_colours(roads: gpd.GeoDataFrame, seed: int) -> np.ndarray:
    """Colour (n, 3) of each carriageway: one tone a street, a shade of it a way; sett and gravel by their tag."""
    colours = np.empty((len(roads), 3), np.float32)
    for i, road in enumerate(roads.itertuples()):
        street = generator(seed, "tone", road.name or road.osm_id)
        grey = street.uniform(84, 136) + generator(seed, "way", road.osm_id).normal(0, 4)
        warm = street.uniform(-3, 6)
        colours[i] = (grey + warm / 2, grey, grey - warm / 2)
        if road.surface in SETT_SURFACES:
            colours[i] = np.array((118, 111, 103)) * street.uniform(0.88, 1.12)
        elif road.surface in LOOSE_SURFACES or road.highway == "track":
            colours[i] = np.array((146, 133, 110)) * street.uniform(0.88, 1.1)
        elif road.highway == "service" and street.random() < 0.25:
            colours[i] = np.array((140, 132, 116)) * street.uniform(0.9, 1.1)
    return colours


def pave_streets(canvas: Canvas, px: SceneVectors) -> None:
    """Paths, pavements, kerbs, carriageways, their wear, repairs and paint; minor roads below, main roads on top."""
    rng = generator(canvas.seed, "streets")
    image, m = canvas.albedo, 1 / canvas.gsd_m
    paths = px.paths[px.paths["kind"].isin(["path", "square"])]
    width = np.where(paths["kind"] == "square", 5.0, rng.uniform(1.4, 3.0, len(paths)))
    tone = np.where(rng.random(len(paths)) < 0.5, 132.0, 112.0)[:, None] * np.array([1.06, 1.0, 0.9])
    paint.fill_lines(image, paths.geometry.to_numpy(), width / 2 * m, tone)
    rank = px.roads["highway"].str.removesuffix("_link").map({n: 9 - i for i, n in enumerate(MAIN_CLASSES)}).fillna(0)
    roads = px.roads.iloc[np.argsort(rank.to_numpy(), kind="stable")]
    lines, half_px = roads.geometry.to_numpy(), roads["width_m"].to_numpy() / 2 * m
    main = roads["highway"].isin(MAIN_CLASSES).to_numpy()
    # what lines a carriageway: pavement and kerb, or a verge; then the carriageways themselves
    if px.style == "city":
        lively = main | roads["highway"].isin(QUIET_CLASSES).to_numpy()
        for beyond_m, colour in ((3, (142, 138, 132)), (0.3, (160, 157, 150))):
            paint.fill_lines(image, lines[lively], half_px[lively] + beyond_m * m, colour)
    else:
        verge = np.where(main, 1.3, 0.8) * rng.uniform(0.4, 1.4, len(roads)) * m
        paint.fill_lines(image, lines, half_px + verge, (128, 120, 96))
    colours = street_colours(roads, canvas.seed)
    paint.fill_lines(image, lines, half_px, colours)
    paint.fill_lines(canvas.label, lines, half_px, LABEL["street"])
    for line, half, colour in zip(lines, half_px, colours, strict=True):
        mend(image, line, half, colour, rng, m)
    # the oil of traffic on dark asphalt; paint between the lanes and along the edges of main roads
    worn = (half_px > 2.2 * m) & (colours.max(axis=1) < 145)
    laned, edged = main & (half_px > 2.9 * m), main & (half_px > 3.4 * m)
    paint.stroke(image, offsets(lines[worn], half_px[worn, None] * (-0.5, 0.5)), (40, 40, 42), 0.12, 2)
    dashes = [lane_paint(line, half, m) for line, half in zip(lines[laned], half_px[laned], strict=True)]
    paint.stroke(image, itertools.chain(*dashes), PAINT, 0.5)
    paint.stroke(image, offsets(lines[edged], (half_px[edged, None] - 0.35 * m) * (-1, 1)), PAINT, 0.4)
    zebra(image, px.points.geometry[px.points["kind"] == "crossing"].to_numpy(), lines, half_px, m)
    for kind, opacity in (("tram", 0.4), ("rail", 0.75)):
        rails = offsets(px.paths.geometry[px.paths["kind"] == kind], np.array([-0.75 * m, 0.75 * m]))
        paint.stroke(image, rails, (78, 70, 66), opacity)
    street = canvas.label == LABEL["street"]
    mid, fine = (paint.value_noise(rng, street.shape, cell * m)[street] for cell in (4, 0.7))
    mottle = 1 + 0.035 * mid + 0.03 * fine
    image[street] = np.clip(image[street] * mottle[:, None], 0, 255)


def offsets(lines: Sequence[LineString], distances_px: np.ndarray) -> list[np.ndarray]:
    """Lines (k, 2) beside n lines, at the same distances (d) from each, or at its own (n, d)."""
    shifted = shapely.offset_curve(np.asarray(lines, dtype=object)[:, None], distances_px)
    return [shapely.get_coordinates(part) for part in shapely.get_parts(shifted.ravel()) if not part.is_empty]


def stations(line: LineString, along_px: np.ndarray, aside_px: PerShape = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) at these distances along a line and aside of it, and its direction there in radians."""
    xy = shapely.get_coordinates(line)
    steps = np.diff(xy, axis=0)
    way = np.concatenate([[0], np.cumsum(np.hypot(*steps.T))])  # length of the line up to each vertex
    segment = np.clip(np.searchsorted(way, along_px, side="right") - 1, 0, len(steps) - 1)
    angle = np.arctan2(steps[segment, 1], steps[segment, 0])
    on_line = np.stack([np.interp(along_px, way, axis) for axis in xy.T], -1)
    return on_line + paint.axes(angle)[1] * np.asarray(aside_px)[..., None], angle


def mend(
    image: np.ndarray, line: LineString, half_px: float, colour: np.ndarray, rng: np.random.Generator, m: float
) -> None:
    """Lay the odd patch of newer or older asphalt."""
    count = rng.poisson(line.length / m / 70)
    points, angle = stations(line, rng.uniform(0, line.length, count), rng.uniform(-0.5, 0.5, count) * half_px)
    length = np.minimum(rng.uniform(2, 14, count) * m, line.length / 3)
    patches = paint.boxes(points, length, rng.uniform(0.4, 0.9, count) * half_px, angle)
    tone = np.where(rng.random(count) < 0.65, 0.8, 1.13)[:, None]
    paint.fill_convex(image, patches, colour * tone)


def lane_paint(line: LineString, half_px: float, m: float) -> list[np.ndarray]:
    """Dashes between the lanes of a carriageway: 3 m of paint, 6 m of gap."""
    lanes = max(2, round(2 * half_px / m / 3.6))
    dashes = []
    for between in offsets([line], 2 * half_px * np.arange(1, lanes) / lanes - half_px):
        curve = LineString(between)
        starts = np.arange(1.5 * m, curve.length - 3 * m, 9 * m)
        dashes += list(stations(curve, np.stack([starts, starts + 3 * m], 1))[0])
    return dashes


def zebra(image: np.ndarray, crossings: np.ndarray, lines: np.ndarray, half_px: np.ndarray, m: float) -> None:
    """Zebra crossings at the nodes where OSM has them, across the nearest road."""
    if not len(lines):
        return
    for point, i in zip(crossings, shapely.STRtree(lines).nearest(crossings), strict=True):
        if lines[i].distance(point) <= 1.0 * m and half_px[i] >= 2.4 * m:
            aside = np.arange(-half_px[i] + 0.5 * m, half_px[i] - 0.4 * m, 1.05 * m)
            centres, angle = stations(lines[i], np.full(len(aside), lines[i].project(point)), aside)
            paint.fill_convex(image, paint.boxes(centres, 3.2 * m, 0.32 * m, angle), (190, 190, 184))


def park_cars(canvas: Canvas, px: SceneVectors) -> None:
    """Cars that drive, cars along the kerb, cars in car parks and drives; all cast a shadow."""
    rng = generator(canvas.seed, "cars")
    m, city = 1 / canvas.gsd_m, px.style == "city"
    cars = [(np.empty((0, 2)), np.empty(0))]  # centres (n, 2) and directions (n) of each street and car park
    for line, width_m, highway in zip(px.roads.geometry, px.roads["width_m"], px.roads["highway"], strict=True):
        if highway == "track" or width_m < 4.5:
            continue
        half = width_m / 2 * m
        driving = rng.uniform(0, line.length, rng.poisson(line.length / m / (55 if city else 140)))
        slots = np.arange(8 * m, line.length - 8 * m, 6 * m)
        chance = (0.55 if city else 0.035) if highway in QUIET_CLASSES else 0.0
        parked = slots[rng.random(len(slots)) < chance]
        aside = np.repeat([half / 2, half - 1.1 * m], [len(driving), len(parked)])
        cars.append(stations(line, np.concatenate([driving, parked]), aside * rng.choice([-1, 1], len(aside))))
    stalls = []
    for kind, lot in px.cover[["kind", "geometry"]].itertuples(index=False):
        if kind in ("parking", "yard"):
            centres, angle = bays(lot, m)
            taken = centres[rng.random(len(centres)) < (0.6 if kind == "parking" else 0.07)]
            cars.append((taken, np.full(len(taken), angle)))
            if kind == "parking":
                stalls += list(paint.boxes(centres, 5.0 * m, 2.6 * m, angle)[:, :2])
    paint.stroke(canvas.albedo, stalls, PAINT, 0.3)
    xy, angle = map(np.concatenate, zip(*cars, strict=True))
    angle += rng.normal(0, 0.03, len(angle))
    inside = ((xy > 0) & (xy < canvas.label.shape[::-1])).all(1)
    xy, angle = xy[inside], angle[inside]
    length, width = rng.uniform(3.9, 4.9, len(xy)) * m, rng.uniform(1.7, 1.95, len(xy)) * m
    bodies = paint.boxes(xy, length, width, angle)
    colour = CARS[rng.integers(0, len(CARS), len(xy))] * rng.uniform(0.9, 1.08, (len(xy), 1))
    paint.fill_convex(canvas.albedo, bodies, np.clip(colour, 0, 255))
    front = xy + paint.axes(angle)[0] * (length * 0.18)[:, None]
    paint.fill_convex(canvas.albedo, paint.boxes(front, length * 0.12, width * 0.8, angle), colour * 0.45)
    paint.fill_convex(canvas.height, bodies, 14)


def bays(lot: shapely.Geometry, m: float) -> tuple[np.ndarray, float]:
    """Centres (n, 2) and direction of the parking bays that fit into an outline: double rows along its long side."""
    corners = shapely.get_coordinates(lot.minimum_rotated_rectangle)
    first, second = np.diff(corners, axis=0)[:2]
    start, long, short, inward = corners[0], first, second, second
    if np.hypot(*second) > np.hypot(*first):
        start, long, short, inward = corners[1], second, first, -first
    length, depth = np.hypot(*long), np.hypot(*short)
    rows = np.sort(np.concatenate([np.arange(3.0 * m, depth, 16 * m), np.arange(13.5 * m, depth, 16 * m)]))
    u, v = np.meshgrid(np.arange(2 * m, length - m, 2.6 * m), rows)
    points = start + u.reshape(-1, 1) * long / length + v.reshape(-1, 1) * inward / depth
    kept = points[shapely.contains_xy(shapely.buffer(lot, -2.6 * m), points)]
    return kept, np.arctan2(short[1], short[0])


def along_streets(px: SceneVectors, rng: np.random.Generator, m: float) -> np.ndarray:
    """Street trees (n, 2): some streets have a row on one side or both, close enough to reach over the kerb."""
    rows = [np.empty((0, 2))]
    chance = 0.45 if px.style == "town" else 0.12
    for line, width_m, highway in zip(px.roads.geometry, px.roads["width_m"], px.roads["highway"], strict=True):
        if highway.startswith(("motorway", "trunk")):
            continue
        for side in (-1, 1):
            if rng.random() <= chance:
                along = np.arange(rng.uniform(2, 9) * m, line.length, rng.uniform(7, 16) * m)
                along = along[rng.random(len(along)) < 0.75] + rng.normal(0, 0.8 * m)
                aside = side * (width_m / 2 + rng.uniform(0.6, 2.6, len(along))) * m
                rows.append(stations(line, np.clip(along, 0, line.length), aside)[0])
    return np.concatenate(rows)
