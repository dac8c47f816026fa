"""The challenge's sets of points: which are equal, and in which order Java lists them."""

import numpy as np

from lib.apls.net import (
    TABLE,
    add_member,
    add_point,
    cell_hashes,
    edges_of,
    empty_net,
    forget_members,
    iteration_order,
)


def test_a_hash_is_that_of_a_cell_of_a_tenth_of_a_pixel():
    xy = np.array([[0.0, 0.0], [0.04, -0.05], [12.34, 5.0], [-1.0, 0.0], [4294.9, 6729.6]])
    assert cell_hashes(xy).tolist() == [0, 0, 12300050, 2**32 - 1000000, 0]


def test_points_near_each_other_are_one_only_in_one_cell():
    net = empty_net(4, 1, 1)
    for x in (0.0, 0.04, 0.06, 0.5):  # the second is near the first; the third, too, but in the next cell
        add_member(net, add_point(net, x, 0.0))
    assert net.member[:4].tolist() == [True, False, True, True]


def test_members_are_listed_by_bucket_then_by_insertion():
    """Buckets of java.util.HashMap: (h ^ h >>> 16) & 15 of 0, 15, 16 and 1 are 0, 15, 0 and 1."""
    net = empty_net(4, 1, 1)
    for y in (1.5, 1.6, 0.1, 0.0):
        add_member(net, add_point(net, 0.0, y))
    assert iteration_order(net).tolist() == [1, 3, 2, 0]


def test_the_table_grows_as_javas_and_never_shrinks():
    net = empty_net(200, 1, 1)
    sizes = []
    for k in range(100):
        add_member(net, add_point(net, 0.0, k / 10))
        sizes.append(int(net.count[TABLE]))
    assert [sizes[11], sizes[12], sizes[24], sizes[48], sizes[-1]] == [16, 32, 64, 128, 256]
    forget_members(net, np.ones(200, bool))
    assert net.count[TABLE] == 256
    assert len(iteration_order(net)) == 0
    assert len(edges_of(net, np.arange(100))) == 0
    chained = empty_net(200, 1, 1)
    for k in range(9):  # all in bucket 0 of 16: the ninth doubles the table
        add_member(chained, add_point(chained, 0.0, 1.6 * k))
        assert chained.count[TABLE] == (32 if k == 8 else 16)
