"""Read and write road networks in pixels: the challenge's CSV, vector files, networkx and osmnx graphs."""

import gzip
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.errors import InputError, reading
from lib.grid import crs_text
from lib.paths import write_whole
from lib.vectors.layers import PARQUET_SUFFIXES, crs_of, read_layer
from lib.vectors.roadframes import Roads, in_pixels

if TYPE_CHECKING:
    import geopandas as gpd

    from lib.grid import Grid

SHORTEST_STEP_PX = 0.01  # the challenge refuses consecutive points closer than this
REPEATS_SHOWN = 5  # repeated sections named in an error
DRIVERS = {".geojson": "GeoJSON", ".json": "GeoJSON", ".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".shp": "ESRI Shapefile"}
VECTOR_SUFFIXES = (*DRIVERS, *PARQUET_SUFFIXES)  # of what is read and written
SHAPEFILE_PARTS = (".shp", ".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx")  # of which others write some
NOTHING = {"", "NONE", "NULL", "NAN"}  # what tables hold where there is no geometry, beside POLYGON EMPTY
# what would not come back as it is: it ends an id or a line, makes a comment or a header of it, or is stripped from it
UNFIT_IN_ID = re.compile(r'[,\n]|^(#|i(?=mageid)|[\0-\x20\s"])|[\s"]$', re.IGNORECASE)

_SPACE = "".join(map(chr, range(33)))  # what Java's trim takes away
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(E[+-]?\d+)?[DF]?")
_HEX = re.compile(r"[+-]?0X([0-9A-F]+\.?[0-9A-F]*|\.[0-9A-F]+)P[+-]?\d+[DF]?")


def _number(text: str) -> float:
    """A number as Java's parseDouble reads it from upper-case text."""
    text = text.strip(_SPACE)
    if _DECIMAL.fullmatch(text):
        return float(text.rstrip("DF"))
    if _HEX.fullmatch(text):
        return float.fromhex(text[:-1] if text[-1] in "DF" else text)
    raise ValueError(text)


def parse_wkt(text: str) -> np.ndarray:
    """
    Polyline of a LINESTRING as the challenge reads it, (n, 2); (0, 2) for what is EMPTY, of any kind, or None.

    Raises
    ------
    ValueError
        If it is no LINESTRING of numbers separated by single spaces; says which piece is wrong.
    """
    text = text.replace('"', "").upper().strip(_SPACE)
    if text in NOTHING or re.fullmatch(r"[A-Z ]+ EMPTY", text):
        return np.empty((0, 2))
    if not text.startswith("LINESTRING"):
        raise ValueError(f"expected LINESTRING (...), found {text[:40]!r}; split multi-geometries into lines")
    if "EMPTY" in text:
        return np.empty((0, 2))
    points = []
    for piece in text.replace("LINESTRING", "").replace("(", "").replace(")", "").split(","):
        fields = piece.strip(_SPACE).split(" ")
        try:
            points.append((_number(fields[0]), _number(fields[1])))
        except (ValueError, IndexError):
            raise ValueError(
                f"expected 'x y' as two numbers with one space between, found {piece.strip(_SPACE)!r}; "
                "write two coordinates a point, no Z, and no column after the line"
            ) from None
    line = np.array(points)
    if not np.isfinite(line).all():
        raise ValueError("expected finite coordinates, found one beyond the range of a double")
    return line


def _section_keys(points: np.ndarray) -> np.ndarray:
    """
    Keys of the sections between consecutive points (n, 2), forwards and backwards, (n - 1, 2) int64.

    As the scorer makes them: each point has a signed 32-bit hash of its cell of 0.1 px (far ones may collide), and a
    section the sum of two of them in 64 bits, which wraps.
    """
    low = np.floor(10.0 * points)
    cell = low.astype(np.int64) + (10.0 * points - low >= 0.5)
    hashes = (100000 * cell[:, 0] + cell[:, 1]).astype(np.int32).astype(np.int64)
    one, two = hashes[:-1], hashes[1:]
    return np.column_stack([one * 10**10 + two, two * 10**10 + one])


def _is_repeat(keys: np.ndarray) -> np.ndarray:
    """Whether a section before it has one of its keys, for each of the sections (n, 2); (n,) bool."""
    # flat, the keys of section k lie at 2 k and 2 k + 1: so half of where a key lies first is the section that has it
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return (first[number.reshape(-1, 2)] // 2 < np.arange(len(keys))[:, None]).any(axis=1)


def check_roads(roads: Roads, where: Sequence[str] | None = None) -> None:
    """
    Check the roads of one image as the challenge does before it scores.

    Parameters
    ----------
    roads
        Roads of one image; (0, 2) stands for LINESTRING EMPTY.
    where
        What to call each road in an error, such as "truth.csv, line 7".

    Raises
    ------
    InputError
        At the first of: an EMPTY road beside others, a road of one point, consecutive points closer than 0.01 px,
        sections drawn twice (in either direction).
    """

    def name(k: int) -> str:
        return where[k] if where else f"road {k}"

    size = np.array([len(road) for road in roads], int)
    if len(roads) > 1 and (size == 0).any():
        raise InputError(
            f"{name(size.argmin())}: expected one EMPTY line alone in its image, found other roads; remove it."
        )
    if (size == 1).any():
        raise InputError(f"{name((size == 1).argmax())}: expected two points or more, found one; remove the line.")
    if not size.any():
        return
    xy = np.concatenate(roads)
    owner = np.repeat(np.arange(len(roads)), size)
    begin = np.flatnonzero(owner[1:] == owner[:-1])  # first points of all sections, road after road
    close = begin[np.hypot(*(xy[begin + 1] - xy[begin]).T) < SHORTEST_STEP_PX]
    if len(close):
        x, y = xy[close[0]]
        raise InputError(
            f"{name(owner[close[0]])}: expected consecutive points at least {SHORTEST_STEP_PX} px apart, found two "
            f"together at ({x:g} {y:g}); remove one of them."
        )
    is_repeat = _is_repeat(_section_keys(xy)[begin])
    if is_repeat.any():
        repeats = [
            f"{name(owner[i])}: ({xy[i, 0]:g} {xy[i, 1]:g}) - ({xy[i + 1, 0]:g} {xy[i + 1, 1]:g})"
            for i in begin[is_repeat]
        ]
        more = f" and {len(repeats) - REPEATS_SHOWN} more" if len(repeats) > REPEATS_SHOWN else ""
        raise InputError(
            f"{'; '.join(repeats[:REPEATS_SHOWN])}{more}: expected every section drawn once, found it again "
            "(in either direction); remove the repeats (lib.vectors.roadio.without_repeats does)."
        )


def without_repeats(roads: Roads) -> Roads:
    """Roads cut and thinned so that `check_roads` accepts them: no section twice, no point on top of the last."""
    spaced = [_spaced(np.asarray(road, float)) for road in roads]
    keys = [_section_keys(road) for road in spaced]
    is_repeat = _is_repeat(np.concatenate([np.empty((0, 2), np.int64), *keys]))
    pieces = []
    for road, repeats in zip(spaced, np.split(is_repeat, np.cumsum([len(k) for k in keys])[:-1]), strict=False):
        pieces += np.split(road, np.flatnonzero(repeats) + 1)
    return [piece for piece in pieces if len(piece) > 1]


def _spaced(road: np.ndarray) -> np.ndarray:
    """The road (n, 2) without points closer than SHORTEST_STEP_PX to the one before that stays."""
    kept = list(road[:1])
    for point in road[1:]:
        if np.hypot(*(point - kept[-1])) >= SHORTEST_STEP_PX:
            kept.append(point)
    return np.array(kept).reshape(-1, 2)


def read_challenge_csv(paths: str | Path | Iterable[str | Path], check: bool = True) -> dict[str, Roads]:
    """
    Roads of every image of one or several files in the challenge's format: ImageId,WKT_Pix.

    Roads of one image in several files are put together; gzipped files are read as they are. Blank lines and
    lines that start with `#` or `ImageId` are skipped.

    Parameters
    ----------
    paths
        One file or several.
    check
        Also refuse what the challenge refuses (`check_roads`).

    Raises
    ------
    InputError
        Naming file and line.
    """
    roads, where = read_challenge_lines(paths)
    if check:
        for image, lines in roads.items():
            check_roads(lines, where[image])
    return roads


def read_challenge_lines(paths: str | Path | Iterable[str | Path]) -> tuple[dict[str, Roads], dict[str, list[str]]]:
    """Roads by image, unchecked, and the file and line that each came from."""
    roads: dict[str, Roads] = {}
    where: dict[str, list[str]] = {}
    for path in [paths] if isinstance(paths, str | Path) else paths:
        with reading(path, "a readable CSV file in UTF-8"):
            data = Path(path).read_bytes()
            text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
        for number, line in enumerate(text.split("\n" if "\n" in text else "\r"), 1):
            line = line.strip(_SPACE)
            if not line or line.startswith("#") or line.lstrip('"').lower().startswith("imageid"):
                continue
            image, comma, wkt = line.partition(",")
            place = f"{path}, line {number}"
            if not comma:
                raise InputError(f"{place}: expected ImageId,WKT_Pix, found no comma in {line[:40]!r}; add the line.")
            try:
                road = parse_wkt(wkt)
            except ValueError as error:
                raise InputError(f"{place}: {error}.") from error
            image = image.strip().strip('"').strip()
            roads.setdefault(image, []).append(road)
            where.setdefault(image, []).append(place)
    return roads, where


def write_challenge_csv(path: str | Path, roads: dict[str, Roads]) -> None:
    """Write roads by image as ImageId,WKT_Pix, whole or not at all; an image without roads gets an EMPTY line."""
    rows = ["ImageId,WKT_Pix"]
    for image, lines in roads.items():
        if UNFIT_IN_ID.search(image):
            raise InputError(
                "Expected an image id without comma, line break, # or ImageId before it, spaces or quotes around it, "
                f"found {image!r}; rename it."
            )
        lines = [line for line in lines if len(line)]
        for line in lines:
            rows.append(f'{image},"LINESTRING ({", ".join(f"{float(x)!r} {float(y)!r}" for x, y in line)})"')
        if not lines:
            rows.append(f"{image},LINESTRING EMPTY")
    write_whole(Path(path), "\n".join(rows) + "\n")


def read_vector(path: str | Path, grid: "Grid | None" = None) -> Roads:
    """
    Roads of a vector file (GeoJSON, GeoPackage, ...), in pixels.

    Parameters
    ----------
    path
        File with one layer of lines; multi-lines are taken apart, other geometries refused.
    grid
        Image grid that the roads lie on: world coordinates are brought to its CRS, then to its pixels. Without
        one the coordinates are pixels already.

    Raises
    ------
    InputError
        If the file cannot be read, holds other geometries than lines, several layers of them, or coordinates that are
        no pixels and there is no grid to bring them to; see `lib.vectors.roadframes.in_pixels`.
    """
    path = Path(path)
    frame = read_layer(path, "Line", "roads").explode(index_parts=False)
    other = set(frame.geom_type) - {"LineString", "LinearRing"}
    if other:
        raise InputError(f"{path}: expected lines, found {', '.join(sorted(other))}; keep only the road lines.")
    crs = crs_of(frame, path, grid)
    return in_pixels((np.array(line.coords) for line in frame.geometry), crs, grid, str(path))


def write_vector(path: str | Path, roads: Roads, grid: "Grid | None" = None) -> None:
    """
    Write roads as a vector file of the kind that its suffix says, whole or not at all, in the order of the roads.

    In world coordinates where a grid is given.

    Raises
    ------
    InputError
        If the suffix is none of VECTOR_SUFFIXES.
    """
    import geopandas as gpd
    from shapely import LineString

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in VECTOR_SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in {', '.join(VECTOR_SUFFIXES)}; choose another name.")
    lines = [line for line in roads if len(line) > 1]
    if grid is not None:
        lines = [np.asarray(grid.pixel_to_world(line)) for line in lines]
    frame = gpd.GeoDataFrame(geometry=[LineString(line) for line in lines], crs=grid.crs if grid else None)
    options = {"driver": DRIVERS.get(suffix), "layer": "roads", "geometry_type": "LineString"}
    if suffix == ".fgb":
        options["spatial_index"] = "NO"  # with one, its rows stand in the order of the index
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # pixels have none
        if suffix == ".shp":
            _write_shapefile(frame, path, options)
            return
        content = BytesIO()
        if suffix in PARQUET_SUFFIXES:
            frame.to_parquet(content)
        else:
            frame.to_file(content, **options)
    write_whole(path, content.getvalue())


def _write_shapefile(frame: "gpd.GeoDataFrame", path: Path, options: dict[str, str]) -> None:
    """Write the files that a Shapefile is beside their place, then move them there, what names them all last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        frame.to_file(Path(folder) / path.name, **options | {"layer": path.stem})
        for suffix in reversed(SHAPEFILE_PARTS):
            part = (Path(folder) / path.name).with_suffix(suffix)
            if part.is_file():
                shutil.move(part, path.with_suffix(path.suffix if suffix == ".shp" else suffix))
            else:  # a place or an index of what lay here before
                path.with_suffix(suffix).unlink(missing_ok=True)


def from_networkx(graph: Any, grid: "Grid | None" = None) -> Roads:
    """
    Roads of a networkx or osmnx graph: nodes with `x` and `y`, edges straight, with a `geometry`, or
    with a `line` as `lib.vectors.roadgraph.to_networkx` gives them.

    The two directions of a street, and geometries drawn twice, are one road. World coordinates, which the graph's own
    `crs` tells (osmnx), are brought to the pixels of the grid.

    Raises
    ------
    InputError
        If a node lacks x or y, or the coordinates are no pixels and there is no grid to bring them to.
    """
    seen, lines = set(), []
    for u, v, data in graph.edges(data=True):
        if data.get("line") is not None:
            line = np.asarray(data["line"], float)
        elif data.get("geometry") is not None:
            line = np.array(data["geometry"].coords)[:, :2]
        else:
            try:
                line = np.array([[graph.nodes[n]["x"], graph.nodes[n]["y"]] for n in (u, v)], float)
            except KeyError as error:
                raise InputError(f"Expected nodes with x and y, found node {u!r} or {v!r} without {error}.") from error
        key = min(line.tobytes(), line[::-1].tobytes())
        if key not in seen:
            seen.add(key)
            lines.append(line)
    crs = graph.graph.get("crs")
    return in_pixels(lines, None if crs is None else crs_text(crs), grid, "the graph")
