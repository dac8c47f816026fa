#!/usr/bin/env bash
# One would think that a table written with pyarrow's write_dataset(..., preserve_order=True) is read in that order.
# Seen with pyarrow 26.0.1: from the eleventh file on it is not: part-10 is read before part-2. Both the dataset and
# pandas.read_parquet of the folder give the rows so, without a word. Up to ten files all is well.
# Where from: files are named part-0, part-1, ... without leading zeros and listed by name; preserve_order is about the
# writing alone.
# Hurts: tables of chips or footprints that are joined by position with arrays of scores or embeddings: right in the
# small test, scrambled for the city.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packages=(pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6)
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
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

print("pyarrow", pa.__version__, "pandas", pd.__version__)


def read_back(files):
    table = pa.table({"chip": np.arange(files * 1000)})
    folder = f"chips-{files}"
    ds.write_dataset(
        table, folder, format="parquet", max_rows_per_file=1000, max_rows_per_group=1000, preserve_order=True
    )
    rows = pd.read_parquet(folder)["chip"].to_numpy()
    assert np.array_equal(rows, ds.dataset(folder).to_table()["chip"].to_numpy())
    return rows


seen = {files: read_back(files) for files in (10, 13)}
for files, rows in seen.items():
    print(files, "files, in order:", bool((np.diff(rows) > 0).all()), "- first chip of each:", rows[::1000].tolist())
assert (np.diff(seen[10]) > 0).all()
assert (np.diff(seen[13]) < 0).any()
EOF
