"""
Web maps of a scene that open with the network off: image, vectors, masks and errors as layers.

Maps of a grid with a CRS stand in web mercator, where rasters are warped to; a grid without one stands in
its own pixels. Tag values are written by strangers: everything shown in a map is escaped.
"""

import html
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lib.errors import InputError, ParameterError
from lib.grid import LONLAT, MASK_IGNORE, WEB_MERCATOR, Grid, project
from lib.show.canvas import (
    FN,
    FP,
    IGNORE,
    LABEL,
    TP,
    check_pair,
    confusion,
    encode_image,
    foreground,
    outline,
    rgb,
)
from lib.show.leaflet import (
    OSM_ATTRIBUTION,
    Map,
    Raster,
    Vectors,
    data_address,
    layer_name,
    map_html,
    map_page,
    save_map,
    tooltip,
)

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = [
    "add_errors",
    "add_lines",
    "add_mask",
    "add_vectors",
    "map_html",
    "map_page",
    "save_map",
    "scene_map",
]

OVERLAY_SIDE_PX = 2048  # larger rasters are reduced: a map is for looking, and its page stays small
EDGE_POINTS = 9  # a side, when a grid's outline is carried into web mercator, where it may bend
IMAGE_QUALITY = 82
MASK_OPACITY = 0.5


def scene_map(
    image: np.ndarray,
    grid: Grid,
    *,
    tiles: str | None = None,
    attribution: str = "",
    title: str = "image",
) -> Map:
    """
    A map fitted to one image, which is its first layer.

    Parameters
    ----------
    image
        uint8 (H, W, 3) RGB on `grid`.
    grid
        Where the image lies. Without a CRS the map is in pixels.
    tiles
        Background tiles as folium names them, fetched from the network when the map is opened; None: none,
        and the map opens offline. They need a grid with a CRS.
    attribution
        Whose imagery it is; escaped.
    title
        Name of the image's layer.
    """
    check_pair(image)
    _check_shape(grid, image)
    if grid.crs is None and tiles is not None:
        raise ParameterError("Expected tiles=None for a grid without CRS; got tiles. Give the image a CRS first.")
    scene = Map(
        grid,
        location=[0, 0],
        tiles=tiles,
        crs="EPSG3857" if grid.crs else "Simple",
        zoom_snap=0.25,
    )
    pixels, bounds = _placed(np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]), grid, smooth=True)
    url = data_address(encode_image(pixels, ".webp", IMAGE_QUALITY), "image/webp")
    options = {"attribution": html.escape(attribution)} if attribution else {}
    scene.add_child(Raster(url, bounds, options, name=layer_name(title), overlay=True))
    scene.fit_bounds(bounds)
    return scene


def add_mask(
    scene: Map,
    mask: np.ndarray,
    name: str,
    color: str,
    *,
    opacity: float = MASK_OPACITY,
    show: bool = True,
    from_osm: bool = False,
) -> None:
    """
    Add a mask, uint8 (H, W) of 0, 127 and 255, on the map's grid: translucent, outlined, ignored pixels grey.

    `from_osm` says whose data the mask was drawn from, in the map's corner.
    """
    _check_shape(scene.grid, mask)
    area = foreground(mask)
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    pixels[area > 0] = (*rgb(color), round(255 * opacity))
    pixels[outline(area) > 0] = (*rgb(color), 255)
    pixels[mask == MASK_IGNORE] = (*rgb(IGNORE), 140)
    _add_pixels(scene, pixels, layer_name(name, color), show, OSM_ATTRIBUTION if from_osm else None)


def add_errors(
    scene: Map, truth: np.ndarray, prediction: np.ndarray, *, name: str = "errors", show: bool = True
) -> None:
    """Add one layer of found, false and missed pixels of two masks on the map's grid; its name is the legend."""
    for mask in (truth, prediction):
        _check_shape(scene.grid, mask)
    areas = confusion(truth, prediction)
    pixels = np.zeros((*truth.shape, 4), np.uint8)
    for key, color in (("tp", TP), ("fp", FP), ("fn", FN), ("ignore", IGNORE)):
        pixels[areas[key] > 0] = (*rgb(color), 190)
    parts = ((TP, "found"), (FP, "false"), (FN, "missed"))
    legend = " ".join(layer_name(text, color) for color, text in parts)
    _add_pixels(scene, pixels, f"{html.escape(name)}: {legend}", show, None)


def add_vectors(
    scene: Map,
    features: "gpd.GeoDataFrame",
    name: str,
    *,
    color: str = LABEL,
    columns: Sequence[str] = (),
    weight_px: float = 2.5,
    show: bool = True,
    from_osm: bool = True,
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
    weight_px
        Width of a line on the screen.
    show
        Switched on when the map opens.
    from_osm
        Attribute the layer to the OpenStreetMap contributors.
    """
    columns = [column for column in columns if column in features.columns]
    geometries = features.geometry
    if scene.is_simple:
        from shapely import transform

        placed = [transform(shape, lambda xy: _simple(scene.grid.world_to_pixel(xy))) for shape in geometries]
    else:
        known = geometries if geometries.crs is not None else geometries.set_crs(scene.grid.crs)
        placed = list(known.to_crs(LONLAT))
    records = features[columns].to_dict("records") if columns else [{}] * len(features)
    collection = []
    for shape, record in zip(placed, records, strict=True):
        if shape is None or shape.is_empty:
            continue
        collection.append(_feature(shape.__geo_interface__, tooltip(record, columns), scene.is_simple))
    style = {"color": color, "weight": weight_px, "opacity": 0.95, "fillOpacity": 0.25}
    _add_features(scene, collection, style, layer_name(name, color), show, OSM_ATTRIBUTION if from_osm else None)


def add_lines(
    scene: Map,
    lines: Sequence[np.ndarray],
    name: str,
    *,
    color: str,
    tips: Sequence[str] | None = None,
    weight_px: float = 2.5,
    dashed: bool = False,
    show: bool = True,
    from_osm: bool = False,
) -> None:
    """
    Add polylines given in the grid's pixels, each float (N, 2) x, y; `tips` one plain text a line, escaped
    here.
    """
    if tips is not None and len(tips) != len(lines):
        raise InputError(f"Expected one tip a line; got {len(tips)} tips for {len(lines)} lines.")
    collection = []
    for place, line in enumerate(lines):
        geometry = {"type": "LineString", "coordinates": _on_map(scene, np.asarray(line, float)).tolist()}
        tip = html.escape(tips[place]) if tips is not None else ""
        collection.append(_feature(geometry, tip, scene.is_simple))
    style = {"color": color, "weight": weight_px, "opacity": 0.95, "fill": False}
    if dashed:
        style["dashArray"] = "6 5"
    _add_features(scene, collection, style, layer_name(name, color), show, OSM_ATTRIBUTION if from_osm else None)


def _check_shape(grid: Grid, pixels: np.ndarray) -> None:
    if pixels.shape[:2] != (grid.height, grid.width):
        raise InputError(
            f"Expected pixels of the map's grid, {grid.height} rows x {grid.width} columns; "
            f"got {pixels.shape[0]} x {pixels.shape[1]}. Resample them to the grid."
        )


def _feature(geometry: dict, tip: str, simple: bool) -> dict:
    digits = 2 if simple else 7  # a hundredth of a pixel, about a centimetre
    rounded = json.loads(json.dumps(geometry), parse_float=lambda text: round(float(text), digits))
    return {"type": "Feature", "geometry": rounded, "properties": {"tip": tip} if tip else {}}


def _add_pixels(scene: Map, pixels: np.ndarray, name: str, show: bool, attribution: str | None) -> None:
    placed, bounds = _placed(pixels, scene.grid, smooth=False)
    url = data_address(encode_image(placed, ".png"), "image/png")
    options = {"attribution": attribution} if attribution else {}
    scene.add_child(Raster(url, bounds, options, name=name, overlay=True, show=show))


def _add_features(
    scene: Map, collection: list[dict], style: dict, name: str, show: bool, attribution: str | None
) -> None:
    data = {"type": "FeatureCollection", "features": collection}
    scene.add_child(Vectors(data, style, scene.is_simple, attribution, name=name, overlay=True, show=show))


def _simple(xy_px: np.ndarray) -> np.ndarray:
    """Pixels to Leaflet's CRS.Simple: x stays, latitude grows upwards."""
    return np.asarray(xy_px, float) * (1.0, -1.0)


def _on_map(scene: Map, xy_px: np.ndarray) -> np.ndarray:
    """Pixel coordinates to (longitude, latitude), or to CRS.Simple's (x, -y)."""
    if scene.is_simple:
        return _simple(xy_px)
    return project(scene.grid.pixel_to_world(xy_px), scene.grid.crs, LONLAT)


def _placed(pixels: np.ndarray, grid: Grid, smooth: bool) -> tuple[np.ndarray, list[list[float]]]:
    """
    RGBA pixels as Leaflet stretches them, and their corners [[south, west], [north, east]].

    Leaflet stretches a picture evenly in web mercator, so a grid in any other CRS is warped to it first; a
    grid that is upright in web mercator, or without CRS, is shown as it is. Larger rasters are reduced to
    OVERLAY_SIDE_PX.
    """
    if grid.crs is None:
        return _reduced(pixels, smooth), [[-grid.height, 0.0], [0.0, grid.width]]
    a, b, c, d, e, f = grid.transform
    if grid.crs.upper() == WEB_MERCATOR and b == 0 == d and a > 0 > e:
        west, north, east, south = c, f, c + a * grid.width, f + e * grid.height
        return _reduced(pixels, smooth), _degrees(west, south, east, north)
    return _warped(pixels, grid, smooth)


def _warped(pixels: np.ndarray, grid: Grid, smooth: bool) -> tuple[np.ndarray, list[list[float]]]:
    """RGBA pixels resampled into an upright web mercator raster, transparent outside the grid."""
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], float) * (grid.width, grid.height)
    steps = np.linspace(0, 4, 4 * EDGE_POINTS + 1)
    edge = np.column_stack([np.interp(steps, range(5), corners[:, axis]) for axis in (0, 1)])
    mercator = project(grid.pixel_to_world(edge), grid.crs, WEB_MERCATOR)
    (west, south), (east, north) = mercator.min(axis=0), mercator.max(axis=0)
    side = max(east - west, north - south)
    longest_px = min(OVERLAY_SIDE_PX, int(1.25 * max(grid.width, grid.height)))
    step = side / longest_px
    width, height = max(1, round((east - west) / step)), max(1, round((north - south) / step))
    target = Affine((east - west) / width, 0, west, 0, -(north - south) / height, north)
    placed = np.zeros((4, height, width), np.uint8)
    reproject(
        np.ascontiguousarray(np.moveaxis(pixels, 2, 0)),
        placed,
        src_transform=Affine(*grid.transform),
        src_crs=grid.crs,
        dst_transform=target,
        dst_crs=WEB_MERCATOR,
        resampling=Resampling.bilinear if smooth else Resampling.nearest,
    )
    return np.ascontiguousarray(np.moveaxis(placed, 0, 2)), _degrees(west, south, east, north)


def _reduced(pixels: np.ndarray, smooth: bool) -> np.ndarray:
    side = max(pixels.shape[:2])
    if side <= OVERLAY_SIDE_PX:
        return pixels
    size = [max(1, round(length * OVERLAY_SIDE_PX / side)) for length in pixels.shape[1::-1]]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST)


def _degrees(west_m: float, south_m: float, east_m: float, north_m: float) -> list[list[float]]:
    """[[south, west], [north, east]] in degrees of a web mercator box in metres."""
    corners = project(np.array([[west_m, south_m], [east_m, north_m]]), WEB_MERCATOR, LONLAT)
    return corners[:, ::-1].tolist()
