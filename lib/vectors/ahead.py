"""
Compile what turns masks into graphs, once for a checkout: the first call then takes half a second instead of many.

    python -m lib.vectors.ahead

Numba keeps machine code beside the sources, for this CPU; a changed source file is compiled again at its next call.
"""

import numpy as np
from numba.core.dispatcher import Dispatcher

from lib.vectors import linework, specks, thinning
from lib.vectors.roadgraph import RoadGraph, mask_to_graph

ROOMS = (linework, specks, thinning)


def compile_ahead() -> RoadGraph:
    """Graph of a mask that has all that a mask can have: crossings, gaps, loops, stubs, specks, holes, a border."""
    mask = np.zeros((256, 256), np.uint8)
    mask[100:106], mask[:, 50:56] = 255, 255  # a crossing of two roads from border to border
    mask[150:156, 100:170] = mask[150:156, 180:240] = 255  # a gap
    mask[180:230, 130:200], mask[187:223, 137:193] = 255, 0  # a loop
    mask[106:112, 150:156] = mask[20:22, 200:202] = 255  # a stub, a speck
    mask[102, 20] = 0  # a hole
    return mask_to_graph(mask, 0.5)


def compiled() -> dict[str, int]:
    """How many signatures of each function of this wing are compiled or read from the cache, by name."""
    functions = {f"{room.__name__}.{name}": found for room in ROOMS for name, found in vars(room).items()}
    return {name: len(found.signatures) for name, found in functions.items() if isinstance(found, Dispatcher)}


if __name__ == "__main__":
    compile_ahead()
    print(f"{sum(map(bool, compiled().values()))} functions compiled ahead")
