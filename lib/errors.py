"""The few exceptions of the project; each is also the builtin that a caller would expect."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

TRACEBACK = "--traceback"  # anywhere in a command's line: an error comes with the lines of code that it passed
STOPPED = "Stopped. What was finished is kept: the same call goes on from there."


class PPLinkNetError(Exception):
    """Base of all errors raised on purpose: says what was expected, what came, and what to do."""


class InputError(PPLinkNetError, ValueError):
    """A file, raster, vector or table is not what it should be."""


class ParameterError(PPLinkNetError, ValueError):
    """A parameter is unknown, of the wrong type, or out of range."""


class DownloadError(PPLinkNetError, ConnectionError):
    """A server could not be reached or answered with a failure."""


class WorkerError(PPLinkNetError, ChildProcessError):
    """A process that helps has died, again and again."""


class CheckpointError(PPLinkNetError, ValueError):
    """A checkpoint is missing, damaged, or does not fit the network or task."""


class BusyError(PPLinkNetError, BlockingIOError):
    """Another process works on the same folder or file."""


class DiskFullError(PPLinkNetError, OSError):
    """A disk, or this user's share of it, has no room for a file; `errno` is ENOSPC, `filename` the file."""


class PPLinkNetWarning(UserWarning):
    """A result will come, but will not mean what one might think."""


@contextmanager
def reading(path: str | Path, expected: str) -> Iterator[None]:
    """
    The one boundary to the libraries that read files: whatever they raise becomes an InputError that names the file.

    Around calls of libraries only, so that no fault of our own code passes for a fault of the file.

    Parameters
    ----------
    path
        The file.
    expected
        What it should be, such as "a vector file (GeoPackage, GeoParquet, GeoJSON)".
    """
    try:
        yield
    except PPLinkNetError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected {expected}.") from error
    except Exception as error:  # noqa: BLE001  GDAL, pyogrio, libosmium, OpenCV and Pillow raise what they like
        said = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{path}: expected {expected}, but it cannot be read as one: {said}") from error


@contextmanager
def or_skip(skipped: dict[str, str] | None, path: str | Path) -> Iterator[None]:
    """Note an InputError over a file in `skipped` (file -> reason) and go on; raise it where `skipped` is None."""
    try:
        yield
    except InputError as error:
        if skipped is None:
            raise
        skipped[str(path)] = str(error)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command to the end of its process, see `status`."""
    sys.exit(status(main))


def status(main: Callable[[], int | None]) -> int:
    """
    Exit status of a command: its own, or 1 after an error of ours and 130 after an interrupt, which are said in words.

    With TRACEBACK in the command's line they come as they are.
    """
    in_full = TRACEBACK in sys.argv
    sys.argv = [word for word in sys.argv if word != TRACEBACK]
    try:
        return main() or 0
    except PPLinkNetError as error:
        if in_full:
            raise
        notes = [note for note in getattr(error, "__notes__", ()) if "\n" not in note]  # no traceback of a worker
        print(f"error: {error}", *notes, f"({TRACEBACK} shows where)", sep="\n", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if in_full:
            raise
        print(STOPPED, file=sys.stderr)
        return 130  # what a shell reports of a process that Ctrl-C ended


def say_in_words(shell: Any) -> None:
    """
    In a notebook, an error of ours or an interrupt ends a cell in two lines instead of a traceback; `%tb` shows that.

    Parameters
    ----------
    shell
        What IPython's `get_ipython()` returns.
    """

    def show(
        shell: Any, kind: type[BaseException], error: BaseException, trace: TracebackType, tb_offset: int | None = None
    ) -> list[str]:
        sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace  # where %tb looks
        said = STOPPED if kind is KeyboardInterrupt else f"{kind.__name__}: {error}"
        lines = [said, "(%tb in a cell below shows where)"]
        shell._showtraceback(kind, error, lines)
        return lines

    shell.set_custom_exc((PPLinkNetError, KeyboardInterrupt), show)
