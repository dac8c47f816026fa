"""What the tests of several rooms share: masks, and what is counted in a mask or a graph."""

from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
from scipy import ndimage

from lib.vectors.roadgraph import RoadGraph, graph_to_mask, to_networkx


@pytest.fixture(scope="session")
def blobs() -> Callable[[int], np.ndarray]:
    """Random masks of many forms, bool, by a seed."""

    def make(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        noise = rng.random(rng.integers(3, 90, 2))
        return ndimage.gaussian_filter(noise, rng.choice([0, 0.7, 1.5])) > rng.choice([0.4, 0.5, 0.55])

    return make


@pytest.fixture(scope="session")
def drawn() -> Callable[..., np.ndarray]:
    """Draws roads, given as lists of points x, y, with a width."""

    def draw(roads: list, width_px: float = 10.0, shape: tuple[int, int] = (200, 240)) -> np.ndarray:
        return graph_to_mask([np.array(road, float) for road in roads], shape, width_px)

    return draw


@pytest.fixture(scope="session")
def euler() -> Callable[[np.ndarray], tuple[int, int]]:
    """8-connected components and 4-connected holes of a mask."""

    def count(mask: np.ndarray) -> tuple[int, int]:
        return ndimage.label(mask, np.ones((3, 3)))[1], ndimage.label(~np.pad(mask, 1))[1] - 1

    return count


@pytest.fixture(scope="session")
def topology() -> Callable[[RoadGraph], tuple[int, int, int]]:
    """Components, independent cycles, dead ends of a graph."""

    def count(graph: RoadGraph) -> tuple[int, int, int]:
        network = to_networkx(graph)
        components = nx.number_connected_components(network)
        cycles = network.number_of_edges() - network.number_of_nodes() + components
        return components, cycles, sum(degree == 1 for _, degree in network.degree)

    return count


@pytest.fixture(scope="session")
def degrees() -> Callable[[RoadGraph], list[int]]:
    """How many lines meet at each node of a graph, sorted."""
    return lambda graph: sorted(np.bincount(graph.edges.ravel()).tolist())
