"""Masks to road graphs and back: skeleton, nodes and lines, repairs, joins across chips, drawing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import InputError, ParameterError
from lib.grid import MASK_FOREGROUND
from lib.mask_values import HALF, MaskValues, foreground, read_values
from lib.masks.scanline import fill_lines, quantized
from lib.vectors import linework, repair, specks, thinning
from lib.vectors.repair import Edge

if TYPE_CHECKING:
    import geopandas as gpd
    import networkx as nx

    from lib.grid import Grid

MOST_PROBABILITY = 1.001  # rounding aside
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

    Small patches and holes go, the rest is thinned to one pixel (see `lib.vectors.thinning`), traced, freed of spurs;
    junctions that are one are merged, lines are straightened and simplified, dead ends are carried to where the
    road ends, and gaps are closed. A ring without a junction stays, as one line from a node to itself.

    Parameters
    ----------
    mask
        (H, W): a mask of any kind that `lib.mask_values` reads, such as bool, 0 and 1, or 0 and 255, what is not
        known (127) counting as background; or float probabilities, road where at least `options.threshold`.
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
        If the mask is not a two-dimensional array of one of these kinds.
    ParameterError
        If gsd_m is not a positive number.
    """
    return traced_graph(mask, gsd_m, options, simplified=True)


def traced_graph(mask: np.ndarray, gsd_m: float, options: GraphOptions, simplified: bool) -> RoadGraph:
    """
    As `mask_to_graph`, which simplifies lines, or with a vertex a pixel.

    Then a line's course here doesn't depend on where it ends: what is traced twice, in two windows of a raster, is
    traced alike.
    """
    flags, stride = thinning.padded(*with_threshold(mask, gsd_m, options.threshold))
    height, width = mask.shape
    specks.clean(flags, stride, options.min_blob_m2 / gsd_m**2, options.min_hole_m2 / gsd_m**2)
    pixels, skeleton = thinning.thin(flags, stride)

    # without its spurs a junction may be none, and what it joined a spur in turn
    while True:
        chains = thinning.trace(pixels, skeleton)
        lines, lengths = linework.polylines(chains, stride)
        uv, places = chains.edges, chains.nodes + (0.5 - thinning.MARGIN)
        degree = np.bincount(uv.ravel(), minlength=len(places))
        node_radii = linework.radii(chains.node_pixels, skeleton)
        beside = np.minimum(places, [width, height] - places).min(axis=1) < 1.5 * node_radii + 2
        spurs = repair.spurs(uv, lengths, degree, node_radii, beside, options.min_spur_m / gsd_m)
        if not spurs:
            break
        thinning.erase_chains(np.array(spurs), chains, degree, skeleton)
        pixels = thinning.tidy(pixels, skeleton)

    # junctions that are one
    is_junction, merge_px = degree > 2, options.junction_merge_m / gsd_m
    group, kept = repair.merge_junctions(places, uv, lengths, is_junction, node_radii, merge_px)
    places, node_radii = repair.places(places, node_radii, group)
    uv = group[uv]

    # the lines of the roads; at a dead end, and in a junction's circle, a third of a line at most is no guide to them
    widths_px = linework.widths(chains, skeleton)
    is_dead_end = degree[uv] == 1
    cut_px = np.where(is_dead_end, np.maximum(widths_px[:, None], node_radii[uv]), is_junction[uv] * node_radii[uv])
    cut_px = np.minimum(cut_px, lengths[:, None] / 3)
    rules = linework.EndRules((width, height), options.border_snap_m / gsd_m, options.end_cap == "round")
    tolerance_px = max(options.tolerance_m / gsd_m, LEAST_TOLERANCE_PX) if simplified else 0.0
    lines, tips, directions = linework.shape_lines(
        kept, lines, cut_px, is_dead_end, places[uv], skeleton, rules, tolerance_px
    )
    widths_px = widths_px[kept]
    parts = [lines.xy[a:b] for a, b in pairwise(lines.starts)]
    edges = repair.as_edges(uv[kept], parts, widths_px)

    # the gaps between them
    if max(options.max_gap_m, options.max_meet_m) and np.isfinite(tips).any():
        limits = (options.max_gap_m / gsd_m, options.max_meet_m / gsd_m, np.radians(options.max_gap_angle_deg))
        edges = repair.bridged(edges, len(places), *repair.gaps(lines, widths_px, tips, directions, *limits))
    return RoadGraph(*repair.compact(edges))


def with_threshold(mask: np.ndarray, gsd_m: float, probability: float) -> tuple[np.ndarray, float]:
    """
    An array (H, W), the mask or an equal one, and the value from which its pixels are foreground.

    Raises
    ------
    InputError
        If it is neither a mask that `lib.mask_values` reads nor holds probabilities.
    ParameterError
        If gsd_m, metres a pixel, is not a positive number.
    """
    if not gsd_m > 0:
        raise ParameterError(f"gsd_m must be a positive number of metres a pixel, got {gsd_m!r}.")
    if mask.dtype.kind != "f" or mask.ndim != 2:
        meaning = MaskValues(frozenset({1})) if mask.dtype == bool and mask.ndim == 2 else read_values(mask, "mask")
        at_least = min(meaning.foreground, default=HALF)
        return (mask, at_least) if at_least > max(meaning.ignored, default=0) else (foreground(mask)[0], 1)
    if mask.max(initial=0) > MOST_PROBABILITY:
        raise InputError(f"Expected probabilities from 0 to 1, got {mask.max():g}; give a mask as whole numbers.")
    return mask, probability


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
    if not len(lines):
        return RoadGraph(*repair.compact([]))
    vertices, owner = np.vstack(lines).astype(float), np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    numbers = np.unique(np.round(vertices, 6), axis=0, return_inverse=True)[1].ravel()
    kept = np.append(True, (np.diff(numbers) != 0) | (np.diff(owner) != 0))  # a vertex drawn twice joins nothing
    vertices, owner, numbers = vertices[kept], owner[kept], numbers[kept]
    count, starts = np.bincount(numbers), 1 + np.flatnonzero(np.diff(owner))
    widths = np.zeros(len(lines)) if widths_px is None else widths_px
    edges = []
    parts = (np.split(vertices, starts), np.split(numbers, starts), np.asarray(widths, np.float32))
    for line, node, width_px in zip(*parts, strict=True):
        cuts = [0, *(1 + np.flatnonzero(count[node[1:-1]] > 1)), len(line) - 1]
        edges += [Edge(node[a], node[b], line[a : b + 1], width_px) for a, b in pairwise(cuts) if a < b]
    return RoadGraph(*repair.compact(edges))


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
    if not lines:
        return from_lines([])
    sizes = [len(graph.nodes) for graph in graphs]
    chip = np.repeat(np.arange(len(graphs)), sizes)  # of each node
    nodes = np.vstack([graph.nodes + offset for graph, offset in zip(graphs, offsets_px, strict=True)])
    uv = np.vstack([graph.edges + n for graph, n in zip(graphs, np.cumsum([0, *sizes[:-1]]), strict=True)])
    ends = np.flatnonzero(np.bincount(uv.ravel(), minlength=len(nodes)) == 1)
    near = ends[cKDTree(nodes[ends]).query_pairs(snap_m / gsd_m, output_type="ndarray")]  # (pairs, 2) nodes
    near = near[chip[near[:, 0]] != chip[near[:, 1]]]
    gap = np.hypot(*(nodes[near[:, 0]] - nodes[near[:, 1]]).T)
    # the nearest pair first; an end is joined once
    stands_for, taken = np.arange(len(nodes)), set()
    for pair in near[np.argsort(gap, kind="stable")]:
        if taken.isdisjoint(pair):
            taken.update(pair)
            stands_for[pair[1]] = pair[0]
            nodes[pair] = nodes[pair].mean(axis=0)
    for line, (u, v) in zip(lines, uv, strict=True):
        line[0], line[-1] = nodes[u], nodes[v]
    widths_px = np.concatenate([graph.widths_px for graph in graphs])
    return RoadGraph(*repair.compact(repair.as_edges(stands_for[uv], lines, widths_px)))


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
        result.add_edge(u, v, line=line, length_px=repair.length(line), width_px=width)
    return result


def to_geodataframe(graph: RoadGraph, grid: "Grid") -> "gpd.GeoDataFrame":
    """Lines in the grid's CRS: columns u, v (nodes), length_m, width_m (NaN where not known), geometry."""
    import geopandas as gpd
    import shapely

    table = {
        "u": graph.edges[:, 0],
        "v": graph.edges[:, 1],
        "length_m": np.array([repair.length(line) for line in graph.lines]) * grid.gsd_m,
        "width_m": np.where(graph.widths_px > 0, graph.widths_px, np.nan) * grid.gsd_m,
    }
    geometry = [shapely.LineString(grid.pixel_to_world(line)) for line in graph.lines]
    return gpd.GeoDataFrame(table, geometry=geometry, crs=grid.crs)
