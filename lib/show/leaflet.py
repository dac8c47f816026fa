"""
A folium page that opens with the network off: Leaflet, pictures and escaped GeoJSON are written into it.

folium's own page loads scripts and fonts from four hosts. This one carries Leaflet from lib/show/vendor and refuses to
be written if anything in it would be fetched. lib.show.webmap builds maps from these parts. Pictures, tiles, the layer
control and the fitted view are folium's; `Vectors` stands in for its GeoJson, whose tooltips are tables that show empty
rows and do not escape what they show.
"""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import folium
import numpy as np
from branca.element import Element
from folium.elements import MacroElement
from folium.template import Template
from folium.utilities import JsCode

from lib.errors import InputError
from lib.grid import Grid
from lib.paths import write_whole
from lib.show.canvas import INK, SLATE, rgb, short

OSM_LINK = '© <a href="https://www.openstreetmap.org/copyright">OpenStreetMap contributors</a>'
LEAFLET_ATTRIBUTION = '<a href="https://leafletjs.com">Leaflet</a>'
TEXT_LENGTH = 120  # characters of a name or value; a tag may hold a novel

_VENDOR = Path(__file__).parent / "vendor" / "leaflet"
_VIEW = Path(__file__).parent / "templates" / "map.js"
NARROW_PX = 600  # a window no wider than this opens with the legend folded
_MARKED = {"area": "", "line": "height:4px;vertical-align:3px", "dashed": "height:0;vertical-align:4px"}  # swatches
_PAGE_STYLE = f"""
.leaflet-container {{ background: #f4f6f7; font: 12px/1.4 system-ui, sans-serif; color: {INK}; }}
.leaflet-control-layers, .view {{ border: 0 !important; border-radius: 6px; background: #fff;
                                  box-shadow: 0 1px 5px rgba(0, 0, 0, .25); }}
.leaflet-tooltip {{ max-width: 22em; white-space: normal; }}
.leaflet-tooltip b {{ font-weight: 600; }}
.leaflet-control-layers label {{ max-width: 16rem; padding-left: 3.9em; text-indent: -3.9em; }}
.swatch {{ display: inline-block; width: 14px; height: 11px; border-radius: 2px; margin-right: 4px;
           vertical-align: -1px; outline: 1px solid {SLATE}; }}
.swatch.line, .swatch.dashed {{ width: 22px; }}
.swatch.dashed {{ outline: 0; border-radius: 0; border-top: 4px dashed; }}
.view {{ padding: 6px 10px; max-width: 15rem; }} .view strong, .view label {{ display: block; }}
.view input[type=range] {{ width: 7rem; vertical-align: middle; }}
.edge {{ position: absolute; z-index: 700; top: 0; bottom: 0; width: 3px; margin-left: -1.5px; background: #fff;
         box-shadow: 0 0 3px {INK}; pointer-events: none; }}
.place {{ position: absolute; z-index: 701; top: 50%; left: 0; width: 100%; height: 34px; margin: -17px 0 0;
          appearance: none; background: none; pointer-events: none; }}
.place::-webkit-slider-thumb {{ appearance: none; width: 34px; height: 34px; border-radius: 50%; background: #fff;
                                border: 2px solid {INK}; cursor: ew-resize; pointer-events: auto; }}
.place::-moz-range-thumb {{ box-sizing: border-box; width: 34px; height: 34px; border-radius: 50%; background: #fff;
                            border: 2px solid {INK}; cursor: ew-resize; pointer-events: auto; }}
@media (prefers-color-scheme: dark) {{
  .leaflet-container {{ background: #14191d; }}
  .leaflet-control-layers, .view {{ background: #1e262c !important; color: #e3e8ec !important; }}
  .leaflet-control-layers-toggle {{ filter: invert(1); }}
  .swatch.dashed {{ background: #e3e8ec; }}
}}
"""
_REMOTE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
_REMOTE_STYLE = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^\s\"')]+)", re.IGNORECASE)
_OPENING = re.compile(r"\{(?=[{%#])")  # of what Jinja would run or leave out
_FETCHING_ATTRIBUTES = ("src", "href", "srcset", "data", "poster", "action")


class _Fetches(HTMLParser):
    """Collects what a browser would fetch when it opens a page; links in <a href> wait for a click."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []  # addresses, in the order of the page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            value = value or ""
            if tag != "a" and name in _FETCHING_ATTRIBUTES and _REMOTE.match(value):
                self.found.append(value)
            if name == "style":
                self.found += _REMOTE_STYLE.findall(value)
            if name == "srcdoc":
                self.found += fetched_addresses(value)

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "style":
            self.found += _REMOTE_STYLE.findall(data)


def fetched_addresses(page: str) -> list[str]:
    """Addresses on other hosts that an HTML page names as scripts, styles, pictures, fonts or frames."""
    parser = _Fetches()
    parser.feed(page)
    parser.close()
    return parser.found


class Map(folium.Map):
    """
    A folium map whose page carries its own Leaflet and nothing that needs jQuery, Bootstrap or icon fonts.

    `grid` is where its rasters and pixel lines lie; without a CRS the map is in pixels (Leaflet's CRS.Simple). `title`
    is shown as it is written.
    """

    default_js = []
    default_css = []

    def __init__(self, grid: Grid, title: str = "", **options: Any):
        self.grid = grid
        self.title = short(title, TEXT_LENGTH)
        super().__init__(font_size="12px", **options)
        self._name, self._id = "Map", "of_scene"
        # folium hands zoom limits to tiles only; a chip in pixels also needs levels below 0
        self.options |= {"minZoom": -6, "maxZoom": 6} if self.is_simple else {"minZoom": 2, "maxZoom": 24}
        header = self.get_root().header
        header.add_child(Element(f"<style>{_style_sheet()}{_PAGE_STYLE}</style>"), name="leaflet_css")
        header.add_child(Element(f"<script>{_script()}{_VIEW.read_text()}</script>"), name="leaflet_js")
        self.add_child(Corners())

    def add_child(self, child: Element, name: str | None = None, index: int | None = None) -> Element:
        """Add a layer or control, named by its place, so that the same map is the same page."""
        if child.get_name() not in self._children:
            child._id = str(len(self._children))
        return super().add_child(child, name=name, index=index)

    def render(self, **options: Any) -> None:
        """Write the scripts of the map and its layers into the page; called by whatever makes a page of it."""
        _finish(self)
        super().render(**options)

    def _repr_html_(self, **_: Any) -> str:
        return map_html(self)

    @property
    def is_simple(self) -> bool:
        """True where the map is in pixels."""
        return self.crs == "Simple"


class Corners(MacroElement):
    """In the map's corners: title, opacity and swipe; Leaflet's credit, in words; a scale bar, where it has metres."""

    text = LEAFLET_ATTRIBUTION
    _template = Template(
        "{% macro script(this, kwargs) %}"
        "{{ this._parent.get_name() }}.attributionControl.setPrefix({{ this.text|tojson }});"
        "{% if not this._parent.is_simple %}"
        "L.control.scale({imperial: false}).addTo({{ this._parent.get_name() }});"
        "{% endif %}"
        "sceneView({{ this._parent.get_name() }}, {{ this._parent.title|tojson }});"
        "{% endmacro %}"
    )


class Vectors(folium.map.Layer):
    """
    GeoJSON in one style with a tooltip a feature: its property `tip`, HTML that is escaped already.

    With a casing, all is drawn in that style first: a light edge keeps lines readable over imagery.
    """

    _template = Template(
        "{% macro script(this, kwargs) %}"
        "{% if this.casing %}var {{ this.get_name() }}_data = {{ this.data|tojson }};{% endif %}"
        "var {{ this.get_name() }} = {% if this.casing %}L.layerGroup([L.geoJSON({{ this.get_name() }}_data, {"
        "style: {{ this.casing|tojson }}, interactive: false}), {% endif %}"
        "L.geoJSON({% if this.casing %}{{ this.get_name() }}_data{% else %}{{ this.data|tojson }}{% endif %}, {"
        "style: {{ this.style|tojson }},"
        "pointToLayer: function (f, at) { return L.circleMarker(at, {radius: 4}); },"
        "attribution: {{ this.attribution|tojson }},"
        "onEachFeature: function (f, layer) {"
        "if (f.properties.tip) { layer.bindTooltip(f.properties.tip, {sticky: true}); } } })"
        "{% if this.casing %}]){% endif %};"
        "{% endmacro %}"
    )

    def __init__(
        self,
        data: dict[str, Any],
        style: dict[str, Any],
        attribution: str | None,
        name: str,
        show: bool = True,
        casing: dict[str, Any] | None = None,
    ):
        super().__init__(name=name, overlay=True, show=show)
        self._name = "Vectors"
        self.data = data
        self.style = style
        self.casing = casing
        self.attribution = attribution


class _Finished:
    """
    Stands for a layer's template: its finished script holds nothing that could be taken for a template.

    branca compiles what a layer's macro has written once more with Jinja, in which a street called {{ 7*7 }} would be
    computed rather than shown. Code has no such pair of characters, so they stand in a string: there a brace may be
    written as its JSON escape.
    """

    def __init__(self, template: Template):
        macros = {name: getattr(template.module, name, None) for name in ("header", "html", "script")}
        written = macros["script"]
        if written is not None:
            macros["script"] = lambda *arguments: _OPENING.sub(r"\\u007b", written(*arguments))
        self.module = SimpleNamespace(**macros)


def _finish(element: Element) -> None:
    """Make the scripts of an element and of all in it safe from a second compilation."""
    if isinstance(element, MacroElement) and not isinstance(element._template, _Finished):
        element._template = _Finished(element._template)
    for child in element._children.values():
        _finish(child)


def data_address(content: bytes, mime: str) -> str:
    """Content written into the page, as an address that nothing is fetched for."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def _style_sheet() -> str:
    """Leaflet's style sheet with its pictures written into it."""
    text = (_VENDOR / "leaflet.css").read_text(encoding="utf-8")

    def inline(match: re.Match) -> str:
        return f"url({data_address((_VENDOR / match[1]).read_bytes(), 'image/png')})"

    return re.sub(r"url\((images/[\w.-]+)\)", inline, text)


def _script() -> str:
    """Leaflet's script without the pointer to its source map, which a browser's tools would look for."""
    text = (_VENDOR / "leaflet.js").read_text(encoding="utf-8")
    return re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE)


def as_html(text: object) -> str:
    """HTML that shows a name or value as it is written, if not all of a long one."""
    return html.escape(short(str(text), TEXT_LENGTH))


def layer_name(name: str, color: str, mark: str = "area") -> str:
    """Name for the layer control, as HTML, with a swatch: the control is the legend. A mark: area, line or dashed."""
    shown = "rgb({},{},{})".format(*rgb(color))
    style = f"border-color:{shown}" if mark == "dashed" else f"background:{shown}"
    return f'<span class="swatch {mark}" style="{style};{_MARKED[mark]}"></span>{as_html(name)}'


def tooltip(properties: Mapping[str, object], columns: Sequence[str]) -> str:
    """HTML lines `key value` of the properties that are present."""
    lines = []
    for column in columns:
        value = properties.get(column)
        if value is None or (isinstance(value, float) and np.isnan(value)):
            continue
        lines.append(f"<b>{as_html(column)}</b> {as_html(f'{value:.4g}' if isinstance(value, float) else value)}")
    return "<br>".join(lines)


def map_page(scene: Map) -> str:
    """
    The map as one HTML page with its layer control; it can be called again after more layers were added.

    Raises
    ------
    InputError
        If something added to the map would be fetched from the network.
    """
    root = scene.get_root()
    root.script._children.clear()  # folium would append a second rendering to the first
    scene._children.pop("control", None)
    folded = JsCode(f"window.innerWidth <= {NARROW_PX}")
    scene.add_child(folium.LayerControl(collapsed=folded), name="control")  # last, for it names what came before
    page = root.render()
    title = f"<title>{html.escape(scene.title or 'Map')}</title>"
    page = page.replace("<html>", '<html lang="en">', 1).replace("<head>", f"<head>{title}", 1)
    fetched = fetched_addresses(page)
    if fetched:
        raise InputError(
            f"Expected a map that opens offline; it would fetch {fetched[0]}. "
            "Add layers with the functions of lib.show.webmap; folium's plugins load scripts from other hosts."
        )
    return page


def map_html(scene: Map, *, height_px: int = 560, title: str = "") -> str:
    """The map as an iframe that holds its whole page: for a notebook's cell, kept by the export to HTML."""
    page = html.escape(map_page(scene))
    style = f"width:100%;height:{int(height_px)}px;border:1px solid #dde3e7;border-radius:6px"
    said = html.escape(title or scene.title or "map")
    return f'<iframe title="{said}" srcdoc="{page}" style="{style}"></iframe>'


def save_map(scene: Map, path: str | Path) -> Path:
    """Write the map's page whole or not at all; returns the path."""
    return write_whole(Path(path), map_page(scene))
