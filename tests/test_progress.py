"""Lines that say how far work has come: few, and always the last."""

from types import SimpleNamespace

import pytest

from lib import progress
from lib.progress import counted, now_and_then


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when somebody adds to them."""
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_line_every_few_seconds_and_at_the_end(clock):
    lines, handed = [], []
    for item in counted(range(7), "predicted", "chips", lines.append):
        handed.append(item)
        clock[0] += 2
    assert handed == list(range(7))
    assert lines == [f"predicted {count} of 7 chips" for count in (3, 6, 7)]


def test_nothing_to_do_or_nobody_to_tell_is_silent():
    assert list(counted([], "predicted", "chips", pytest.fail)) == []
    assert list(counted("ab", "predicted", "chips", None)) == ["a", "b"]


def test_a_fault_is_the_workers_own_and_what_was_done_before_is_said(clock):
    lines = []
    with pytest.raises(ZeroDivisionError):
        for item in counted([1, 0], "divided", "numbers", lines.append):
            clock[0] += 9
            1 // item
    assert lines == ["divided 1 of 2 numbers"]


def test_of_many_lines_a_few_are_said(clock):
    lines = []
    say = now_and_then(lines.append)
    for number in range(7):
        say(f"at {number}")
        clock[0] += 2
    assert lines == ["at 3", "at 6"]
