"""What the tests of APLS share: roads, made-up networks, and the shared cases with their answers."""

import csv
from collections.abc import Callable

import numpy as np
import pytest

from lib.apls import Score
from lib.paths import ROOT
from lib.vectors import roadio

CASES = ROOT.parent / "shared" / "apls"


@pytest.fixture(scope="session")
def road() -> Callable[..., np.ndarray]:
    """Makes a road of x, y, x, y, ..."""
    return lambda *numbers: np.array(numbers, float).reshape(-1, 2)


@pytest.fixture(scope="session")
def three() -> Callable[[Score], tuple[float, float, float]]:
    """The three numbers of a score."""
    return lambda score: (score.truth_to_proposal, score.proposal_to_truth, score.apls)


@pytest.fixture(scope="session")
def rows_of() -> Callable[[str, str], list[dict[str, str]]]:
    """Answers to a set of shared cases: `kind` expected (of the original program) or strict."""

    def rows(kind: str, name: str) -> list[dict[str, str]]:
        path = CASES / f"{kind}_{name}.csv"
        if not path.exists():
            pytest.skip(f"the shared cases are not here: {path.name}")
        return list(csv.DictReader(path.open()))

    return rows


@pytest.fixture(scope="session")
def cases_of() -> Callable[[str], list[dict[str, list[np.ndarray]]]]:
    """Roads by image of a set of shared cases, of the truth and of the proposal."""
    return lambda name: [
        roadio.read_challenge_lines(CASES / f"{side}_{name}.csv.gz")[0] for side in ("truth", "proposal")
    ]


@pytest.fixture(scope="session")
def random_network() -> Callable[..., list[np.ndarray]]:
    """Makes a jittered grid that misses a fifth of its roads."""

    def network(seed: int, size: int = 14) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        spots = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1) * 90.0
        spots = spots + rng.normal(0, 12, spots.shape)
        roads = [np.array([spots[i, j], spots[i, j + 1]]) for i in range(size) for j in range(size - 1)]
        roads += [np.array([spots[i, j], spots[i + 1, j]]) for i in range(size - 1) for j in range(size)]
        return [line for line in roads if rng.random() < 0.8]

    return network
