"""What stands on the ground of a scene: houses with their roofs, trees with their crowns."""

from dataclasses import dataclass

import cv2
import numpy as np
import shapely

from lib.sample.layers import (
    DECIMETRES,
    LABEL,
    Canvas,
    SceneVectors,
    Sun,
    fill,
    generator,
    polygons,
    strips,
    value_noise,
)
from lib.sample.streets import along_streets

# albedo of roofs, RGB: tile, sheet metal, felt; then gravel, bitumen and concrete on flat ones
PITCHED = {
    "town": ((116, 74, 62), (98, 64, 55), (74, 73, 74), (54, 54, 58), (136, 136, 136), (108, 84, 68), (86, 98, 88)),
    "city": ((112, 76, 67), (99, 112, 104), (94, 94, 96), (122, 122, 124), (64, 64, 68), (136, 128, 118), (84, 75, 70)),
}
FLAT = ((148, 146, 140), (118, 116, 114), (94, 92, 92), (170, 166, 158), (132, 122, 110), (106, 104, 106))
CONIFER, BROADLEAF = ((44, 58, 38), (56, 68, 44)), ((64, 78, 42), (88, 98, 56))


@dataclass(frozen=True)
class Roof:
    """Form and colour of one roof."""

    form: str  # "gable", "hip" or "flat"
    rgb: tuple[float, float, float]
    eaves_m: float  # height of the wall
    slope: float = 0.5  # rise over run of the pitched forms


def paint_roof(
    albedo: np.ndarray,
    height: np.ndarray,
    shade: np.ndarray,
    outline: shapely.Polygon,
    roof: Roof,
    sun: Sun,
    gsd_m: float,
    rng: np.random.Generator,
) -> None:
    """
    Raise one roof in place: colour, height and how squarely its planes face the sun.

    A gable falls from the long axis of the smallest rectangle around the outline; a hip falls towards the nearest
    wall, which suits any outline; both are shaded by the gradient of their height. A flat roof carries boxes.

    Parameters
    ----------
    albedo, height, shade
        (H, W, 3) uint8; (H, W) uint16 decimetres; (H, W) uint8, 128 as level ground. Changed in place.
    outline
        The footprint, in pixels.
    """
    rows, cols = height.shape
    left, top = (int(np.floor(v)) - 1 for v in outline.bounds[:2])
    right, bottom = (int(np.ceil(v)) + 1 for v in outline.bounds[2:])
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, cols), min(bottom, rows)
    if right - left < 3 or bottom - top < 3:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    fill(mask, [shapely.transform(outline, lambda xy: xy - (left, top))], 255)
    window = np.s_[top:bottom, left:right]
    rise = np.zeros(mask.shape, np.float32)
    lit = np.full(mask.shape, 128.0, np.float32)
    tint = 1 + 0.05 * rng.standard_normal(mask.shape).astype(np.float32)
    if roof.form == "gable":
        (cx, cy), (w, h), angle = cv2.minAreaRect(np.asarray(outline.exterior.coords, np.float32))
        axis = np.radians(angle + (90 if w > h else 0))  # across the ridge
        y, x = np.mgrid[top:bottom, left:right].astype(np.float32) + 0.5
        off = np.abs((x - cx) * np.cos(axis) + (y - cy) * np.sin(axis))
        rise = np.maximum(min(w, h) / 2 - off, 0) * gsd_m * roof.slope
        tint += 0.16 * (off < 0.6)
    elif roof.form == "hip":
        inside = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        rise = np.minimum(inside * gsd_m, 7.0) * roof.slope
    if roof.form != "flat":
        smooth = cv2.GaussianBlur(rise, (3, 3), 0.8) / gsd_m
        gy, gx = np.gradient(smooth)
        tan = 1 / np.tan(np.radians(sun.elevation_deg))
        toward = sun.toward_px()
        facing = (1 - tan * (gx * toward[0] + gy * toward[1])) / np.sqrt(1 + gx**2 + gy**2)
        lit = np.clip(128 * facing, 10, 255)
    else:
        section, seam = sections(outline, left, top, mask.shape, gsd_m, rng)
        tint *= rng.uniform(0.86, 1.12, section.max() + 1).astype(np.float32)[section]
        storey = rng.choice([0.0, 0.0, 0.0, 0.4, 2.8], section.max() + 1).astype(np.float32)
        rise += storey[section] if roof.eaves_m > 4 else 0.0
        tint -= 0.10 * seam
        edge = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3)[1:-1, 1:-1] * gsd_m
        tint += np.where(edge < 0.9, 0.14, 0.0) + 0.05 * value_noise(rng, mask.shape, 14)
        count = min(int(outline.area * gsd_m**2 / 180 * rng.uniform(0.2, 1.2)), 40)
        for _ in range(count):
            w, h = np.maximum((rng.uniform(1.2, 5, 2) / gsd_m).astype(int), 2)
            r, c = rng.integers(0, mask.shape[0]), rng.integers(0, mask.shape[1])
            if edge[r : r + h, c : c + w].size and edge[r : r + h, c : c + w].min() > 1.2:
                rise[r : r + h, c : c + w] += rng.uniform(0.5, 3)
                tint[r : r + h, c : c + w] *= rng.choice([0.6, 1.25, 1.5])
    inside = mask > 0
    colour = np.asarray(roof.rgb, np.float32) * tint[..., None]
    albedo[window][inside] = np.clip(colour, 0, 255)[inside]
    height[window][inside] = ((roof.eaves_m + rise) * DECIMETRES)[inside]
    shade[window][inside] = lit[inside]


def sections(
    outline: shapely.Polygon, left: int, top: int, shape: tuple[int, int], gsd_m: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Parts of a large flat roof: their number and, True, the seams between them; both of the window's shape."""
    (cx, cy), (w, h), angle = cv2.minAreaRect(np.asarray(outline.exterior.coords, np.float32))
    y, x = np.mgrid[top : top + shape[0], left : left + shape[1]].astype(np.float32)
    turn = float(np.radians(angle))
    index, seam = np.zeros(shape, np.int64), np.zeros(shape, bool)
    for size, cos, sin in ((w, np.cos(turn), np.sin(turn)), (h, -np.sin(turn), np.cos(turn))):
        along = (x - cx) * float(cos) + (y - cy) * float(sin) + size / 2
        cuts = np.cumsum(rng.uniform(11, 34, 40)).astype(np.float32) / gsd_m
        index = index * 41 + np.digitize(along, cuts)
        seam |= np.abs(along - cuts[np.minimum(np.digitize(along, cuts), 39)]) < 0.7
    return index, seam


@dataclass(frozen=True)
class Trees:
    """Trees by position: arrays of one length."""

    xy_px: np.ndarray  # (n, 2)
    radius_m: np.ndarray
    height_m: np.ndarray
    rgb: np.ndarray  # (n, 3) colour of the crown


def grow_trees(
    albedo: np.ndarray, height: np.ndarray, trees: Trees, gsd_m: float, rng: np.random.Generator
) -> np.ndarray:
    """
    Paint crowns in place and return where they are, bool (H, W).

    Every pixel belongs to its nearest trunk (one distance transform for all trees) and is crown where it lies
    within that tree's ragged radius: neighbours press against each other as they do in a wood.
    """
    rows, cols = height.shape
    xy = trees.xy_px.astype(int)
    keep = (xy >= 0).all(1) & (xy[:, 0] < cols) & (xy[:, 1] < rows)
    crowns = np.zeros((rows, cols), bool)
    if not keep.any():
        return crowns
    trunks = np.full((rows, cols), 255, np.uint8)
    trunks[xy[keep, 1], xy[keep, 0]] = 0
    distance, label = cv2.distanceTransformWithLabels(
        trunks, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    count = int(label.max()) + 1
    at = label[xy[keep, 1], xy[keep, 0]]
    radius, tall, colour = np.zeros(count, np.float32), np.zeros(count, np.float32), np.zeros((count, 3), np.float32)
    radius[at], tall[at], colour[at] = trees.radius_m[keep], trees.height_m[keep], trees.rgb[keep]
    leaves = value_noise(rng, (rows, cols), 2.2 / gsd_m * 0.5)

    def work(first: int, last: int) -> None:
        part = np.s_[first:last]
        owner, leaf = label[part], leaves[part]
        reach = radius[owner] * (1 + 0.22 * leaf)
        ratio = distance[part] * gsd_m / np.maximum(reach, 0.1)
        rr, cc = np.nonzero(ratio < 1)
        owner, leaf = owner[rr, cc], leaf[rr, cc]
        dome = np.sqrt(1 - ratio[rr, cc] ** 2)
        top = np.maximum(tall[owner] * (0.55 + 0.45 * dome) + 0.45 * leaf, 0.5) * DECIMETRES
        above = top > height[part][rr, cc]
        rr, cc, owner, leaf, top = rr[above], cc[above], owner[above], leaf[above], top[above]
        height[part][rr, cc] = top
        albedo[part][rr, cc] = np.clip(colour[owner] * (1 + 0.16 * leaf[:, None]), 0, 255)
        crowns[part][rr, cc] = True

    strips(rows, work)
    return crowns


def raise_roofs(canvas: Canvas, px: SceneVectors, sun: Sun) -> None:
    """Set the houses, low ones first, each with a roof that suits its size."""
    order = np.argsort(px.buildings["height_m"].to_numpy(), kind="stable")
    columns = px.buildings[["osm_id", "height_m"]].to_numpy()
    outlines = px.buildings.geometry.to_numpy()
    for i in order:
        rng = generator(canvas.seed, "roof", columns[i, 0])
        for outline in polygons(outlines[i]):
            roof = choose_roof(outline, float(columns[i, 1]), px.style, canvas.gsd_m, rng)
            paint_roof(canvas.albedo, canvas.height, canvas.shade, outline, roof, sun, canvas.gsd_m, rng)


def choose_roof(outline: shapely.Polygon, eaves_m: float, style: str, gsd_m: float, rng: np.random.Generator) -> Roof:
    """Form and colour by area and outline: halls are flat, houses gabled, city blocks hipped."""
    area = outline.area * gsd_m**2
    boxy = outline.area / max(outline.minimum_rotated_rectangle.area, 1e-9)
    flat_share = 0.9 if area > 2500 else (0.6 if area > 420 and style == "town" else 0.28 if area > 60 else 0.4)
    if rng.random() < flat_share:
        form, palette = "flat", FLAT
    else:
        form = "gable" if boxy > 0.8 and area < 900 and rng.random() < 0.85 else "hip"
        palette = PITCHED[style]
    rgb = np.array(palette[rng.integers(0, len(palette))]) * rng.uniform(0.85, 1.15)
    return Roof(form, tuple(rgb), eaves_m, rng.uniform(0.35, 0.75))


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
    clumps = value_noise(rng, (rows // 8 + 1, cols // 8 + 1), 3 * m)
    for name, (density, r0, r1, h0, h1, conifers) in stands.items():
        xy = rng.random((rng.poisson(area_m2 * density), 2)) * (cols, rows)
        x, y = xy.astype(int).T
        chance = 1.0 if name == "wood" else np.clip(0.5 + 0.5 * clumps[y // 8, x // 8], 0, 1)
        kept = (canvas.label[y, x] == LABEL[name]) & (canvas.height[y, x] == 0) & (rng.random(len(xy)) < chance)
        size = rng.beta(1.6, 2.0, int(kept.sum()))
        groups.append((xy[kept], r0 + (r1 - r0) * size, h0 + (h1 - h0) * size, rng.random(len(size)) < conifers))
    known = shapely.get_coordinates(px.points.geometry[px.points["kind"] == "tree"].to_numpy())
    lined = along_streets(px, rng, m)
    for xy, r0, r1 in ((known, 2.6, 4.6), (lined, 1.8, 3.8), (hedges(px, rng, m), 0.7, 1.2)):
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
    homes = px.buildings.geometry[px.buildings.area > 60 * m**2].to_numpy()
    if px.style != "town" or len(homes) < 4:
        return np.empty((0, 2))
    sides = shapely.get_coordinates(shapely.simplify(plots(homes, 16 * m), 1.0 * m), return_index=True)
    xy, owner = sides
    same = owner[1:] == owner[:-1]
    sides = shapely.linestrings(np.stack([xy[:-1], xy[1:]], 1)[same])
    sides = sides[rng.random(len(sides)) < 0.3]
    points = shapely.get_coordinates(shapely.segmentize(sides, 1.3 * m))
    return points + rng.normal(0, 0.25 * m, points.shape)


def plots(outlines: np.ndarray, reach_px: float) -> np.ndarray:
    """The plot of each house: what lies nearer to it than to the others, and within reach of it."""
    centres = shapely.centroid(outlines)
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(centres)))
    owner, cell = shapely.STRtree(cells).query(centres, predicate="intersects")
    found = np.full(len(outlines), shapely.Polygon(), dtype=object)
    found[owner] = cells[cell]
    gardens = shapely.buffer(shapely.oriented_envelope(outlines), reach_px, join_style="mitre")
    return shapely.intersection(found, gardens)
