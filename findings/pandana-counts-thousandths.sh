#!/usr/bin/env bash
# One would think that the unit of the edges doesn't matter to shortest paths: hours are seconds by 3600.
# Seen with pandana 0.8: each edge is cut to thousandths of its unit, and is one thousandth at least. A hundred streets
# that take 0.0014 hours each (70 m at 50 km/h) take 0.1 hours instead of 0.14, a hundred of 0.0004 degrees are 0.1 long
# instead of 0.04; in seconds or metres they are right. What lies within a given reach is off alike.
# Where from: paths are found in whole numbers of 32 bits, which are lengths by 1000. The documentation of Network and
# of shortest_path_length doesn't say so. The largest of these numbers, 4294967.295, is the length where there is no
# way; of that it warns.
# Hurts: travel times in hours or minutes, lengths in kilometres or degrees: routes prefer streets of many short edges,
# or avoid them, and ratios of path lengths, by which road graphs are scored, are off.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(pandana==0.8 pandas==3.1.1 numpy==2.4.6)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - 2>/dev/null <<'EOF'
from importlib.metadata import version

import numpy as np
import pandana
import pandas as pd

EDGES = 100


def network(length):
    """A road of 100 edges in a row, and a node that no edge leads to."""
    nodes = pd.DataFrame({"x": np.arange(EDGES + 2) * length, "y": 0.0})
    start = pd.Series(np.arange(EDGES))
    return pandana.Network(nodes.x, nodes.y, start, start + 1, pd.DataFrame({"length": np.full(EDGES, length)}))


seen = {}
for unit, length in (("s", 5.04), ("h", 0.0014), ("m", 41.4), ("degrees", 0.0004)):
    roads = network(length)
    roads.set(pd.Series(np.arange(EDGES + 1)), variable=pd.Series(np.ones(EDGES + 1)), name="houses")
    within = roads.aggregate(10.5 * length, type="count", decay="flat", name="houses")[EDGES // 2]
    seen[unit] = roads.shortest_path_length(0, EDGES), within
none = roads.shortest_path_length(0, EDGES + 1)
print("\npandana", version("pandana"))
for unit, (total, within) in seen.items():
    print(f"{EDGES} edges in {unit}: {total}; within the reach of 10.5 edges from the middle: {within:.0f} nodes")
print("to a node that no edge leads to:", none, "path", list(roads.shortest_path(0, EDGES + 1)))
assert np.allclose([seen["s"][0], seen["m"][0]], [504, 4140]) and seen["s"][1] == seen["m"][1] == 21
assert np.allclose([seen["h"][0], seen["degrees"][0]], [0.1, 0.1])
assert seen["h"][1] == 29 and seen["degrees"][1] == 9
assert none == (2**32 - 1) / 1000
EOF
