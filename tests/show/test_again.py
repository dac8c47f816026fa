"""Chips cut again: the command, what is told of it, one at a time, stopped, failed."""

import signal
import sys

import pytest

from lib.errors import BusyError
from lib.parameters import NOTEBOOKS
from lib.show import again

CUTS = "print('reading'); print('40 chips to cut, 2 are there already'); print('20 of 40 chips cut', flush=True)"


@pytest.fixture
def cutting(area, monkeypatch):
    """Makes the box, whose notebook is a line of Python, and waits for its end."""
    _, settled = area("gsd_m: 0.5\n", again.CUTTING, chip_px=64, dx_m=2.0)
    box = again.CutAgain(settled)

    def run(code, wait=True):
        monkeypatch.setattr(again, "notebook_command", lambda *_: [sys.executable, "-u", "-c", code])
        box.start(())
        if wait:
            box.rerun.listener.join(60)
        return box

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores interrupts
    yield run
    signal.signal(signal.SIGINT, before)


def test_the_command_states_what_this_run_was_told_but_not_what_was_saved(area):
    _, settled = area("gsd_m: 0.5\n", again.CUTTING, chip_px=64, dx_m=2.0)
    command = again.notebook_command(again.CUTTING, settled, ["dx_m", "classes"])
    assert command[-1] == '{"chip_px": 64}' and command[3:7] == [
        "lib.show.reports",
        "my-village",
        "--only",
        again.CUTTING,
    ]
    assert again.notebook_command(again.CUTTING, settled, ())[-1] == '{"chip_px": 64, "dx_m": 2.0}'


def test_the_end_says_what_to_run_again(cutting):
    box = cutting(CUTS)
    later = ", ".join(NOTEBOOKS[1:])
    assert f"done: 40 chips cut anew. Run again what learns from them: {later}<" in box.said.value
    assert (box.bar.value, box.bar.max, box.running.layout.display) == (20, 40, "none")
    assert "nothing else is to be run again" in cutting("print('nothing to do')").said.value


def test_a_second_start_is_refused_and_the_first_can_be_stopped(cutting):
    box = cutting("import time; time.sleep(60)", wait=False)
    assert box.running.layout.display == ""
    with pytest.raises(BusyError, match="running already: wait for it, or stop it"):
        box.start(())
    box.stop.click()
    box.rerun.listener.join(60)
    assert not box.rerun.is_running and "stopped: what was cut is kept" in box.said.value
    stopped = box.said.value
    assert cutting(CUTS + "; raise SystemExit(130)").said.value == stopped, "as lib.errors.status has it"
    starting = CUTS + f"; print('{again.INTERRUPTED}'); raise SystemExit(1)"
    assert cutting(starting).said.value == stopped, "before its first line"
    assert "done: 40 chips cut anew" in cutting("print('nothing left')").said.value, "by the one that was stopped"


def test_a_failure_is_said_in_its_words(cutting):
    box = cutting("print('error: no <such> file'); print('a page shows where'); raise SystemExit(1)")
    assert "error: no &lt;such&gt; file" in box.said.value and "color" in box.said.value
    box = cutting("print('last words'); raise SystemExit(-9)")
    assert "ended with status" in box.said.value and "last words" in box.said.value
