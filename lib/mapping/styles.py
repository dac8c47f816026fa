"""
Classes of confidence, and the QGIS styles of a map's layers, as QGIS writes them (QML).

Colours are Okabe and Ito's, which colour-blind readers tell apart; widths and dashes say the same once more, and light
casings keep lines readable over imagery.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
import pandas as pd

LEAST_CONFIDENCE = {"sure": 0.9, "likely": 0.7, "doubtful": 0.0}  # least confidence of each class, the surest first
QGIS_VERSION = "3.22.0"  # of the form; later ones read it
CASING_MM = 0.5  # more than the line itself, both sides together

# Okabe and Ito, "Color Universal Design" (2008); the grey is darker, for theirs is their green without green cones
BLUE, SKY, ORANGE, GREEN, VERMILION, PURPLE, GREY = (
    "#0072B2",
    "#56B4E9",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#4D4D4D",
)


@dataclass(frozen=True)
class Look:
    """How the features of one category are drawn: colour #RRGGBB, width of lines and outlines, dash as QGIS says it."""

    value: str
    label: str
    color: str
    width_mm: float = 0.9
    dash: str = "solid"


@dataclass(frozen=True)
class Style:
    """Column whose values are the categories, and the look of each; what has another value is drawn as the last one."""

    column: str
    looks: tuple[Look, ...]
    is_area: bool = False


CONFIDENCE = Style(
    "confidence_class",
    (
        Look("sure", "sure: 0.9 or more", BLUE, 1.1),
        Look("likely", "likely: 0.7 or more", SKY, 0.8),
        Look("doubtful", "doubtful: less", ORANGE, 0.8, "dash"),
    ),
)
STATUS = Style(
    "status",
    (
        Look("open", "to be reviewed", VERMILION, 1.1),
        Look("accepted", "accepted", GREEN, 1.1),
        Look("rejected", "rejected", GREY, 0.6, "dot"),
        Look("skipped", "skipped", PURPLE, 0.8, "dash"),
    ),
)
REASON = Style(
    "reason",
    (
        Look("tree cover", "in OSM, under trees", GREEN, 0.8, "dash"),
        Look("shadow", "in OSM, in shadow", PURPLE, 0.8, "dash"),
        Look("", "in OSM, not seen", GREY, 0.8, "dash"),
    ),
)
STYLES = {
    "roads": CONFIDENCE,
    "buildings": replace(CONFIDENCE, is_area=True),
    "missing_roads": STATUS,
    "unseen_roads": REASON,
    "missing_buildings": replace(STATUS, is_area=True),
    "vanished_buildings": replace(REASON, is_area=True),
    "changed_buildings": replace(STATUS, is_area=True),
}


def confidence_class(confidence: Sequence[float]) -> np.ndarray:
    """Class of each confidence, 0 to 1: "sure", "likely" or "doubtful", which NaN is, too; (n,) of texts."""
    names, least = zip(*reversed(LEAST_CONFIDENCE.items()), strict=True)
    values = np.nan_to_num(np.asarray(confidence, float))
    return np.array(names, object)[np.searchsorted(least, values, side="right") - 1]


def counts(frame: pd.DataFrame, style: Style) -> dict[str, int]:
    """How many features there are of each category that a style names."""
    found = frame[style.column].value_counts()
    return {look.value: int(found.get(look.value, 0)) for look in style.looks}


def qml(style: Style) -> str:
    """The style as QML: a categorised renderer, one symbol a category."""
    root = Element("qgis", version=QGIS_VERSION, styleCategories="Symbology")
    renderer = SubElement(
        root,
        "renderer-v2",
        {"type": "categorizedSymbol", "attr": style.column}
        | {"forceraster": "0", "symbollevels": "0", "enableorderby": "0"},
    )
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for number, look in enumerate(style.looks):
        facts = {"render": "true", "symbol": str(number), "value": look.value, "label": look.label}
        SubElement(categories, "category", facts)
        kind = "fill" if style.is_area else "line"
        symbol = SubElement(
            symbols,
            "symbol",
            {"type": kind, "name": str(number), "alpha": "1", "clip_to_extent": "1", "force_rhr": "0"},
        )
        for layer in _area_layers(look) if style.is_area else _line_layers(look):
            symbol.append(layer)
    ElementTree.indent(root, " ")
    body = ElementTree.tostring(root, encoding="unicode")
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{body}\n"


def _line_layers(look: Look) -> list[Element]:
    """A light casing, and the line on it."""
    casing = replace(look, color="#FFFFFF", width_mm=look.width_mm + CASING_MM, dash="solid")
    return [_line(casing, opacity=190), _line(look, opacity=255)]


def _line(look: Look, opacity: int) -> Element:
    return _layer(
        "SimpleLine",
        {
            "line_color": _rgba(look.color, opacity),
            "line_style": look.dash,
            "line_width": f"{look.width_mm:g}",
            "line_width_unit": "MM",
            "capstyle": "round" if look.dash == "solid" else "flat",
            "joinstyle": "round",
        },
    )


def _area_layers(look: Look) -> list[Element]:
    """A translucent area with a full outline."""
    return [
        _layer(
            "SimpleFill",
            {
                "color": _rgba(look.color, 90),
                "style": "solid",
                "outline_color": _rgba(look.color, 255),
                "outline_style": look.dash,
                "outline_width": f"{0.6 * look.width_mm:g}",
                "outline_width_unit": "MM",
                "joinstyle": "miter",
            },
        )
    ]


def _layer(kind: str, options: dict[str, str]) -> Element:
    """A layer of a symbol: its options as the map of texts that QGIS keeps."""
    layer = Element("layer", {"class": kind, "enabled": "1", "locked": "0", "pass": "0"})
    table = SubElement(layer, "Option", type="Map")
    for name, value in options.items():
        SubElement(table, "Option", type="QString", name=name, value=value)
    return layer


def _rgba(color: str, opacity: int) -> str:
    """Colour as QML has it: "red,green,blue,opacity", 0 to 255 each."""
    return ",".join(map(str, (*bytes.fromhex(color[1:]), opacity)))
