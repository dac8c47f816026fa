"""APLS of proposed road networks, from files: see `lib.apls`."""

import argparse
import sys
from collections.abc import Sequence

from lib.apls.report import SCORE_COLUMNS, describe, score_files
from lib.apls.scoring import CHALLENGE_GSD_M, MODES
from lib.errors import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Score two files: CSV on stdout, means on stderr; 1 if an image or a file was refused."""
    parser = argparse.ArgumentParser(prog="python -m lib.apls", description="APLS of proposed road networks.")
    parser.add_argument("truth", nargs="+", help="ImageId,WKT_Pix files, or one GeoJSON / GeoPackage")
    parser.add_argument("proposal", help="the same of the proposal")
    parser.add_argument("--mode", choices=sorted(MODES), default="challenge", help="default: %(default)s")
    parser.add_argument(
        "--gsd", type=float, help=f"metres of a pixel; default: the grid's, else the challenge's {CHALLENGE_GSD_M}"
    )
    parser.add_argument("--grid", help="image whose grid GeoJSON or GeoPackage roads are brought to")
    options = parser.parse_args(arguments)
    grid = None
    if options.grid:
        from lib.rasters import read_grid

        grid = read_grid(options.grid)
    gsd_m = options.gsd
    if gsd_m is None:
        gsd_m = CHALLENGE_GSD_M if grid is None else grid.gsd_m
    truths = [path for name in options.truth for path in name.split(";")]
    summary = score_files(truths, options.proposal, options.mode, gsd_m, grid)
    summary.images.reset_index()[SCORE_COLUMNS].to_csv(sys.stdout, index=False, float_format="%.12f")
    print(describe(summary), file=sys.stderr)
    return 1 if summary.refused else 0


if __name__ == "__main__":
    run(main)
