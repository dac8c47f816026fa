"""Unpacking what others packed: the files that are wanted, whole, under names of our own."""

import shutil
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from isal import igzip

from lib.errors import InputError, reading
from lib.paths import whole_file

MOST_MEMBERS = 2_000_000
MOST_FILE_BYTES = 2 << 30  # one image
MOST_GROWTH = 30  # times the archive's size; deflate reaches 1000 on zeros alone
LEAST_ROOM_BYTES = 64 << 20  # a small archive may grow by more
BUFFER_BYTES = 1 << 16  # unpacked at once: tarfile's own 10 KiB take a tenth more time


def unpack(archive: Path, place: Callable[[PurePosixPath], Path | None], known: Iterable[Path] = ()) -> list[Path]:
    """
    Unpack the regular files of a .tar.gz that are wanted; what is there already, as large, is not written again.

    Parameters
    ----------
    archive
        Read once, from its start to its end.
    place
        Member's name -> the file to write, or None: not wanted. No member chooses its own place.
    known
        Files that were unpacked before, from other archives: a second one of the same name is refused.

    Returns
    -------
    files
        In the archive's order.

    Raises
    ------
    InputError
        If the archive is damaged or cut short, holds a link or device, a name that leads out of it, one file twice, or
        more than an archive of its size would: nothing of such a file is left.
    """
    room = max(LEAST_ROOM_BYTES, MOST_GROWTH * archive.stat().st_size)
    seen, files = set(known), []
    with (
        reading(archive, "a whole .tar.gz archive"),
        igzip.open(archive) as unzipped,
        tarfile.open(fileobj=unzipped, mode="r|", bufsize=BUFFER_BYTES) as members,
    ):
        for number, member in enumerate(members):
            if number >= MOST_MEMBERS:
                raise InputError(f"{archive}: more than {MOST_MEMBERS:,} members; it is not unpacked further")
            tarfile.data_filter(member, str(archive.parent))  # raises for what leads elsewhere, links out, devices
            path = place(PurePosixPath(member.name)) if member.isfile() else None
            if path is None:
                continue
            room -= member.size
            if member.size > MOST_FILE_BYTES or room < 0:
                raise InputError(f"{archive}: {member.name} makes it larger than an archive of images is; not unpacked")
            if path in seen:
                raise InputError(f"{archive}: {member.name} is there twice; expected each image and label once")
            seen.add(path)
            files.append(path)
            if not (path.is_file() and path.stat().st_size == member.size):
                with whole_file(path) as part, part.open("wb") as out:
                    shutil.copyfileobj(members.extractfile(member), out)
    return files
