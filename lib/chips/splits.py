"""Which chips train, validate and test, so that no ground is shared."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import shapely

from lib.chips.manifest import SPLITS
from lib.chips.options import check_shares
from lib.errors import InputError, reading
from lib.paths import write_whole

BLOCK_ZOOM = 14  # blocks of ground are the map tiles of this zoom: 2.4 km at the equator, 1.2 km at 60 degrees
BLOCK_EDGE_DEG = 85.0  # map tiles end there
SHARED = 0.01  # of a chip's ground: less is the width of an edge
PUBLISHED = {"training": "train", "valid": "val", "validation": "val", "testing": "test"} | {n: n for n in SPLITS}
RANK = {"": 0, "train": 1, "val": 2, "test": 3}  # of two chips that share ground the higher one stays


def split_by_place(bounds: np.ndarray, val_share: float, test_share: float, each: bool = False) -> np.ndarray:
    """
    Split chips by where they lie, so that no ground is shared: strips across the longer side of their extent.

    The first strip trains, the next validates, the last tests. A chip that reaches over the line between two strips
    belongs to neither and gets no split.

    Parameters
    ----------
    bounds
        (n, 4): min x, min y, max x, max y of each chip in one coordinate system, any unit.
    val_share, test_share
        Share of the chips' ground that validates and that tests; the rest trains.
    each
        Move the lines where few chips leave a split without any, as long as there is room for three strips.

    Returns
    -------
    splits
        (n,) of "train", "val", "test" or "" (not used).

    Raises
    ------
    ParameterError
        If the shares leave no ground to train on.
    """
    check_shares(val_share, test_share)
    low, high = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)  # corners of the whole, (x, y)
    axis = int(np.argmax(high - low))
    near, far = bounds[:, axis], bounds[:, axis + 2]  # (n,) where each chip begins and ends along that axis
    # The lines lie on chip edges, since a line through a row of chips would lose that row. ground[i] is the area of
    # chips before edges[i]; of a chip across the edge its part counts.
    edges = np.unique(np.concatenate([near, far]))
    part = np.clip((edges[:, None] - near) / np.maximum(far - near, np.finfo(float).tiny), 0, 1)
    ground = part @ np.prod(bounds[:, 2:] - bounds[:, :2], axis=1)
    wanted = np.array([1 - val_share - test_share, 1 - test_share]) * ground[-1]
    val_from, test_from = edges[np.abs(ground - wanted[:, None]).argmin(axis=1)]
    tolerance = 1e-6 * (high - low)[axis]
    splits = _strips(near, far, val_from, test_from, tolerance)
    asked = {"train"} | {name for name, share in (("val", val_share), ("test", test_share)) if share > 0}
    if each and asked == {"train", "val", "test"} and not asked <= set(splits):  # the nearest lines that leave some
        lines = _nearest_lines(near, far, edges, ground, wanted, tolerance)
        splits = splits if lines is None else _strips(near, far, *lines, tolerance)
    return splits


def _strips(near: np.ndarray, far: np.ndarray, val_from: float, test_from: float, tolerance: float) -> np.ndarray:
    """Split of chips that reach from `near` to `far`, (n,) each, between two lines."""
    splits = np.full(len(near), "", dtype=object)
    splits[far <= val_from + tolerance] = "train"
    splits[(near >= val_from - tolerance) & (far <= test_from + tolerance)] = "val"
    splits[near >= test_from - tolerance] = "test"
    return splits


def _nearest_lines(
    near: np.ndarray, far: np.ndarray, edges: np.ndarray, ground: np.ndarray, wanted: np.ndarray, tolerance: float
) -> tuple[float, float] | None:
    """Of the pairs of lines that leave each of three splits a chip, the one nearest to the wanted shares; or None."""
    best, lines = np.inf, None
    for i in np.flatnonzero((edges >= far.min() - tolerance) & (edges <= near.max() + tolerance)):
        validates = near >= edges[i] - tolerance
        can_end = (edges >= far[validates].min() - tolerance) & (edges <= near.max() + tolerance)
        if can_end.any():
            miss = np.where(can_end, np.abs(ground - wanted[1]), np.inf) + abs(ground[i] - wanted[0])
            if miss.min() < best:
                best, lines = miss.min(), (edges[i], edges[miss.argmin()])
    return lines


def split_by_scene(scenes: list[str], val_share: float, test_share: float, seed: int) -> dict[str, str]:
    """
    Split of each scene where nothing says how scenes lie to each other: whole scenes, drawn by a seeded shuffle.

    Every split with a share above 0 gets at least one scene, as long as there are three.
    """
    check_shares(val_share, test_share)
    names = sorted(set(scenes))
    order = np.random.default_rng(seed).permutation(len(names))
    counts = [max(1, round(len(names) * s)) if s > 0 and len(names) >= 3 else 0 for s in (test_share, val_share)]
    splits = ["test"] * counts[0] + ["val"] * counts[1]
    splits += ["train"] * (len(names) - len(splits))
    return {names[i]: split for i, split in zip(order, splits, strict=True)}


def split_by_hash(names: list[str], val_share: float, test_share: float) -> list[str]:
    """
    Split of each name by its hash alone: the same on every machine, in every year, whatever else there is.

    The first eight bytes of the name's SHA-256 (UTF-8) as a fraction of 2^64: below `test_share` it tests, below
    `test_share` + `val_share` it validates, else it trains. The shares hold on average, not exactly.
    """
    check_shares(val_share, test_share)
    heads = [hashlib.sha256(name.encode()).digest()[:8] for name in names]
    fractions = [int.from_bytes(head, "big") / 2**64 for head in heads]
    return ["test" if f < test_share else "val" if f < test_share + val_share else "train" for f in fractions]


def blocks_of(footprints: np.ndarray) -> list[str]:
    """
    Block of ground that holds the middle of each footprint: the map tile "14/x/y", as slippy maps count them.

    Parameters
    ----------
    footprints
        (n,) polygons in longitude and latitude, degrees.
    """
    middle = shapely.get_coordinates(shapely.centroid(footprints))  # (n, 2) longitude, latitude
    latitude = np.radians(np.clip(middle[:, 1], -BLOCK_EDGE_DEG, BLOCK_EDGE_DEG))
    x = (middle[:, 0] + 180) % 360 / 360
    y = (1 - np.arcsinh(np.tan(latitude)) / np.pi) / 2
    tiles = np.floor(np.column_stack([x, y]) * 2**BLOCK_ZOOM).astype(int)
    return [f"{BLOCK_ZOOM}/{col}/{row}" for col, row in tiles]


def without_shared_ground(footprints: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """
    Splits in which none holds ground of another: of two chips that share some, the one that tests or validates stays.

    Parameters
    ----------
    footprints
        (n,) polygons in longitude and latitude.
    splits
        (n,) of "train", "val", "test" or "".

    Returns
    -------
    splits
        As they came, "" where a chip shares more than SHARED of its ground, or of the other's, with a higher one.
    """
    rank = np.array([RANK[split] for split in splits])
    one, two = shapely.STRtree(footprints).query(footprints, predicate="intersects")
    lower = (rank[one] > 0) & (rank[one] < rank[two])
    one, two = one[lower], two[lower]
    ground = np.minimum(shapely.area(footprints[one]), shapely.area(footprints[two]))
    kept = np.array(splits, dtype=object)
    kept[one[shapely.area(shapely.intersection(footprints[one], footprints[two])) > SHARED * ground]] = ""
    return kept


def read_splits(path: Path) -> dict[str, str]:
    """
    Id -> split of a frozen list: a CSV of the columns `id` and `split`.

    Raises
    ------
    InputError
        If there is no such file, it lacks a column, names another split, or one id twice.
    """
    with reading(path, "a CSV file of the columns id and split"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if missing := [name for name in ("id", "split") if name not in table]:
        raise InputError(
            f"{path}: expected the columns id and split, got {list(table.columns)}; {missing[0]} is missing"
        )
    if unknown := sorted(set(table["split"]) - set(SPLITS)):
        raise InputError(f"{path}: expected the splits {', '.join(SPLITS)}, got {unknown[0]!r}")
    if len(twice := table["id"][table["id"].duplicated()]):
        raise InputError(f"{path}: {twice.iloc[0]!r} stands there twice; leave one")
    return dict(zip(table["id"], table["split"], strict=True))


def published_split(text: str, where: Path) -> str:
    """Split that a publisher's folder or file name says, such as "valid"; InputError if it is none."""
    if text.lower() not in PUBLISHED:
        raise InputError(f"{where}: expected {', '.join(PUBLISHED)} for {{split}}, got {text!r}")
    return PUBLISHED[text.lower()]


def write_ground(manifest: pd.DataFrame, split: str, path: Path) -> Path:
    """
    Write the ground of a split's chips as one polygon: GeoJSON, longitude and latitude, whole or not at all.

    Raises
    ------
    InputError
        If none of them has a place.
    """
    footprints = manifest.loc[(manifest["split"] == split) & (manifest["footprint"] != ""), "footprint"]
    if footprints.empty:
        raise InputError(f"No chip of the split {split!r} states its place: name the ground to map, or map all.")
    ground = shapely.union_all(shapely.from_wkt(footprints.to_list()))
    feature = {"type": "Feature", "properties": {"split": split}, "geometry": json.loads(shapely.to_geojson(ground))}
    return write_whole(path, json.dumps({"type": "FeatureCollection", "features": [feature]}))
