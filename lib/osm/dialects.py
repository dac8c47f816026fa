"""OSM files as editors and servers write them, made plain: what libosmium alone would drop, draw wrongly or refuse."""

from __future__ import annotations

import bz2
import gzip
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from xml.parsers import expat

from lib.errors import InputError

if TYPE_CHECKING:
    import osmium

OSM_SUFFIXES = (".osm", ".pbf", ".osm.bz2", ".osm.gz", ".o5m")
CHANGE_SUFFIXES = (".osc", ".osc.gz", ".osc.bz2", ".osh")
OPENERS = {".osm": open, ".osm.gz": gzip.open, ".osm.bz2": bz2.open}
CHUNK_BYTES = 1 << 20
TAG_BYTES = 1 << 10  # a start tag cut in two by the end of a chunk is no longer than this
# ids below 0 (new objects of an editor) and nodes without an id (a server's `out geom`) go on from here: libosmium
# finds the places of ids above 0 only, and OSM's own are far from 2**40
NEW_ID, POINT_ID = 1 << 40, 1 << 41
# what libosmium does not see, drops or refuses: objects deleted in an editor, ids below 0, ways and members that carry
# their own coordinates
SIGNS = re.compile(
    rb"""\s(?:action=["']delete|visible=["']false|(?:id|ref)=["']-)|<nd\b[^>]*\slat=""",
)
# when an answer of Overpass was the map, in its second element, which libosmium passes over
OVERPASS_DATE = re.compile(rb"""<meta\s[^>]*\bosm_base=["']([-\d]+T[:\d]+Z)""")


@contextmanager
def plain_file(
    path: Path, is_mixed: bool = False, has_new_ids: bool = False
) -> Iterator[tuple[osmium.io.File, osmium.io.Header]]:
    """
    A file as libosmium reads it whole, with its header: itself, or where it is written otherwise a passing copy.

    In the copy objects deleted in an editor are left out; ids below 0 become positive (`original_id` turns them
    back); ways that carry coordinates have nodes of their own; nodes come before ways, and all in the order of ids.
    Versions are those of the file, 0 where it states none.

    Parameters
    ----------
    path
        The file; its kind is told by its name, in letters of any size.
    is_mixed
        A first reading found that objects are not in the order of their kinds and ids.
    has_new_ids
        A first reading found ids below 0. Of XML both are seen here.

    Raises
    ------
    InputError
        If the file holds changes or a history instead of one state of the map.
    """
    import osmium

    suffix = suffix_of(path)
    file = osmium.io.File(str(path), suffix[1:])
    with osmium.io.Reader(file, osmium.osm.NOTHING) as reader:
        header = reader.header()
    if header.has_multiple_object_versions:
        raise InputError(
            f"{path}: expected the map of one day, but it holds changes or a history (.osc, .osh); make an extract of "
            "it first: `osmium apply-changes` or `osmium time-filter`."
        )
    if suffix in OPENERS:
        has_new_ids, nodes_late = _look_into(path, OPENERS[suffix])
        is_mixed |= nodes_late
        with OPENERS[suffix](path, "rb") as stream:
            if stated := OVERPASS_DATE.search(stream.read(TAG_BYTES)):
                header.set("osmosis_replication_timestamp", stated[1].decode())
    if not is_mixed and not has_new_ids:
        yield file, header
        return
    with tempfile.TemporaryDirectory(prefix="osm-") as folder:
        if has_new_ids:
            if suffix not in OPENERS:
                suffix = ".osm"
                path = Path(folder, "copy.osm")
                with osmium.SimpleWriter(str(path)) as writer:
                    for item in osmium.FileProcessor(file):
                        writer.add(item)
            file = osmium.io.File(str(Path(folder, "plain.osm.pbf")))
            with OPENERS[suffix](path, "rb") as stream, osmium.SimpleWriter(file) as writer:
                _Copy(writer).read(stream)
            path = Path(folder, "plain.osm.pbf")
        in_order = str(Path(folder, "in_order.osm.pbf"))
        objects = osmium.MergeInputReader()
        objects.add_file(str(path))
        with osmium.WriteHandler(in_order) as writer:
            objects.apply(writer)  # also leaves one object of an id, that of the highest version
        yield osmium.io.File(in_order), header


def suffix_of(path: Path) -> str:
    """The ending that says what kind of OSM file it is, in small letters."""
    return max((s for s in (*OSM_SUFFIXES, *CHANGE_SUFFIXES) if path.name.lower().endswith(s)), key=len)


def original_id(number: int) -> int:
    """The id that an object has in the file."""
    return NEW_ID - number if number > NEW_ID else number


def _look_into(path: Path, opener: Any) -> tuple[bool, bool]:
    """Whether XML has any of SIGNS, and whether nodes follow ways; its bytes are searched, which costs little."""
    way_seen = nodes_late = False
    with opener(path, "rb") as stream:
        tail = b""
        while chunk := stream.read(CHUNK_BYTES):
            text = tail + chunk
            if SIGNS.search(text):
                return True, True
            first_way = max(len(tail) - 5, 0) if way_seen else text.find(b"<way")
            nodes_late |= first_way >= 0 and text.find(b"<node", first_way) >= 0
            way_seen |= first_way >= 0
            tail = text[-TAG_BYTES:]
    return False, nodes_late


class _Copy:
    """Parses XML and writes what is drawn of it: elements in their order, with ids above 0 and without the deleted."""

    def __init__(self, writer: osmium.SimpleWriter) -> None:
        self.writer = writer
        self.last = ("", ""), 0  # kind and id of the element before, and its version
        self.attributes: dict[str, str] = {}  # of the node, way or relation that is read, and what it holds
        self.tags: dict[str, str] = {}
        self.refs: list[int] = []
        self.members: list[tuple[str, int, str]] = []
        self.outlines: list[tuple[int, list[int]]] = []  # ways that relations gave: id, nodes
        self.points = 0  # nodes without an id so far

    def read(self, stream: BinaryIO) -> None:
        import osmium

        parser = expat.ParserCreate()
        parser.StartElementHandler, parser.EndElementHandler = self.start, self.end
        parser.EntityDeclHandler = self.refuse_entity
        parser.ParseFile(stream)
        for ref, nodes in self.outlines:  # of two objects of an id and a version the one that was written first stays
            self.writer.add_way(osmium.osm.mutable.Way(id=ref, version=0, nodes=nodes))

    def refuse_entity(self, *_: Any) -> None:
        raise ValueError("it declares entities, which no OSM file does")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name in ("node", "way", "relation"):
            self.attributes, self.tags, self.refs, self.members = attributes, {}, [], []
        elif name == "tag":
            self.tags[attributes["k"]] = attributes["v"]
        elif name == "member":
            self.refs = []
            self.members.append((attributes["type"][0], _plain_id(attributes["ref"]), attributes.get("role", "")))
        elif name == "nd":
            self.add_point(attributes)

    def add_point(self, attributes: dict[str, str]) -> None:
        """A node of a way, with its place where the server gave it; no id stands for a node nobody knows."""
        import osmium

        if "ref" in attributes:
            ref = _plain_id(attributes["ref"])
        else:
            self.points += 1
            ref = POINT_ID + self.points
        if "lat" in attributes:
            place = float(attributes["lon"]), float(attributes["lat"])
            self.writer.add_node(osmium.osm.mutable.Node(id=ref, version=0, location=place))
        self.refs.append(ref)

    def end(self, name: str) -> None:
        import osmium

        if name == "member":
            kind, ref, _ = self.members[-1]
            if kind == "w" and self.refs:  # the server gives the way's line in place of the way
                self.outlines.append((ref, self.refs))
        elif name in ("node", "way", "relation"):
            about, last = self.attributes, self.last
            version = int(about.get("version", 0))
            self.last = (name, about["id"]), version
            if last[0] == self.last[0] and last[1] != version:
                raise ValueError(
                    f"it holds two versions of {name} {about['id']}, as histories do; make an extract of it first: "
                    "`osmium time-filter`"
                )
            if about.get("action") == "delete" or about.get("visible") == "false":
                return
            when = about.get("timestamp")
            given = {"id": _plain_id(about["id"]), "version": version, "tags": self.tags, "timestamp": when}
            if name == "way":
                self.writer.add_way(osmium.osm.mutable.Way(nodes=self.refs, **given))
            elif name == "relation":
                self.writer.add_relation(osmium.osm.mutable.Relation(members=self.members, **given))
            elif "lat" in about:
                place = float(about["lon"]), float(about["lat"])
                self.writer.add_node(osmium.osm.mutable.Node(location=place, **given))


def _plain_id(text: str) -> int:
    number = int(text)
    return NEW_ID - number if number < 0 else number
