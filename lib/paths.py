"""Where things lie: found from the package, never from the working directory."""

import contextlib
import errno
import fcntl
import functools
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from lib.errors import BusyError, DiskFullError, InputError, PPLinkNetError

ROOT = Path(__file__).resolve().parents[1]  # the checkout: notebooks/, lib/, params/
PARTS = f".*.{'[0-9a-f]' * 12}.tmp*"  # temporary names of `whole_file`
LEAST_FREE_BYTES = 16 << 20  # on a disk with less, what stops a library is the disk, in whatever words it says so


def resolve(path: str | Path) -> Path:
    """Absolute form of `path`; a relative path starts at the project's root, not at the working directory."""
    return (ROOT / Path(path).expanduser()).resolve()


def made_folder(folder: Path, what: str) -> Path:
    """The folder, made with those that it lies in; `what` says for what. InputError where a file is in its way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise InputError(f"{folder}: expected {what}, but no folder can be made there: {error.strerror}.") from error
    return folder


def file_to_write(path: Path) -> Path:
    """A path that a file may be written to, in a folder that is there from now on; InputError where it can't be one."""
    made_folder(path.parent, f"the folder of {path.name}")
    if path.is_dir():
        raise InputError(f"{path}: expected a file to write, but that is a folder: name a file in it.")
    return path


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """
    A temporary name beside `path`: what the block writes there is renamed over `path`, or is gone if it fails.

    So a file is whole or is not there, however its writer ends. What a killed one leaves is removed by the next process
    that writes in the folder. The name keeps the suffix, since some libraries choose by it, and starts with a dot.

    Nothing waits for the disk (fsync). Where a file is replaced, ext4 and btrfs keep the old or the new one through a
    power cut, too; one that is new may be empty after it, so that those who look for finished files take an empty one
    for none. Waiting would add 0.4 ms to the 0.3 ms of a chip's file on the disk of a server, ten and more on others,
    and 60 ms for each 100 MB of a training's state. See `flush`.

    Raises
    ------
    DiskFullError
        If the block fails for want of space; names disk and file.
    InputError
        If the path is a folder, or lies below a file.
    """
    with _part_of(path) as (part, _):
        yield part


@contextlib.contextmanager
def _part_of(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """What `whole_file` says, and the part open for writing: a chip's file is opened once."""
    file_to_write(path)
    sweep(path.parent)
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}.tmp{path.suffix}")  # of one writer, on any machine
    try:
        with room_for(path), _held(part) as file:
            yield part, file
            file.flush()
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Make whatever fails in the block for want of space a DiskFullError that names disk and file."""
    try:
        yield
    except PPLinkNetError:
        raise
    except Exception as error:
        free_bytes = shutil.disk_usage(path.parent).free
        no_space = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not no_space and free_bytes >= LEAST_FREE_BYTES:
            raise
        raise DiskFullError(
            errno.ENOSPC,
            f"No space left on the disk of {path.parent.absolute()} ({free_bytes / 1e6:.0f} MB free): {path.name} was "
            "not written, what was there before stays. Free some space and run again: it goes on from there",
            str(path),
        ) from error


@contextlib.contextmanager
def _held(part: Path) -> Iterator[BinaryIO]:
    """Hold a part as long as its writer lives, so that `sweep` does not take it for a dead one's."""
    with part.open("ab") as file:  # for writing: shared folders give a lock for no less
        with contextlib.suppress(OSError):  # no locks there: its parts stay until they are deleted by hand
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file


@functools.cache
def sweep(folder: Path) -> None:
    """
    Remove what killed writers left in a folder: parts that nobody holds. Once a process, since folders are large.

    Files that a library writes beside a part, and names after it, go or stay with it: nobody holds those.
    """
    held: list[str] = []
    for part in sorted(folder.glob(PARTS)):  # a part before what is named after it
        if part.name.startswith(tuple(held)):
            continue
        try:
            with part.open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
        except OSError:
            held.append(part.name)


def write_whole(path: Path, content: str | bytes) -> Path:
    """
    Write a file whole or not at all, see `whole_file`.

    Raises
    ------
    OSError
        As the system reports it (no permission), with the file's name, or as DiskFullError; the former file is then
        untouched.
    InputError
        If the path is a folder, or lies below a file.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        with _part_of(path) as (_, file):
            file.write(data)
    except DiskFullError:
        raise
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, nothing was written", str(path)) from error
    return path


def flush(*paths: Path) -> None:
    """Wait until files are on the disk, safe from a power cut: before what they replace is deleted."""
    for path in paths:
        with path.open("ab") as file:
            os.fsync(file.fileno())


def read_mapping(path: Path) -> dict[str, Any]:
    """What a JSON file of our own says by name; {} where it is missing, damaged, or no mapping: it is made again."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def file_states(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, bytes and time in ns of those files that are there: other ones where a file has changed, come or gone."""
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.is_file()]


def is_written(path: Path) -> bool:
    """Whether a file is there and has content."""
    return path.is_file() and path.stat().st_size > 0


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


def holder(path: Path) -> str:
    """Number of the process that holds `path`, or held it last; "" where none did."""
    lock = path.with_name(f"{path.name}.lock")
    return lock.read_text() if lock.is_file() else ""
