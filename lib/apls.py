"""
APLS, the average path length similarity of two road networks (Van Etten et al. 2018), in pixels.

    python -m lib.apls TRUTH.csv PROPOSAL.csv [--mode strict] [--gsd 0.31]

Two modes. "challenge" follows the SpaceNet road challenge's Java scorer to the letter, order of its hash sets
included, and is what published numbers are made with. "strict" is the same metric without that program's faults
and does not depend on the order of its input. See `lib.apls_challenge` and `lib.apls_strict`.
"""

import argparse
import sys
from collections.abc import Sequence

from lib.apls_explain import explain
from lib.apls_report import SCORE_COLUMNS, Summary, city_of, describe, score_files, summarise
from lib.apls_score import CHALLENGE_GSD_M, MIDPOINT_SPACING_M, MODES, SNAP_M, Score, directions, score
from lib.errors import InputError, ParameterError

__all__ = [
    "CHALLENGE_GSD_M",
    "MIDPOINT_SPACING_M",
    "SNAP_M",
    "Score",
    "Summary",
    "city_of",
    "describe",
    "directions",
    "explain",
    "score",
    "score_files",
    "summarise",
]


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
    try:
        grid = None
        if options.grid:
            from lib.grid import read_grid

            grid = read_grid(options.grid)
        gsd_m = options.gsd or (grid.gsd_m if grid is not None else CHALLENGE_GSD_M)
        truths = [path for name in options.truth for path in name.split(";")]
        summary = score_files(truths, options.proposal, options.mode, gsd_m, grid)
    except (InputError, ParameterError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    summary.images.reset_index()[SCORE_COLUMNS].to_csv(sys.stdout, index=False, float_format="%.12f")
    print(describe(summary), file=sys.stderr)
    return 1 if summary.refused else 0


if __name__ == "__main__":
    sys.exit(main())
