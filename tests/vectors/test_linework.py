"""Lines lie where roads do: their ends, their widths, their rings."""

import numpy as np
import pytest

from lib.vectors.roadgraph import GraphOptions, mask_to_graph

GSD_M = 0.5
SHAPE = (200, 240)


def test_ring_without_a_junction_stays(drawn, topology):
    angle = np.linspace(0, 2 * np.pi, 60)
    ring = np.column_stack([120 + 60 * np.cos(angle), 100 + 60 * np.sin(angle)])
    graph = mask_to_graph(drawn([ring], 7), GSD_M)
    assert topology(graph) == (1, 1, 0)
    assert graph.edges.tolist() == [[0, 0]]
    radius = np.hypot(*(graph.lines[0] - (120, 100)).T)
    assert np.abs(radius - 60).max() < 2.5
    assert len(graph.lines[0]) < 30


def test_parallel_streets_stay_apart_and_reach_the_border(drawn, topology):
    graph = mask_to_graph(drawn([[(-9, 80), (250, 80)], [(-9, 96), (250, 96)]], 9), GSD_M)
    assert topology(graph) == (2, 0, 4)
    assert sorted(graph.nodes[:, 0]) == [0, 0, 240, 240]


def test_round_and_flat_ends():
    mask = np.zeros(SHAPE, np.uint8)
    mask[95:105, 30:200] = 255
    ends = {cap: mask_to_graph(mask, GSD_M, GraphOptions(end_cap=cap)).nodes for cap in ("round", "flat")}
    assert np.abs(np.sort(ends["flat"][:, 0]) - (30, 200)).max() < 1.5
    assert np.abs(np.sort(ends["round"][:, 0]) - (35, 195)).max() < 1.5


@pytest.mark.parametrize("width_px", [3, 4, 6.5, 9, 15])
@pytest.mark.parametrize("degrees_turned", [0, 20, 45])
def test_width_is_read_from_the_mask(drawn, width_px, degrees_turned):
    way = np.array([np.cos(np.radians(degrees_turned)), np.sin(np.radians(degrees_turned))])
    mask = drawn([[(100, 100) - 70 * way, (100, 100) + 70 * way]], width_px)
    (width,) = mask_to_graph(mask, GSD_M, GraphOptions(min_blob_m2=0)).widths_px
    assert width == pytest.approx(width_px, abs=1.1)
