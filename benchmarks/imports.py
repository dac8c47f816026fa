"""
CPU seconds that a notebook's imports take, and those of the bare packages among them, which are its floor.

    python -m benchmarks.imports [--turns 3]

Each import has a fresh Python on one thread; notebooks and floors take turns, and the least of each counts. Results go
to results/imports.csv.
"""

import argparse
import ast
import os
import subprocess
import sys

import pandas as pd

from benchmarks.chips import cpu_s
from lib.networks.devices import device_name
from lib.paths import ROOT, write_whole

PACKAGES = ("torch", "cv2", "geopandas", "rasterio", "matplotlib.figure", "scipy.optimize", "numba", "folium")
PACKAGES += ("ipywidgets", "IPython.display", "lightning")


def imports_of(notebook: str) -> str:
    """The import statements of a notebook's source, one a line."""
    body = ast.parse((ROOT / "notebooks" / f"{notebook}.py").read_text()).body
    return "\n".join(ast.unparse(line) for line in body if isinstance(line, ast.Import | ast.ImportFrom))


def fresh_cpu_s(code: str) -> tuple[float, str]:
    """CPU seconds of a fresh Python that runs code, less those of one that runs none; and what it prints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    used_s, printed = [], ""
    for text in ("", code):
        before_s = cpu_s()
        command = [sys.executable, "-c", text]
        printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        used_s.append(cpu_s() - before_s)
    return used_s[1] - used_s[0], printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    notebooks = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.py"))
    asking = f"\nimport sys\nprint(*(name for name in {PACKAGES} if name in sys.modules))"
    needed = {name: fresh_cpu_s(imports_of(name) + asking)[1].split() for name in notebooks}
    codes = {(name, "here"): imports_of(name) for name in notebooks}
    codes |= {(name, "floor"): "\n".join(f"import {package}" for package in needed[name]) for name in notebooks}
    least: dict[tuple[str, str], float] = {}
    for _ in range(options.turns):
        for what, code in codes.items():
            least[what] = min(fresh_cpu_s(code)[0], least.get(what, float("inf")))
    rows = [
        {
            "notebook": name,
            "cpu_s": least[name, "here"],
            "floor_cpu_s": least[name, "floor"],
            "packages": " ".join(used),
        }
        for name, used in needed.items()
    ]
    table = pd.DataFrame(rows).assign(device=device_name())
    print(table.to_string(index=False))
    write_whole(ROOT / "results" / "imports.csv", table.to_csv(index=False, float_format="%.2f"))


if __name__ == "__main__":
    main()
