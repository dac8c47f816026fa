"""Which chips train, validate and test, so that no ground is shared."""

import numpy as np

from lib.chips.options import check_shares


def split_by_place(bounds: np.ndarray, val_share: float, test_share: float) -> np.ndarray:
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
    splits = np.full(len(bounds), "", dtype=object)
    splits[far <= val_from + tolerance] = "train"
    splits[(near >= val_from - tolerance) & (far <= test_from + tolerance)] = "val"
    splits[near >= test_from - tolerance] = "test"
    return splits


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
