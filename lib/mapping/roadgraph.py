"""Masks to road graphs and back: skeleton, nodes and lines, repairs, joins across chips, drawing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import InputError, ParameterError
from lib.grid import MASK_FOREGROUND
from lib.mapping import linework, specks, thinning
from lib.mapping import repair as roadrepair
from lib.masks.scanline import fill_lines, quantized

if TYPE_CHECKING:
    import geopandas as gpd
    import networkx as nx

    from lib.grid import Grid

LEAST_TOLERANCE_PX = 0.75  # lines are not simplified more finely: below this they keep the stairs of the pixels


@dataclass(frozen=True)
class RoadGraph:
    """
    A road network in pixels.

    Coordinates are x right, y down, (0, 0) the outer corner of the image's first pixel.

    Attributes
    ----------
    nodes
        (n, 2) float64: junctions, dead ends, and one node on each ring that has no junction.
    edges
        (m, 2) int64: the nodes u, v of each line; two lines may join the same nodes, and u may be v.
    lines
        m polylines (N >= 2, 2) float64, from nodes[u] to nodes[v].
    widths_px
        (m,) float32: width of the road surface; 0 where it is not known.
    """

    nodes: np.ndarray
    edges: np.ndarray
    lines: list[np.ndarray]
    widths_px: np.ndarray


@dataclass(frozen=True)
class GraphOptions:
    """
    What is noise, what is a gap, and how closely lines follow the mask; metres on the ground.

    Attributes
    ----------
    threshold
        Probability from which a pixel is road; for probabilities only.
    min_blob_m2
        Smaller patches go: less than ten metres of a narrow street is a parked lorry or a roof.
    min_hole_m2
        Smaller holes are filled: a car, a tree's crown or a traffic island is no block between two streets.
    min_spur_m
        A stub that reaches less far than this beyond the road it leaves goes: a drive's mouth, a ragged edge.
    junction_merge_m
        Junctions joined by a shorter line are one: nobody builds two within a lane's width. They are one also where
        they are nearer than the mask around them is wide: it shows a single crossing.
    max_gap_m
        Two dead ends this near that point at each other are joined: a tree or a bridge hides the road between.
    max_meet_m
        A dead end this near to the surface of the road ahead is joined to it. Less than max_gap_m: only one side
        speaks for it, and many a real dead end stops just short of the next street.
    max_gap_angle_deg
        Ends point at each other within this angle, as far as a street bends in one gap; a line ahead is met at more.
    tolerance_m
        Lines stay within this of the skeleton; a third of a lane. Never below 0.75 px, the skeleton's own stairs.
    border_snap_m
        A dead end this near to the image's border ends on it: predictions fade at the edge of a chip.
    end_cap
        "round" where the mask's roads end half a width beyond their last point, as all lines drawn with a width
        do (graph_to_mask, buffered centrelines); "flat" where the surface itself was labelled.
    """

    threshold: float = 0.5
    min_blob_m2: float = 60.0
    min_hole_m2: float = 25.0
    min_spur_m: float = 5.0
    junction_merge_m: float = 4.0
    max_gap_m: float = 12.0
    max_meet_m: float = 4.0
    max_gap_angle_deg: float = 30.0
    tolerance_m: float = 1.0
    border_snap_m: float = 2.0
    end_cap: str = "round"

    def __post_init__(self):
        for name in (n for n in self.__dataclass_fields__ if n != "end_cap"):
            if not getattr(self, name) >= 0:
                raise ParameterError(f"{name} must be a number of at least 0, got {getattr(self, name)!r}.")
        if self.end_cap not in ("round", "flat"):
            raise ParameterError(f'end_cap must be "round" or "flat", got {self.end_cap!r}.')


DEFAULTS = GraphOptions()


def mask_to_graph(mask: np.ndarray, gsd_m: float, options: GraphOptions = DEFAULTS) -> RoadGraph:
    """
    Road graph of a mask or a probability map.

    Small patches and holes go, the rest is thinned to one pixel (see `lib.mapping.thinning`), traced, freed of spurs;
    junctions that are one are merged, lines are straightened and simplified, dead ends are carried to where the
    road ends, and gaps are closed. A ring without a junction stays, as one line from a node to itself.

    Parameters
    ----------
    mask
        (H, W): bool; uint8 with 0 and 1, or 0 and 255, 127 (not known) counting as background; or float
        probabilities, road where at least `options.threshold`.
    gsd_m
        Ground sampling distance, metres a pixel.
    options
        What is noise and what is a gap.

    Returns
    -------
    RoadGraph
        In pixels of the mask.

    Raises
    ------
    InputError
        If the mask is not a two-dimensional array of one of these types.
    ParameterError
        If gsd_m is not a positive number.
    """
    if not gsd_m > 0:
        raise ParameterError(f"gsd_m must be a positive number of metres a pixel, got {gsd_m!r}.")
    at_least = least_foreground(mask, options.threshold)
    height, width = mask.shape
    state, stride = thinning.padded(mask, at_least)
    blob_px, hole_px = options.min_blob_m2 / gsd_m**2, options.min_hole_m2 / gsd_m**2
    specks.clean(state, stride, blob_px, hole_px)
    points, code = thinning.thin(state, stride)

    while True:
        nodes, node_pixel, edges, first, chain = thinning.trace(points, state, code, stride)
        xy, at, lengths = linework.polylines(nodes, edges, first, chain, stride)
        nodes += 0.5 - thinning.MARGIN
        degree = np.bincount(edges.ravel(), minlength=len(nodes))
        node_radii = linework.radii(node_pixel, state, stride)
        beside = np.minimum(nodes, [width, height] - nodes).min(axis=1) < 1.5 * node_radii + 2
        spurs = roadrepair.spurs(edges, lengths, degree, node_radii, beside, options.min_spur_m / gsd_m)
        if not spurs:
            break
        thinning.erase_chains(np.array(spurs), edges, node_pixel, degree, first, chain, state, code, stride)
        points = thinning.tidy(points, state, code, stride)

    kinds = np.select([degree == 1, degree > 2], [linework.END, linework.JUNCTION], linework.THROUGH)
    merge_px = options.junction_merge_m / gsd_m
    is_junction = kinds == linework.JUNCTION
    group, which = roadrepair.merge_junctions(nodes, edges, lengths, is_junction, node_radii, merge_px)
    places, node_radii = roadrepair.places(nodes, node_radii, group)
    edges = group[edges]
    widths_px = linework.widths(first, chain, state, stride)
    tolerance_px = max(options.tolerance_m / gsd_m, LEAST_TOLERANCE_PX)
    border_px, round_cap = options.border_snap_m / gsd_m, options.end_cap == "round"
    nodes_of = (edges, kinds, places, node_radii)
    image = (state, stride, (width, height))
    xy, at, tips, directions = linework.shape_lines(
        which, xy, at, lengths, 0.5 * widths_px, *nodes_of, *image, tolerance_px, border_px, round_cap
    )
    edges, widths_px = edges[which].astype(np.int64), widths_px[which]
    lines = [xy[a:b] for a, b in zip(at, at[1:], strict=False)]
    if max(options.max_gap_m, options.max_meet_m) and np.isfinite(tips).any():
        angle = np.radians(options.max_gap_angle_deg)
        limits = (options.max_gap_m / gsd_m, options.max_meet_m / gsd_m, angle)
        gaps = roadrepair.gaps(tips, directions, xy, at, widths_px, *limits)
        lines, edges, widths_px = roadrepair.bridged(lines, edges, widths_px, len(nodes), *gaps)
    return RoadGraph(*roadrepair.compact(lines, edges, widths_px))


def least_foreground(mask: np.ndarray, probability: float) -> float:
    """
    Value from which a pixel of a mask is foreground: `probability` for float arrays, else by its brightest value.

    Raises
    ------
    InputError
        If the mask is not a two-dimensional array of numbers or bool.
    """
    if mask.ndim != 2 or mask.dtype.kind not in "buif":
        raise InputError(f"Expected a mask or probabilities of shape (H, W), got {mask.dtype} of shape {mask.shape}.")
    if mask.dtype.kind == "f":
        return probability
    return 128 if mask.max(initial=0) > 1 else 1


def from_lines(lines: Sequence[np.ndarray], widths_px: Sequence[float] | None = None) -> RoadGraph:
    """
    Graph of polylines; vertices that coincide (within 1e-6 px) join the lines, also within a line.

    Parameters
    ----------
    lines
        (N >= 2, 2) arrays of x, y, px: the form of the WKT_Pix column.
    widths_px
        Width of each line; 0, not known, where not given.

    Raises
    ------
    InputError
        If a line is not an (N >= 2, 2) array.
    """
    for i, line in enumerate(lines):
        if np.ndim(line) != 2 or np.shape(line)[0] < 2 or np.shape(line)[1] != 2:
            raise InputError(f"Line {i}: expected (N >= 2, 2) coordinates x, y, got shape {np.shape(line)}.")
    widths = np.zeros(len(lines)) if widths_px is None else widths_px
    if not len(lines):
        return RoadGraph(*roadrepair.compact([], np.zeros((0, 2), np.int64), np.zeros(0, np.float32)))
    vertices = np.vstack(lines).astype(float)
    _, number, count = np.unique(np.round(vertices, 6), axis=0, return_inverse=True, return_counts=True)
    pieces, edges, piece_widths, offset = [], [], [], 0
    for line, width in zip(lines, widths, strict=True):
        numbers = number.ravel()[offset : offset + len(line)]
        line = vertices[offset : offset + len(line)]
        offset += len(line)
        cuts = [0, *(i for i in range(1, len(line) - 1) if count[numbers[i]] > 1), len(line) - 1]
        for a, b in zip(cuts, cuts[1:], strict=False):
            pieces.append(line[a : b + 1])
            edges.append([numbers[a], numbers[b]])
            piece_widths.append(width)
    return RoadGraph(*roadrepair.compact(pieces, np.array(edges, np.int64), np.array(piece_widths, np.float32)))


def merge_graphs(
    graphs: Sequence[RoadGraph], offsets_px: Sequence[tuple[float, float]], gsd_m: float, snap_m: float = 4.0
) -> RoadGraph:
    """
    One graph of neighbouring chips: dead ends that meet across a border become one line.

    Parameters
    ----------
    graphs
        One graph a chip; the chips abut and do not overlap.
    offsets_px
        x, y of each chip's first corner in the common frame.
    gsd_m
        Ground sampling distance, metres a pixel.
    snap_m
        Dead ends of different chips this near to each other are one point, halfway: both chips saw half of the
        road's surface there, so each is wrong by less than half a road's width.

    Returns
    -------
    RoadGraph
        In the common frame.
    """
    from scipy.spatial import cKDTree

    lines = [line + offset for graph, offset in zip(graphs, offsets_px, strict=True) for line in graph.lines]
    start = np.cumsum([0, *(len(graph.nodes) for graph in graphs)])
    if not lines:
        return from_lines([])
    edges = np.vstack([graph.edges + n for graph, n in zip(graphs, start, strict=False)])
    nodes = np.vstack([graph.nodes + o for graph, o in zip(graphs, offsets_px, strict=True)])
    chip = np.repeat(np.arange(len(graphs)), np.diff(start))
    ends = np.flatnonzero(np.bincount(edges.ravel(), minlength=len(nodes)) == 1)
    pairs = cKDTree(nodes[ends]).query_pairs(snap_m / gsd_m, output_type="ndarray")
    u, v = ends[pairs].T
    gap = np.hypot(*(nodes[u] - nodes[v]).T)
    stands_for, taken = np.arange(len(nodes)), set()
    for k in np.argsort(gap, kind="stable"):
        if chip[u[k]] != chip[v[k]] and not {u[k], v[k]} & taken:
            taken |= {u[k], v[k]}
            stands_for[v[k]] = u[k]
            nodes[[u[k], v[k]]] = nodes[[u[k], v[k]]].mean(axis=0)
    for line, (a, b) in zip(lines, edges, strict=True):
        line[0], line[-1] = nodes[a], nodes[b]
    widths_px = np.concatenate([graph.widths_px for graph in graphs])
    return RoadGraph(*roadrepair.compact(lines, stands_for[edges], widths_px))


def graph_to_mask(
    graph: RoadGraph | Iterable[np.ndarray], shape: tuple[int, int], width_px: float | None = None
) -> np.ndarray:
    """
    Draw roads with a width and round ends: the pixels whose centre lies on a road.

    Not with OpenCV's thick lines, which come out two pixels too wide and only whole pixels wide.

    Parameters
    ----------
    graph
        Road graph, or polylines (N, 2) of x, y, px.
    shape
        H, W of the mask.
    width_px
        Width of every road; None for each line's own width (a graph's). At least one pixel is drawn.

    Returns
    -------
    mask
        (H, W) uint8, lib.grid.MASK_FOREGROUND on roads and 0 elsewhere.

    Raises
    ------
    ParameterError
        If bare lines come without a width.
    """
    is_graph = isinstance(graph, RoadGraph)
    lines = graph.lines if is_graph else list(graph)
    if width_px is None and not is_graph:
        raise ParameterError("Lines have no width of their own: give width_px.")
    mask = np.zeros(shape, np.uint8)
    if lines:
        half_widths = 0.5 * (graph.widths_px if width_px is None else np.full(len(lines), width_px))
        starts = np.cumsum([0, *map(len, lines)])
        values = np.full(len(lines), MASK_FOREGROUND, np.uint8)
        vertices = quantized(np.vstack(lines))
        fill_lines(mask, np.arange(len(lines)), vertices, starts, half_widths.astype(float), values, 0, 0)
    return mask


def to_networkx(graph: RoadGraph) -> "nx.MultiGraph":
    """Graph of networkx: nodes with x, y (px); edges with line, length_px, width_px, numbered in the graph's order."""
    import networkx as nx

    result = nx.MultiGraph()
    for n, (x, y) in enumerate(graph.nodes.tolist()):
        result.add_node(n, x=x, y=y)
    for (u, v), line, width in zip(graph.edges.tolist(), graph.lines, graph.widths_px.tolist(), strict=True):
        result.add_edge(u, v, line=line, length_px=roadrepair.length(line), width_px=width)
    return result


def to_geodataframe(graph: RoadGraph, grid: "Grid") -> "gpd.GeoDataFrame":
    """Lines in the grid's CRS: columns u, v (nodes), length_m, width_m (NaN where not known), geometry."""
    import geopandas as gpd
    import shapely

    table = {
        "u": graph.edges[:, 0],
        "v": graph.edges[:, 1],
        "length_m": np.array([roadrepair.length(line) for line in graph.lines]) * grid.gsd_m,
        "width_m": np.where(graph.widths_px > 0, graph.widths_px, np.nan) * grid.gsd_m,
    }
    geometry = [shapely.LineString(grid.pixel_to_world(line)) for line in graph.lines]
    return gpd.GeoDataFrame(table, geometry=geometry, crs=grid.crs)
