"""Parts of VRTs, the texts that say of which other files a raster is made."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from lib.mapping.windows import Box


def add_source(
    band: ElementTree.Element, kind: str, path: Path, box: "Box", settings: Mapping[str, Any]
) -> ElementTree.Element:
    """Lay a whole file into a box of a VRT's band: a source of a kind, such as "SimpleSource", with settings."""
    col, row, width, height = box
    size = {"xSize": str(width), "ySize": str(height)}
    source = ElementTree.SubElement(band, kind)
    ElementTree.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(path.resolve())
    for name, value in settings.items():
        ElementTree.SubElement(source, name).text = str(value)
    ElementTree.SubElement(source, "SrcRect", xOff="0", yOff="0", **size)
    ElementTree.SubElement(source, "DstRect", xOff=str(col), yOff=str(row), **size)
    return source
