"""Pages fetch nothing, and no tag value becomes markup in a tooltip."""

import html
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.show import leaflet

NASTY = "</script><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)> ${a} `b` {{ c }} \" '"

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize(
    "markup",
    [
        "<script src='https://a.example/x.js'></script>",
        "<link rel=stylesheet href=//a.example/x.css>",
        "<style>@import 'http://a.example/x.css';</style>",
        "<style>p { background: url(https://a.example/x.png) }</style>",
        "<p style=\"background: url('https://a.example/x.png')\">",
        "<img srcset='https://a.example/x.png 2x'>",
        "<iframe srcdoc='&lt;img src=&quot;http://a.example/x.png&quot;&gt;'></iframe>",
    ],
)
def test_what_would_be_fetched_is_found(markup):
    assert len(leaflet.fetched_addresses(markup)) == 1


@pytest.mark.parametrize(
    "markup",
    [
        "<a href='https://a.example'>link</a>",
        "<img src='data:image/png;base64,AAAA'>",
        "<script>var a = '<img src=x>'; // https://a.example</script>",
        "<style>p { behavior: url(#default) }</style><p>https://a.example</p>",
    ],
)
def test_links_and_text_are_not_fetched(markup):
    assert leaflet.fetched_addresses(markup) == []


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    def handle_data(self, data):
        self.text += data


@given(st.dictionaries(st.text(max_size=12), st.one_of(st.text(max_size=80), st.just(NASTY)), max_size=4))
def test_tags_stay_text_in_tooltips(properties):
    tip = leaflet.tooltip(properties, list(properties))
    reader = Tags()
    reader.feed(tip)
    reader.close()
    assert {tag for tag, _ in reader.tags} <= {"b", "br"}
    assert not any(attrs for _, attrs in reader.tags)
    for key, value in properties.items():
        assert html.escape(key) in tip and html.escape(value[:60]) in tip


def test_tooltips_skip_what_is_absent_and_cut_novels():
    tip = leaflet.tooltip(
        {"lanes": 2.0, "width": float("nan"), "name": "a" * 500, "ref": None}, ["lanes", "width", "name", "ref"]
    )
    assert tip.startswith("<b>lanes</b> 2<br><b>name</b> aaa") and "width" not in tip and "ref" not in tip
    assert len(tip) < 200


def test_vendored_leaflet_is_complete():
    folder = leaflet._VENDOR
    assert "BSD 2-Clause" in (folder / "LICENSE").read_text()
    assert "Leaflet 1.9.4" in (folder / "leaflet.js").read_text(encoding="utf-8")[:200]
    assert "url(images/" not in leaflet._style_sheet()
