"""The score of a pair of road networks, exact or from sampled control points."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lib.apls import challenge, strict
from lib.apls.paths import NOWHERE
from lib.apls.routes import Direction, route_costs
from lib.errors import InputError, ParameterError
from lib.vectors import roadio
from lib.vectors.roadframes import LARGEST_PX

Mode = Literal["challenge", "strict"]
MODES = {"challenge": challenge.directions, "strict": strict.directions}

MIDPOINT_SPACING_M = 50.0  # control points along long edges, metres (the challenge's constant)
SNAP_M = 4.0  # a control point farther than this from the other network has no place there, metres
CHALLENGE_GSD_M = 0.31  # the challenge's pixel; it used it for every image, of whatever resolution
NORMAL_95 = 1.96  # half-width of a 95 % interval in standard errors


@dataclass(frozen=True)
class Score:
    """
    APLS of a pair of networks.

    Attributes
    ----------
    truth_to_proposal, proposal_to_truth
        1 less the mean cost of the routes of one network in the other: what is missing, and what is too much.
    apls
        Harmonic mean of the two.
    control_points
        Number of control points of truth and proposal.
    routes
        Number of ordered routes that counted, either way; with sampling, of those looked at.
    interval
        With sampling: 95 % intervals (low, high) of the three scores, in their order; else None.
    """

    truth_to_proposal: float
    proposal_to_truth: float
    apls: float
    mode: str
    gsd_m: float
    control_points: tuple[int, int] = (0, 0)
    routes: tuple[int, int] = (0, 0)
    interval: tuple[tuple[float, float], ...] | None = None


def polylines(roads: Any, name: str) -> list[np.ndarray]:
    """
    The roads of a side, or its `.lines`, as (n, 2) arrays of floats.

    Raises
    ------
    InputError
        If a road is no (n, 2) array of numbers up to LARGEST_PX; `name` says whose it is.
    """
    lines = [np.empty((0, 2)) if line is None else np.asarray(line, float) for line in getattr(roads, "lines", roads)]
    lines = [line if line.size else np.empty((0, 2)) for line in lines]
    for k, line in enumerate(lines):
        if line.ndim != 2 or line.shape[1] != 2:
            raise InputError(f"Expected {name} road {k} as (n, 2) x, y in pixels, found shape {line.shape}.")
    if lines and not (np.abs(np.concatenate(lines)) <= LARGEST_PX).all():
        bad = next(k for k, line in enumerate(lines) if not (np.abs(line) <= LARGEST_PX).all())
        raise InputError(
            f"Expected coordinates up to {LARGEST_PX:g} px in {name} road {bad}, found more, NaN or infinity; drop it."
        )
    return lines


def harmonic_mean(one: float, two: float) -> float:
    """Harmonic mean of two scores, 0 where both are; `statistics` has one, but refuses what rounding leaves below 0."""
    return 2.0 * one * two / (one + two) if one + two > 0 else 0.0


def directions(
    truth: Any, proposal: Any, mode: Mode = "challenge", gsd_m: float = CHALLENGE_GSD_M, check: bool = True
) -> tuple[Direction, Direction] | None:
    """Routes of truth and of proposal, each with their places on the other; None where a side has no roads."""
    if mode not in MODES:
        raise ParameterError(f"Expected mode 'challenge' or 'strict', got {mode!r}.")
    if not 0 < gsd_m < np.inf:
        raise ParameterError(f"Expected gsd_m, the metres of a pixel, above 0 and finite, got {gsd_m!r}.")
    sides = []
    for roads, name in ((truth, "truth"), (proposal, "proposal")):
        lines = polylines(roads, name)
        if check and mode == "challenge":
            roadio.check_roads(lines, [f"{name} road {k}" for k in range(len(lines))])
        sides.append([line for line in lines if len(line)])
    return MODES[mode](*sides, MIDPOINT_SPACING_M / gsd_m, SNAP_M / gsd_m) if all(sides) else None


def _without_routes(direction: Direction, mode: Mode) -> float:
    """
    Score of a network none of whose control points leads to another: in the challenge 1, whatever it is.

    In strict mode the share of its nodes that have a place on the other network: such are loops that share a node and
    are too short for a point between. Pieces shorter than a tenth of a pixel are nodes of no road: 0, if that is all.
    """
    if mode == "challenge":
        return 1.0
    on_roads = np.unique(direction.graph().ends)
    return float(np.mean(direction.there.chain[on_roads] != NOWHERE)) if len(on_roads) else 0.0


def _sampled(direction: Direction, mode: Mode, sample: int, rng: np.random.Generator) -> tuple[float, float, int]:
    """Score from a sample of starting points, its standard error (ratio estimator), and the routes looked at."""
    n = len(direction.xy)
    sources = np.sort(rng.choice(n, size=min(sample, n), replace=False))
    cost, count = route_costs(direction, sources)
    if count.sum() == 0:
        return _without_routes(direction, mode), 0.0, 0
    mean = cost.sum() / count.sum()
    spread = np.sum((cost - mean * count) ** 2) / max(len(sources) - 1, 1)
    error = np.sqrt(max(0.0, 1 - len(sources) / n) * spread / len(sources)) / count.mean()
    return float(1 - mean), float(error), int(count.sum())


def score(
    truth: Any,
    proposal: Any,
    mode: Mode = "challenge",
    gsd_m: float = CHALLENGE_GSD_M,
    sample: int | None = None,
    seed: int = 0,
    check: bool = True,
) -> Score:
    """
    APLS of a proposed road network against the true one.

    Parameters
    ----------
    truth, proposal
        Polylines (n, 2) x, y in pixels, ends that coincide being one node; or anything with such `.lines`.
    mode
        "challenge" for parity with published numbers, "strict" for truth.
    gsd_m
        Metres of a pixel. Midpoints every 50 m and snapping within 4 m are metres: 0.31 is the challenge's
        constant, right for its images only; give the image's own for others, and where its pixels are oblong on the
        ground, pass the roads through `lib.vectors.roadframes.in_square_pixels` first.
    sample, seed
        Number of control points to start routes from, drawn at random without replacement with this seed, for
        networks too large to score exactly; None scores all. A sampled score carries its 95 % interval.
    check
        In challenge mode, refuse what the challenge refuses (`lib.vectors.roadio.check_roads`).

    Raises
    ------
    InputError
        If a road is no (n, 2) array of numbers up to LARGEST_PX, or the challenge would refuse it.
    ParameterError
        If mode, gsd_m or sample make no sense.
    """
    if sample is not None and sample < 2:
        raise ParameterError(f"Expected a sample of 2 control points or more, got {sample!r}; None scores all.")
    pair = directions(truth, proposal, mode, gsd_m, check)
    if pair is None:
        is_empty = not any(len(line) for roads in (truth, proposal) for line in polylines(roads, "a"))
        same = 1.0 if is_empty else 0.0
        return Score(same, same, same, mode, gsd_m)
    points = (len(pair[0].xy), len(pair[1].xy))
    if sample is None:
        sums = [route_costs(direction) for direction in pair]
        scores = [
            float(1 - cost.sum() / count.sum()) if count.sum() else _without_routes(direction, mode)
            for direction, (cost, count) in zip(pair, sums, strict=True)
        ]
        routes = tuple(int(count.sum()) * (2 if d.halved else 1) for d, (_, count) in zip(pair, sums, strict=True))
        return Score(*scores, harmonic_mean(*scores), mode, gsd_m, points, routes)
    rng = np.random.default_rng(seed)
    (one, error_one, routes_one), (two, error_two, routes_two) = (_sampled(d, mode, sample, rng) for d in pair)
    both = harmonic_mean(one, two)
    # first order: d(harmonic)/d(one) = 2 two^2 / (one + two)^2
    slope = 2.0 / (one + two) ** 2 if one + two > 0 else 0.0
    error = np.hypot(slope * two**2 * error_one, slope * one**2 * error_two)
    interval = tuple(
        (max(0.0, s - NORMAL_95 * e), min(1.0, s + NORMAL_95 * e))
        for s, e in ((one, error_one), (two, error_two), (both, float(error)))
    )
    return Score(one, two, both, mode, gsd_m, points, (routes_one, routes_two), interval)
