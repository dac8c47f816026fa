"""
Files of a public bucket, without an account: their sizes, and a download that goes on where it stopped.

By obstore: anonymous requests are one option (`skip_signature`), it streams ranges, tries again by itself, and is one
wheel of a few megabytes; boto3 would do as much with six packages, and its transfers can't go on after a kill.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from lib.datasets.catalogue import BUCKET, REGION
from lib.errors import DownloadError
from lib.paths import locked, read_mapping, room_for, write_whole

TRIES = 5  # in a row that bring no byte: obstore has tried each for itself by then
CHUNK_BYTES = 8 << 20
MIB = 1 << 20
# sizes of the parts of an upload, MiB: the defaults of the AWS tools and what people choose
PART_MIB = (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 200, 256, 512, 1024)


@dataclass(frozen=True)
class RemoteFile:
    """A file of a bucket: its key, its size, and the ETag by which S3 tells one content from another."""

    key: str
    size_bytes: int
    e_tag: str


def open_bucket(bucket: str = BUCKET, endpoint: str = "") -> S3Store:
    """The bucket, read without an account; `endpoint` is the address of a mirror that speaks S3."""
    mirror = {"endpoint": endpoint, "virtual_hosted_style_request": False} if endpoint else {}
    options = {"allow_http": endpoint.startswith("http://"), "timeout": "300s"}
    return S3Store(bucket, region=REGION, skip_signature=True, client_options=options, **mirror)


def remote_file(bucket: S3Store, key: str) -> RemoteFile:
    """
    What a bucket says of a file.

    Raises
    ------
    DownloadError
        If there is no such file, or the bucket can't be reached.
    """
    try:
        found = obstore.head(bucket, key)
    except FileNotFoundError as error:
        raise DownloadError(f"{key} is not in the bucket: has its publisher moved it?") from error
    except (BaseError, OSError) as error:
        raise DownloadError(f"the bucket can't be reached for {key}: {_said(error)}") from error
    return RemoteFile(key, found["size"], (found["e_tag"] or "").strip('"'))


Progress = Callable[[int, int], None]  # bytes that are there, and all that there are


def fetch(bucket: S3Store, file: RemoteFile, folder: Path, progress: Progress = lambda *_: None) -> Path:
    """
    Bring a file into a folder, under the name that its key ends in; one that is there is not fetched again.

    It grows as NAME.part beside NAME.part.json, which says of what content it is a part: the next call, after whatever
    ended this one, asks for the rest alone. What is whole is compared by size and ETag (`agrees`) before it gets its
    name.

    Parameters
    ----------
    progress
        Called with the bytes that are there, and all that there are.

    Raises
    ------
    DownloadError
        If the bucket fails TRIES times in a row, or what came is not what it has.
    DiskFullError
        If the disk is full; the next call goes on.
    BusyError
        If another process fetches it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file.key.rpartition("/")[2]
    record, part = path.with_name(f"{path.name}.json"), path.with_name(f"{path.name}.part")
    part_record, own = part.with_name(f"{part.name}.json"), asdict(file)
    with locked(path):
        if path.is_file() and path.stat().st_size == file.size_bytes and read_mapping(record) == own:
            return path
        if read_mapping(part_record) != own:
            part.unlink(missing_ok=True)
            write_whole(part_record, json.dumps(own))
        part.touch()
        _fetch_rest(bucket, file, part, progress)
        if part.stat().st_size != file.size_bytes or agrees(part, file.e_tag) is False:
            part.unlink()
            raise DownloadError(
                f"{file.key}: what came is not what the bucket has (by size and checksum); it was deleted. Run again."
            )
        part.replace(path)
        part_record.replace(record)
    return path


def _fetch_rest(bucket: S3Store, file: RemoteFile, part: Path, progress: Progress) -> None:
    failed = 0
    while (have := part.stat().st_size) < file.size_bytes:
        try:
            options = {"range": {"offset": have}} | ({"if_match": file.e_tag} if file.e_tag else {})
            chunks = obstore.get(bucket, file.key, options=options).stream(min_chunk_size=CHUNK_BYTES)
            with room_for(part), part.open("ab") as out:
                for chunk in chunks:
                    out.write(chunk)
                    progress(out.tell(), file.size_bytes)
        except (BaseError, ConnectionError, TimeoutError, FileNotFoundError) as error:
            failed = failed + 1 if part.stat().st_size == have else 0
            if failed == TRIES or isinstance(error, FileNotFoundError):
                raise DownloadError(
                    f"{file.key}: stopped at {part.stat().st_size:,} of {file.size_bytes:,} bytes: {_said(error)}. Run "
                    "again: it goes on from there."
                ) from error
        else:
            if part.stat().st_size == have:
                break


def agrees(path: Path, e_tag: str) -> bool | None:
    """
    Whether a file has the content that an ETag of S3 stands for; None where that can't be told.

    It is the MD5 of what was uploaded at once; of what was uploaded in N parts, "-N" after the MD5 of their MD5s. How
    large they were is not said: the sizes of PART_MIB that make N parts are tried.
    """
    digest, _, parts = e_tag.partition("-")
    if len(digest) != 32 or (parts and not parts.isdigit()):
        return None  # encrypted by a key, or another server's
    if not parts:
        return _md5s(path, max(1, path.stat().st_size))[0].hex() == digest
    sizes = [mib * MIB for mib in PART_MIB if -(-path.stat().st_size // (mib * MIB)) == int(parts)]
    found = [hashlib.md5(b"".join(_md5s(path, size)), usedforsecurity=False).hexdigest() == digest for size in sizes]
    return True if any(found) else None


def _md5s(path: Path, part_bytes: int) -> list[bytes]:
    """MD5 of each part of a file; one of an empty file."""
    digests, left = [], 0
    with path.open("rb") as file:
        while True:
            if left == 0:
                digests.append(hashlib.md5(usedforsecurity=False))
                left = part_bytes
            chunk = file.read(min(left, CHUNK_BYTES))
            if not chunk:
                break
            digests[-1].update(chunk)
            left -= len(chunk)
    whole = digests[:-1] if len(digests) > 1 and left == part_bytes else digests
    return [digest.digest() for digest in whole]


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
