"""
The result of mapping an area, as a picture and as a web map that opens with the network off.

Imagery, the network's probability, and the layers in the colours of their QGIS styles: so what is sure and what is
doubtful looks the same here and there.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.text import OffsetFrom

from lib.errors import InputError
from lib.grid import Grid
from lib.mapping.overview import Overview
from lib.mapping.styles import STYLES, Look, Style
from lib.show.canvas import PREDICTION, muted, rgb
from lib.show.leaflet import Map
from lib.show.sheet import Sheet, height_share, patch, picture_axes, show_photo, strip_legend
from lib.show.webmap import add_probability, add_vectors, scene_map

if TYPE_CHECKING:
    import geopandas as gpd

PANEL_IN = 5.0  # width of one of the three pictures, inches
LEAST_PANEL_IN = 2.6  # of ground that is much higher than wide: its text would be small on a page
POINTS_PER_MM = 1.6  # of a style's widths: a panel is smaller than a screen
CASING_PT = 0.9  # a light edge to either side of a line
DASHES = {"solid": "-", "dash": (0, (3.5, 1.6)), "dot": (0, (1.0, 1.6))}
AREA_ALPHA = 0.35
LEAST_TURN = 5.0  # degrees that north may be off from up without an arrow: more than in most grids of maps
ARROW_PT = 24.0  # from the arrow's foot to its N
SHARES = (0.5, 0.75, 1.0)  # probabilities in the legend
COLUMNS = (
    "confidence",
    "length_m",
    "width_m",
    "area_m2",
    "status",
    "reason",
    "highway",
    "name",
    "osm_id",
)  # in tooltips


def result_figure(overview: Overview, *, layer: str | None = None, title: str = "") -> Figure:
    """
    Imagery, probability and one layer beside each other, with a scale bar, an arrow where north is not up, and a legend
    that counts.

    Parameters
    ----------
    overview
        As `lib.mapping.overview.read_overview` gives it.
    layer
        Name of the layer; None for the first one, the roads or buildings themselves.
    title
        Above the image.

    Raises
    ------
    InputError
        If the map has no such layer.
    """
    layer, features = _chosen(overview, layer)
    style, grid = STYLES[layer], overview.grid
    gsd_m = None if grid.crs is None else grid.gsd_m
    ratio = height_share(overview.image)
    alt = f"Image, probability, and {layer.replace('_', ' ')} found. {title}"
    panel_in = float(np.clip(1.4 * PANEL_IN / ratio, LEAST_PANEL_IN, PANEL_IN))
    handles = [patch(PREDICTION, f"probability {share:g}", _opacity(share)) for share in SHARES]
    handles += [_handle(look, style, some) for look, some in _by_look(features, style)]
    columns = len(handles) if panel_in == PANEL_IN else 3
    rows = -(-len(handles) // columns)
    sheet = Sheet(3 * panel_in, panel_in * ratio + 0.65 + 0.2 * rows, alt, photo=True)
    left, middle, right = picture_axes(sheet, 3, 3)
    show_photo(left, overview.image, overview.image.shape[:2], gsd_m, title or "image")
    if grid.crs is not None:
        _north_arrow(left, grid.bearings[0])
    quiet = muted(overview.image)
    show_photo(middle, _tinted(quiet, overview.probability), quiet.shape[:2], gsd_m, "probability")
    show_photo(right, quiet, quiet.shape[:2], gsd_m, f"{layer.replace('_', ' ')}: {_amount(features)}")
    for look, some in reversed(list(_by_look(features, style))):  # the surest lie on top
        (_draw_areas if style.is_area else _draw_lines)(right, some, look, grid)
    strip_legend(sheet, handles, columns)
    return sheet


def result_map(
    overview: Overview, *, others: Mapping[str, Overview] | None = None, tiles: str | None = None, attribution: str = ""
) -> Map:
    """
    Web map of an overview: image, probability (hidden at first), and each layer by its categories.

    `others` are the map's further classes, whose probabilities are layers, too; `tiles` and `attribution` as of
    `lib.show.webmap.scene_map`. Layers of OSM's own roads and buildings carry its attribution; the text of their tags
    is escaped.
    """
    scene = scene_map(overview.image, overview.grid, tiles=tiles, attribution=attribution)
    add_probability(scene, np.nan_to_num(overview.probability), "probability", PREDICTION, show=False)
    for kind, other in (others or {}).items():
        add_probability(scene, np.nan_to_num(other.probability), f"probability, {kind}", PREDICTION, show=False)
    for layer, features in overview.layers.items():
        from_osm = layer.startswith(("unseen_", "vanished_", "changed_", "missing_"))  # it says something of OSM's data
        for look, some in _by_look(features, STYLES[layer]):
            if len(some):
                name = f"{layer.replace('_', ' ')}, {look.label} ({len(some)})"
                drawn = {"color": look.color, "cased": True, "dashed": look.dash != "solid"}
                add_vectors(scene, some, name, columns=COLUMNS, from_osm=from_osm, **drawn)
    return scene


def _chosen(overview: Overview, layer: str | None) -> tuple[str, "gpd.GeoDataFrame"]:
    if not overview.layers or (layer is not None and layer not in overview.layers):
        has = ", ".join(overview.layers) or "none"
        raise InputError(f"Expected a layer {layer or 'of roads or buildings'!r} in the map; it has {has}.")
    name = layer or next(iter(overview.layers))
    return name, overview.layers[name]


def _by_look(features: "gpd.GeoDataFrame", style: Style) -> Iterator[tuple[Look, "gpd.GeoDataFrame"]]:
    """The features of each category of a style, in its order."""
    values = features[style.column].fillna("").to_numpy()
    for look in style.looks:
        yield look, features[values == look.value]


def _north_arrow(ax: Axes, up: float) -> None:
    """An arrow to the north where up points elsewhere, degrees clockwise from north."""
    if abs(up) < LEAST_TURN:
        return
    dark = [withStroke(linewidth=3, foreground="#111820C0")]
    to_north = (-ARROW_PT * np.sin(np.radians(up)), ARROW_PT * np.cos(np.radians(up)))
    ax.annotate(
        "N",
        xy=(-ARROW_PT - 8, -ARROW_PT - 8),
        xycoords=OffsetFrom(ax, (1, 1), "points"),
        xytext=to_north,
        textcoords="offset points",
        arrowprops={"arrowstyle": "<-", "color": "white", "linewidth": 1.6, "path_effects": dark},
        path_effects=dark,
        **{"color": "white", "fontsize": 9, "ha": "center", "va": "center", "zorder": 10},
    )


def _tinted(image: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The image under a tint as opaque as the probability (H, W), 0 to 1, is high."""
    opacity = _opacity(np.nan_to_num(probability))[..., None]
    return np.rint((1 - opacity) * image + opacity * np.array(rgb(PREDICTION))).astype(np.uint8)


def _opacity(probability: np.ndarray | float) -> np.ndarray | float:
    return 0.9 * probability


def _coordinates(features: "gpd.GeoDataFrame", grid: Grid) -> list[np.ndarray]:
    """Lines, or exteriors of polygons, (n, 2) x, y in the pixels of the overview."""
    known = features if features.crs is None or grid.crs is None else features.to_crs(grid.crs)
    shapes = known.geometry.explode(index_parts=False)
    lines = [getattr(shape, "exterior", shape) for shape in shapes if shape is not None and not shape.is_empty]
    return [grid.world_to_pixel(np.asarray(line.coords)[:, :2]) for line in lines]


def _draw_lines(ax: Axes, features: "gpd.GeoDataFrame", look: Look, grid: Grid) -> None:
    """Lines of one category on a light casing."""
    lines, width_pt = _coordinates(features, grid), POINTS_PER_MM * look.width_mm
    ax.add_collection(LineCollection(lines, colors="white", linewidths=width_pt + 2 * CASING_PT, alpha=0.75, zorder=2))
    dashes = DASHES[look.dash]
    ax.add_collection(LineCollection(lines, colors=look.color, linewidths=width_pt, linestyles=[dashes], zorder=3))


def _draw_areas(ax: Axes, features: "gpd.GeoDataFrame", look: Look, grid: Grid) -> None:
    """Polygons of one category, translucent, with a full outline."""
    rings, width_pt = _coordinates(features, grid), 0.6 * POINTS_PER_MM * look.width_mm
    face = (look.color, AREA_ALPHA)
    ax.add_collection(PolyCollection(rings, facecolors=[face], edgecolors=look.color, linewidths=width_pt, zorder=3))


def _handle(look: Look, style: Style, features: "gpd.GeoDataFrame") -> Line2D | Patch:
    """Legend entry of a category: how it is drawn, and how much there is of it."""
    text = f"{look.label} ({_amount(features)})"
    if style.is_area:
        return patch(look.color, text, AREA_ALPHA)
    width_pt = POINTS_PER_MM * look.width_mm
    return Line2D([], [], color=look.color, linewidth=width_pt, linestyle=DASHES[look.dash], label=text)


def _amount(features: "gpd.GeoDataFrame") -> str:
    """Kilometres of lines where they are known, else how many features there are."""
    if "length_m" in features:
        return f"{features['length_m'].sum() / 1000:.1f} km"
    return f"{len(features):,}"
