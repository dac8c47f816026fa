"""Decisions: in the file whole or not at all, among several writers, carried over, and out of all outputs."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import translate

from lib.conflation import review
from lib.conflation.review import Review, carry_over, decide, in_order, kept, read_candidates, read_statuses
from lib.errors import BusyError, InputError, ParameterError
from lib.paths import ROOT

DECIDE_FOR_EVER = """
import sys
from pathlib import Path
from lib.conflation.review import decide
while True:
    for status in ("accepted", "rejected"):
        for candidate in (1, 2):
            decide(Path(sys.argv[1]), "missing_roads", candidate, status)
    print("decided", flush=True)
"""


def test_a_decision_is_in_the_file_and_changes_nothing_else(place):
    before = gpd.read_file(place.gpkg, layer="missing_roads")
    assert decide(place.gpkg, "missing_roads", 2, "accepted") == "open"
    assert decide(place.gpkg, "missing_roads", 2, "rejected") == "accepted"
    after = read_candidates(place.gpkg, "missing_roads")
    assert after["status"].tolist() == ["open", "rejected", "open", "open"]
    assert after.drop(columns="status").equals(before.drop(columns="status"))
    box = place.candidates.geometry[3].buffer(1).bounds
    assert pyogrio.read_dataframe(place.gpkg, layer="missing_roads", bbox=box)["candidate"].tolist() == [4]


def test_what_cannot_be_decided_says_why(place, tmp_path):
    with pytest.raises(ParameterError, match="open, accepted, rejected, skipped; got 'maybe'"):
        decide(place.gpkg, "missing_roads", 1, "maybe")
    with pytest.raises(ParameterError, match="missing_roads, missing_buildings"):
        decide(place.gpkg, "roads; DROP TABLE roads", 1, "open")
    with pytest.raises(InputError, match="no candidate 99"):
        decide(place.gpkg, "missing_roads", 99, "open")
    with pytest.raises(InputError, match="expected the map's GeoPackage"):
        decide(place.gpkg, "missing_buildings", 1, "open")
    with pytest.raises(InputError, match="no such file"):
        decide(tmp_path / "none.gpkg", "missing_roads", 1, "open")
    (tmp_path / "text.gpkg").write_text("no database, and long enough to be looked at as one" * 40)
    with pytest.raises(InputError, match="text.gpkg.*not a database"):
        decide(tmp_path / "text.gpkg", "missing_roads", 1, "open")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE missing_roads SET status = 'done'", "got 'done'"),
        ("UPDATE missing_roads SET candidate = 5", "candidate 5 is there twice"),
        ("ALTER TABLE missing_roads DROP COLUMN confidence", "confidence is missing"),
    ],
)
def test_candidates_that_others_have_changed_are_refused(place, change, said):
    with sqlite3.connect(place.gpkg) as database:
        for name in review.INDEX_FUNCTIONS:
            database.create_function(name, 1, lambda _: None)
        database.execute(change)
    database.close()
    with pytest.raises(InputError, match=said):
        read_candidates(place.gpkg, "missing_roads")


def test_a_killed_writer_leaves_the_former_or_the_new_decision(place):
    for _ in range(2):
        run = subprocess.Popen([sys.executable, "-c", DECIDE_FOR_EVER, place.gpkg], cwd=ROOT, stdout=subprocess.PIPE)
        run.stdout.readline()
        threading.Event().wait(0.05 + 0.1 * np.random.default_rng(run.pid).random())
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        run.stdout.close()
        statuses = read_statuses(place.gpkg, "missing_roads")
        assert {statuses[1], statuses[2]} <= {"accepted", "rejected"} and statuses[3] == statuses[4] == "open"
        with sqlite3.connect(place.gpkg) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
    decide(place.gpkg, "missing_roads", 1, "skipped")  # no lock was left


def test_what_a_killed_writer_left_half_done_is_undone_before_it_is_read(place, tmp_path):
    """GDAL alone refuses to read it (findings/geopackage-after-a-kill.sh)."""
    many = place.frame([place.candidates.geometry[0]] * 2000, candidate=range(2000), confidence=0.5, status="open")
    many.to_file(place.gpkg, layer="missing_roads")
    left = tmp_path / "left"
    with pytest.raises(ZeroDivisionError), review._transaction(place.gpkg) as database:
        database.execute("PRAGMA cache_size = 1")  # pages go to the file as they are changed
        database.execute("UPDATE missing_roads SET status = 'accepted'")
        shutil.copytree(place.gpkg.parent, left)
        1 / 0  # noqa: B018
    assert (left / "map.gpkg-journal").is_file()
    with pytest.raises(pyogrio.errors.DataSourceError, match="readonly"):
        pyogrio.read_dataframe(left / "map.gpkg", layer="missing_roads")
    assert set(read_candidates(left / "map.gpkg", "missing_roads")["status"]) == {"open"}
    assert not (left / "map.gpkg-journal").exists()


def test_a_transaction_that_did_not_end_never_was(place):
    with pytest.raises(ZeroDivisionError), review._transaction(place.gpkg) as database:
        database.execute("UPDATE missing_roads SET status = 'accepted'")
        1 / 0  # noqa: B018
    assert set(read_statuses(place.gpkg, "missing_roads").values()) == {"open"}


def test_two_people_do_not_undo_each_others_decisions(place, monkeypatch):
    monkeypatch.setattr(review, "PATIENCE_S", 600.0)

    def work(numbers):
        for number in numbers * 10:
            decide(place.gpkg, "missing_roads", number, "accepted")

    threads = [threading.Thread(target=work, args=([number],)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(read_statuses(place.gpkg, "missing_roads").values()) == ["accepted"] * 3 + ["open"]
    mine, theirs = Review(place.gpkg, "missing_roads"), Review(place.gpkg, "missing_roads")
    theirs.decide("rejected")
    theirs.undo()
    mine.step(1)
    mine.decide("skipped")
    theirs.decide("rejected")
    assert theirs.counts() == {"open": 0, "accepted": 2, "rejected": 1, "skipped": 1}
    decide(place.gpkg, "missing_roads", 4, "accepted")
    assert not theirs.undo() and read_statuses(place.gpkg, "missing_roads")[4] == "accepted"  # decided otherwise since


def test_a_file_that_another_program_holds_is_an_error_in_words(place, monkeypatch):
    monkeypatch.setattr(review, "PATIENCE_S", 0.1)
    other = sqlite3.connect(place.gpkg, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError, match="Another program holds .*map.gpkg"):
        decide(place.gpkg, "missing_roads", 1, "accepted")
    other.close()
    decide(place.gpkg, "missing_roads", 1, "accepted")


def test_candidates_come_surest_or_worst_first_and_only_open_ones_are_asked_for(place):
    assert in_order(place.candidates, "surest")["candidate"].tolist() == [1, 3, 2, 4]
    place.candidates.loc[1, "confidence"] = np.nan
    assert in_order(place.candidates, "worst")["candidate"].tolist() == [4, 3, 1, 2]
    with pytest.raises(ParameterError, match="surest, worst"):
        in_order(place.candidates, "best")
    decide(place.gpkg, "missing_roads", 1, "skipped")
    one = Review(place.gpkg, "missing_roads")
    assert one.current["candidate"] == 3  # the surest is decided
    one.decide("accepted")
    assert one.current["candidate"] == 2
    one.step(-1)
    assert one.current["candidate"] == 3
    assert one.undo() and one.current["candidate"] == 3 and one.counts()["open"] == 3
    assert not one.undo()
    for status in ("accepted", "rejected", "skipped"):
        one.decide(status)
    assert one.counts() == {"open": 0, "accepted": 1, "rejected": 1, "skipped": 2}
    assert read_statuses(place.gpkg, "missing_roads") == {1: "skipped", 2: "rejected", 3: "accepted", 4: "skipped"}


def test_a_new_comparison_keeps_what_was_decided_of_the_same_place(place):
    earlier = place.candidates.assign(status=["accepted", "rejected", "skipped", "accepted"])
    moved = shapely.transform(earlier.geometry[1], lambda xy: xy[::-1] + (1.0, -1.5))  # drawn the other way, and off
    shorter = shapely.segmentize(place.at((100, 50), (100, 100)), 7.0)
    found = place.frame([place.at((20, 60), (80, 60)), moved, shorter], confidence=[0.5, 0.6, 0.7]).to_crs("EPSG:3857")
    new = carry_over(found, earlier)
    assert new["status"].tolist() == ["open", "rejected", "accepted"]
    assert new["candidate"].tolist()[1:] == [2, 1] and new["candidate"].iloc[0] not in (1, 2, 3, 4)
    assert new.geometry.equals(found.geometry)
    again = carry_over(found.iloc[::-1], new)
    assert again.sort_index()["candidate"].tolist() == new["candidate"].tolist()
    # the half of it is another road
    assert carry_over(place.frame([place.at((30, 150), (90, 150))]), earlier)["status"].tolist() == ["open"]


def test_longitudes_of_0_to_360_keep_decisions_and_lose_what_is_rejected():
    lines = [shapely.LineString([(lon, 40.0), (lon, 40.001)]) for lon in (289.001, 289.002)]
    earlier = gpd.GeoDataFrame({"candidate": [1, 2], "status": ["rejected", "open"]}, geometry=lines, crs="EPSG:4326")
    new = carry_over(earlier[["geometry"]], earlier)
    assert new["status"].tolist() == ["rejected", "open"] and new["candidate"].tolist() == [1, 2]
    assert kept(earlier, new)["candidate"].tolist() == [2]


def test_each_earlier_candidate_is_taken_once_by_the_most_alike(place):
    ends = [((100, 42), (100, 100)), ((100, 40), (100, 100)), ((101, 40), (101, 95))]
    found = place.frame([place.at(*line) for line in ends])
    new = carry_over(found, place.candidates.assign(status="rejected"))
    assert new["status"].tolist() == ["open", "rejected", "open"] and new["candidate"].is_unique


@settings(max_examples=25)
@given(st.lists(st.tuples(*[st.integers(0, 10**4)] * 4), max_size=6), st.randoms())
def test_numbers_are_those_of_places_in_any_order(ends, random):
    ends = [(a, b, c, d) for a, b, c, d in dict.fromkeys(ends) if (a, b) < (c, d)]
    lines = [shapely.LineString([(a, b), (c, d)]) for a, b, c, d in ends]
    found = gpd.GeoDataFrame(geometry=lines, crs="EPSG:32635")
    numbers = carry_over(found)["candidate"]
    order = list(range(len(ends)))
    random.shuffle(order)
    assert numbers.is_unique and (numbers >= 0).all()
    turned = found.iloc[order].set_geometry(found.geometry.iloc[order].reverse())
    assert carry_over(turned)["candidate"].tolist() == numbers.iloc[order].tolist()


def test_outlines_are_the_same_by_the_ground_they_share(place):
    house = shapely.box(500_010, 6_699_900, 500_022, 6_699_910)
    houses = [house, translate(house, 30)]
    earlier = place.frame(houses, candidate=[5, 6], status=["rejected", "accepted"])
    found = place.frame([translate(house, 31, 1), translate(house, 6)])
    new = carry_over(found, earlier)
    assert new["status"].tolist() == ["accepted", "open"] and new["candidate"].iloc[0] == 6
    rest = kept(place.frame([house, found.geometry.iloc[0]], area_m2=[120.0, 120.0]), earlier)
    assert len(rest) == 1 and rest.geometry.iloc[0].equals(found.geometry.iloc[0])


def test_rejected_roads_leave_the_map_and_what_they_cross_stays(place):
    assert kept(place.roads, place.candidates) is place.roads
    rest = kept(place.roads, place.candidates.assign(status=["rejected", "accepted", "rejected", "open"]))
    assert [line.equals(other) for line, other in zip(rest.geometry, place.roads.geometry[[0, 2, 4]], strict=True)] == [
        True
    ] * 3
    assert rest["length_m"].tolist() == place.roads["length_m"][[0, 2, 4]].tolist()


def test_a_road_of_which_a_part_is_rejected_is_cut_there(place):
    bend = place.at((30, 150), (100, 150), (170, 150), (170, 190))
    rejected = place.frame([place.at((60, 150), (110, 150))], status=["rejected"])
    roads = [place.at((80, 100), (80, 190)), bend]
    rest = kept(place.frame(roads, length_m=[90.0, 2 * bend.length], name=["b", "a"]), rejected)
    assert rest["name"].tolist() == ["b", "a", "a"]
    assert rest.geometry.iloc[0].equals(roads[0])  # it only crosses
    assert shapely.union_all(rest.geometry[1:]).hausdorff_distance(bend.difference(rejected.geometry[0])) < 0.05
    assert rest["length_m"].sum() == pytest.approx(90 + 2 * (bend.length - 50), abs=0.2)
    assert rest["length_m"].iloc[1:].tolist() == pytest.approx((2 * rest.length[1:]).tolist(), rel=1e-6)


def test_the_filter_gives_a_frame_that_writers_take(place, tmp_path):
    rest = kept(place.roads, place.candidates.assign(status="rejected"))
    rest.to_file(tmp_path / "roads.gpkg", layer="roads")
    assert len(gpd.read_file(tmp_path / "roads.gpkg")) == 1 and list(rest.columns) == list(place.roads.columns)
