"""What stands on the ground of a scene: houses with their roofs, trees with their crowns."""

from dataclasses import dataclass

import cv2
import numpy as np
import shapely
from shapely import Polygon

from lib.sample import layers as paint
from lib.sample.layers import DECIMETRES, LABEL, Canvas, SceneVectors, generator
from lib.sample.streets import along_streets

# albedo of roofs, RGB: tile, sheet metal, felt; then gravel, bitumen and concrete on flat ones
PITCHED = {
    "town": ((116, 74, 62), (98, 64, 55), (74, 73, 74), (54, 54, 58), (136, 136, 136), (108, 84, 68), (86, 98, 88)),
    "city": ((112, 76, 67), (99, 112, 104), (94, 94, 96), (122, 122, 124), (64, 64, 68), (136, 128, 118), (84, 75, 70)),
}
FLAT = ((148, 146, 140), (118, 116, 114), (94, 92, 92), (170, 166, 158), (132, 122, 110), (106, 104, 106))
CONIFER, BROADLEAF = ((44, 58, 38), (56, 68, 44)), ((64, 78, 42), (88, 98, 56))


def paint_roof(canvas: Canvas, outline: Polygon, eaves_m: float, style: str, rng: np.random.Generator) -> None:
    """
    Raise one roof in place: colour, height and how squarely its planes face the sun.

    A gable falls from the long axis of the smallest rectangle around the outline (in pixels); a hip falls towards the
    nearest wall, which suits any outline; both are shaded by the gradient of their height. A flat roof carries boxes.
    """
    form, rgb, slope = choose_roof(outline, style, canvas.gsd_m, rng)
    gsd_m, (rows, cols) = canvas.gsd_m, canvas.height.shape
    left, top = np.maximum(np.floor(outline.bounds[:2]).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(outline.bounds[2:]).astype(int) + 1, (cols, rows))
    if right - left < 3 or bottom - top < 3:
        return
    # the footprint and, within it, how far off the next wall is; (H, W) of a window around it
    mask = np.zeros((bottom - top, right - left), np.uint8)
    paint.fill(mask, [shapely.transform(outline, lambda xy: xy - (left, top))], 255)
    wall_m = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3 if form == "flat" else 5)[1:-1, 1:-1] * gsd_m
    # the smallest rectangle around it in pixels, and where the window's pixels lie from its centre
    (cx, cy), (width, depth), angle_deg = cv2.minAreaRect(shapely.get_coordinates(outline.exterior).astype(np.float32))
    y, x = np.mgrid[top:bottom, left:right].astype(np.float32)
    tint = 1 + 0.05 * rng.standard_normal(mask.shape).astype(np.float32)  # brightness of the roof's colour
    if form == "flat":
        # sections of unlike age, some of them a storey higher, with seams between them and a rim along the wall
        along, across = paint.turned(x - cx, y - cy, np.radians(angle_deg))
        section, seam = sections(along + width / 2, across + depth / 2, gsd_m, rng)
        tint *= rng.uniform(0.86, 1.12, section.max() + 1).astype(np.float32)[section]
        storey = rng.choice([0.0, 0.0, 0.0, 0.4, 2.8], section.max() + 1).astype(np.float32)
        rise = storey[section] * np.float32(eaves_m > 4)  # metres above the eaves
        tint -= 0.10 * seam
        tint += np.where(wall_m < 0.9, 0.14, 0.0) + 0.05 * paint.value_noise(rng, mask.shape, 14)
        # boxes: lifts, ducts and skylights, where they stand clear of the wall
        for _ in range(min(int(outline.area * gsd_m**2 / 180 * rng.uniform(0.2, 1.2)), 40)):
            w, h = np.maximum((rng.uniform(1.2, 5, 2) / gsd_m).astype(int), 2)
            row, col = (rng.integers(0, size) for size in mask.shape)
            box = np.s_[row : row + h, col : col + w]
            if wall_m[box].min() > 1.2:
                rise[box] += rng.uniform(0.5, 3)
                tint[box] *= rng.choice([0.6, 1.25, 1.5])
        lit = np.full(mask.shape, 128.0)
    else:
        if form == "gable":
            across_ridge = np.radians(angle_deg + (90 if width > depth else 0))
            ridge_px = np.abs(paint.turned(np.float64(x + 0.5 - cx), np.float64(y + 0.5 - cy), across_ridge)[0])
            rise = np.maximum(min(width, depth) / 2 - ridge_px, 0) * gsd_m * slope
            tint += 0.16 * (ridge_px < 0.6)
        else:
            rise = np.minimum(wall_m, 7.0) * slope
        # a plane is as bright as the cosine between its normal and the sun, relative to level ground
        fall_y, fall_x = np.gradient(cv2.GaussianBlur(rise, (3, 3), 0.8) / gsd_m)
        toward, tan = canvas.sun.toward_px(), 1 / np.tan(np.radians(canvas.sun.elevation_deg))
        facing = (1 - tan * (fall_x * toward[0] + fall_y * toward[1])) / np.sqrt(1 + fall_x**2 + fall_y**2)
        lit = np.clip(128 * facing, 10, 255)
    window, inside = np.s_[top:bottom, left:right], mask > 0
    canvas.albedo[window][inside] = np.clip(rgb * tint[..., None], 0, 255)[inside]
    canvas.height[window][inside] = ((eaves_m + rise) * DECIMETRES)[inside]
    canvas.shade[window][inside] = lit[inside]


def sections(
    along_px: np.ndarray, across_px: np.ndarray, gsd_m: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Parts of a large flat roof by where on it pixels lie, (H, W): numbers, and True on the seams between them."""
    section, seam = np.zeros(along_px.shape, np.int64), np.zeros(along_px.shape, bool)
    for place_px in (along_px, across_px):
        cuts_px = np.cumsum(rng.uniform(11, 34, 40)).astype(np.float32) / gsd_m
        part = np.digitize(place_px, cuts_px)
        section = section * 41 + part
        seam |= np.abs(place_px - cuts_px[np.minimum(part, 39)]) < 0.7
    return section, seam


@dataclass(frozen=True)
class Trees:
    """Trees by position: arrays of one length."""

    xy_px: np.ndarray  # (n, 2)
    radius_m: np.ndarray
    height_m: np.ndarray
    rgb: np.ndarray  # (n, 3) colour of the crown


def grow_trees(canvas: Canvas, px: SceneVectors) -> None:
    """
    Plant trees, paint their crowns, and shade them.

    Every pixel belongs to its nearest trunk (one distance transform for all trees) and is crown where it lies
    within that tree's ragged radius: neighbours press against each other as they do in a wood.
    """
    trees, shape = plant(canvas, px), canvas.height.shape
    x, y = trees.xy_px.astype(int).T
    inside = np.flatnonzero((x >= 0) & (y >= 0) & (x < shape[1]) & (y < shape[0]))
    if not len(inside):
        return
    trunks = np.full(shape, 255, np.uint8)
    trunks[y[inside], x[inside]] = 0
    # (H, W): how far the nearest trunk is, in pixels, and its number, which OpenCV counts by pixel
    distance, trunk = cv2.distanceTransformWithLabels(trunks, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    tree_of = np.zeros(int(trunk.max()) + 1, np.int32)  # number of a trunk -> row of its tree
    tree_of[trunk[y[inside], x[inside]]] = inside
    leaves = paint.value_noise(generator(canvas.seed, "leaves"), shape, 2.2 / canvas.gsd_m * 0.5)
    crowns = np.zeros(shape, bool)

    def work(rows: slice) -> None:
        tree, leaf = tree_of[trunk[rows]], leaves[rows]
        ratio = distance[rows] * canvas.gsd_m / np.maximum(trees.radius_m[tree] * (1 + 0.22 * leaf), 0.1)
        dome = np.sqrt(np.maximum(1 - ratio**2, 0))
        top = np.maximum(trees.height_m[tree] * (0.55 + 0.45 * dome) + 0.45 * leaf, 0.5) * DECIMETRES
        crown = (ratio < 1) & (top > canvas.height[rows])
        canvas.height[rows][crown] = top[crown]
        canvas.albedo[rows][crown] = np.clip(trees.rgb[tree[crown]] * (1 + 0.16 * leaf[crown, None]), 0, 255)
        crowns[rows] = crown

    paint.strips(shape[0], work)
    paint.shade_crowns(canvas, crowns)


def raise_roofs(canvas: Canvas, px: SceneVectors) -> None:
    """Set the houses, low ones first, each with a roof that suits its size."""
    for building in px.buildings.sort_values("height_m", kind="stable").itertuples():
        rng = generator(canvas.seed, "roof", building.osm_id)
        for outline in paint.polygons(building.geometry):
            paint_roof(canvas, outline, building.height_m, px.style, rng)


def choose_roof(outline: Polygon, style: str, gsd_m: float, rng: np.random.Generator) -> tuple[str, np.ndarray, float]:
    """
    Form ("flat", "gable", "hip"), RGB (float32) and rise over run of a roof.

    Area and outline decide: halls are flat, houses gabled, city blocks hipped.
    """
    area = outline.area * gsd_m**2
    boxy = outline.area / max(outline.minimum_rotated_rectangle.area, 1e-9)
    flat_share = 0.9 if area > 2500 else (0.6 if area > 420 and style == "town" else 0.28 if area > 60 else 0.4)
    if rng.random() < flat_share:
        form, palette = "flat", FLAT
    else:
        form = "gable" if boxy > 0.8 and area < 900 and rng.random() < 0.85 else "hip"
        palette = PITCHED[style]
    rgb = np.array(palette[rng.integers(0, len(palette))]) * rng.uniform(0.85, 1.15)
    return form, rgb.astype(np.float32), rng.uniform(0.35, 0.75)


def plant(canvas: Canvas, px: SceneVectors) -> Trees:
    """Where trees stand: in woods, gardens, parks and hedges, along streets, and where OSM has them."""
    rng = generator(canvas.seed, "trees")
    rows, cols = canvas.label.shape
    m = 1 / canvas.gsd_m
    area_m2 = rows * cols * canvas.gsd_m**2
    # label -> trees a square metre, radius from and to, height from and to, share of conifers
    stands = {
        "wood": (0.075, 1.4, 2.9, 8, 17, 0.6),
        "scrub": (0.05, 0.8, 2.0, 1.5, 5, 0.1),
        "lawn": (0.0075 if px.style == "town" else 0.011, 1.2, 4.2, 3, 11, 0.15),
        "dry": (0.005, 1.0, 3.5, 2, 9, 0.2),
        "meadow": (0.003, 0.8, 3.4, 1.5, 9, 0.25),
        "gravel": (0.002, 1.0, 3.0, 2, 8, 0.3),
        "paved": (0.0008, 1.5, 3.5, 4, 9, 0.0),
    }
    groups = []
    clumps = paint.value_noise(rng, (rows // 8 + 1, cols // 8 + 1), 3 * m)
    for name, (density, r0, r1, h0, h1, conifers) in stands.items():
        xy = rng.random((rng.poisson(area_m2 * density), 2)) * (cols, rows)
        x, y = xy.astype(int).T
        chance = 1.0 if name == "wood" else np.clip(0.5 + 0.5 * clumps[y // 8, x // 8], 0, 1)
        kept = (canvas.label[y, x] == LABEL[name]) & (canvas.height[y, x] == 0) & (rng.random(len(xy)) < chance)
        size = rng.beta(1.6, 2.0, int(kept.sum()))
        groups.append((xy[kept], r0 + (r1 - r0) * size, h0 + (h1 - h0) * size, rng.random(len(size)) < conifers))
    known = shapely.get_coordinates(px.points.geometry[px.points["kind"] == "tree"].to_numpy())
    for xy, r0, r1 in ((known, 2.6, 4.6), (along_streets(px, rng, m), 1.8, 3.8), (hedges(px, rng, m), 0.7, 1.2)):
        x, y = np.clip(xy.astype(int), 0, (cols - 1, rows - 1)).T
        xy = xy[(canvas.height[y, x] == 0) & (canvas.label[y, x] != LABEL["street"])]
        radius = rng.uniform(r0, r1, len(xy))
        groups.append((xy, radius, radius * rng.uniform(1.7, 2.6, len(xy)), np.zeros(len(xy), bool)))
    xy, radius, height, conifer = (np.concatenate(part) for part in zip(*groups, strict=True))
    share = rng.random((len(xy), 1))
    light, dark = (np.where(conifer[:, None], CONIFER[k], BROADLEAF[k]) for k in (1, 0))
    rgb = (dark + (light - dark) * share) * rng.uniform(0.88, 1.12, (len(xy), 1))
    return Trees(xy, radius.astype(np.float32), height.astype(np.float32), rgb.astype(np.float32))


def hedges(px: SceneVectors, rng: np.random.Generator, m: float) -> np.ndarray:
    """Bushes (n, 2) along some of the plots' bounds, where two plots meet or a street passes."""
    outlines = homes(px, m)
    if not len(outlines):
        return np.empty((0, 2))
    sides, _ = paint.segments(shapely.simplify(plots(outlines, 16 * m), 1.0 * m))
    sides = sides[rng.random(len(sides)) < 0.3]
    points = shapely.get_coordinates(shapely.segmentize(sides, 1.3 * m))
    return points + rng.normal(0, 0.25 * m, points.shape)


def homes(px: SceneVectors, m: float) -> np.ndarray:
    """Outlines of the houses of a town that have a plot; none where they are too few to share the ground."""
    large = px.buildings.geometry[px.buildings.area > 60 * m**2].to_numpy()
    return large if px.style == "town" and len(large) >= 4 else large[:0]


def plots(outlines: np.ndarray, reach_px: float) -> np.ndarray:
    """The plot of each house: what lies nearer to it than to the others, and within reach of it."""
    centres = shapely.centroid(outlines)
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(centres)))
    owner, cell = shapely.STRtree(cells).query(centres, predicate="intersects")
    found = np.full(len(outlines), Polygon(), dtype=object)
    found[owner] = cells[cell]
    gardens = shapely.buffer(shapely.oriented_envelope(outlines), reach_px, join_style="mitre")
    return shapely.intersection(found, gardens)
