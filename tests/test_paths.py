"""Files are written whole; one process at a time holds a path."""

import os
import subprocess
import sys
import time

import pytest

from lib.errors import BusyError
from lib.paths import ROOT, locked

HOLD = """
import sys, time
from pathlib import Path
from lib.paths import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(path, seconds):
    """A process that holds `path`, as soon as it does."""
    command = [sys.executable, "-c", HOLD, path, str(seconds)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_who_holds_a_path_is_named_and_a_killed_holder_frees_it(tmp_path):
    process = holder(tmp_path / "chips", 60)
    try:
        with pytest.raises(BusyError, match=f"process {process.pid}.*chips.*Wait for it"), locked(tmp_path / "chips"):
            pass
        with locked(tmp_path / "other"):
            pass
    finally:
        process.kill()
        process.wait()
    with locked(tmp_path / "chips"):
        assert (tmp_path / "chips.lock").read_text() == str(os.getpid())


def test_patience_waits_for_the_holder_and_for_no_longer(tmp_path):
    process = holder(tmp_path / "chips", 0.5)
    with locked(tmp_path / "chips", patience_s=30):
        start_s = time.monotonic()
        with pytest.raises(BusyError), locked(tmp_path / "chips", patience_s=0.2):
            pass
        assert 0.2 <= time.monotonic() - start_s < 30
    assert process.wait() == 0


def test_an_error_inside_frees_the_path(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "chips"):
        1 / 0  # noqa: B018
    with locked(tmp_path / "chips"):
        pass
