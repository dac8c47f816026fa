"""Where the chips lie: their footprints on the ground, coloured by split."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.chips.manifest import CLASS
from lib.errors import InputError
from lib.show.canvas import OCHRE, SLATE, TEAL
from lib.show.charts import need
from lib.show.sheet import STYLE, Sheet, patch, scale_bar

EARTH_RADIUS_M = 6_371_008.8  # mean radius, IUGG
PLACE_GAP = 5  # chips: what is farther apart is another place on the map
PLACES = 3  # maps side by side, at most
LABEL_FILL = {"clean": 0.75, "osm": 0.16}  # opacity of a footprint by label source
SPLIT_COLORS = {"train": TEAL, "val": OCHRE, "test": "#54214F"}  # three steps of lightness, too
LEFT_OUT = "left out"  # instead of a split: no training, and no score, sees it


def split_map(manifest: pd.DataFrame, *, title: str = "") -> Figure:
    """
    Footprints of the chips on the ground, coloured by split; clean labels are filled, OSM labels outlined.

    Parameters
    ----------
    manifest
        As lib.chips.manifest.load_manifest gives it: `footprint` (WKT, longitude and latitude), `split`, `label`.
        Chips without a footprint are counted in the legend alone; those with a reason in `dropped` are `LEFT_OUT`.
    title
        Above the map.
    """
    import shapely

    need(manifest, ["footprint", "split", "label"], "a manifest")
    if CLASS in manifest:  # a row a class
        manifest = manifest.drop_duplicates(["chip", "label"])
    if "dropped" in manifest:
        manifest = manifest.assign(split=manifest["split"].where(manifest["dropped"] == "", LEFT_OUT))
    placed = manifest.loc[manifest["footprint"].fillna("").astype(str).str.len() > 0]
    if placed.empty:
        raise InputError("Expected at least one chip with a footprint; got none: the images have no CRS.")
    groups = _places(shapely.from_wkt(placed["footprint"].astype(str).to_numpy()))
    ratios = [float(np.clip(extent_m[0] / extent_m[1], 0.3, 3)) for _, _, extent_m in groups]
    alt = f"Where the {len(placed)} chips lie, by split. {title}"
    sheet = Sheet(8.5, float(np.clip(8.5 / sum(ratios), 2.5, 8)) + 0.9, alt, photo=False)
    axes = sheet.subplots(1, len(groups), width_ratios=ratios, squeeze=False)[0]
    for ax, (members, rings_m, extent_m) in zip(axes, groups, strict=True):
        _draw_footprints(ax, placed.iloc[members], rings_m, extent_m)
    _split_legend(sheet, placed, len(manifest) - len(placed))
    if title:
        sheet.suptitle(title, x=0.01, ha="left", **STYLE)
    return sheet


def onward(shapes: np.ndarray) -> np.ndarray:
    """Shapes in degrees, across the antimeridian with 181 E after 179 E, each in one piece."""
    import shapely

    if np.ptp(shapely.total_bounds(shapes)[[0, 2]]) <= 180:
        return shapes
    moved = [shapely.transform(shape, lambda xy: np.where(xy[:, :1] < 0, xy + (360, 0), xy)) for shape in shapes]
    return np.array([shapely.union_all(shapely.get_parts(shape)) for shape in moved])


def _places(shapes: np.ndarray) -> list[tuple[np.ndarray, list[np.ndarray], np.ndarray]]:
    """
    Footprints that lie together: their numbers, their rings, and the place's extent.

    Rings are float (N, 2) x, y in metres from the place's lower left corner; the extent is its width and height.
    Chips that are farther apart than PLACE_GAP chips are two places, each with its own scale; more than PLACES of
    them, scattered over a country, are shown as one.
    """
    import shapely

    shapes = onward(shapes)
    boxes = shapely.bounds(shapes)  # one row a chip: left, bottom, right, top in degrees
    gap = PLACE_GAP * np.median(boxes[:, 2:] - boxes[:, :2], axis=0)
    # boxes widened by the gap run together where chips are near: each part of their union is a place
    areas = shapely.get_parts(shapely.union_all(shapely.box(*(boxes + [*-gap, *gap]).T)))
    owner = shapely.STRtree(areas).query(shapely.centroid(shapes), predicate="within")[1]
    groups = [np.flatnonzero(owner == place) for place in range(len(areas))]
    groups = sorted(groups, key=len, reverse=True) if len(areas) <= PLACES else [np.arange(len(shapes))]
    places = []
    for members in groups:
        left, bottom, right, top = shapely.total_bounds(shapes[members])
        # metres a degree, to the east and to the north: a degree of longitude shrinks with the latitude
        scale = np.radians(1) * EARTH_RADIUS_M * np.array([np.cos(np.radians((bottom + top) / 2)), 1])
        rings_m = [(shapely.get_coordinates(shape) - (left, bottom)) * scale for shape in shapes[members]]
        places.append((members, rings_m, np.maximum([right - left, top - bottom] * scale, 1)))
    return places


def _draw_footprints(ax: Axes, chips: pd.DataFrame, rings_m: list[np.ndarray], extent_m: np.ndarray) -> None:
    """Chips of one place, a scale bar below them; a chip too small to be seen is also a dot."""
    largest_m = float(extent_m.max())
    for ring, split, label in zip(rings_m, chips["split"], chips["label"], strict=True):
        color = SPLIT_COLORS.get(split, SLATE)
        ax.fill(*ring.T, facecolor=(color, LABEL_FILL.get(label, 0.16)), edgecolor=color, linewidth=0.9)
        if np.ptp(ring, axis=0).max() < 0.01 * largest_m:
            ax.plot(*ring[:-1].mean(axis=0), "s", color=color, markersize=3)
    pad_m = 0.04 * largest_m
    ax.set(xlim=(-pad_m, extent_m[0] + pad_m), ylim=(-0.1 * largest_m, extent_m[1] + pad_m), aspect="equal")
    ax.axis("off")
    scale_bar(ax, 1.0, extent_m[0] + 2 * pad_m, on_image=False)
    if "scene" in chips and len(set(chips["scene"])) == 1:
        ax.set_title(chips["scene"].iloc[0], loc="left", **STYLE)


def _split_legend(sheet: Sheet, placed: pd.DataFrame, unplaced: int) -> None:
    """How many chips there are of each split and label source, in the order of SPLIT_COLORS."""
    rank = {name: place for place, name in enumerate(SPLIT_COLORS)}
    counts = placed.groupby(["split", "label"]).size()
    handles = []
    for (split, label), count in sorted(counts.items(), key=lambda item: (rank.get(item[0][0], len(rank)), item[0])):
        text = f"{split}, {label.replace('osm', 'OSM')} labels: {count}"
        handles.append(patch(SPLIT_COLORS.get(split, SLATE), text, LABEL_FILL.get(label, 0.16)))
    if unplaced:
        handles.append(patch("none", f"without a place: {unplaced}"))
    sheet.legend(handles=handles, loc="outside lower left", ncols=min(3, len(handles)), frameon=False, fontsize=8.5)
