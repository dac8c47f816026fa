"""Spurs go, gaps are closed, nodes that only pass a line on are dissolved."""

import numpy as np

from lib.vectors.linework import Ahead, DeadEnds
from lib.vectors.repair import Edge, bridged, compact
from lib.vectors.roadgraph import GraphOptions, mask_to_graph

GSD_M = 0.5


def test_gap_is_closed_where_both_ends_point_at_each_other(drawn, topology):
    broken = drawn([[(0, 80), (100, 80)], [(125, 83), (240, 90)]], 9)
    assert topology(mask_to_graph(broken, GSD_M)) == (1, 0, 2)
    assert topology(mask_to_graph(broken, GSD_M, GraphOptions(max_gap_m=5))) == (2, 0, 4)
    aside = drawn([[(0, 80), (100, 80)], [(112, 95), (112, 190)]], 9)
    assert topology(mask_to_graph(aside, GSD_M)) == (2, 0, 4)


def test_dead_end_meets_the_road_just_ahead(drawn, topology, degrees):
    almost = drawn([[(0, 60), (240, 60)], [(120, 75), (124, 180)]], 9)
    assert degrees(mask_to_graph(almost, GSD_M)) == [1, 1, 1, 3]
    assert topology(mask_to_graph(almost, GSD_M, GraphOptions(max_meet_m=0))) == (2, 0, 4)


def test_spurs_go_and_side_streets_stay(drawn, topology):
    main = [(-9, 100), (250, 100)]
    assert topology(mask_to_graph(drawn([main, [(120, 100), (120, 112)]]), GSD_M)) == (1, 0, 2)
    assert topology(mask_to_graph(drawn([main, [(120, 100), (120, 140)]]), GSD_M)) == (1, 0, 3)


def edge(u: int, v: int, *points: tuple[float, float], width_px: float = 6) -> Edge:
    return Edge(u, v, np.array(points, float), np.float32(width_px))


def test_a_line_that_two_dead_ends_meet_is_split_twice():
    main = edge(0, 1, (0, 0), (10, 0), (20, 0))
    early, late = edge(2, 3, (5, 9), (5, 3), width_px=4), edge(4, 5, (15, 3), (15, 9), width_px=8)
    met = np.array([[5.0, 3.0], [15.0, 3.0]])
    ends = DeadEnds(np.array([1, 2]), np.array([1, 0]), met, met, np.array([[0.0, -1.0], [0.0, -1.0]]))
    ahead = Ahead(np.array([-1, -1]), np.array([0, 0]), np.array([0, 1]), np.array([0.5, 0.5]))
    edges = bridged([main, early, late], 6, ends, ahead)
    assert [(e.u, e.v) for e in edges] == [(0, 7), (2, 3), (4, 5), (6, 1), (4, 6), (7, 6), (3, 7)]
    assert [e.line.tolist() for e in (edges[0], edges[5], edges[3])] == [
        [[0, 0], [5, 0]],
        [[5, 0], [10, 0], [15, 0]],
        [[15, 0], [20, 0]],
    ]
    assert [e.width_px for e in edges] == [6, 4, 8, 6, 8, 6, 4]


def test_dead_ends_that_belong_together_are_joined_once():
    left, right = edge(0, 1, (0, 0), (10, 0), width_px=4), edge(2, 3, (14, 0), (20, 0), width_px=8)
    xy = np.array([[10.0, 0.0], [14.0, 0.0]])
    ends = DeadEnds(np.array([0, 1]), np.array([1, 0]), xy, xy, np.array([[1.0, 0.0], [-1.0, 0.0]]))
    nothing = np.array([-1, -1])
    edges = bridged([left, right], 4, ends, Ahead(np.array([1, 0]), nothing, nothing, np.zeros(2)))
    assert len(edges) == 3
    assert (edges[2].u, edges[2].v, edges[2].width_px) == (1, 2, 6)
    assert edges[2].line.tolist() == xy.tolist()


def test_nodes_that_pass_a_line_on_go_and_a_ring_keeps_one():
    chain = [edge(5, 7, (0, 0), (10, 0), width_px=4), edge(9, 7, (40, 0), (10, 0), width_px=8)]
    ring = [edge(1, 2, (0, 50), (9, 50), (9, 59)), edge(2, 1, (9, 59), (0, 50))]
    nodes, uv, lines, widths_px = compact([*chain, *ring])
    assert sorted(uv.tolist()) == [[0, 0], [1, 2]]
    assert sorted(len(line) for line in lines) == [3, 4]
    assert sorted(widths_px) == [6, 7]
    for (u, v), line in zip(uv, lines, strict=True):
        assert (line[0] == nodes[u]).all() and (line[-1] == nodes[v]).all()
