"""The few exceptions of the project; each is also the builtin that a caller would expect."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class PPLinkNetError(Exception):
    """Base of all errors raised on purpose: says what was expected, what came, and what to do."""


class InputError(PPLinkNetError, ValueError):
    """A file, raster, vector or table is not what it should be."""


class ParameterError(PPLinkNetError, ValueError):
    """A parameter is unknown, of the wrong type, or out of range."""


class DownloadError(PPLinkNetError, ConnectionError):
    """A server could not be reached or answered with a failure."""


class CheckpointError(PPLinkNetError, ValueError):
    """A checkpoint is missing, damaged, or does not fit the network or task."""


@contextmanager
def or_skip(skipped: dict[str, str] | None, path: Path) -> Iterator[None]:
    """Note an InputError over a file in `skipped` (file -> reason) and go on; raise it where `skipped` is None."""
    try:
        yield
    except InputError as error:
        if skipped is None:
            raise
        skipped[str(path)] = str(error)
