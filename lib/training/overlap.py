"""
Which ground a network has seen: kept with its checkpoint, asked before it is scored.

A score on chips that trained the network is no score. `seen_by` puts the training chips' footprints into the
checkpoint's provenance, or the digests of their images where nothing says where they lie; `warn_of_overlap` compares.
"""

import warnings
from typing import Any

import pandas as pd

from lib.errors import CheckpointError, PPLinkNetWarning
from lib.networks.checkpoint import CheckpointInfo, file_digest
from lib.training.cache import optional_text

SHARE = 0.01  # of a chip's ground: less than that is the width of a shared edge
DIGITS = 16  # of a digest


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
        names = chips.loc[overlaps, "chip" if "chip" in chips else "image"].map(str)
        message = (
            f"{len(names)} of {len(chips)} {use} chips overlap what the network was trained on before "
            f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}): their scores will flatter. Choose "
            "other ground, or train the earlier stage without it."
        )
    warnings.warn(message, PPLinkNetWarning, stacklevel=2)
