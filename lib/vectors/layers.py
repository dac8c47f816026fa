"""Which layer of a vector file is meant: files that hold several are common, and GDAL takes the first."""

from pathlib import Path
from typing import Literal

from lib.errors import InputError


def one_layer(path: Path, shape: Literal["Line", "Polygon"]) -> str | int:
    """Name of the one layer that may hold lines or polygons; the first where none does. InputError if several do."""
    import pyogrio

    layers = pyogrio.list_layers(path)  # rows (name, geometry type or None)
    found = [name for name, kind in layers if kind and (shape in kind or kind in ("Unknown", "GeometryCollection"))]
    found = [name for name in found if pyogrio.read_info(path, layer=name)["features"]]
    if len(found) > 1:
        raise InputError(
            f"{path}: expected one layer of {shape.lower()}s, found {', '.join(map(repr, found))}; merge those that "
            "are meant into one, and remove the others."
        )
    return found[0] if found else 0
