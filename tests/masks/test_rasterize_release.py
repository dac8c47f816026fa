"""Where the profile "paper" and the release's rasteriser differ: roads that only pass through."""

import numpy as np

from lib.grid import Grid
from lib.masks.rasterize import rasterize_roads
from lib.osm.lanes import PAPER

PLAIN = Grid((1.0, 0.0, 0.0, 0.0, 1.0, 0.0), None, 64, 64)  # pixels are metres, y down


def test_a_road_whose_nodes_lie_beyond_the_image_is_drawn_where_it_crosses(lines):
    far = lines([(-9000.0, 32.5), (9000.0, 32.5)])
    mask = rasterize_roads(far, PLAIN, PAPER)
    near = rasterize_roads(lines([(-20.0, 32.5), (84.0, 32.5)]), PLAIN, PAPER)
    assert (mask[32] == 255).all()
    np.testing.assert_array_equal(mask, near)
