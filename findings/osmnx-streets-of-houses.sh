#!/usr/bin/env bash
# One would think that osmnx.graph_from_xml makes a street network of an OSM file, as graph_from_place does of the map.
# Seen with OSMnx 2.1.1: every way is a street, in both directions: buildings, streams, fences. Beside a street of 111 m a house
# of 22 x 22 m is 89 m of street more; and by default, which keeps the largest part, the house alone is left.
# Where from: network types are filters of the query to Overpass; a file is not queried, and nothing else filters.
# Hurts: lengths of streets, truth for APLS and masks drawn from extracts: houses become rings of road.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(osmnx==2.1.1)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
cat >extract.osm <<'EOF'
<?xml version='1.0' encoding='UTF-8'?>
<osm version="0.6">
 <node id="1" version="1" lat="60.0000" lon="25.0000"/><node id="2" version="1" lat="60.0010" lon="25.0000"/>
 <node id="3" version="1" lat="60.0004" lon="25.0010"/><node id="4" version="1" lat="60.0004" lon="25.0014"/>
 <node id="5" version="1" lat="60.0006" lon="25.0014"/><node id="6" version="1" lat="60.0006" lon="25.0010"/>
 <way id="10" version="1"><nd ref="1"/><nd ref="2"/><tag k="highway" v="residential"/></way>
 <way id="11" version="1"><nd ref="3"/><nd ref="4"/><nd ref="5"/><nd ref="6"/><nd ref="3"/><tag k="building" v="house"/></way>
</osm>
EOF
"$work/venv/bin/python" - <<'EOF'
import osmnx

print("osmnx", osmnx.__version__)


def streets(**options):
    graph = osmnx.graph_from_xml("extract.osm", **options)
    edges = osmnx.convert.to_undirected(graph).edges(data=True)
    return {way: round(sum(d["length"] for *_, d in edges if d["osmid"] == way)) for way in {d["osmid"] for *_, d in edges}}


print("metres of each way, all parts:", streets(retain_all=True, simplify=False), "- the largest:", streets(simplify=False))
assert streets(retain_all=True, simplify=False) == {10: 111, 11: 89}
assert streets(simplify=False) == {11: 89}  # the house has more nodes than the street
EOF
