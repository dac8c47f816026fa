"""
Web maps of a scene that open with the network off: image, vectors, masks and errors as layers.

Maps of a grid with a CRS stand in web mercator, where rasters are warped to; a grid without one stands in
its own pixels. Tag values are written by strangers: everything shown in a map is escaped.
"""

import html
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from folium.raster_layers import ImageOverlay

from lib.errors import InputError, ParameterError
from lib.grid import LONLAT, MASK_IGNORE, MERCATOR_HALF_SIDE_M, WEB_MERCATOR, Grid, project
from lib.show.canvas import ERRORS, IGNORE, LABEL, check_pair, confusion, encode_image, foreground, outline, rgb
from lib.show.leaflet import OSM_LINK, Map, Vectors, as_html, data_address, layer_name, tooltip

if TYPE_CHECKING:
    import geopandas as gpd

OVERLAY_SIDE_PX = 2048  # larger rasters are reduced: a map is for looking, and its page stays small
EDGE_POINTS = 9  # a side, when a grid's outline is carried into web mercator, where it may bend
IMAGE_QUALITIES = (82, 70, 58, 46)  # of the image: the best that stays below IMAGE_BYTES, or the last
IMAGE_BYTES = 500_000
LAYER_STEPS = (1, 2, 3, 4)  # of the pixels of a layer: the finest that stays below LAYER_BYTES, or the last
LAYER_BYTES = 150_000  # masks of roads or houses take a third of it; noise takes more
LOSSLESS = 101  # WebP's quality above 100
LINE_PX = 2.5  # width of a line on the screen
CASING = {"color": "#FFFFFF", "weight": LINE_PX + 2.5, "opacity": 0.7, "fill": False}
# opacity of an area, 0 to 255; outlines cover
MASK_OPACITY = 128
ERROR_OPACITY = 190
PROBABILITY_OPACITY = 230  # of certainty
IGNORE_OPACITY = 140


def scene_map(
    image: np.ndarray, grid: Grid, *, title: str = "", tiles: str | None = None, attribution: str = ""
) -> Map:
    """
    A map fitted to one image, which is its first layer.

    Parameters
    ----------
    image
        uint8 (H, W, 3) RGB on `grid`.
    grid
        Where the image lies. Without a CRS the map is in pixels.
    title
        Of the page, also shown on the map; escaped.
    tiles
        Background tiles as folium names them, fetched from the network when the map is opened; None: none,
        and the map opens offline. They need a grid with a CRS.
    attribution
        Whose imagery it is; escaped.
    """
    check_pair(image)
    _check_shape(grid, image)
    if grid.crs is None and tiles is not None:
        raise ParameterError("Expected tiles=None for a grid without CRS; got tiles. Give the image a CRS first.")
    crs = "EPSG3857" if grid.crs else "Simple"
    scene = Map(grid, title, location=[0, 0], tiles=tiles, crs=crs, zoom_snap=0.25)
    pixels, bounds = _placed(np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]), grid, smooth=True)
    credit = html.escape(attribution) or None
    below = {"pane": "tilePane", "name": "image", "alt": "the image"}  # under all that can be swiped aside
    scene.add_child(ImageOverlay(_photo_address(pixels), bounds, pixelated=False, attribution=credit, **below))
    scene.fit_bounds(bounds)
    return scene


def add_mask(scene: Map, mask: np.ndarray, name: str, color: str, *, show: bool = True, from_osm: bool = False) -> None:
    """
    Add a mask, uint8 (H, W) of 0, 127 and 255, on the map's grid: translucent, outlined, ignored pixels grey.

    `from_osm` says whose data the mask was drawn from, in the map's corner.
    """
    _check_shape(scene.grid, mask)
    area = foreground(mask)
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    pixels[area > 0] = (*rgb(color), MASK_OPACITY)
    pixels[outline(area) > 0] = (*rgb(color), 255)
    pixels[mask == MASK_IGNORE] = (*rgb(IGNORE), IGNORE_OPACITY)
    _add_pixels(scene, pixels, layer_name(name, color), show, OSM_LINK if from_osm else None)


def add_probability(scene: Map, probability: np.ndarray, name: str, color: str, *, show: bool = True) -> None:
    """Add probabilities, float (H, W), 0 to 1, on the map's grid: the surer, the more opaque."""
    _check_shape(scene.grid, probability)
    pixels = np.empty((*probability.shape, 4), np.uint8)
    pixels[..., :3] = rgb(color)
    pixels[..., 3] = np.rint(PROBABILITY_OPACITY * probability.clip(0, 1))
    _add_pixels(scene, pixels, layer_name(name, color), show)


def add_errors(scene: Map, truth: np.ndarray, prediction: np.ndarray, *, show: bool = False) -> None:
    """Add a layer of found, false and missed pixels of two masks on the map's grid, off at first; its name says all."""
    for mask in (truth, prediction):
        _check_shape(scene.grid, mask)
    areas = confusion(truth, prediction)
    pixels = np.zeros((*truth.shape, 4), np.uint8)
    for key, color in {**ERRORS, "ignore": IGNORE}.items():
        pixels[areas[key] > 0] = (*rgb(color), ERROR_OPACITY)
    names = {"tp": "found", "fp": "false", "fn": "missed"}
    legend = " ".join(layer_name(text, ERRORS[key]) for key, text in names.items())
    _add_pixels(scene, pixels, f"errors: {legend}", show)


def add_vectors(
    scene: Map,
    features: "gpd.GeoDataFrame",
    name: str,
    *,
    color: str = LABEL,
    columns: Sequence[str] = (),
    from_osm: bool = True,
    cased: bool = False,
    dashed: bool = False,
    show: bool = True,
) -> None:
    """
    Add roads or buildings with a tooltip of the given columns, where present; values are escaped.

    Parameters
    ----------
    scene
        A map of `scene_map`.
    features
        Lines or polygons in any CRS; without a CRS, in the grid's world coordinates.
    name
        Of the layer.
    color
        Of lines and outlines, #RRGGBB.
    columns
        Shown in the tooltip, in this order.
    from_osm
        Attribute the layer to the OpenStreetMap contributors.
    cased
        Draw a light edge around lines, for dark colours over dark imagery.
    dashed
        Draw lines and outlines in dashes.
    show
        Whether it is on at first.
    """
    import shapely

    shapes = features.geometry
    if scene.is_simple:
        placed = shapely.transform(shapes.to_numpy(), lambda xy: _on_map(scene, scene.grid.world_to_pixel(xy)))
    else:
        known = shapes if shapes.crs is not None else shapes.set_crs(scene.grid.crs)
        placed = shapely.transform(known.to_crs(LONLAT).to_numpy(), lambda xy: _beside(scene.grid, xy, LONLAT))
    collection = [
        _feature(scene, shape.__geo_interface__, tooltip(row, columns))
        for shape, row in zip(placed, features.to_dict("records"), strict=True)
        if shape is not None and not shape.is_empty
    ]
    style = {"color": color, "weight": LINE_PX, "opacity": 0.95, "fillOpacity": 0.25}
    data = {"type": "FeatureCollection", "features": collection}
    are_lines = all(one["geometry"]["type"].endswith("LineString") for one in collection)
    if dashed:
        style["dashArray"] = "7 5"
    label = layer_name(name, color, "dashed" if dashed else "line" if are_lines else "area")
    casing = CASING if cased else None
    scene.add_child(Vectors(data, style, OSM_LINK if from_osm else None, label, show, casing))


def add_lines(
    scene: Map,
    lines: Sequence[np.ndarray],
    name: str,
    *,
    color: str,
    tips: Sequence[str] | None = None,
    weight_px: float = LINE_PX,
    dashed: bool = False,
    show: bool = True,
) -> None:
    """Add polylines in the grid's pixels, each float (N, 2) x, y; `tips` one plain text a line, escaped here."""
    if tips is not None and len(tips) != len(lines):
        raise InputError(f"Expected one tip a line; got {len(tips)} tips for {len(lines)} lines.")
    shapes = [_on_map(scene, np.asarray(line, float)).tolist() for line in lines]
    if tips is None:  # one feature: the graph of noise has thousands of lines
        collection = [_feature(scene, {"type": "MultiLineString", "coordinates": shapes}, "")]
    else:
        geometries = [{"type": "LineString", "coordinates": shape} for shape in shapes]
        collection = [_feature(scene, one, as_html(tip)) for one, tip in zip(geometries, tips, strict=True)]
    style = {"color": color, "weight": weight_px, "opacity": 0.95, "fill": False}
    if dashed:
        style["dashArray"] = "6 5"
    data = {"type": "FeatureCollection", "features": collection}
    scene.add_child(Vectors(data, style, None, layer_name(name, color, "dashed" if dashed else "line"), show))


def _check_shape(grid: Grid, pixels: np.ndarray) -> None:
    if pixels.shape[:2] != (grid.height, grid.width):
        raise InputError(
            f"Expected pixels of the map's grid, {grid.height} rows x {grid.width} columns; "
            f"got {pixels.shape[0]} x {pixels.shape[1]}. Resample them to the grid."
        )


def _feature(scene: Map, geometry: dict[str, Any], tip: str) -> dict[str, Any]:
    """GeoJSON feature with its coordinates rounded to about a centimetre, or to a hundredth of a pixel."""
    digits = 2 if scene.is_simple else 7
    rounded = json.loads(json.dumps(geometry), parse_float=lambda text: round(float(text), digits))
    return {"type": "Feature", "geometry": rounded, "properties": {"tip": tip} if tip else {}}


def _add_pixels(scene: Map, pixels: np.ndarray, name: str, show: bool = True, attribution: str | None = None) -> None:
    """Add RGBA pixels on the map's grid as a layer; the name is HTML, escaped already."""
    placed, bounds = _placed(pixels, scene.grid, smooth=False)
    for step in LAYER_STEPS:
        content = encode_image(np.ascontiguousarray(placed[::step, ::step]), ".webp", LOSSLESS)
        if len(content) <= LAYER_BYTES:
            break
    url = data_address(content, "image/webp")
    scene.add_child(ImageOverlay(url, bounds, pixelated=False, attribution=attribution, name=name, show=show, alt=name))


def _photo_address(pixels: np.ndarray) -> str:
    """RGBA pixels as an address that holds them, of a quality that leaves a page small enough to send."""
    for quality in IMAGE_QUALITIES:
        content = encode_image(pixels, ".webp", quality)
        if len(content) <= IMAGE_BYTES:
            break
    return data_address(content, "image/webp")


def _on_map(scene: Map, xy_px: np.ndarray) -> np.ndarray:
    """Pixel coordinates (N, 2) x, y to (longitude, latitude); to (x, -y) on a map in pixels, where y grows upwards."""
    if scene.is_simple:
        return xy_px * (1.0, -1.0)
    return _beside(scene.grid, project(scene.grid.pixel_to_world(xy_px), scene.grid.crs, LONLAT), LONLAT)


def _beside(grid: Grid, xy: np.ndarray, crs: str) -> np.ndarray:
    """Degrees or web mercator's metres (N, 2) within half the earth of the grid's middle: 181 E rather than 179 W."""
    turn = 360.0 if crs == LONLAT else 2 * MERCATOR_HALF_SIDE_M
    middle = project(grid.pixel_to_world(np.array([[grid.width / 2, grid.height / 2]])), grid.crs, crs)[0, 0]
    return xy - (turn, 0.0) * np.round((xy[:, :1] - middle) / turn)


def _placed(pixels: np.ndarray, grid: Grid, smooth: bool) -> tuple[np.ndarray, list[list[float]]]:
    """
    RGBA pixels as Leaflet stretches them, and their corners [[south, west], [north, east]].

    Leaflet stretches a picture evenly in web mercator, so a grid in any other CRS is warped to it first; a grid that is
    upright in web mercator, or without CRS, is shown as it is. Larger rasters are reduced to OVERLAY_SIDE_PX.
    """
    if grid.crs is None:
        return _reduced(pixels, smooth), [[-grid.height, 0.0], [0.0, grid.width]]
    a, b, c, d, e, f = grid.transform
    if grid.crs.upper() == WEB_MERCATOR and b == 0 == d and a > 0 > e:
        west, north, east, south = c, f, c + a * grid.width, f + e * grid.height
        return _reduced(pixels, smooth), _degrees(grid, west, south, east, north)
    return _warped(pixels, grid, smooth)


def _warped(pixels: np.ndarray, grid: Grid, smooth: bool) -> tuple[np.ndarray, list[list[float]]]:
    """RGBA pixels resampled into an upright web mercator raster, transparent outside the grid."""
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    # the grid's outline in pixels, EDGE_POINTS a side; its box in web mercator is what the new raster covers
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], float) * (grid.width, grid.height)
    steps = np.linspace(0, 4, 4 * EDGE_POINTS + 1)
    edge = np.column_stack([np.interp(steps, range(5), corners[:, axis]) for axis in (0, 1)])
    mercator = _beside(grid, project(grid.pixel_to_world(edge), grid.crs, WEB_MERCATOR), WEB_MERCATOR)
    (west, south), (east, north) = mercator.min(axis=0), mercator.max(axis=0)
    # a turned grid needs more pixels for the same detail: a quarter more is enough
    longest_px = min(OVERLAY_SIDE_PX, int(1.25 * max(grid.width, grid.height)))
    step = max(east - west, north - south) / longest_px
    width, height = max(1, round((east - west) / step)), max(1, round((north - south) / step))
    target = Affine((east - west) / width, 0, west, 0, -(north - south) / height, north)
    placed = np.zeros((4, height, width), np.uint8)  # bands first, as rasterio has them
    reproject(
        np.ascontiguousarray(np.moveaxis(pixels, 2, 0)),
        placed,
        src_transform=Affine(*grid.transform),
        src_crs=grid.crs,
        dst_transform=target,
        dst_crs=WEB_MERCATOR,
        resampling=Resampling.bilinear if smooth else Resampling.nearest,
    )
    return np.ascontiguousarray(np.moveaxis(placed, 0, 2)), _degrees(grid, west, south, east, north)


def _reduced(pixels: np.ndarray, smooth: bool) -> np.ndarray:
    """Pixels no larger than OVERLAY_SIDE_PX on their longer side."""
    side = max(pixels.shape[:2])
    if side <= OVERLAY_SIDE_PX:
        return pixels
    size = [max(1, round(length * OVERLAY_SIDE_PX / side)) for length in pixels.shape[1::-1]]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST)


def _degrees(grid: Grid, west_m: float, south_m: float, east_m: float, north_m: float) -> list[list[float]]:
    """[[south, west], [north, east]] in degrees of a web mercator box in metres."""
    corners = project(np.array([[west_m, south_m], [east_m, north_m]]), WEB_MERCATOR, LONLAT)
    return _beside(grid, corners, LONLAT)[:, ::-1].tolist()
