#!/usr/bin/env bash
# One would think that to_undirected of a MultiDiGraph is a MultiGraph with all its roads: it may hold parallel edges.
# Seen with networkx 3.6.1: two one-way carriageways between the same junctions, a to b and b to a, become one edge with
# the geometry of either, since both have key 0.
# Where from: edges are merged by ends and key; documented as "an arbitrary choice of which edge data to use".
# osmnx.convert.to_undirected compares the geometries and keeps both.
# Hurts: masks drawn from such a graph lack one side of each divided road, and lengths and scores lose it, too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(networkx==3.6.1)
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

print("networkx", nx.__version__)
roads = nx.MultiDiGraph()
roads.add_edge("a", "b", line="north side", length=100.0)
roads.add_edge("b", "a", line="south side, around the square", length=180.0)
both = roads.to_undirected()
print("carriageways", list(roads.edges(data="line")), "->", list(both.edges(data="line")))
print("metres of road", roads.size("length"), "->", both.size("length"))
assert both.is_multigraph() and both.number_of_edges() == 1
assert both.size("length") < roads.size("length")
EOF
