"""Where things lie: found from the package, never from the working directory."""

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from lib.errors import BusyError

ROOT = Path(__file__).resolve().parents[1]  # the checkout: notebooks/, lib/, params/


def resolve(path: str | Path) -> Path:
    """Absolute form of `path`; a relative path starts at the project's root, not at the working directory."""
    return (ROOT / Path(path).expanduser()).resolve()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`: what the block writes there is renamed over `path`, or is gone if it fails."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")  # of one writer, on whatever machine
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> Path:
    """
    Write a file whole or not at all, see `whole_file`.

    Raises
    ------
    OSError
        As the system reports it (full disk, no permission), with the file's name; the former file is then untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, nothing was written", str(path)) from error
    return path


@contextlib.contextmanager
def locked(path: Path, patience_s: float = 0.0) -> Iterator[None]:
    """
    Hold `path` for this process alone, among all that ask: the system frees it when the process ends, however it ends.

    The lock is on NAME.lock beside `path`, which stays there: removing it could part two processes that wait for it.

    Parameters
    ----------
    path
        What is worked on; it need not exist yet, its folder must.
    patience_s
        How long to wait for another holder, seconds; 0 asks once, math.inf waits for ever.

    Raises
    ------
    BusyError
        If another process still holds it then; names that process.
    """
    deadline_s = time.monotonic() + patience_s
    with path.with_name(f"{path.name}.lock").open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline_s:
                    file.seek(0)
                    raise BusyError(
                        f"Another run (process {file.read().strip() or 'unknown'}) works on {path}. Wait for it, stop "
                        "it, or choose another folder."
                    ) from error
            time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
