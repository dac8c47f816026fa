#!/usr/bin/env bash
# One would think that a distance matrix made from nx.to_scipy_sparse_array(graph, weight="length") gives the shortest
# roads, as networkx itself does on the same multigraph.
# Seen with networkx 3.6.1: two roads between the same junctions become one of their lengths' sum: 400 m and 1000 m are
# 1400 m for scipy's shortest paths, 400 m for networkx.
# Where from: documented for the matrix ("sums of the edge weights"); right for counting edges, wrong for lengths.
# Hurts: path scores (APLS) reckoned with scipy for speed: around every block with a service road or a dual carriageway
# routes are too long, in truth and proposal alike but not equally.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(networkx==3.6.1 scipy==1.17.1 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import networkx as nx
import numpy as np
import scipy
from scipy.sparse.csgraph import shortest_path

print("networkx", nx.__version__, "scipy", scipy.__version__, "numpy", np.__version__)
roads = nx.MultiGraph()
roads.add_edge("a", "b", length=400.0)  # the street
roads.add_edge("a", "b", length=1000.0)  # a loop road around the same block
roads.add_edge("b", "c", length=50.0)
ours = nx.shortest_path_length(roads, "a", "c", weight="length")
matrix = nx.to_scipy_sparse_array(roads, weight="length")
theirs = float(shortest_path(matrix, directed=False)[0, 2])
print("a to c by networkx", ours, "by scipy", theirs)
assert ours == 450
assert theirs == 1450
EOF
