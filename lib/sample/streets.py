"""The streets of a scene: carriageways with their age, repairs and paint, pavements, paths, rails, and cars."""

import geopandas as gpd
import numpy as np
import shapely

from lib.sample import layers as paint
from lib.sample.layers import LABEL, Canvas, SceneVectors, generator

CARS = np.array(
    [(214, 214, 212), (196, 197, 198), (52, 53, 56), (38, 38, 42), (120, 122, 126), (150, 152, 155)]
    + [(52, 70, 104), (128, 44, 40), (226, 226, 224), (96, 88, 76)],
    np.float32,
)
PAINT = (214, 214, 208)
MAIN_CLASSES = ("motorway", "trunk", "primary", "secondary", "tertiary")
LOOSE_SURFACES = ("gravel", "fine_gravel", "unpaved", "ground", "dirt", "compacted", "sand", "grass")
SETT_SURFACES = ("cobblestone", "sett", "unhewn_cobblestone", "paving_stones")


def street_colours(roads: gpd.GeoDataFrame, seed: int) -> np.ndarray:
    """Colour (n, 3) of each carriageway: one tone a street, a shade of it a way; sett and gravel by their tag."""
    colours = np.empty((len(roads), 3), np.float32)
    for i, (osm_id, name, surface, highway) in enumerate(
        roads[["osm_id", "name", "surface", "highway"]].itertuples(index=False)
    ):
        street = generator(seed, "tone", name or osm_id)
        grey = street.uniform(84, 136) + generator(seed, "way", osm_id).normal(0, 4)
        warm = street.uniform(-3, 6)
        colours[i] = (grey + warm / 2, grey, grey - warm / 2)
        if surface in SETT_SURFACES:
            colours[i] = np.array((118, 111, 103)) * street.uniform(0.88, 1.12)
        elif surface in LOOSE_SURFACES or highway == "track":
            colours[i] = np.array((146, 133, 110)) * street.uniform(0.88, 1.1)
        elif highway == "service" and street.random() < 0.25:
            colours[i] = np.array((140, 132, 116)) * street.uniform(0.9, 1.1)
    return colours


def pave_streets(canvas: Canvas, px: SceneVectors) -> None:
    """Paths, pavements, kerbs, carriageways, their wear, repairs and paint; minor roads below, main roads on top."""
    rng = generator(canvas.seed, "streets")
    m = 1 / canvas.gsd_m
    image = canvas.albedo
    paths = px.paths[px.paths["kind"].isin(["path", "square"])]
    width = np.where(paths["kind"] == "square", 5.0, rng.uniform(1.4, 3.0, len(paths)))
    tone = np.where(rng.random(len(paths)) < 0.5, 132.0, 112.0)[:, None] * np.array([1.06, 1.0, 0.9])
    paint.fill_lines(image, paths.geometry.to_numpy(), width / 2 * m, tone, smooth=True)
    rank = px.roads["highway"].str.removesuffix("_link").map({n: 9 - i for i, n in enumerate(MAIN_CLASSES)}).fillna(0)
    roads = px.roads.iloc[np.argsort(rank.to_numpy(), kind="stable")]
    lines, half = roads.geometry.to_numpy(), roads["width_m"].to_numpy() / 2 * m
    main = roads["highway"].isin(MAIN_CLASSES).to_numpy()
    lively = main | roads["highway"].isin(["residential", "unclassified", "living_street"]).to_numpy()
    if px.style == "city":
        paint.fill_lines(image, lines[lively], half[lively] + 3 * m, (142, 138, 132), smooth=True)
        paint.fill_lines(image, lines[lively], half[lively] + 0.3 * m, (160, 157, 150), smooth=True)
    else:
        verge = np.where(main, 1.3, 0.8) * rng.uniform(0.4, 1.4, len(roads)) * m
        paint.fill_lines(image, lines, half + verge, (128, 120, 96), smooth=True)
    colours = street_colours(roads, canvas.seed)
    paint.fill_lines(image, lines, half, colours, smooth=True)
    paint.fill_lines(canvas.label, lines, half, LABEL["street"])
    tracks, dashes, edges = [], [], []
    for line, halfwidth, colour, is_main in zip(lines, half, colours, main, strict=True):
        mend(image, line, halfwidth, colour, rng, m)
        if halfwidth > 2.2 * m and colour.max() < 145:
            tracks += offsets(line, (-halfwidth / 2, halfwidth / 2))
        if is_main and halfwidth > 2.9 * m:
            dashes += lane_paint(line, halfwidth, m)
        if is_main and halfwidth > 3.4 * m:
            edges += offsets(line, (-halfwidth + 0.35 * m, halfwidth - 0.35 * m))
    paint.stroke(image, tracks, (40, 40, 42), 0.12, 2)
    paint.stroke(image, dashes, PAINT, 0.5)
    paint.stroke(image, edges, PAINT, 0.4)
    zebra(image, px.points.geometry[px.points["kind"] == "crossing"].to_numpy(), lines, half, m)
    for kind, opacity in (("tram", 0.4), ("rail", 0.75)):
        rails = [offsets(line, (-0.75 * m, 0.75 * m)) for line in px.paths.geometry[px.paths["kind"] == kind]]
        paint.stroke(image, [rail for pair in rails for rail in pair], (78, 70, 66), opacity)
    street = canvas.label == LABEL["street"]
    mid, fine = (paint.value_noise(rng, street.shape, cell * m) for cell in (4, 0.7))

    def work(top: int, bottom: int) -> None:
        rr, cc = np.nonzero(street[top:bottom])
        rr += top
        mottle = 1 + 0.035 * mid[rr, cc] + 0.03 * fine[rr, cc]
        image[rr, cc] = np.clip(image[rr, cc] * mottle[:, None], 0, 255)

    paint.strips(len(street), work)


def offsets(line: shapely.LineString, distances_px: tuple[float, ...]) -> list[np.ndarray]:
    """Lines beside a line, (n, 2) each."""
    shifted = shapely.offset_curve(line, np.array(distances_px))
    return [np.asarray(part.coords) for part in shapely.get_parts(shifted) if len(part.coords) > 1]


def stations(line: shapely.LineString, at_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) at these distances along a line, and its direction there in radians."""
    xy = np.asarray(line.coords)[:, :2]
    way = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
    where = np.stack([np.interp(at_px, way, xy[:, k]) for k in (0, 1)], -1)
    segment = np.clip(np.searchsorted(way, at_px, side="right") - 1, 0, len(xy) - 2)
    step = np.diff(xy, axis=0)[segment]
    return where, np.arctan2(step[:, 1], step[:, 0])


def mend(
    image: np.ndarray,
    line: shapely.LineString,
    half_px: float,
    colour: np.ndarray,
    rng: np.random.Generator,
    m: float,
) -> None:
    """Lay the odd patch of newer or older asphalt."""
    count = rng.poisson(line.length / m / 70)
    if not count:
        return
    points, angle = stations(line, rng.uniform(0, line.length, count))
    aside = rng.uniform(-0.5, 0.5, count) * half_px
    points = points + np.stack([-np.sin(angle), np.cos(angle)], -1) * aside[:, None]
    size = np.minimum(rng.uniform(2, 14, count) * m, line.length / 3)
    patches = paint.boxes(points, size, rng.uniform(0.4, 0.9, count) * half_px, angle)
    tone = np.where(rng.random(count) < 0.65, 0.8, 1.13)[:, None]
    paint.fill_boxes(image, patches, np.asarray(colour) * tone)


def lane_paint(line: shapely.LineString, half_px: float, m: float) -> list[np.ndarray]:
    """Dashes between the lanes of a carriageway: 3 m of paint, 6 m of gap."""
    lanes = max(2, round(2 * half_px / m / 3.6))
    dashes = []
    for offset in offsets(line, tuple(-half_px + 2 * half_px * k / lanes for k in range(1, lanes))):
        curve = shapely.LineString(offset)
        starts = np.arange(1.5 * m, curve.length - 3 * m, 9 * m)
        dashes += list(np.stack([stations(curve, starts)[0], stations(curve, starts + 3 * m)[0]], 1))
    return dashes


def zebra(image: np.ndarray, crossings: np.ndarray, lines: np.ndarray, half_px: np.ndarray, m: float) -> None:
    """Zebra crossings at the nodes where OSM has them, across the nearest road."""
    if not len(crossings) or not len(lines):
        return
    nearest = shapely.STRtree(lines).nearest(crossings)
    for point, i in zip(crossings, nearest, strict=True):
        if lines[i].distance(point) > 1.0 * m or half_px[i] < 2.4 * m:
            continue
        (centre,), (angle,) = stations(lines[i], np.array([lines[i].project(point)]))
        aside = np.arange(-half_px[i] + 0.5 * m, half_px[i] - 0.4 * m, 1.05 * m)
        centres = centre + aside[:, None] * np.array([-np.sin(angle), np.cos(angle)])
        size = np.full(len(aside), 0.32 * m)
        paint.fill_boxes(image, paint.boxes(centres, size * 10, size, np.full(len(aside), angle)), (190, 190, 184))


def park_cars(canvas: Canvas, px: SceneVectors) -> None:
    """Cars that drive, cars along the kerb, cars in car parks and drives; all cast a shadow."""
    rng = generator(canvas.seed, "cars")
    m = 1 / canvas.gsd_m
    centres, angles = [np.empty((0, 2))], [np.empty(0)]
    city = px.style == "city"
    for line, width_m, highway in zip(px.roads.geometry, px.roads["width_m"], px.roads["highway"], strict=True):
        if highway == "track" or width_m < 4.5:
            continue
        half, length = width_m / 2 * m, line.length
        driving = rng.uniform(0, length, rng.poisson(length / m / (55 if city else 140)))
        slots = np.arange(8 * m, length - 8 * m, 6 * m)
        quiet = highway in ("residential", "unclassified", "living_street")
        chance = (0.55 if city else 0.035) if quiet else 0.0
        parked = slots[rng.random(len(slots)) < chance]
        at = np.concatenate([driving, parked])
        side = np.concatenate([np.full(len(driving), 0.5) * half, np.full(len(parked), half - 1.1 * m)])
        points, angle = stations(line, at)
        side = side * rng.choice([-1, 1], len(at))
        centres.append(points + np.stack([-np.sin(angle), np.cos(angle)], -1) * side[:, None])
        angles.append(angle)
    stalls = []
    lots = px.cover.geometry[px.cover["kind"].isin(["parking", "yard"])]
    for lot, kind in zip(lots, px.cover["kind"][lots.index], strict=True):
        rows, angle = bays(lot, m)
        full = rows[rng.random(len(rows)) < (0.6 if kind == "parking" else 0.07)]
        if kind == "parking":
            corners = paint.boxes(rows, np.full(len(rows), 5.0 * m), np.full(len(rows), 2.6 * m), angle[: len(rows)])
            stalls += [corner[:2] for corner in corners]
        centres.append(full)
        angles.append(np.full(len(full), angle[0] if len(angle) else 0.0))
    paint.stroke(canvas.albedo, stalls, PAINT, 0.3)
    xy, angle = np.concatenate(centres), np.concatenate(angles) + rng.normal(0, 0.03, sum(map(len, angles)))
    rows, cols = canvas.label.shape
    inside = (xy > 0).all(1) & (xy[:, 0] < cols) & (xy[:, 1] < rows)
    xy, angle = xy[inside], angle[inside]
    length, width = rng.uniform(3.9, 4.9, len(xy)) * m, rng.uniform(1.7, 1.95, len(xy)) * m
    bodies = paint.boxes(xy, length, width, angle)
    colour = CARS[rng.integers(0, len(CARS), len(xy))] * rng.uniform(0.9, 1.08, (len(xy), 1))
    paint.fill_boxes(canvas.albedo, bodies, np.clip(colour, 0, 255))
    front = xy + np.stack([np.cos(angle), np.sin(angle)], -1) * (length * 0.18)[:, None]
    paint.fill_boxes(canvas.albedo, paint.boxes(front, length * 0.12, width * 0.8, angle), colour * 0.45)
    paint.fill_boxes(canvas.height, bodies, np.full(len(xy), 14.0))


def bays(lot: shapely.Geometry, m: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres (n, 2) and direction of the parking bays that fit into an outline: double rows along its long side."""
    corners = np.asarray(lot.minimum_rotated_rectangle.exterior.coords)[:4]
    sides = np.diff(corners, axis=0)[:2]
    order = np.argsort(-np.hypot(*sides.T))
    long, short = sides[order[0]], sides[order[1]]
    length, depth = np.hypot(*long), np.hypot(*short)
    row_at = np.sort(np.concatenate([np.arange(3.0 * m, depth, 16 * m), np.arange(13.5 * m, depth, 16 * m)]))
    u, v = np.meshgrid(np.arange(2 * m, length - m, 2.6 * m), row_at)
    start = corners[1] if order[0] == 1 else corners[0]
    other = -short if order[0] == 1 else sides[1]
    points = start + u.reshape(-1, 1) * long / length + v.reshape(-1, 1) * other / depth
    kept = points[shapely.contains_xy(shapely.buffer(lot, -2.6 * m), points)]
    return kept, np.full(max(len(kept), 1), np.arctan2(short[1], short[0]))


def along_streets(px: SceneVectors, rng: np.random.Generator, m: float) -> np.ndarray:
    """Street trees (n, 2): some streets have a row on one side or both, close enough to reach over the kerb."""
    found = [np.empty((0, 2))]
    chance = 0.45 if px.style == "town" else 0.12
    for line, width_m, highway in zip(px.roads.geometry, px.roads["width_m"], px.roads["highway"], strict=True):
        if highway.startswith(("motorway", "trunk")):
            continue
        for side in (-1, 1):
            if rng.random() > chance:
                continue
            at = np.arange(rng.uniform(2, 9) * m, line.length, rng.uniform(7, 16) * m)
            at = at[rng.random(len(at)) < 0.75] + rng.normal(0, 0.8 * m)
            points, angle = stations(line, np.clip(at, 0, line.length))
            away = side * (width_m / 2 + rng.uniform(0.6, 2.6, len(at))) * m
            found.append(points + np.stack([-np.sin(angle), np.cos(angle)], -1) * away[:, None])
    return np.concatenate(found)
