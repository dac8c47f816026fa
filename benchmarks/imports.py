"""
CPU seconds that a notebook's imports take, and those of the bare packages among them, which are its floor.

    python -m benchmarks.imports [--turns 3]

Each import has a fresh Python on one thread; notebooks and floors take turns, and the least of each counts. Results go
to results/imports.csv.
"""

import argparse
import ast
import os
import resource
import subprocess
import sys

import pandas as pd

from lib.networks.devices import device_name
from lib.paths import ROOT, write_whole

PACKAGES = ("torch", "cv2", "geopandas", "rasterio", "matplotlib.figure", "scipy.optimize", "numba", "folium")
PACKAGES += ("ipywidgets", "IPython.display", "lightning")


def imports_of(notebook: str) -> str:
    """The import statements of a notebook's source, one a line."""
    body = ast.parse((ROOT / "notebooks" / f"{notebook}.py").read_text()).body
    return "\n".join(ast.unparse(line) for line in body if isinstance(line, ast.Import | ast.ImportFrom))


def cpu_s(code: str) -> tuple[float, str]:
    """CPU seconds of a fresh Python that runs code, less those of one that runs none; and what it prints."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    def used_s() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    at, printed = [used_s()], ""
    for text in ("", code):
        run = subprocess.run(
            [sys.executable, "-c", text], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        printed, at = run.stdout, [*at, used_s()]
    return at[2] - at[1] - (at[1] - at[0]), printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    notebooks = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.py"))
    asking = f"\nimport sys\nprint(*(name for name in {PACKAGES} if name in sys.modules))"
    needed = {name: cpu_s(imports_of(name) + asking)[1].split() for name in notebooks}
    codes = {(name, "here"): imports_of(name) for name in notebooks}
    codes |= {(name, "floor"): "\n".join(f"import {package}" for package in needed[name]) for name in notebooks}
    least: dict[tuple[str, str], float] = {}
    for _ in range(options.turns):
        for what, code in codes.items():
            least[what] = min(cpu_s(code)[0], least.get(what, float("inf")))
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
