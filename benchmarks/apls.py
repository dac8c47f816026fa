"""
Time and memory of the APLS scorer, beside a straightforward all-pairs networkx scorer, measured in one run.

    python benchmarks/apls.py [FOLDER] [--quick]

FOLDER holds truth_NAME.csv.gz and proposal_NAME.csv.gz files; without it, only made-up towns are timed.
"""

import argparse
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import networkx as nx
import numpy as np

from lib import apls
from lib.apls import strict as apls_strict
from lib.vectors import roadio

LARGEST = 31  # pairs of the folder that count as large networks
BASELINE_POINTS = 700  # control points up to which the networkx scorer is waited for
CHIP_POINTS = (130, 170)  # control points of "a chip"


def town(nodes: int, seed: int, block_px: float = 100.0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A jittered grid town of so many nodes, and a proposal that misses a tenth of its roads and moves the rest."""
    side = int(np.ceil(np.sqrt(nodes)))
    rng = np.random.default_rng(seed)
    spots = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1) * block_px
    spots = spots + rng.normal(0, 0.12 * block_px, spots.shape)
    moved = spots + rng.normal(0, 2.0, spots.shape)
    pairs = [((i, j), (i, j + 1)) for i in range(side) for j in range(side - 1)]
    pairs += [((i, j), (i + 1, j)) for i in range(side - 1) for j in range(side)]
    kept = [pair for pair in pairs if rng.random() < 0.85]
    truth = [np.array([spots[a], spots[b]]) for a, b in kept]
    proposal = [np.array([moved[a], moved[b]]) for a, b in kept if rng.random() < 0.9]
    return truth, proposal


def networkx_score(truth: list[np.ndarray], proposal: list[np.ndarray]) -> float:
    """APLS by all-pairs shortest paths in networkx, snapping as the strict mode does: the plain way to write it."""
    spacing, reach = apls.MIDPOINT_SPACING_M / 0.31, apls.SNAP_M / 0.31
    graphs = [apls_strict.control_graph(lines, spacing) for lines in (truth, proposal)]
    scores = []
    for here, there in (graphs, graphs[::-1]):
        networks = []
        for graph in (here, there):
            network = nx.MultiGraph()
            network.add_nodes_from(range(len(graph.nodes)))
            edges = zip(*graph.ends.T.tolist(), graph.length_px.tolist(), strict=True)
            network.add_weighted_edges_from(edges, weight="length")
            networks.append(network)
        edge, along, node = apls_strict.snap(here.nodes, there, reach)
        target = []
        for a, (e, s, v) in enumerate(zip(edge.tolist(), along.tolist(), node.tolist(), strict=True)):
            target.append(v if v >= 0 else ("snapped", a) if e >= 0 else None)
            if v < 0 <= e:
                u, w = there.ends[e].tolist()
                networks[1].add_edge(("snapped", a), u, length=s)
                networks[1].add_edge(("snapped", a), w, length=there.length_px[e] - s)
        lengths_from = partial(nx.single_source_dijkstra_path_length, networks[1], weight="length")
        total = count = 0.0
        for a, x in nx.all_pairs_dijkstra_path_length(networks[0], weight="length"):
            y = {} if target[a] is None else lengths_from(target[a])
            for b, px in x.items():
                if b == a:
                    continue
                count += 1
                found = y.get(target[b])
                total += 1.0 if not found else min(1.0, abs(px - found) / px)
        scores.append(1 - total / count if count else 1.0)
    return 2 * scores[0] * scores[1] / sum(scores) if sum(scores) else 0.0


def seconds(function, *arguments, repeat: int = 1, **options) -> float:
    """Shortest wall-clock time of a few calls."""
    best = np.inf
    for _ in range(repeat):
        start = time.perf_counter()
        function(*arguments, **options)
        best = min(best, time.perf_counter() - start)
    return best


def large_pairs(folder: Path) -> None:
    passing = []
    for path in sorted(folder.glob("truth_*.csv.gz")):
        truths, _ = roadio.read_challenge_lines(path)
        proposals, _ = roadio.read_challenge_lines(path.with_name(path.name.replace("truth_", "proposal_")))
        for image in (image for image in truths if image in proposals):
            truth, proposal = truths[image], proposals[image]
            try:
                roadio.check_roads(truth)
                roadio.check_roads(proposal)
            except ValueError:
                continue
            passing.append((image, truth, proposal, apls.score(truth, proposal, "strict").control_points))
    passing.sort(key=lambda row: -len(row[1]) - len(row[2]))
    large = passing[:LARGEST]
    points = [sum(row[3]) for row in large]
    print(f"\n{len(large)} largest pairs: {min(points)} to {max(points)} control points a pair, both sides")
    for mode in ("challenge", "strict"):
        times = [seconds(apls.score, truth, proposal, mode) for _, truth, proposal, _ in large]
        print(f"  {mode:9s}  {sum(times):7.2f} s in all, {max(times):6.3f} s the longest")
    small = [row for row in large if sum(row[3]) <= 2 * BASELINE_POINTS]
    times = [seconds(networkx_score, truth, proposal) for _, truth, proposal, _ in small]
    for mode in ("challenge", "strict"):
        ours = [seconds(apls.score, truth, proposal, mode) for _, truth, proposal, _ in small]
        ratio = sum(times) / sum(ours) if ours else float("nan")
        print(
            f"  networkx on the {len(small)} smallest of them {sum(times):7.2f} s: {mode} is {ratio:.0f} times faster"
        )
    chips = [row for row in passing if all(CHIP_POINTS[0] <= n <= CHIP_POINTS[1] for n in row[3])][:8]
    for image, truth, proposal, count in chips:
        ms = [1e3 * seconds(apls.score, truth, proposal, mode, repeat=5) for mode in ("challenge", "strict")]
        print(f"  chip {image} {count[0]} x {count[1]}: challenge {ms[0]:.1f} ms, strict {ms[1]:.1f} ms")


def one_town(nodes: int, mode: str, sample: int | None) -> None:
    """Score one town in this process and print its row; a process of its own, so that its peak memory is its own."""
    apls.score(*town(30, 0), mode)  # compiled, or loaded from the cache
    truth, proposal = town(nodes, 1)
    start = time.perf_counter()
    cpu = time.process_time()
    result = apls.score(truth, proposal, mode, sample=sample)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    interval = f"  95 % {result.interval[2][0]:.4f} .. {result.interval[2][1]:.4f}" if result.interval else ""
    print(
        f"  {mode:9s} {nodes:7d} {result.control_points[0]:8d} {wall:8.2f} s {cpu:8.2f} s {peak:6.2f} GiB  "
        f"{result.apls:.4f}{interval}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="folder of truth_*.csv.gz and proposal_*.csv.gz")
    parser.add_argument("--quick", action="store_true", help="small towns only")
    parser.add_argument(
        "--town", nargs=3, metavar=("NODES", "MODE", "SAMPLE"), help="one made-up town only; SAMPLE 0: exact"
    )
    options = parser.parse_args()
    if options.town:
        nodes, mode, sample = options.town
        one_town(int(nodes), mode, int(sample) or None)
        return
    for mode in ("challenge", "strict"):
        first = seconds(apls.score, *town(30, 0), mode)
        print(f"first call, {mode}: {first:.1f} s (compiles once a machine, then loads from the cache)")
    truth, proposal = town(144, 0)
    for mode in ("challenge", "strict"):
        score = apls.score(truth, proposal, mode)
        ms = 1e3 * seconds(apls.score, truth, proposal, mode, repeat=9)
        print(f"town chip, {score.control_points} control points, {mode}: {ms:.1f} ms")
    slow = seconds(networkx_score, truth, proposal)
    print(f"the same in networkx: {1e3 * slow:.0f} ms")
    if options.folder:
        large_pairs(options.folder)
    print("\ntowns: mode, nodes, control points of the truth, wall, CPU, peak memory of the process, APLS", flush=True)
    sizes = (1000, 2000, 5000) if options.quick else (1000, 2000, 5000, 10000, 20000)
    runs = [(nodes, mode, 0) for mode in ("strict", "challenge") for nodes in sizes]
    if not options.quick:
        runs += [(100000, mode, 500) for mode in ("strict", "challenge")]
    for nodes, mode, sample in runs:
        subprocess.run([sys.executable, __file__, "--town", str(nodes), mode, str(sample)], check=True)


if __name__ == "__main__":
    main()
