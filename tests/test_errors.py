"""The boundary to libraries: their errors name the file, ours pass, faults of the process are left alone."""

import subprocess
import sys

import nbclient
import nbformat
import pytest

from lib.errors import STOPPED, DownloadError, InputError, or_skip, reading, run
from lib.paths import ROOT


@pytest.mark.parametrize(
    "error", [RuntimeError("bad  block\nat 3"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), KeyError("IHDR")]
)
def test_an_error_of_a_library_names_the_file(error):
    said = "^town.tif: expected an image, but it cannot be read as one: ."
    with pytest.raises(InputError, match=said) as caught, reading("town.tif", "an image"):
        raise error
    assert caught.value.__cause__ is error and "\n" not in str(caught.value)


def test_a_missing_file_is_said_to_be_missing():
    with pytest.raises(InputError, match="^gone.tif: no such file; expected an image"), reading("gone.tif", "an image"):
        open("/no/such/file")  # noqa: PTH123, SIM115


@pytest.mark.parametrize("error", [DownloadError("away"), InputError("as it is")])
def test_own_errors_pass_as_they_are(error):
    with pytest.raises(type(error)) as caught, reading("a", "b"):
        raise error
    assert caught.value is error


def test_an_interrupt_is_no_fault_of_the_file():
    with pytest.raises(KeyboardInterrupt), reading("a", "b"):
        raise KeyboardInterrupt


def test_skipping_notes_the_reason(tmp_path):
    skipped = {}
    with or_skip(skipped, tmp_path):
        raise InputError("why")
    assert skipped == {str(tmp_path): "why"}
    with pytest.raises(InputError), or_skip(None, tmp_path):
        raise InputError("why")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (InputError("no town"), 1, "error: no town\n(--traceback shows where)\n"),
        (KeyboardInterrupt(), 130, STOPPED + "\n"),
    ],
)
def test_a_command_says_errors_in_words(error, status, said, capsys, monkeypatch):
    def main():
        raise error

    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(SystemExit) as ended:
        run(main)
    assert (ended.value.code, capsys.readouterr().err) == (status, said)
    monkeypatch.setattr("sys.argv", ["command", "--traceback"])
    with pytest.raises(type(error)):
        run(main)


def test_a_fault_of_the_code_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("sys.argv", ["command"])
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)


@pytest.mark.parametrize("command", ["lib.apls a.csv b.csv", "lib.networks.export a b", "lib.show.reports my-twon"])
def test_commands_end_in_words(command):
    call = [sys.executable, "-m", *command.split()]
    ran = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and ran.stderr.startswith("error: ") and "Traceback" not in ran.stderr


def test_a_notebook_says_errors_in_words():
    cells = ["from lib.errors import say_in_words, InputError\nsay_in_words(get_ipython())"]
    cells += ["raise InputError('no town')", "%tb", "raise KeyboardInterrupt", "1 // 0"]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(
        book, allow_errors=True, kernel_name="python3", resources={"metadata": {"path": ROOT}}
    ).execute()
    said = [cell.outputs[0]["traceback"] for cell in book.cells[1:]]
    assert said[0][0] == "InputError: no town" and said[2][0] == STOPPED
    assert [len(lines) > 2 for lines in said] == [False, True, False, True]
