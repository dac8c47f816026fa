"""Where things lie: found from the package, never from the working directory."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

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
