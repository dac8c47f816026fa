#!/usr/bin/env bash
# One would think that papermill -p tile 12_34 gives the notebook the text "12_34", and -p row 0012 the text "0012".
# Seen with papermill 2.7.0: tile = 1234 and row = 12; in a file of parameters (-f) the same unquoted 0012 is 10, read
# as octal, and 12_34 is 1234 as well. -r passes text as it is.
# Where from: values of -p go through Python's int() and float(), which take underscores and leading zeros ("nan" and
# "inf" become floats); those of -f through YAML 1.1.
# Hurts: tiles and scenes named by numbers (12_34, 0012): the notebook looks for another chip or none, and a table keyed
# by scene has two names for one place, depending on how the run was started.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(papermill==2.7.0)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
cat > in.ipynb <<'EOF'
{"cells": [{"cell_type": "code", "execution_count": null, "metadata": {"tags": ["parameters"]}, "outputs": [],
 "source": "tile = ''\nrow = ''"}],
 "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
 "nbformat": 4, "nbformat_minor": 4}
EOF
printf 'tile: 12_34\nrow: 0012\n' > run.yaml
run=("$work/venv/bin/papermill" in.ipynb --prepare-only --log-level ERROR)
"${run[@]}" p.ipynb -p tile 12_34 -p row 0012
"${run[@]}" r.ipynb -r tile 12_34 -r row 0012
"${run[@]}" f.ipynb -f run.yaml
"$work/venv/bin/python" - <<'EOF'
import json

import nbformat
import papermill

print("papermill", papermill.__version__)


def parameters(path):
    cells = nbformat.read(path, 4).cells
    scope = {}
    exec(next(c.source for c in cells if "injected-parameters" in c.metadata.get("tags", [])), scope)
    return {name: scope[name] for name in ("tile", "row")}


seen = {how: parameters(f"{how}.ipynb") for how in ("p", "r", "f")}
for how, values in seen.items():
    print(f"-{how}:", values)
assert seen["p"] == {"tile": 1234, "row": 12}
assert seen["f"] == {"tile": 1234, "row": 10}
assert seen["r"] == {"tile": "12_34", "row": "0012"}
EOF
