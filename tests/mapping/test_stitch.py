"""Roads and footprints traced block by block: as of the whole, wherever the seams lie."""

import networkx as nx
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lib.mapping import stitch
from lib.vectors.buildings import BuildingOptions, mask_to_polygons
from lib.vectors.roadgraph import GraphOptions, RoadGraph, graph_to_mask, mask_to_graph, to_networkx

GSD_M = 0.5
SIDE = 600
WHOLE = 1000  # a block that holds all
TOLERANCE_PX = GraphOptions().tolerance_m / GSD_M


def draw(roads: list, width_px: float = 9.0) -> np.ndarray:
    return graph_to_mask([np.array(road, float) for road in roads], (SIDE, SIDE), width_px) > 0


def reader(pixels: np.ndarray) -> stitch.Read:
    return lambda window: pixels[window[1] : window[3], window[0] : window[2]]


def trace(mask: np.ndarray, block_px: int) -> RoadGraph:
    return stitch.trace_roads(reader(mask), mask.shape, GSD_M, GraphOptions(), block_px)


def topology(graph: RoadGraph) -> tuple[int, int, int]:
    """Components, independent cycles, dead ends."""
    network = to_networkx(graph)
    components = nx.number_connected_components(network)
    cycles = network.number_of_edges() - network.number_of_nodes() + components
    return components, cycles, sum(degree == 1 for _, degree in network.degree)


def drawn_length_px(graph: RoadGraph) -> float:
    return float(sum(np.hypot(*np.diff(line, axis=0).T).sum() for line in graph.lines))


def apart_px(one: RoadGraph, other: RoadGraph) -> float:
    """The farthest that a place of either network lies from the other one."""
    shapes = [shapely.MultiLineString([shapely.LineString(line) for line in graph.lines]) for graph in (one, other)]
    return shapely.hausdorff_distance(*shapes, densify=0.05)


ROADS = {
    "across": ([[(20, 100), (580, 130)], [(100, 20), (140, 580)]], (1, 0, 4)),
    "along a seam": ([[(200, 20), (200, 580)], [(20, 400), (580, 400)]], (1, 0, 4)),
    "to and fro over a seam": ([[(x, 200 + 6 * np.sin(x / 15)) for x in range(20, 581, 3)]], (1, 0, 2)),
    "through a corner": ([[(20, 20), (580, 580)], [(20, 380), (380, 20)]], (1, 0, 4)),
    "a corner of a street at the corner": ([[(200, 20), (200, 200), (20, 200)]], (1, 0, 2)),
    "a crossing on a corner": ([[(200, 20), (200, 580)], [(20, 200), (580, 200)]], (1, 0, 4)),
    "a ring over four blocks": (
        [[(200 + 90 * np.cos(t), 200 + 90 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 90)]],
        (1, 1, 0),
    ),
    "a gap at a seam": ([[(20, 300), (190, 300)], [(212, 300), (580, 300)]], (1, 0, 2)),
    "an end before a seam": ([[(20, 300), (190, 300)], [(300, 20), (300, 580)]], (2, 0, 4)),
    "an end just behind a seam": ([[(20, 300), (203, 300)]], (1, 0, 2)),
}


@pytest.mark.parametrize("name", ROADS)
def test_a_road_goes_on_over_seams_and_corners(name):
    roads, expected = ROADS[name]
    mask = draw(roads)
    found, whole = trace(mask, 200), trace(mask, WHOLE)
    assert topology(found) == topology(whole) == topology(mask_to_graph(mask, GSD_M)) == expected
    assert len(found.nodes) == len(whole.nodes)
    # but for dead ends, whose form depends on the width of the piece before, and rings, which start elsewhere
    assert apart_px(found, whole) < (TOLERANCE_PX if "ring" in name else 0.6)
    assert drawn_length_px(found) == pytest.approx(drawn_length_px(whole), abs=1.0)


def test_a_road_that_ends_near_a_seam_leaves_no_crumb_behind_it():
    for end in np.arange(190, 212, 1.3):
        found = trace(draw([[(20, 300), (end, 310)]]), 200)
        assert topology(found) == (1, 0, 2), end
        assert found.nodes[:, 0].max() == pytest.approx(end, abs=1.5)


@settings(max_examples=12)
@given(
    seed=st.integers(0, 10_000),
    block_px=st.integers(40, 300).map(lambda half: 2 * half),
    width_px=st.floats(6, 14),
)
def test_the_network_is_that_of_the_whole_raster_for_any_block(seed, block_px, width_px):
    rng = np.random.default_rng(seed)
    ends = rng.uniform(0, SIDE, (6, 2, 2))
    mask = draw(list(ends), width_px)
    found, whole = trace(mask, block_px), mask_to_graph(mask, GSD_M)
    assert topology(found) == topology(whole)
    assert drawn_length_px(found) == pytest.approx(drawn_length_px(whole), rel=0.01, abs=4)
    assert apart_px(found, whole) < max(2 * TOLERANCE_PX, width_px)


def test_blocks_are_read_with_their_rim_and_nothing_more():
    mask, asked = draw(ROADS["across"][0]), []

    def read(window: stitch.Window) -> np.ndarray:
        asked.append(window)
        return reader(mask)(window)

    done = []
    stitch.trace_roads(read, mask.shape, GSD_M, GraphOptions(), 200, lambda *numbers: done.append(numbers))
    rim_px = stitch.RIM_M / GSD_M
    assert max(max(right - left, bottom - top) for left, top, right, bottom in asked) <= 200 + 2 * rim_px
    assert done == [(n, 9) for n in range(1, 10)]


def test_no_road_is_no_network():
    nothing = trace(np.zeros((SIDE, SIDE), bool), 200)
    assert len(nothing.nodes) == len(nothing.lines) == 0


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), block_px=st.integers(7, 100), right_angles=st.booleans())
def test_footprints_are_those_of_the_whole_raster_for_any_block(seed, block_px, right_angles):
    rng = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(rng.random((90, 80)), 3.0) > 0.5
    options = BuildingOptions(min_area_m2=3, right_angles=right_angles)
    found, whole = (
        stitch.trace_footprints(reader(mask), mask.shape, GSD_M, options, side) for side in (block_px, WHOLE)
    )
    assert [shape.wkt for shape in found] == [shape.wkt for shape in whole]
    as_drawn = BuildingOptions(min_area_m2=0, min_hole_m2=0, tolerance_m=0)
    exact = stitch.trace_footprints(reader(mask), mask.shape, GSD_M, as_drawn, block_px)
    assert shapely.union_all(exact).equals(shapely.union_all(mask_to_polygons(mask, GSD_M, as_drawn)))
    assert sum(shape.area for shape in exact) == mask.sum()


def test_means_along_lines_and_within_polygons_are_exact_for_any_block(monkeypatch):
    monkeypatch.setattr(stitch, "LINES_AT_ONCE", 1)
    pixels = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80)
    across = np.array([[10.0, 5.5], [70.0, 5.5]])  # through the middles of row 5
    down = np.array([[20.5, 10.0], [20.5, 50.0]])
    for block_px in (16, 33, WHOLE):
        along = stitch.mean_along(reader(pixels), pixels.shape, [across, down], block_px)
        assert along == pytest.approx([pixels[5, 10:70].mean(), pixels[10:50, 20].mean()])
        polygons = [shapely.box(3, 4, 40, 50), shapely.box(10.6, 10.6, 10.9, 10.9)]
        within = stitch.mean_within(reader(pixels), pixels.shape, polygons, block_px)
        assert within == pytest.approx([pixels[4:50, 3:40].mean(), pixels[10, 10]])
    assert stitch.mean_along(reader(pixels), pixels.shape, [], 16).shape == (0,)
    assert stitch.widths_along(reader(pixels > 0), pixels.shape, [], GSD_M, 16).shape == (0,)
    assert stitch.mean_within(reader(pixels), pixels.shape, [], 16).shape == (0,)


def test_what_is_not_known_is_left_out_of_means():
    pixels = np.full((60, 80), 0.75)
    pixels[:, 30:50] = np.nan
    lines = [np.array([[10.0, 5.5], [70.0, 5.5]]), np.array([[40.5, 10.0], [40.5, 50.0]])]
    polygons = [shapely.box(20, 4, 40, 50), shapely.box(32, 10, 48, 30), shapely.box(40.6, 10.6, 40.9, 10.9)]
    for block_px in (16, WHOLE):
        along = stitch.mean_along(reader(pixels), pixels.shape, lines, block_px)
        assert along == pytest.approx([0.75, np.nan], nan_ok=True)
        within = stitch.mean_within(reader(pixels), pixels.shape, polygons, block_px)
        assert within == pytest.approx([0.75, np.nan, np.nan], nan_ok=True)


@pytest.mark.parametrize("angle_deg", [0, 17, 45, 90])
@pytest.mark.parametrize("width_px", [5.0, 8.0, 13.3])
def test_the_width_of_a_road_is_that_of_its_mask_at_any_angle_and_place(angle_deg, width_px):
    direction = np.array([np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))])
    road = np.array([300.2, 300.7]) + np.outer([-250, 250], direction)
    mask = draw([road], width_px)
    beside = road + direction[::-1] * (-1, 1) * 0.2 * width_px  # a line that lost the middle
    for block_px in (130, WHOLE):
        found = stitch.widths_along(
            reader(mask), mask.shape, [road, beside, road - 60 * direction[::-1]], GSD_M, block_px
        )
        assert found[:2] == pytest.approx(width_px, abs=0.9)
    mask[:] = True
    assert stitch.widths_along(reader(mask), mask.shape, [road], GSD_M, WHOLE) == pytest.approx(
        2 * stitch.REACH_M / GSD_M
    )
    mask[:] = False
    assert np.isnan(stitch.widths_along(reader(mask), mask.shape, [road], GSD_M, WHOLE)).all()
