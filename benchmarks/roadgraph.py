"""
Mask to graph against scikit-image's skeletonize and sknw, in one run: `python benchmarks/roadgraph.py`.

Road masks of 1024 x 1024 px: random street grids with curves and dead ends, roads 6 to 14 px wide, clean and with the
ragged edges, specks and pinholes of a predicted mask; and road masks given on the command line. Printed: the median
time of each step over all masks and the ratio, then how often each skeleton's graph has the components and cycles of
the mask, and how many dead ends it shows beyond those that were drawn.
"""

import argparse
import time
from pathlib import Path

import cv2
import networkx as nx
import numpy as np
import sknw
from skimage.morphology import skeletonize

from lib.vectors import linework, roadgraph, specks, thinning

SIZE_PX = 1024
GSD_M = 0.5
MIN_PX = 40  # blobs and holes smaller than this are removed from every mask before anybody measures it
REPEATS = 7


def road_mask(rng: np.random.Generator, ragged: bool) -> np.ndarray:
    """A street grid, turned and bent, with every sixth street missing or ending early; uint8, 0 or 255."""
    step, turn = rng.uniform(110, 190), rng.uniform(0, np.pi / 2)
    lines, place = [], np.arange(-SIZE_PX, SIZE_PX + 1, step) + rng.uniform(0, step)
    along = np.linspace(-SIZE_PX, SIZE_PX, 60)
    for axis in range(2):
        for offset in place:
            if rng.random() < 1 / 6:
                continue
            bend = 12 * np.sin(along / rng.uniform(90, 200) + rng.uniform(0, 6))
            line = np.column_stack([along, offset + bend])[:, :: 1 - 2 * axis]
            if rng.random() < 1 / 6:
                line = line[: rng.integers(20, 50)]
            lines.append(line @ [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]] + SIZE_PX / 2)
    mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    for line in lines:
        mask |= roadgraph.graph_to_mask([line], mask.shape, rng.uniform(6, 14))
    if ragged:
        noise = cv2.GaussianBlur(rng.normal(0, 1, mask.shape).astype(np.float32), (0, 0), 1.6)
        soft = cv2.GaussianBlur(mask, (0, 0), 2.0).astype(np.float32) / 255
        mask = (soft + 0.9 * noise > 0.5).astype(np.uint8) * 255
    return mask


def peer(mask: np.ndarray) -> nx.MultiGraph:
    return sknw.build_sknw(skeletonize(mask > 0), multi=True)


def ours_bare(mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """Skeleton and traced graph only: what the peer does, without the repairs and measures of mask_to_graph."""
    flags, stride = thinning.padded(mask, 128)
    chains = thinning.trace(*thinning.thin(flags, stride))
    return chains.nodes, chains.edges, *linework.polylines(chains, stride)


def topology(nodes: int, edges: np.ndarray) -> tuple[int, int, int]:
    """Components with an edge, independent cycles, dead ends of a multigraph."""
    graph = nx.MultiGraph(edges.tolist())
    components = nx.number_connected_components(graph)
    ends = sum(degree == 1 for _, degree in graph.degree)
    return components, graph.number_of_edges() - graph.number_of_nodes() + components, ends


def milliseconds(functions: list, mask: np.ndarray) -> list[float]:
    """Least CPU time of each function (all run in one thread), in turn so that the machine's moods hit all alike."""
    best = [np.inf] * len(functions)
    for _ in range(REPEATS):
        for i, function in enumerate(functions):
            start = time.process_time()
            function(mask)
            best[i] = min(best[i], 1e3 * (time.process_time() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("masks", nargs="*", type=Path, help="further masks: images, road above 127")
    parser.add_argument("--count", type=int, default=16, help="random masks of each kind")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    kinds = {kind: [road_mask(rng, kind == "ragged") for _ in range(arguments.count)] for kind in ("clean", "ragged")}
    if arguments.masks:
        kinds["given"] = [
            (cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) > 127).astype(np.uint8) * 255 for p in arguments.masks
        ]
    names = ["skeletonize", "skeletonize + sknw", "ours, skeleton and graph", "ours, mask_to_graph"]
    functions = [lambda m: skeletonize(m > 0), peer, ours_bare, lambda m: roadgraph.mask_to_graph(m, GSD_M)]
    for kind, masks in kinds.items():
        cleaned = []
        for mask in masks:
            state, stride = thinning.padded(mask, 128)
            specks.clean(state, stride, MIN_PX, MIN_PX)
            inner = state.reshape(-1, stride)[thinning.MARGIN :, thinning.MARGIN :]
            cleaned.append(np.ascontiguousarray(inner[: mask.shape[0], : mask.shape[1]]) * np.uint8(255))
        [function(cleaned[0]) for function in functions]  # compiles
        times = np.median([milliseconds(functions, mask) for mask in cleaned], axis=0)
        share = np.mean([np.mean(mask > 0) for mask in cleaned])
        print(f"\n{kind}: {len(masks)} masks, {share:.1%} road")
        for name, ms in zip(names, times, strict=True):
            print(f"  {name:28s} {ms:7.2f} ms   {times[1] / ms:5.1f} x")
        right, ends = np.zeros((2, 2), int), np.zeros(3, int)
        for mask in cleaned:
            blobs = cv2.connectedComponents(mask, connectivity=8)[0] - 1
            outside = np.pad(255 - mask, 1, constant_values=255)
            holes = cv2.connectedComponents(outside, connectivity=4)[0] - 2
            graph = peer(mask)
            nodes, edges, *_ = ours_bare(mask)
            theirs = topology(len(graph), np.array([e[:2] for e in graph.edges]))
            mine = topology(len(nodes), edges)
            final = roadgraph.mask_to_graph(mask, GSD_M)
            ends += [theirs[2], mine[2], topology(len(final.nodes), final.edges)[2]]
            right += [[found[0] == blobs, found[1] == holes] for found in (theirs, mine)]
        for name, (components, cycles) in zip(("skeletonize + sknw", "ours"), right, strict=True):
            print(f"  {name:28s} components right on {components}, cycles right on {cycles} of {len(masks)}")
        print(f"  dead ends: {ends[0]} skeletonize + sknw, {ends[1]} ours bare, {ends[2]} ours after repairs")


if __name__ == "__main__":
    main()
