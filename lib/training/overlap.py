"""
Which ground a network has seen: kept with its checkpoint, asked before it is scored.

A score on chips that trained the network is no score. `seen_by` puts the training chips' footprints into the
checkpoint's provenance, or the digests of their images where nothing says where they lie; `warn_of_overlap` and
`refuse_overlap` compare. `refuse_shared_ground` looks before anything is trained, at the chips alone.
"""

import warnings
from typing import Any

import numpy as np
import pandas as pd

from lib.errors import CheckpointError, InputError, PPLinkNetWarning
from lib.networks.checkpoint import CheckpointInfo, file_digest
from lib.training.cache import optional_text

SHARE = 0.01  # of a chip's ground: less than that is the width of a shared edge
DIGITS = 16  # of a digest
CURE = "Choose other ground, or train the earlier stage without it."


def seen_by(chips: pd.DataFrame, earlier: dict[str, Any] | None = None) -> dict[str, list[str]]:
    """
    What training on these chips makes a network see, as plain JSON values.

    Parameters
    ----------
    chips
        Rows of a manifest; reads `image` and, where present, `footprint`.
    earlier
        What the checkpoint that it starts from had seen.

    Returns
    -------
    seen
        "footprints": distinct WKT polygons in longitude/latitude; "images": digests of the images without one.
    """
    earlier = earlier or {}
    footprints = optional_text(chips, "footprint")
    images = {file_digest(path)[:DIGITS] for path in chips["image"][footprints == ""]}
    return {
        "footprints": sorted({*footprints[footprints != ""], *earlier.get("footprints", [])}),
        "images": sorted(images | {*earlier.get("images", [])}),
    }


def overlapping(chips: pd.DataFrame, info: CheckpointInfo) -> pd.Series:
    """
    Whether each chip holds ground, or is an image, that the checkpoint's network was trained on.

    Footprints need shapely; where they are known, an image is compared by where it lies, else by its content.

    Returns
    -------
    overlaps
        bool, same index as `chips`; False throughout for a checkpoint that doesn't say what it has seen.

    Raises
    ------
    CheckpointError
        If what the checkpoint says of footprints is no WKT.
    """
    seen = info.provenance.get("seen", {})
    footprints = optional_text(chips, "footprint")
    overlaps = pd.Series(False, chips.index)
    placed = footprints != ""
    if seen.get("images"):
        overlaps[~placed] = [file_digest(path)[:DIGITS] in seen["images"] for path in chips["image"][~placed]]
    if seen.get("footprints") and placed.any():
        import shapely

        try:
            ground = shapely.union_all(shapely.from_wkt(seen["footprints"]))
        except shapely.errors.ShapelyError as error:
            raise CheckpointError(f"provenance.seen.footprints of the checkpoint are no polygons: {error}") from error
        own = shapely.from_wkt(footprints[placed].to_numpy(object))
        overlaps[placed] = shapely.area(shapely.intersection(own, ground)) > SHARE * shapely.area(own)
    return overlaps


def warn_of_overlap(chips: pd.DataFrame, info: CheckpointInfo, use: str) -> None:
    """
    Warn (PPLinkNetWarning) where chips that are to be used as `use` ("test", "validation") were trained on.

    Where shapely is missing, footprints can't be compared: that is warned of, too.
    """
    try:
        overlaps = overlapping(chips, info)
    except ImportError:
        message = f"shapely is not installed: whether the {use} chips were trained on is not checked."
    else:
        if not overlaps.any():
            return
        message = f"{_said(chips, overlaps, use)}: their scores will flatter. {CURE}"
    warnings.warn(message, PPLinkNetWarning, stacklevel=2)


def refuse_overlap(chips: pd.DataFrame, info: CheckpointInfo, use: str) -> None:
    """
    Refuse to use chips as `use` ("test") that were trained on: `overlapping`, which needs shapely for footprints.

    Raises
    ------
    InputError
        Names the first of them.
    """
    overlaps = overlapping(chips, info)
    if overlaps.any():
        raise InputError(f"{_said(chips, overlaps, use)}: scores on them would be none. {CURE}")


def refuse_shared_ground(manifest: pd.DataFrame) -> None:
    """
    Refuse chips whose training or validation holds ground of a test chip, as where two sources show one place.

    Reads `split`, `footprint` and `dropped` of a manifest; what a rule dropped trains nothing. Chips without a
    footprint can't be compared, edges that touch are shared by nobody.

    Raises
    ------
    InputError
        Names the first of the chips that test and are trained on.
    """
    import shapely

    placed = manifest[(optional_text(manifest, "footprint") != "") & (optional_text(manifest, "dropped") == "")]
    test, learnt = placed[placed["split"] == "test"], placed[placed["split"] != "test"]
    own, others = (shapely.from_wkt(rows["footprint"].to_numpy(object)) for rows in (test, learnt))
    pairs = shapely.STRtree(others).query(own, predicate="intersects")  # (2, pairs): of test, of the others
    shared = shapely.area(shapely.intersection(own[pairs[0]], others[pairs[1]])) > SHARE * shapely.area(own[pairs[0]])
    if shared.any():
        names = test["chip"].iloc[np.unique(pairs[0][shared])]
        other = learnt.iloc[pairs[1][shared][0]]
        raise InputError(
            f"{len(names)} of {len(test)} test chips show ground that trains or validates in {other['chip']} and "
            f"others ({_first(names)}): scores on them would be none. Put the images of both sources into one, give "
            "one an `area`, or set `split: hash` in both."
        )


def _said(chips: pd.DataFrame, overlaps: pd.Series, use: str) -> str:
    names = chips.loc[overlaps, "chip" if "chip" in chips else "image"].map(str)
    said = f"{len(names)} of {len(chips)} {use} chips overlap what the network was trained on before"
    return f"{said} ({_first(names)})"


def _first(names: pd.Series) -> str:
    return f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
