"""
Compile what turns masks into graphs, and what scores them, once for a checkout.

    python -m lib.ahead graphs
    python -m lib.ahead scores

The first call then takes half a second instead of half a minute. Numba keeps machine code beside the sources, for this
CPU; a changed source file is compiled again at its next call.
"""

import sys

import numpy as np
from numba.core.dispatcher import Dispatcher

WINGS = ("lib.vectors.", "lib.apls.")


def graphs() -> None:
    """Graph of a mask that has all that a mask can have: crossings, gaps, loops, stubs, specks, holes, a border."""
    from lib.vectors.roadgraph import mask_to_graph

    mask = np.zeros((256, 256), np.uint8)
    mask[100:106], mask[:, 50:56] = 255, 255  # a crossing of two roads from border to border
    mask[150:156, 100:170] = mask[150:156, 180:240] = 255  # a gap
    mask[180:230, 130:200], mask[187:223, 137:193] = 255, 0  # a loop
    mask[106:112, 150:156] = mask[20:22, 200:202] = 255  # a stub, a speck
    mask[102, 20] = 0  # a hole
    mask_to_graph(mask, 0.5)


def scores() -> None:
    """APLS in both modes of roads that cross, end and go round, against some of them a metre off."""
    from lib.apls.scoring import MODES, score

    ring = np.array([(30, 30), (60, 30), (60, 60), (30, 30)], float)
    crossing = [np.array(line, float) for line in ([(0, 50), (90, 50), (200, 52)], [(90, 0), (90, 50), (95, 150)])]
    for mode in MODES:
        score([*crossing, ring], [line + 1.0 for line in crossing], mode=mode, gsd_m=1.0)


def compiled() -> dict[str, int]:
    """How many signatures of each function of these wings are compiled or read from the cache, by name."""
    rooms = [(name, room) for name, room in sys.modules.items() if name.startswith(WINGS)]
    functions = {f"{name}.{own}": found for name, room in rooms for own, found in vars(room).items()}
    return {name: len(found.signatures) for name, found in functions.items() if isinstance(found, Dispatcher)}


if __name__ == "__main__":
    {"graphs": graphs, "scores": scores}[sys.argv[1]]()
    print(f"{sum(map(bool, compiled().values()))} functions of {sys.argv[1]} compiled ahead")
