#!/usr/bin/env bash
# One would think that an edge of length 0 stored in a sparse matrix of roads (two nodes that snapped onto one place) is an edge
# for all of scipy.sparse.csgraph, or for none.
# Seen with scipy 1.17.1: dijkstra, Bellman-Ford, Floyd-Warshall and connected_components walk it; minimum_spanning_tree leaves it
# out, and its tree of a connected graph falls into parts.
# Where from: it marks the edges that it drops by 0 and then removes zeros; the others read what is stored.
# Hurts: whoever joins gaps or counts components by a spanning tree after snapping: connected roads are told to be apart.
# A tiny length instead of 0 brings the edge back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(scipy==1.17.1 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import numpy as np
import scipy
from scipy.sparse import csr_array
from scipy.sparse.csgraph import bellman_ford, connected_components, dijkstra, floyd_warshall, minimum_spanning_tree

print("scipy", scipy.__version__, "numpy", np.__version__)


def roads(lengths):
    return csr_array((np.array(lengths), (np.array([0, 1, 2]), np.array([1, 2, 3]))), shape=(4, 4))


graph = roads([5.0, 0.0, 7.0])
for walk in (dijkstra, bellman_ford, floyd_warshall):
    reached = walk(graph, directed=False)[0].tolist()
    print(walk.__name__, reached)
    assert reached == [0, 5, 5, 12]
tree = minimum_spanning_tree(graph)
parts, parts_of_tree = (connected_components(g, directed=False)[0] for g in (graph, tree))
print("parts of the graph", parts, "- parts of its spanning tree", parts_of_tree, "- edges", graph.nnz, "and", tree.nnz)
assert (parts, parts_of_tree, tree.nnz) == (1, 2, 2)
assert connected_components(minimum_spanning_tree(roads([5.0, 1e-12, 7.0])), directed=False)[0] == 1
EOF
