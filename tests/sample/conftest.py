"""The places of the sample, read once."""

import pytest

from lib.sample.degraded import Degradation
from lib.sample.places import PLACES, place_vectors

SIZE_PX = 448


@pytest.fixture(scope="session", params=list(PLACES))
def place(request):
    """Name, true vectors, and degraded roads and buildings of each place."""
    return request.param, *place_vectors(request.param, 0, Degradation())


@pytest.fixture(scope="session")
def town():
    """A window of the town: its grid and vectors."""
    vectors, _ = place_vectors("town", 0, Degradation())
    return PLACES["town"].grid().window(2000, 1200, SIZE_PX, SIZE_PX), vectors
