"""
Frozen lists of the chips that train, validate and test: who cuts an area again can see that they are the same.

    python -m benchmarks.splits AREA [DATA_DIR]

plans the chips of params/AREA as notebook 1 does, cuts none, and writes results/splits/AREA.csv: one row a chip, with
the labels that it gets. DATA_DIR is where the imagery lies, else data_dir of the params. tests/test_splits.py plans the
lists that are kept again.
"""

import argparse
from pathlib import Path

import pandas as pd

from lib.chips.merging import find_all_scenes
from lib.chips.options import HULL
from lib.chips.plan import planned
from lib.chips.vectors import read_vectors
from lib.parameters import NOTEBOOKS, load
from lib.paths import ROOT, resolve, write_whole


def frozen(area: str, data_dir: str | Path = "") -> pd.DataFrame:
    """Chip, its split, and its labels joined by a space, of all chips of an area, in order of their names."""
    first = load(area, NOTEBOOKS[0])
    scenes = find_all_scenes(first["sources"], resolve(data_dir or first["data_dir"]), first["gsd_m"])
    by_hull = any(source.get("clean_area") == HULL for source in first["sources"])
    chips = planned(scenes, read_vectors(scenes, first["task"]) if by_hull else {}, first)
    return chips.groupby(["chip", "split"], as_index=False).agg(labels=("label", " ".join)).sort_values("chip")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("area", help="a folder of params/")
    parser.add_argument("data_dir", nargs="?", default="", help="where the imagery lies; else as params/ says")
    options = parser.parse_args()
    table = frozen(options.area, options.data_dir)
    path = write_whole(ROOT / "results" / "splits" / f"{options.area}.csv", table.to_csv(index=False))
    print(f"{path}: {table.groupby('split').size().to_dict()}")


if __name__ == "__main__":
    main()
