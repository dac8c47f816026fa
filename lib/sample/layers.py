"""
What a scene is painted on and with: canvas, noise, filled outlines, fine lines, shadows, light.

Coordinates are continuous pixels, x right, y down, (0, 0) the outer corner of the first pixel. Heights are in
decimetres above ground, uint16, so that one sweep over the height map casts every shadow.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import geopandas as gpd
import numpy as np
import shapely

DECIMETRES = 10.0  # height units in a metre
SUBPIXEL_BITS = 4  # OpenCV draws at 1/16 px
EDGE_PX = {cv2.LINE_8: 0.46, cv2.LINE_AA: 0.65}  # by how much OpenCV grows what it fills, px (measured)
Colour = tuple[float, float, float] | np.ndarray
Values = float | Colour  # one label or colour for all, or an array of one for each
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


@dataclass
class Canvas:
    """The scene while it is painted, and its scale."""

    albedo: np.ndarray  # (H, W, 3) uint8
    label: np.ndarray  # (H, W) uint8, index into GROUND
    height: np.ndarray  # (H, W) uint16, decimetres
    shade: np.ndarray  # (H, W) uint8, 128 as level ground
    gsd_m: float
    seed: int


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


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A random generator that depends on the seed and on what it is used for, and on nothing else."""
    words = [int.from_bytes(str(name).encode()[:16].ljust(16, b"\0"), "little") for name in names]
    return np.random.default_rng([seed, *words])


def strips(height: int, work: Callable[[int, int], None]) -> None:
    """Call `work(first_row, last_row)` on all strips of the image, two at a time."""
    bounds = [(row, min(row + STRIP_ROWS, height)) for row in range(0, height, STRIP_ROWS)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda pair: work(*pair), bounds))


def value_noise(rng: np.random.Generator, shape: tuple[int, int], cell_px: float) -> np.ndarray:
    """Smooth random field of about unit spread whose blobs are `cell_px` wide; float32 (H, W)."""
    rows, cols = (max(4, int(np.ceil(n / cell_px)) + 3) for n in shape)
    coarse = rng.standard_normal((rows, cols), dtype=np.float32) * np.float32(1.35)  # what the resize smooths away
    size = (round(cols * cell_px), round(rows * cell_px))
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)[: shape[0], : shape[1]]


def rings(polygon: shapely.Polygon) -> list[np.ndarray]:
    """Outer and inner rings in the fixed-point integers of OpenCV, whose pixel centres are whole numbers."""
    scale = 1 << SUBPIXEL_BITS
    return [
        np.round((np.asarray(ring.coords)[:, :2] - 0.5) * scale).astype(np.int32)
        for ring in (polygon.exterior, *polygon.interiors)
    ]


def polygons(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """The non-empty polygons of a geometry of any type."""
    return [g for g in shapely.get_parts(geometry) if g.geom_type == "Polygon" and not g.is_empty]


def _value_of(values: Values, image: np.ndarray) -> Callable[[int], float | tuple[float, ...]]:
    """The value of the i-th shape, as OpenCV takes it: a number, or a tuple for a colour image."""
    values = np.asarray(values, np.float64)
    single = values.ndim == (1 if image.ndim == 3 else 0)
    values = values.tolist()

    def value_of(i: int) -> float | tuple[float, ...]:
        value = values if single else values[i]
        return tuple(value) if isinstance(value, list) else value

    return value_of


def fill(image: np.ndarray, outlines: Iterable[shapely.Geometry], values: Values, smooth: bool = False) -> None:
    """
    Paint outlines in place, each with its value: true to size on average, for OpenCV grows what it fills.

    Parameters
    ----------
    image
        (H, W) or (H, W, 3) uint8, changed in place.
    outlines
        Polygons or multipolygons in pixels; later ones cover earlier ones.
    values
        One value for all, or one an outline (number or RGB).
    smooth
        Blend the edge with what lies below. Only for colours, not for labels.
    """
    kind = cv2.LINE_AA if smooth else cv2.LINE_8
    outlines = np.asarray(list(outlines), dtype=object)
    if not len(outlines):
        return
    shrunk = shapely.buffer(outlines, -EDGE_PX[kind], join_style="mitre")
    value_of = _value_of(values, image)
    for i, outline in enumerate(shrunk):
        for polygon in polygons(outline):
            cv2.fillPoly(image, rings(polygon), value_of(i), kind, SUBPIXEL_BITS)


def fill_lines(image: np.ndarray, lines: np.ndarray, half_px: np.ndarray, values: Values, smooth: bool = False) -> None:
    """
    Paint lines with their width and round ends, in place; where `smooth` to a few hundredths of a pixel.

    Each segment is a capsule, which is convex: OpenCV keeps the subpixels of convex outlines, and rounds the rows of
    others. Parameters as in `fill`; `half_px` is half the width of each line.
    """
    kind = cv2.LINE_AA if smooth else cv2.LINE_8
    xy, owner = shapely.get_coordinates(lines, return_index=True)
    inner = owner[1:] == owner[:-1]
    segments, owner = shapely.linestrings(np.stack([xy[:-1], xy[1:]], 1)[inner]), owner[:-1][inner]
    radius = np.maximum(np.broadcast_to(half_px, len(lines))[owner] - EDGE_PX[kind], 0.2)
    capsules = shapely.buffer(segments, radius, quad_segs=6)
    value_of = _value_of(values, image)
    for line, capsule in zip(owner, capsules, strict=True):
        cv2.fillConvexPoly(image, rings(capsule)[0], value_of(line), kind, SUBPIXEL_BITS)


def stroke(image: np.ndarray, lines: Iterable[np.ndarray], value: Colour, opacity: float, width_px: int = 1) -> None:
    """Draw fine lines in place, blended with what is there: paint narrower than a pixel is paler, not thinner."""
    layer = np.zeros(image.shape[:2], np.uint8)
    points = [np.round((line - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32) for line in lines]
    cv2.polylines(layer, points, False, 255, width_px, cv2.LINE_AA, SUBPIXEL_BITS)
    rows, cols = np.nonzero(layer)
    weight = layer[rows, cols, None].astype(np.float32) * (opacity / 255)
    old = image[rows, cols].astype(np.float32)
    image[rows, cols] = old + (np.asarray(value, np.float32) - old) * weight


def boxes(centres: np.ndarray, length_px, width_px, angle_rad) -> np.ndarray:
    """Corners (n, 4, 2) of rectangles, given by centre, size and the direction of their length."""
    along = np.stack([np.cos(angle_rad), np.sin(angle_rad)], -1) * np.asarray(length_px)[..., None] / 2
    across = np.stack([-np.sin(angle_rad), np.cos(angle_rad)], -1) * np.asarray(width_px)[..., None] / 2
    return np.stack(
        [centres + along + across, centres + along - across, centres - along - across, centres - along + across], 1
    )


def fill_boxes(image: np.ndarray, corners: np.ndarray, values: Values) -> None:
    """Paint small convex shapes, (n, 4, 2) corners, in place; quicker than `fill`, and up to half a pixel wider."""
    fixed = np.round((corners - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)
    value_of = _value_of(values, image)
    kind = cv2.LINE_AA if image.ndim == 3 else cv2.LINE_8
    for i, shape in enumerate(fixed):
        cv2.fillConvexPoly(image, shape, value_of(i), kind, SUBPIXEL_BITS)


def shade_crowns(shade: np.ndarray, height: np.ndarray, crowns: np.ndarray, sun: Sun, gsd_m: float) -> None:
    """Shade crowns in place by the slope of the height map: bright towards the sun, dark behind."""
    toward = sun.toward_px() / (8 * gsd_m * DECIMETRES)

    def work(first: int, last: int) -> None:
        low, high = max(first - 2, 0), min(last + 2, len(height))
        surface = cv2.GaussianBlur(np.minimum(height[low:high], 400), (3, 3), 0.7).astype(np.float32)
        slope = cv2.Sobel(surface, cv2.CV_32F, 1, 0) * toward[0] + cv2.Sobel(surface, cv2.CV_32F, 0, 1) * toward[1]
        slope = slope[first - low : first - low + last - first]
        lit = np.clip(118 - 46 * np.tanh(slope * 0.7) - 10, 20, 255)
        np.copyto(shade[first:last], lit.astype(np.uint8), where=crowns[first:last])

    strips(len(height), work)


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


def develop(albedo: np.ndarray, shade: np.ndarray, shadow: np.ndarray, sun: Sun) -> np.ndarray:
    """Light on the ground: albedo times sky and direct light, uint8 (H, W, 3)."""
    image = np.empty_like(albedo)
    sky, direct = np.float32(sun.sky_rgb), np.float32(sun.direct_rgb)

    def work(first: int, last: int) -> None:
        part = np.s_[first:last]
        beam = shade[part].astype(np.float32) / 128 * (1 - shadow[part])
        image[part] = np.clip(albedo[part] * (sky + beam[..., None] * direct), 0, 255)

    strips(len(albedo), work)
    return image


@dataclass(frozen=True)
class Sensor:
    """What the instrument and the air add."""

    blur_px: float = 0.75  # sigma of the point spread
    sharpening: float = 0.7  # share of the fine detail that the vendor adds back
    noise: float = 2.6  # grey levels, one sigma
    haze: float = 0.10  # share of the haze colour
    haze_rgb: tuple[float, float, float] = (176.0, 184.0, 196.0)
    gain_rgb: tuple[float, float, float] = (1.03, 1.0, 0.93)  # colour cast


def expose(image: np.ndarray, sensor: Sensor, seed: int) -> np.ndarray:
    """Blur, sharpening, haze, colour cast and noise; a strip's noise depends on the seed and its first row alone."""
    blurred = cv2.GaussianBlur(image, (0, 0), sensor.blur_px)
    soft = cv2.GaussianBlur(blurred, (0, 0), 1.3)
    blurred = cv2.addWeighted(blurred, 1 + sensor.sharpening, soft, -sensor.sharpening, 0)
    out = np.empty_like(image)
    gain = np.float32(sensor.gain_rgb) * (1 - sensor.haze)
    veil = np.float32(sensor.haze_rgb) * sensor.haze

    def work(first: int, last: int) -> None:
        rng = generator(seed, "sensor", first)
        noise = rng.standard_normal((last - first, image.shape[1], 1), dtype=np.float32)
        chroma = rng.standard_normal((last - first, image.shape[1], 3), dtype=np.float32)
        lit = blurred[first:last] * gain + veil
        out[first:last] = np.clip(lit + sensor.noise * (0.8 * noise + 0.5 * chroma) + 0.5, 0, 255)

    strips(len(image), work)
    return out
