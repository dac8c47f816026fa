"""Masks become graphs and graphs masks."""

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lib import apls
from lib.errors import InputError, ParameterError
from lib.grid import Grid
from lib.sample.degraded import Degradation
from lib.sample.places import PLACES, place_vectors
from lib.vectors.roadgraph import (
    GraphOptions,
    from_lines,
    graph_to_mask,
    mask_to_graph,
    merge_graphs,
    to_geodataframe,
    to_networkx,
)

GSD_M = 0.5
SHAPE = (200, 240)
CROSS = [[(20, 100), (220, 100)], [(110, 15), (110, 185)]]
TEE = [[(20, 60), (220, 60)], [(120, 60), (125, 185)]]


def lines_of(points) -> list[np.ndarray]:
    return [np.array(line, float) for line in points]


def test_cross(drawn, degrees):
    graph = mask_to_graph(drawn(CROSS), GSD_M)
    assert degrees(graph) == [1, 1, 1, 1, 4]
    centre = graph.nodes[np.bincount(graph.edges.ravel()) == 4][0]
    assert np.hypot(*(centre - (110, 100))) < 1.5
    for end in [(20, 100), (220, 100), (110, 15), (110, 185)]:
        assert np.hypot(*(graph.nodes - end).T).min() < 2
    assert np.abs(graph.widths_px - 10).max() < 1


def test_lines_join_their_nodes(drawn):
    graph = mask_to_graph(drawn([*CROSS, *TEE]), GSD_M)
    for (u, v), line in zip(graph.edges, graph.lines, strict=True):
        assert (line[0] == graph.nodes[u]).all() and (line[-1] == graph.nodes[v]).all()
        assert line.dtype == np.float64 and len(line) >= 2
    assert graph.edges.dtype == np.int64 and graph.widths_px.dtype == np.float32


def test_tee(drawn, degrees):
    graph = mask_to_graph(drawn(TEE), GSD_M)
    assert degrees(graph) == [1, 1, 1, 3]
    junction = graph.nodes[np.bincount(graph.edges.ravel()) == 3][0]
    assert np.hypot(*(junction - (120, 60))) < 2.5


def test_noise_leaves_one_line(drawn, topology):
    rng = np.random.default_rng(0)
    mask = drawn([[(-9, 100), (250, 120)]], 11)
    mask[rng.random(SHAPE) < 0.02] = 255
    mask[rng.random(SHAPE) < 0.05] = 0
    graph = mask_to_graph(mask, GSD_M)
    assert topology(graph) == (1, 0, 2)
    assert np.abs(np.interp(graph.lines[0][:, 0], [-9, 250], [100, 120]) - graph.lines[0][:, 1]).max() < 3


def town(seed: int, size: int = 700) -> list[np.ndarray]:
    """Crooked streets of a small town, some of them missing, some dead ends."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(np.arange(6.0), np.arange(6.0)), -1) * size / 6 + size / 12
    corners += rng.uniform(-18, 18, corners.shape)
    lines = []
    for i in range(6):
        for j in range(6):
            for di, dj in ((0, 1), (1, 0)):
                if i + di < 6 and j + dj < 6 and rng.random() < 0.8:
                    a, b = corners[i, j], corners[i + di, j + dj]
                    lines.append(np.array([a, (a + b) / 2 + rng.uniform(-9, 9, 2), b]))
            if rng.random() < 0.2:
                way = rng.normal(size=2)
                lines.append(np.array([corners[i, j], corners[i, j] + 45 * way / np.hypot(*way)]))
    return lines


@pytest.mark.parametrize("seed", range(3))
def test_round_trip_of_a_town(seed):
    lines = town(seed)
    graph = mask_to_graph(graph_to_mask(lines, (700, 700), 11), GSD_M)
    again = mask_to_graph(graph_to_mask(graph, (700, 700)), GSD_M)
    for found in (graph, again):
        assert apls.score(lines, found.lines, mode="strict", gsd_m=GSD_M).apls >= 0.95


def test_round_trip_of_the_sample_town():
    """Its true roads, noded where they cross: a mask cannot show which of two roads passes above the other."""
    grid = PLACES["town"].grid()
    vectors, _ = place_vectors("town", 0, Degradation())
    lines = [grid.world_to_pixel(np.asarray(line.coords)) for line in vectors.roads.geometry]
    widths_px = vectors.roads["width_m"].to_numpy() / GSD_M
    mask = graph_to_mask(from_lines(lines, widths_px), (grid.height, grid.width))
    image = shapely.box(0, 0, grid.width, grid.height)
    noded = shapely.intersection(shapely.union_all([shapely.LineString(line) for line in lines]), image)
    truth = [np.asarray(line.coords) for line in noded.geoms]
    found = mask_to_graph(mask, GSD_M)
    assert apls.score(truth, found.lines, mode="strict", gsd_m=GSD_M).apls >= 0.95


@settings(max_examples=8)
@given(st.integers(0, 1000), st.integers(0, 7), st.integers(0, 40), st.integers(0, 40))
@example(1, 0, 0, 0)
def test_topology_does_not_depend_on_place_or_direction(euler, topology, seed, symmetry, dx, dy):
    mask = graph_to_mask(town(seed, 400), (400, 400), 9)
    around = ndimage.generate_binary_structure(2, 1) & (np.arange(9).reshape(3, 3) != 4)
    mask[ndimage.binary_erosion(mask, around)] = 255  # a hole of one pixel may lie within a single junction
    moved = np.pad(mask, ((dy, 40 - dy), (dx, 40 - dx)))
    plain = np.pad(mask, 20)
    turned = np.rot90(moved.T if symmetry > 3 else moved, symmetry)
    options = GraphOptions(max_gap_m=0, max_meet_m=0, min_hole_m2=0, min_blob_m2=0)
    graphs = [mask_to_graph(np.ascontiguousarray(m), GSD_M, options) for m in (plain, turned)]
    assert topology(graphs[0])[:2] == topology(graphs[1])[:2] == euler(plain > 0)
    assert abs(topology(graphs[0])[2] - topology(graphs[1])[2]) <= 1


def test_neighbouring_chips_meet(drawn, topology):
    roads = [[(-9, 50), (500, 90)], [(120, -9), (140, 300)], [(300, 20), (310, 280)]]
    whole = drawn(roads, 9, (256, 480))
    chips = [np.ascontiguousarray(whole[:, x : x + 160]) for x in (0, 160, 320)]
    graphs = [mask_to_graph(chip, GSD_M) for chip in chips]
    merged = merge_graphs(graphs, [(0, 0), (160, 0), (320, 0)], GSD_M)
    assert topology(merged) == topology(mask_to_graph(whole, GSD_M))
    assert len(merged.nodes) == len(mask_to_graph(whole, GSD_M).nodes)


def test_probabilities_bytes_and_bools_are_one_thing(drawn):
    mask = drawn(CROSS)
    expected = mask_to_graph(mask, GSD_M)
    unknown = np.where(mask == 0, 127, mask).astype(np.uint8)
    for form in (mask > 0, (mask > 0).astype(np.uint8), (mask / 255).astype(np.float32), unknown):
        found = mask_to_graph(form, GSD_M)
        assert (found.nodes == expected.nodes).all() and (found.edges == expected.edges).all()


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 70), (64, 64)])
def test_nothing_gives_an_empty_graph_and_everything_none_that_breaks(shape):
    graph = mask_to_graph(np.zeros(shape, np.uint8), GSD_M)
    assert graph.nodes.shape == (0, 2) and graph.edges.shape == (0, 2) and graph.lines == []
    assert not graph_to_mask(graph, shape).any()
    mask_to_graph(np.ones(shape, np.uint8), GSD_M)
    assert to_networkx(graph).number_of_nodes() == 0


def test_lines_become_a_graph_where_vertices_coincide(degrees):
    graph = from_lines(lines_of([[(0, 0), (5, 5), (10, 0)], [(5, 5), (5, 20)], [(10, 0), (20, 0)]]), [3, 2, 3])
    assert degrees(graph) == [1, 1, 1, 3]
    assert sorted(len(line) for line in graph.lines) == [2, 2, 3]
    assert sorted(graph.widths_px) == [2, 3, 3]
    with pytest.raises(InputError, match="Line 0"):
        from_lines([np.zeros((1, 2))])


@pytest.mark.parametrize("line", [[(0, 0), (5, 0), (5, 0), (10, 0)], [(0, 0), (0, 0), (5, 0), (10, 0), (10, 1e-7)]])
def test_a_vertex_drawn_twice_is_no_junction(line):
    graph = from_lines(lines_of([[(0, 9), (0, 9)], line]), [1, 3])
    assert graph.widths_px.tolist() == [3] and graph.nodes.tolist() == [[0, 0], [10, 0]]
    assert [each.tolist() for each in graph.lines] == [[[0, 0], [5, 0], [10, 0]]]


def test_to_networkx_and_to_geodataframe():
    graph = from_lines(lines_of([[(0, 0), (30, 40)], [(30, 40), (30, 140)], [(30, 40), (90, 40)]]), [8, 0, 6])
    network = to_networkx(graph)
    assert sorted(data["length_px"] for *_, data in network.edges(data=True)) == [50, 60, 100]
    frame = to_geodataframe(graph, Grid((0.5, 0.0, 385000.0, 0.0, -0.5, 6673000.0), "EPSG:32635", 200, 200))
    assert frame.crs == "EPSG:32635"
    assert frame.length.to_numpy() == pytest.approx([25, 50, 30])
    assert frame["width_m"].tolist() == pytest.approx([4, np.nan, 3], nan_ok=True)


def test_refusals():
    with pytest.raises(InputError, match=r"\(H, W\)"):
        mask_to_graph(np.zeros((4, 4, 3), np.uint8), 1)
    with pytest.raises(ParameterError, match="gsd_m"):
        mask_to_graph(np.zeros((4, 4), np.uint8), 0)
    with pytest.raises(ParameterError, match="max_gap_m"):
        GraphOptions(max_gap_m=-1)
    with pytest.raises(ParameterError, match="end_cap"):
        GraphOptions(end_cap="square")
    with pytest.raises(ParameterError, match="width_px"):
        graph_to_mask(lines_of(CROSS), SHAPE)
