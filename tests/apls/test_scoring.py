"""APLS: parity with the challenge's scorer, and what the strict mode promises."""

import csv
import gzip
import io
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import apls
from lib.apls import paths as apls_paths
from lib.apls import rows as apls_rows
from lib.errors import InputError, ParameterError
from lib.mapping import roadio
from lib.paths import ROOT

CASES = ROOT.parent / "shared" / "apls"
SETS = ["rv103201", "rvsolution", "vegasosm", "quirks", "synth"]
STRICT_SETS = ["rv103201", "rvsolution", "vegasosm", "synth"]
EXACT_TIE = 3e-5  # projections exactly as far from two edges, or exactly 0.1 px from an end
KEYS = ["gt2prop", "prop2gt", "harmonic"]


def road(*numbers):
    return np.array(numbers, float).reshape(-1, 2)


def three(score):
    return score.truth_to_proposal, score.proposal_to_truth, score.apls


def rows_of(kind, name):
    path = CASES / f"{kind}_{name}.csv"
    if not path.exists():
        pytest.skip(f"the shared cases are not here: {path.name}")
    return list(csv.DictReader(path.open()))


def cases_of(name):
    return [roadio.read_challenge_lines(CASES / f"{side}_{name}.csv.gz")[0] for side in ("truth", "proposal")]


# A few answers of the original program, so that a fresh clone tests something: truth, proposal, scores.
ANSWERS = {
    "a crossing with and without a node": (
        [road(0, 0, 100, 0, 200, 0), road(100, -100, 100, 0, 100, 100)],
        [road(0, 0, 200, 0), road(100, -100, 100, 100)],
        (0.6, 1.0, 0.75),
    ),
    "a ring without junction": (
        [road(0, 0, 300, 0, 300, 300, 0, 300, 0, 0)],
        [road(5, 5, 305, 5, 305, 305, 5, 305, 5, 5)],
        (0.983630952381, 0.983630952381, 0.983630952381),
    ),
    "two arcs between the same junctions": (
        [road(0, 0, 200, 100, 400, 0), road(0, 0, 200, -100, 400, 0), road(-100, 0, 0, 0), road(400, 0, 500, 0)],
        [road(0, 0, 200, 100, 400, 0), road(0, 0, 200, -90, 400, 0), road(-100, 0, 0, 0), road(400, 0, 500, 0)],
        (0.990707729330, 0.991252671224, 0.990980125361),
    ),
    "a missing link": (
        [road(0, 0, 300, 0), road(0, 500, 300, 500), road(300, 0, 300, 500)],
        [road(0, 0, 300, 0), road(0, 500, 300, 500)],
        (0.071428571429, 1.0, 0.133333333333),
    ),
    "near points of two cells": (
        [road(0, 0, 100.04, 0, 200, 0), road(100.06, 0, 300, 200)],
        [road(0, 0, 100.04, 0, 200, 0), road(100.04, 0, 300, 200)],
        (0.999841666042, 0.399915000112, 0.571315986065),
    ),
    "a dead end inside one cell": (
        [road(0, 0, 100, 0, 200.01, 0, 200.04, 0)],
        [road(0, 0, 200, 0)],
        (0.999950002500, 0.333316666667, 0.499975000312),
    ),
    "an edge shorter than a cell": (
        [road(0, 0, 100.04, 0, 100.06, 0, 200, 0), road(100.04, 0, 100, 100), road(100.06, 0, 100, -100)],
        [road(0, 0, 100, 0, 200, 0), road(100, 0, 100, 100), road(100, 0, 100, -100)],
        (0.952142808542, 0.699849979000, 0.806731275812),
    ),
    "hashes that collide": (
        [road(0, 0, 300, 0), road(4294.9, 6729.6, 4600, 6729.6)],
        [road(0, 0, 300, 0)],
        (0.000698812020, 1.0, 0.001396648045),
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_of_the_original(name):
    truth, proposal, expected = ANSWERS[name]
    assert three(apls.score(truth, proposal)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("mode", ["challenge", "strict"])
def test_pair_worked_out_by_hand(mode):
    """Truth 0-100, proposal 0-90: the far end snaps to (90, 0), 10 px off, so both its routes cost a tenth."""
    result = apls.score([road(0, 0, 100, 0)], [road(0, 0, 90, 0)], mode)
    assert three(result) == pytest.approx((0.9, 1.0, 2 * 0.9 / 1.9), abs=1e-12)
    assert result.control_points == (2, 2)
    assert result.routes == (2, 2)


@pytest.mark.parametrize("mode", ["challenge", "strict"])
def test_snapping_ends_at_four_metres(mode):
    for off_px, expected in ((12.9, 1.0), (12.91, 0.0)):
        result = apls.score([road(0, 0, 300, 0)], [road(0, off_px, 300, off_px)], mode)
        assert three(result) == pytest.approx((expected,) * 3, abs=1e-12)


def test_gsd_scales_spacing_and_snapping():
    truth, proposal = [road(0, 0, 300, 0)], [road(0, 6, 300, 6)]
    assert apls.score(truth, proposal, "strict", gsd_m=0.5).apls == pytest.approx(1)
    assert apls.score(truth, proposal, "strict", gsd_m=1.0).apls == 0
    assert apls.score(truth, truth, "strict", gsd_m=0.5).control_points == (5, 5)  # 150 m: midpoints every 37.5 m


def test_two_points_on_one_place_cost_one():
    """A hairpin of lanes 3 px apart against one lane: its ends snap to one place; its midpoint is 101.5 px away."""
    truth = [road(0, 0, 100, 0, 100, 3, 0, 3)]
    result = apls.score(truth, [road(0, 0, 100, 0)], "strict")
    assert result.truth_to_proposal == pytest.approx(1 - (1 + 2 * 1.5 / 101.5) / 3)


@pytest.mark.parametrize("mode", ["challenge", "strict"])
def test_empty_sides(mode):
    roads, empty = [road(0, 0, 100, 0)], [np.empty((0, 2))]
    assert three(apls.score(empty, empty, mode)) == (1, 1, 1)
    assert three(apls.score([], [], mode)) == (1, 1, 1)
    assert three(apls.score(roads, empty, mode)) == (0, 0, 0)
    assert three(apls.score([], roads, mode)) == (0, 0, 0)


@pytest.mark.parametrize("name", SETS)
def test_challenge_parity(name):
    rows = rows_of("expected", name)
    truth, proposal = cases_of(name)
    large = [row for row in rows if int(row["mid_gt"]) + int(row["mid_prop"]) > 3000]
    for row in rows:
        image = row["ImageId"]
        if row in large[1:]:  # one of them is enough for a test's patience; benchmarks/apls.py times them all
            continue
        if row["error_truth"] or row["error_prop"]:
            with pytest.raises(InputError, match="section"):
                apls.score(truth[image], proposal[image])
            continue
        got = three(apls.score(truth[image], proposal[image]))
        if row["stable"] == "1":
            assert got == pytest.approx([float(row[f"score_{key}"]) for key in KEYS], abs=1e-9), image
        else:
            for value, key in zip(got, KEYS, strict=True):
                assert float(row[f"min_{key}"]) - 1e-9 <= value <= float(row[f"max_{key}"]) + 1e-9, image


@pytest.mark.parametrize("name", STRICT_SETS)
def test_strict_parity(name):
    rows = rows_of("strict", name)
    truth, proposal = cases_of(name)
    ties = []
    for row in rows:
        image = row["ImageId"]
        got = three(apls.score(truth[image], proposal[image], "strict"))
        expected = [float(row[f"score_{key}"]) for key in KEYS]
        assert got == pytest.approx(expected, abs=EXACT_TIE), image
        if got != pytest.approx(expected, abs=1e-9):
            ties.append(image)
    assert set(ties) <= {"syn206"}  # several of its points lie exactly 0.1 px from an end, or from two edges


def networks():
    """Roads over a small grid: shared nodes, crossings, rings, dead ends, points that fall into one cell."""
    spots = [(70.0 * i + 0.3 * j, 55.0 * j - 0.04 * i) for i, j in itertools.product(range(5), range(4))]
    spots += [(70.04, 55.0), (141.0, 60.0), (141.05, 60.02)]
    return st.lists(st.lists(st.sampled_from(spots), min_size=2, max_size=5).map(road), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(networks(), networks(), st.randoms(use_true_random=False))
def test_strict_does_not_depend_on_the_order_of_its_input(truth, proposal, random):
    def shuffled(roads):
        roads = [line[::-1] if random.random() < 0.5 else line for line in roads]
        random.shuffle(roads)
        return roads

    expected = apls.score(truth, proposal, "strict")
    assert apls.score(shuffled(truth), shuffled(proposal), "strict") == expected
    assert 0 <= expected.apls <= 1


@settings(max_examples=40, deadline=None, derandomize=True)
@given(networks(), networks())
def test_roles_are_symmetric(one, two):
    there, back = apls.score(one, two, "strict"), apls.score(two, one, "strict")
    assert three(there) == pytest.approx((back.proposal_to_truth, back.truth_to_proposal, back.apls), abs=1e-12)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(networks(), networks())
def test_challenge_mode_scores_what_passes_its_checks(one, two):
    one, two = roadio.without_repeats(one), roadio.without_repeats(two)
    assert 0 <= apls.score(one, two).apls <= 1 + 1e-12


def random_network(seed, size=14):
    rng = np.random.default_rng(seed)
    spots = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1) * 90.0 + rng.normal(0, 12, (size, size, 2))
    roads = [np.array([spots[i, j], spots[i, j + 1]]) for i in range(size) for j in range(size - 1)]
    roads += [np.array([spots[i, j], spots[i + 1, j]]) for i in range(size - 1) for j in range(size)]
    return [line for line in roads if rng.random() < 0.8]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(2, 7), st.sampled_from(["challenge", "strict"]))
def test_a_network_is_like_itself(seed, size, mode):
    """Where no two roads overlap, every control point finds its own place again."""
    network = random_network(seed, size)
    assert three(apls.score(network, network, mode)) == pytest.approx((1, 1, 1))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(0, 200))
def test_rows_of_distances_are_the_shortest(seed, count, arcs):
    """Against Floyd and Warshall; arcs of one way only, loops, parallel ones and lengths of 0 among them."""
    rng = np.random.default_rng(seed)
    tail, head = np.sort(rng.integers(0, count, arcs)), rng.integers(0, count, arcs)
    length = np.round(rng.uniform(0, 9, arcs)) * rng.choice([1, np.pi])
    expected = np.full((count, count), np.inf)
    np.minimum.at(expected, (tail, head), length)
    np.fill_diagonal(expected, 0)
    for k in range(count):
        expected = np.minimum(expected, expected[:, k : k + 1] + expected[k])
    junctions = apls_paths.Junctions(np.searchsorted(tail, np.arange(count + 1)), head, length)
    for wanted in (np.arange(count), rng.integers(0, count, 2)):
        rows, index = apls_rows.DistanceRows(junctions).get(wanted)
        np.testing.assert_allclose(rows[index[wanted]], expected[wanted], atol=1e-12)


def test_streaming_in_blocks_gives_the_same_score(monkeypatch):
    truth = random_network(1)
    proposal = [line for k, line in enumerate(truth) if k % 7]
    for mode in ("challenge", "strict"):
        whole = apls.score(truth, proposal, mode)
        with monkeypatch.context() as small:
            small.setattr(apls_rows.DistanceRows.__init__, "__defaults__", (20_000,))
            assert three(apls.score(truth, proposal, mode)) == pytest.approx(three(whole), abs=1e-12)


def test_sampled_score_says_how_sure_it_is():
    truth = random_network(2)
    proposal = [line for k, line in enumerate(truth) if k % 5]
    exact = three(apls.score(truth, proposal, "strict"))
    inside = 0
    for seed in range(20):
        sampled = apls.score(truth, proposal, "strict", sample=40, seed=seed)
        inside += sum(low <= value <= high for (low, high), value in zip(sampled.interval, exact, strict=True))
    assert inside >= 50  # of 60 intervals of 95 %
    assert apls.score(truth, proposal, "strict", sample=40) == apls.score(truth, proposal, "strict", sample=40)
    everything = apls.score(truth, proposal, "strict", sample=10**6)
    assert three(everything) == pytest.approx(exact, abs=1e-12)
    assert everything.interval[2][0] == pytest.approx(everything.interval[2][1])


def test_explain_says_what_was_lost():
    truth = [road(0, 0, 100, 0), road(0, 300, 100, 300), road(0, 0, 0, 300)]
    table = apls.explain(truth, [road(0, 0, 100, 0), road(0, 300, 100, 300)])
    assert set(table["reason"]) <= {"no snap", "no route"}
    assert (table["cost"] == 1).all()
    first = table.iloc[0]
    assert first["truth_m"] == pytest.approx(0.31 * np.hypot(*np.diff(first["line"], axis=0).T).sum())
    result = apls.score(truth, [road(0, 0, 100, 0), road(0, 300, 100, 300)], "strict")
    lost = table.attrs["reasons"].groupby("direction")["lost"].sum()
    assert 1 - lost["truth_to_proposal"] == pytest.approx(result.truth_to_proposal)
    assert len(apls.explain(truth, truth)) == 0
    assert len(apls.explain([], [])) == 0


@pytest.mark.parametrize("mode", ["challenge", "strict"])
def test_explain_finds_the_detour(mode):
    square = [road(0, 0, 100, 0), road(100, 0, 100, 50), road(100, 50, 0, 50), road(0, 50, 0, 0), road(0, 0, -40, 0)]
    square += [road(100, 0, 140, 0), road(100, 50, 140, 50), road(0, 50, -40, 50)]
    table = apls.explain(square, square[1:], mode)
    worst = table[table["direction"] == "truth_to_proposal"].iloc[0]
    assert (worst["reason"], worst["cost"]) == ("detour", 1.0)
    assert {worst["source_x"], worst["target_x"]} == {0.0, 100.0}
    assert (worst["truth_m"], worst["proposal_m"]) == pytest.approx((31.0, 62.0))
    assert worst["line"].tolist() in ([[0, 0], [100, 0]], [[100, 0], [0, 0]])


def test_means_are_the_challenges_and_say_what_they_leave_out():
    frame = pd.DataFrame({"ImageId": ["A_1_x_img1", "A_1_x_img2", "B_2_y_img1"], "apls": [0.2, 0.4, 0.9]})
    summary = apls.summarise(frame, ["A_1_x_img3", "C_3_z_img1"], ["B_2_y_img7"])
    assert summary.cities["apls"].to_dict() == pytest.approx({"A_1_x": 0.3, "B_2_y": 0.9, "C_3_z": 0.0})
    assert summary.overall == pytest.approx(0.4)
    assert summary.image_mean == pytest.approx(0.5)
    assert summary.with_missing == pytest.approx(0.3)
    text = apls.describe(summary)
    assert "in the truth only, left out of every mean: 2" in text
    assert "B_2_y_img7" in text


def test_command_line(tmp_path, capsys):
    roadio.write_challenge_csv(tmp_path / "t.csv", {"A_1_x_i1": [road(0, 0, 100, 0)], "A_1_x_i2": []})
    roadio.write_challenge_csv(tmp_path / "t2.csv", {"A_1_x_i3": [road(0, 0, 1, 0)]})
    roadio.write_challenge_csv(tmp_path / "p.csv", {"A_1_x_i1": [road(0, 0, 90, 0)]})
    from lib.apls.__main__ import main

    assert main([str(tmp_path / "t.csv"), str(tmp_path / "t2.csv"), str(tmp_path / "p.csv")]) == 0
    out = capsys.readouterr()
    frame = pd.read_csv(io.StringIO(out.out))
    assert list(frame) == ["ImageId", "truth_to_proposal", "proposal_to_truth", "apls"]
    assert frame.iloc[0].tolist() == ["A_1_x_i1", pytest.approx(0.9), 1.0, pytest.approx(0.9473684210526)]
    assert "overall, mean over cities: 0.947368" in out.err
    assert "left out of every mean: 2 (A_1_x_i2, A_1_x_i3)" in out.err

    (tmp_path / "bad.csv").write_text('ImageId,WKT_Pix\nA_1_x_i1,"LINESTRING (0 0, 9 0, 0 0)"\n')
    assert main([str(tmp_path / "t.csv"), str(tmp_path / "bad.csv")]) == 1
    assert "bad.csv, line 2" in capsys.readouterr().err
    assert main([str(tmp_path / "t.csv"), str(tmp_path / "none.csv")]) == 1
    assert "none.csv: expected a readable CSV file" in capsys.readouterr().err


def test_command_line_on_vector_files(tmp_path, capsys):
    from lib.apls.__main__ import main

    roadio.write_vector(tmp_path / "t.gpkg", [road(0, 0, 100, 0)])
    roadio.write_vector(tmp_path / "p.geojson", [road(0, 0, 90, 0)])
    assert main([str(tmp_path / "t.gpkg"), str(tmp_path / "p.geojson"), "--mode", "strict"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "p,0.900000000000,1.000000000000,0.947368421053"


def test_bad_arguments_are_told():
    with pytest.raises(ParameterError, match="'challenge' or 'strict'"):
        apls.score([], [], "lenient")
    with pytest.raises(ParameterError, match="gsd_m"):
        apls.score([], [], gsd_m=0)
    with pytest.raises(ParameterError, match="sample"):
        apls.score([], [], sample=1)
    with pytest.raises(InputError, match=r"truth road 0 as \(n, 2\)"):
        apls.score([np.zeros((3, 3))], [])
    with pytest.raises(InputError, match="NaN"):
        apls.score([road(0, 0, np.nan, 1)], [])
    with pytest.raises(InputError, match="every section drawn once"):
        apls.score([road(0, 0, 9, 0), road(9, 0, 0, 0)], [road(0, 0, 9, 0)])


def test_gzipped_cases_are_read(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b'ImageId,WKT_Pix\na,"LINESTRING (0 0, 1 1)"\n'))
    assert roadio.read_challenge_csv(tmp_path / "t.csv.gz")["a"][0].tolist() == [[0, 0], [1, 1]]


def test_a_network_smaller_than_the_tolerance_has_no_chain():
    speck = [np.array([[0, 1.44], [0.04, 1.44], [0.04, 1.48], [0, 1.44]])]
    for truth, proposal in ((speck, speck), (speck, [np.array([[0.0, 0], [300, 0]])])):
        assert 0 <= apls.score(truth, proposal, "strict").apls <= 1
