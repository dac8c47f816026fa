"""Files are written whole; one process at a time holds a path."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from lib import paths
from lib.errors import BusyError, InputError
from lib.paths import ROOT, locked, made_folder, write_whole

HOLD = """
import sys
from pathlib import Path
from lib.paths import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds `chips` until its input is closed."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "chips"], cwd=ROOT, **pipes) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_who_holds_a_path_is_named_and_a_killed_holder_frees_it(holder, tmp_path):
    with pytest.raises(BusyError, match=f"process {holder.pid}.*chips.*Wait for it"), locked(tmp_path / "chips"):
        pass
    with locked(tmp_path / "other"):
        pass
    holder.kill()
    holder.wait()
    with locked(tmp_path / "chips"):
        assert (tmp_path / "chips.lock").read_text() == str(os.getpid())


def test_patience_waits_for_the_holder_and_for_no_longer(holder, tmp_path, monkeypatch):
    pauses, now_s = [], [0.0]

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            holder.communicate()
        time.sleep(seconds)

    monkeypatch.setattr(paths, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    with locked(tmp_path / "chips", patience_s=600):
        assert len(pauses) == 3 and holder.returncode == 0
        clock = {"monotonic": lambda: now_s[0], "sleep": lambda seconds: now_s.append(now_s.pop() + seconds)}
        monkeypatch.setattr(paths, "time", SimpleNamespace(**clock))
        with pytest.raises(BusyError), locked(tmp_path / "chips", patience_s=0.2):
            pass
        assert 0.2 <= now_s[0] < 0.3


def test_an_error_inside_frees_the_path(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "chips"):
        1 / 0  # noqa: B018
    with locked(tmp_path / "chips"):
        pass


def test_what_is_in_the_way_of_a_file_or_a_folder_is_named(tmp_path):
    file = write_whole(tmp_path / "a.tif", "a file")
    for wrong in (file, file / "below"):
        with pytest.raises(InputError, match=f"^{wrong}: expected a place for maps, but no folder can be made there: "):
            made_folder(wrong, "a place for maps")
    with pytest.raises(InputError, match="a.tif: expected the folder of b, but no folder can be made there"):
        write_whole(file / "b", "")
    with pytest.raises(InputError, match=f"^{tmp_path}: expected a file to write, but that is a folder"):
        write_whole(tmp_path, "")
    assert list(tmp_path.iterdir()) == [file] and file.read_text() == "a file"
