"""
A guard against silence: masks that are empty although there were roads or buildings to draw.

A place really without them has empty masks, and that is said. Where vectors lie under the chips of a source and
nothing of them is drawn, all of its mask images are background, or all masks of a label are empty in all sources, it is
an error, unless the source says `empty: true`: nothing can be learned from nothing.
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from lib.chips.sources import Scene, source_name, usable
from lib.chips.vectors import moved_at
from lib.errors import InputError, PPLinkNetWarning, or_skip
from lib.grid import LONLAT
from lib.masks.rasterize import Window
from lib.osm.files import numbers_near_windows
from lib.osm.layers import OsmLayers

NAMED = 5  # scenes that a message lists


def vectors_table(layers: Mapping[str, OsmLayers]) -> pd.DataFrame:
    """One row a layer of each vector source: as what it was read, what it gave, and what was left out."""
    columns = ["source", "layer", "read as", "rows", "roads", "buildings", "left out", "OSM as of"]
    rows = [
        (name, c.layer, c.maker, c.rows, c.roads, c.buildings, c.broken + c.repeated, osm.date or "not stated")
        for name, osm in layers.items()
        for c in osm.counts
    ]
    return pd.DataFrame(rows, columns=columns)


def touching(vectors: gpd.GeoDataFrame, scene: Scene, windows: list[Window]) -> tuple[np.ndarray, np.ndarray]:
    """Which vectors, in any CRS, touch which windows of a scene, drawn or not: (pairs,) numbers of window and row."""
    near = numbers_near_windows(vectors, scene.grid, windows, 0.0)
    outlines = [shapely.from_wkt(scene.grid.window(*window).footprint_wkt()) for window in windows]
    window, row = vectors.iloc[near].to_crs(LONLAT).sindex.query(outlines, predicate="intersects")
    return window, near[row]


def check_drawn(
    masks: Iterable[tuple[Scene, str, Window, int]],
    layers: Mapping[str, OsmLayers],
    task: str,
    shifts_m: Mapping[str, tuple[float, float]],
    skipped: dict[str, str] | None = None,
    of_several: bool = False,
) -> None:
    """
    Say which scenes' masks are empty, and refuse a source of which all are without a reason.

    Parameters
    ----------
    masks
        Scene, label source, window, and pixels of foreground of each mask that was cut.
    layers, task, shifts_m, skipped
        As in `lib.chips.dataset.build_chips`; the task is of one class.
    of_several
        Whether that class is one of several, of which a label may know another alone.

    Raises
    ------
    InputError
        Names the file, what lies under its chips, and what to do; `skipped` may hold it, but where all masks of a label
        are empty.
    """
    masks = list(masks)
    of_source: dict[tuple[int, str], dict[str, list[tuple[Scene, Window, int]]]] = {}
    for scene, label, window, foreground in masks:
        scenes = of_source.setdefault((id(scene.source), label), {})
        scenes.setdefault(scene.name, []).append((scene, window, foreground))
    for (_, label), scenes in of_source.items():
        empty = [own for own in scenes.values() if not sum(foreground for _, _, foreground in own)]
        under = {
            own[0][0].name: _under(own[0][0], label, [w for _, w, _ in own], layers, task, shifts_m) for own in empty
        }
        first = next(iter(scenes.values()))[0][0]
        file = first.data_dir / source_name(first, label)
        if empty:
            with or_skip(skipped, file):
                _judge(first, label, under, all_empty=len(empty) == len(scenes), task=task)
    good = {scene.name for scene in usable(list({id(scene): scene for scene, *_ in masks}.values()), skipped or {})}
    for label in dict.fromkeys(label for _, label, _, _ in masks):
        own = [(scene, found) for scene, name, _, found in masks if name == label and scene.name in good]
        if own and not any(found or scene.source.get("empty") for scene, found in own):
            files = sorted({source_name(scene, label) for scene, _ in own})
            raise InputError(nothing_labelled(label, task, files, of_several))


def warn_of_splits(masks: Iterable[tuple[str, str, int]], task: str) -> None:
    """
    Warn (PPLinkNetWarning) of labels that show something, but nothing where they validate or test.

    Parameters
    ----------
    masks
        Label source, split, and pixels of foreground of each mask that was cut.
    task
        What they show, for the message.
    """
    table = pd.DataFrame(masks, columns=["label", "split", "foreground"])
    found = table.groupby(["label", "split"])["foreground"].sum()
    for (label, split), foreground in found.items():
        if not foreground and split != "train" and found[label].sum():
            use = "by it no epoch can be chosen" if split == "val" else "its scores say little"
            warnings.warn(
                f"no {split} chip of `{label}` shows any {task}: {use}. Take another `split` or seed, a larger "
                f"{split}_share, or more ground.",
                PPLinkNetWarning,
                stacklevel=2,
            )


def nothing_labelled(label: str, task: str, files: Sequence[str], of_several: bool = False) -> str:
    """What to say where no mask of a label has any foreground."""
    named = ", ".join(files[:NAMED]) + ", ..." * (len(files) > NAMED)
    return (
        f"no {task} of `{label}` lie under the images, so that nothing can be learned from it: is {named} of this "
        f"place, and does it hold {task}? If that is meant, give the source `empty: true`."
    ) + f" If it knows nothing of {task}, name the class that it holds: `{label}: {{CLASS: FILE}}`." * of_several


def _judge(first: Scene, label: str, under: Mapping[str, int | None], all_empty: bool, task: str) -> None:
    """Print what is empty, or raise; `under` says how many vectors lie under each scene whose masks are empty."""
    file = first.source[label]
    silent = [name for name, count in under.items() if count]
    from_vectors = None not in under.values()
    if all_empty and not first.source.get("empty") and (silent or not from_vectors):
        because = (
            f"{sum(filter(None, under.values()))} {task} lie under the chips and none is drawn: their classes, tunnels "
            "or widths leave nothing (see `classes` and `profile`)"
            if from_vectors
            else "the images of its masks hold nothing but background, so look at their values"
        )
        raise InputError(
            f"{first.data_dir / source_name(first, label)}: every mask of `{label}: {file}` is empty: {because}. "
            "If that is meant, give the source `empty: true`."
        )
    names = ", ".join(list(under)[:NAMED]) + ", ..." * (len(under) > NAMED)
    print(f"no {task} drawn from {file} on {len(under)} scenes: {names}", flush=True)
    if silent and from_vectors:
        print(f"  though {task} lie under {len(silent)} of them: {', '.join(silent[:NAMED])}", flush=True)


def _under(
    scene: Scene,
    label: str,
    windows: list[Window],
    layers: Mapping[str, OsmLayers],
    task: str,
    shifts_m: Mapping[str, tuple[float, float]],
) -> int | None:
    """How many vectors touch the chips of a scene; None where its masks are images."""
    name = source_name(scene, label)
    if name not in layers:
        return None
    moved_m = shifts_m.get(scene.name) if label == "osm" else None
    vectors = moved_at(scene, getattr(layers[name], task), moved_m)
    return len(np.unique(touching(vectors, scene, windows)[1]))
