"""QGIS styles: read as QGIS reads them, and colours that colour-blind readers tell apart."""

from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from lib.mapping.styles import STYLES, Style, confidence_class, counts, qml

# what QGIS 3.22 writes for these symbols, of what is said here (saveStyleToDatabase)
LINE = {"line_color", "line_style", "line_width", "line_width_unit", "capstyle", "joinstyle"}
FILL = {"color", "style", "outline_color", "outline_style", "outline_width", "outline_width_unit", "joinstyle"}
PEN_STYLES = {"solid", "dash", "dot"}  # of QgsSymbolLayerUtils
# linear RGB as seen without red, and without green, cones: Machado et al. 2009, severity 1
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


@pytest.mark.parametrize("name", STYLES)
def test_a_style_is_what_qgis_reads(name):
    style = STYLES[name]
    text = qml(style)
    assert text.startswith("<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n<qgis ")
    renderer = ElementTree.fromstring(text).find("renderer-v2")
    assert (renderer.get("type"), renderer.get("attr")) == ("categorizedSymbol", style.column)
    categories = [dict(item.attrib) for item in renderer.find("categories")]
    assert [item["value"] for item in categories] == [look.value for look in style.looks]
    symbols = {item.get("name"): item for item in renderer.find("symbols")}
    assert [item["symbol"] for item in categories] == list(symbols)
    for symbol in symbols.values():
        assert symbol.get("type") == ("fill" if style.is_area else "line")
        for layer in symbol.findall("layer"):
            options = {item.get("name"): item.get("value") for item in layer.find("Option[@type='Map']")}
            expected = {"SimpleLine": LINE, "SimpleFill": FILL}[layer.get("class")]
            assert set(options) == expected and {item.get("type") for item in layer.find("Option")} == {"QString"}
            assert options.get("line_style", options.get("outline_style")) in PEN_STYLES
            for key in expected & {"line_color", "color", "outline_color"}:
                assert len(options[key].split(",")) == 4


def linear(color: str) -> np.ndarray:
    """Linear light of #RRGGBB (IEC 61966-2-1)."""
    values = np.array(list(bytes.fromhex(color[1:]))) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB, D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb.clip(0, 1)
    x, y, z = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(
    "style", list(dict.fromkeys(STYLES.values())), ids=lambda style: f"{style.column}-{style.is_area}"
)
def test_categories_look_different_to_colour_blind_readers(style: Style):
    for one, other in combinations(style.looks, 2):
        for matrix in (np.eye(3), *map(np.array, BLIND.values())):
            apart = np.linalg.norm(lab(matrix @ linear(one.color)) - lab(matrix @ linear(other.color)))
            assert apart > 15, (one, other)  # 2.3 is just seen


def test_classes_of_confidence_begin_at_their_least_value():
    found = confidence_class([1.0, 0.9, 0.8999, 0.7, 0.69, 0.0, np.nan])
    assert found.tolist() == ["sure", "sure", "likely", "likely", "doubtful", "doubtful", "doubtful"]
    assert confidence_class([]).tolist() == []
    assert counts(pd.DataFrame({"confidence_class": found}), STYLES["roads"]) == {"sure": 2, "likely": 2, "doubtful": 3}
