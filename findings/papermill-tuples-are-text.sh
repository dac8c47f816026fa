#!/usr/bin/env bash
# One would think that execute_notebook(parameters={"bands": (5, 3, 2)}) gives the notebook a tuple, or a list as JSON does, or raises.
# Seen with papermill 2.7.0: the notebook gets the text "(5, 3, 2)", while its metadata states the list [5, 3, 2]; a list arrives as a list.
# Where from: the translator knows str, int, float, bool, None, list and dict, and writes the str() of all else as text.
# Hurts: loops over runs: the text has nine letters, of which a notebook that iterates over bands, tiles or scales takes one after the
# other; and the record of the run says that all was well.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(papermill==2.7.0 ipykernel==7.4.0)
if command -v uv >/dev/null; then
  python3 -m venv --without-pip "$work/venv"
  uv pip install --quiet --python "$work/venv/bin/python" "${packages[@]}"
else
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check "${packages[@]}"
fi
cd "$work"
"$work/venv/bin/python" - <<'EOF'
import nbformat
import papermill
from papermill.version import version

print("papermill", version)
cells = [
    nbformat.v4.new_code_cell("bands = [1]\nscales = [1]", metadata={"tags": ["parameters"]}),
    nbformat.v4.new_code_cell("print(repr(bands), len(bands), repr(scales), len(scales))"),
]
kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), "in.ipynb")
given = {"bands": (5, 3, 2), "scales": [1, 2]}
ran = papermill.execute_notebook("in.ipynb", "out.ipynb", parameters=given, progress_bar=False)
seen = "".join(output.text for output in ran.cells[-1].outputs if output.output_type == "stream").strip()
stated = nbformat.read("out.ipynb", 4).metadata.papermill.parameters
print("in the notebook:", seen, "- in its record:", stated["bands"])
assert seen == "'(5, 3, 2)' 9 [1, 2] 2"
assert stated["bands"] == [5, 3, 2]
EOF
