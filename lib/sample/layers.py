"""
What a scene is painted on and with: canvas, noise, filled outlines, fine lines, shadows, light.

Coordinates are continuous pixels, x right, y down, (0, 0) the outer corner of the first pixel. Heights are in
decimetres above ground, uint16, so that one sweep over the height map casts every shadow.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import geopandas as gpd
import numpy as np
import shapely

from lib.grid import Grid

DECIMETRES = 10.0  # height units in a metre
SUBPIXEL_BITS = 4  # OpenCV draws at 1/16 px
# by the dimensions of an image: labels and heights (H, W) keep hard edges, colours (H, W, 3) blend with what lies below
LINE_TYPE = {2: cv2.LINE_8, 3: cv2.LINE_AA}
EDGE_PX = {2: 0.46, 3: 0.65}  # by how much OpenCV grows what it fills with this line type, px (measured)
Colour = tuple[float, float, float] | np.ndarray
Values = float | Colour  # one label or colour for all, or an array of one for each
PerShape = float | np.ndarray  # one number for all, or (n,)
STRIP_ROWS = 64  # rows of one piece of work; two threads share the strips

# ground: label -> two colours and how strongly they mix at the scales of hectares, gardens and grains
GROUND = {
    "meadow": ((92, 96, 58), (122, 117, 78), (0.9, 0.8, 0.9)),
    "lawn": ((80, 91, 52), (106, 107, 66), (0.5, 0.9, 0.8)),
    "dry": ((104, 102, 66), (134, 124, 90), (0.3, 0.9, 0.8)),
    "wood": ((52, 56, 36), (84, 80, 52), (0.2, 0.8, 0.9)),
    "scrub": ((72, 80, 46), (104, 100, 62), (0.4, 1.2, 0.8)),
    "pitch": ((78, 102, 60), (94, 116, 72), (0.8, 0.5, 0.3)),
    "soil": ((108, 86, 64), (140, 116, 88), (0.5, 0.9, 0.6)),
    "gravel": ((132, 122, 104), (160, 150, 130), (0.3, 0.8, 0.6)),
    "paved": ((112, 108, 104), (146, 140, 130), (0.3, 1.0, 0.5)),
    "asphalt": ((94, 94, 95), (126, 123, 118), (0.6, 0.5, 0.5)),
    "concrete": ((140, 136, 128), (170, 164, 154), (0.3, 0.7, 0.4)),
    "ballast": ((92, 82, 74), (122, 110, 98), (0.3, 0.7, 0.9)),
    "water": ((38, 52, 52), (46, 62, 60), (0.9, 0.3, 0.1)),
    "field": ((110, 104, 70), (110, 104, 70), (0.0, 0.0, 0.0)),
    "street": ((110, 110, 110), (110, 110, 110), (0.0, 0.0, 0.0)),
}
LABEL = {name: i for i, name in enumerate(GROUND)}


@dataclass(frozen=True)
class SceneVectors:
    """
    What stands in a scene, in metres of the scene's CRS.

    Parameters
    ----------
    roads
        Lines that carry motor vehicles: `osm_id`, `highway`, `name`, `surface`, `width_m`.
    paths
        Lines that do not, and rails: `kind` ("path", "square", "rail", "tram").
    buildings
        Polygons: `osm_id`, `building`, `height_m` (of the eaves).
    cover
        Polygons: `kind`, one of GROUND or "yard", "parking".
    points
        Points: `kind`, "tree" or "crossing".
    style
        "town" (gardens, meadows, woods between the houses) or "city" (paved between them).
    """

    roads: gpd.GeoDataFrame
    paths: gpd.GeoDataFrame
    buildings: gpd.GeoDataFrame
    cover: gpd.GeoDataFrame
    points: gpd.GeoDataFrame
    style: str


@dataclass(frozen=True)
class Sun:
    """Where the light comes from and what colour it has."""

    azimuth_deg: float = 150.0  # clockwise from north; south-east, a late morning
    elevation_deg: float = 45.0
    sky_rgb: tuple[float, float, float] = (0.30, 0.35, 0.43)  # light that also reaches the shadows
    direct_rgb: tuple[float, float, float] = (0.76, 0.72, 0.64)

    def toward_px(self) -> np.ndarray:
        """Horizontal unit vector from the ground to the sun, x right, y down."""
        azimuth = np.radians(self.azimuth_deg)
        return np.array([np.sin(azimuth), -np.cos(azimuth)])


@dataclass(frozen=True)
class Sensor:
    """What the instrument and the air add."""

    blur_px: float = 0.75  # sigma of the point spread
    sharpening: float = 0.7  # share of the fine detail that the vendor adds back
    noise: float = 2.6  # grey levels, one sigma
    haze: float = 0.10  # share of the haze colour
    haze_rgb: tuple[float, float, float] = (176.0, 184.0, 196.0)
    gain_rgb: tuple[float, float, float] = (1.03, 1.0, 0.93)  # colour cast


class Canvas:
    """The scene while it is painted, its scale, and the sun above it."""

    def __init__(self, grid: Grid, seed: int, sun: Sun) -> None:
        shape = (grid.height, grid.width)
        self.albedo = np.zeros((*shape, 3), np.uint8)  # RGB
        self.label = np.zeros(shape, np.uint8)  # index into GROUND
        self.height = np.zeros(shape, np.uint16)  # decimetres
        self.shade = np.full(shape, 128, np.uint8)  # 128 as level ground
        self.gsd_m, self.seed, self.sun = grid.gsd_m, seed, sun


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A random generator that depends on the seed and on what it is used for, and on nothing else."""
    return np.random.default_rng([seed, *(int.from_bytes(str(name).encode()[:16], "little") for name in names)])


def strips(height: int, work: Callable[[slice], None]) -> None:
    """Call `work(rows)` on all strips of the image, two at a time."""
    rows = [slice(row, min(row + STRIP_ROWS, height)) for row in range(0, height, STRIP_ROWS)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, rows))


def turned(x: np.ndarray, y: np.ndarray, angle_rad: float) -> tuple[np.ndarray, np.ndarray]:
    """The same coordinates along a direction and across it, in their own precision."""
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    return x * cos + y * sin, y * cos - x * sin


def value_noise(rng: np.random.Generator, shape: tuple[int, int], cell_px: float) -> np.ndarray:
    """Smooth random field of about unit spread whose blobs are `cell_px` wide; float32 (H, W)."""
    rows, cols = (max(4, int(np.ceil(n / cell_px)) + 3) for n in shape)
    coarse = rng.standard_normal((rows, cols), dtype=np.float32) * np.float32(1.35)  # what the resize smooths away
    size = (round(cols * cell_px), round(rows * cell_px))
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)[: shape[0], : shape[1]]


def fixed_point(xy: np.ndarray) -> np.ndarray:
    """Pixels (..., 2) in the fixed-point integers of OpenCV, for which the centres of pixels are whole numbers."""
    return np.round((xy - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def polygons(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """The non-empty polygons of a geometry of any type."""
    return [g for g in shapely.get_parts(geometry) if g.geom_type == "Polygon" and not g.is_empty]


def segments(geometries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The straight pieces of lines, or of the outlines of polygons, and the index of the geometry that each is of."""
    xy, owner = shapely.get_coordinates(geometries, return_index=True)
    joined = owner[1:] == owner[:-1]
    return shapely.linestrings(np.stack([xy[:-1], xy[1:]], 1)[joined]), owner[:-1][joined]


def _value_of_each(values: Values, count: int, image: np.ndarray) -> list[float] | list[list[float]]:
    """The value of each of so many shapes, as OpenCV takes it: a number, or three for a colour image."""
    return np.broadcast_to(np.asarray(values, np.float64), (count, *image.shape[2:])).tolist()


def fill(image: np.ndarray, outlines: Sequence[shapely.Geometry], values: Values) -> None:
    """
    Paint outlines in place, each with its value: true to size on average, for OpenCV grows what it fills.

    Parameters
    ----------
    image
        (H, W) or (H, W, 3) uint8, changed in place. Only colours blend at the edge with what lies below.
    outlines
        Polygons or multipolygons in pixels; later ones cover earlier ones.
    values
        One value for all, or one an outline (number or RGB).
    """
    shrunk = shapely.buffer(np.asarray(outlines, dtype=object), -EDGE_PX[image.ndim], join_style="mitre")
    for outline, value in zip(shrunk, _value_of_each(values, len(shrunk), image), strict=True):
        for polygon in polygons(outline):
            rings = [fixed_point(shapely.get_coordinates(ring)) for ring in (polygon.exterior, *polygon.interiors)]
            cv2.fillPoly(image, rings, value, LINE_TYPE[image.ndim], SUBPIXEL_BITS)


def fill_convex(image: np.ndarray, corners: Sequence[np.ndarray], values: Values) -> None:
    """Paint convex shapes in place, (k, 2) corners each; quicker than `fill`, and up to half a pixel wider."""
    for shape, value in zip(corners, _value_of_each(values, len(corners), image), strict=True):
        cv2.fillConvexPoly(image, fixed_point(shape), value, LINE_TYPE[image.ndim], SUBPIXEL_BITS)


def fill_lines(image: np.ndarray, lines: np.ndarray, half_px: PerShape, values: Values) -> None:
    """
    Paint lines with their width and round ends, in place; colours true to a few hundredths of a pixel.

    Each segment is a capsule, which is convex: OpenCV keeps the subpixels of convex outlines, and rounds the rows of
    others. Parameters as in `fill`; `half_px` is half the width of all lines, or of each.
    """
    pieces, owner = segments(lines)
    radius = np.maximum(np.broadcast_to(half_px, len(lines))[owner] - EDGE_PX[image.ndim], 0.2)
    capsules = [shapely.get_coordinates(capsule) for capsule in shapely.buffer(pieces, radius, quad_segs=6)]
    fill_convex(image, capsules, np.broadcast_to(values, (len(lines), *image.shape[2:]))[owner])


def stroke(image: np.ndarray, lines: Iterable[np.ndarray], value: Colour, opacity: float, width_px: int = 1) -> None:
    """Draw fine lines in place, blended with what is there: paint narrower than a pixel is paler, not thinner."""
    layer = np.zeros(image.shape[:2], np.uint8)
    cv2.polylines(layer, [fixed_point(line) for line in lines], False, 255, width_px, cv2.LINE_AA, SUBPIXEL_BITS)
    rows, cols = np.nonzero(layer)
    weight = layer[rows, cols, None].astype(np.float32) * (opacity / 255)
    old = image[rows, cols].astype(np.float32)
    image[rows, cols] = old + (np.asarray(value, np.float32) - old) * weight


def axes(angle_rad: PerShape) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (..., 2) in a direction and across it; x right, y down."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.stack([cos, sin], -1), np.stack([-sin, cos], -1)


def boxes(centres: np.ndarray, length_px: PerShape, width_px: PerShape, angle_rad: PerShape) -> np.ndarray:
    """Corners (n, 4, 2) of rectangles, given by centres (n, 2), size and the direction of their length."""
    along, across = axes(angle_rad)
    along, across = along * np.asarray(length_px)[..., None] / 2, across * np.asarray(width_px)[..., None] / 2
    return np.stack([centres + i * along + j * across for i, j in ((1, 1), (1, -1), (-1, -1), (-1, 1))], 1)


def shade_crowns(canvas: Canvas, crowns: np.ndarray) -> None:
    """Shade crowns, bool (H, W), by the slope of the height map: bright towards the sun, dark behind."""
    toward = canvas.sun.toward_px() / (8 * canvas.gsd_m * DECIMETRES)  # 8: what a Sobel filter adds up to
    surface = cv2.GaussianBlur(np.minimum(canvas.height, 400), (3, 3), 0.7).astype(np.float32)
    right, down = (cv2.Sobel(surface, cv2.CV_32F, dx, 1 - dx)[crowns] for dx in (1, 0))
    lit = 108 - 46 * np.tanh((right * toward[0] + down * toward[1]) * 0.7)
    canvas.shade[crowns] = np.clip(lit, 20, 255)


def cast_shadows(height: np.ndarray, sun: Sun, gsd_m: float) -> np.ndarray:
    """
    How deep each pixel lies in shadow, float32 (H, W) in [0, 1].

    The shadow surface is the upper envelope of the height map moved away from the sun and lowered by what the
    sun's rays fall on the way. Moves of 1, 2, 4, ... px add up to every distance: seven passes reach 127 px.
    """
    away = -sun.toward_px()
    fall = gsd_m * np.tan(np.radians(sun.elevation_deg)) * DECIMETRES  # per pixel of way
    rows, cols = height.shape
    surface, step = height.copy(), 1
    while step * fall < 2 * float(height.max()):
        dx, dy = (round(float(v) * step) for v in away)
        source = np.s_[max(-dy, 0) : rows - max(dy, 0), max(-dx, 0) : cols - max(dx, 0)]
        target = np.s_[max(dy, 0) : rows - max(-dy, 0), max(dx, 0) : cols - max(-dx, 0)]
        lowered = cv2.subtract(surface[source], round(step * fall))
        surface[target] = cv2.max(surface[target], lowered)
        step *= 2
    depth = np.clip(cv2.subtract(surface, height).astype(np.float32) / 6.0, 0, 1)
    return cv2.GaussianBlur(depth, (3, 3), 0.6)


def develop(canvas: Canvas, shadow: np.ndarray) -> np.ndarray:
    """Light on the ground: albedo times sky and direct light, uint8 (H, W, 3)."""
    image = np.empty_like(canvas.albedo)
    sky, direct = np.float32(canvas.sun.sky_rgb), np.float32(canvas.sun.direct_rgb)

    def work(rows: slice) -> None:
        beam = canvas.shade[rows].astype(np.float32) / 128 * (1 - shadow[rows])
        image[rows] = np.clip(canvas.albedo[rows] * (sky + beam[..., None] * direct), 0, 255)

    strips(len(image), work)
    return image


def expose(image: np.ndarray, sensor: Sensor, seed: int) -> np.ndarray:
    """Blur, sharpening, haze, colour cast and noise; a strip's noise depends on the seed and its first row alone."""
    blurred = cv2.GaussianBlur(image, (0, 0), sensor.blur_px)
    soft = cv2.GaussianBlur(blurred, (0, 0), 1.3)
    sharp = cv2.addWeighted(blurred, 1 + sensor.sharpening, soft, -sensor.sharpening, 0)
    out = np.empty_like(image)
    gain = np.float32(sensor.gain_rgb) * (1 - sensor.haze)
    veil = np.float32(sensor.haze_rgb) * sensor.haze

    def work(rows: slice) -> None:
        rng = generator(seed, "sensor", rows.start)
        lit = sharp[rows] * gain + veil
        noise, chroma = (rng.standard_normal((*lit.shape[:2], bands), dtype=np.float32) for bands in (1, 3))
        out[rows] = np.clip(lit + sensor.noise * (0.8 * noise + 0.5 * chroma) + 0.5, 0, 255)

    strips(len(image), work)
    return out
