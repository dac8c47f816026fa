"""What archives of strangers may not do, and what cut ones leave behind."""

import tarfile

import pytest

from lib.datasets import archives
from lib.datasets.archives import unpack
from lib.errors import InputError
from tests.datasets.conftest import tarball


@pytest.fixture
def unpacked(tmp_path):
    """Unpacks an archive's .tif files by their names; returns them."""

    def run(content, known=()):
        path = tmp_path / "a.tar.gz"
        path.write_bytes(content)
        return unpack(path, lambda name: tmp_path / "raw" / name.name if name.suffix == ".tif" else None, known)

    return run


def special(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_wanted_files_come_whole_and_a_second_time_not_at_all(unpacked, tmp_path):
    content = tarball({"x/PS-RGB/1.tif": b"one", "x/notes.txt": b"no", "x/PS-RGB/2.tif": b"two"})
    files = unpacked(content)
    assert [path.read_bytes() for path in files] == [b"one", b"two"]
    before = files[0].stat().st_mtime_ns
    files[1].unlink()
    assert unpacked(content) == files and files[0].stat().st_mtime_ns == before and files[1].read_bytes() == b"two"
    assert sorted(p.name for p in (tmp_path / "raw").iterdir()) == ["1.tif", "2.tif"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"../../1.tif": b"x"}, "outside the destination"),
        ({"a": special("a", tarfile.SYMTYPE, "/etc/hostname")}, "absolute path"),
        ({"a": special("a", tarfile.CHRTYPE)}, "special file"),
        ({"a/1.tif": b"x", "b/1.tif": b"y"}, "is there twice"),
    ],
)
def test_members_that_lead_elsewhere_stop_it(unpacked, files, message):
    with pytest.raises(InputError, match=message):
        unpacked(tarball(files))


def test_a_small_archive_does_not_become_a_large_folder(unpacked, monkeypatch):
    monkeypatch.setattr(archives, "LEAST_ROOM_BYTES", 1000)
    with pytest.raises(InputError, match="larger than an archive of images is"):
        unpacked(tarball({"1.tif": bytes(10_000_000)}))
    monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
    with pytest.raises(InputError, match="more than 2 members"):
        unpacked(tarball({f"{n}.txt": b"" for n in range(4)}))


@pytest.mark.parametrize("cut", [0.0, 0.3, 0.9])
def test_a_cut_archive_is_named_and_leaves_no_half_file(unpacked, tmp_path, cut):
    import numpy as np

    noise = np.random.default_rng(0).bytes(50_000)
    content = tarball({"1.tif": noise, "2.tif": noise[::-1]})
    with pytest.raises(InputError, match=r"a\.tar\.gz: expected a whole \.tar\.gz archive"):
        unpacked(content[: int(cut * len(content))])
    assert {p.stat().st_size for p in tmp_path.glob("raw/*")} <= {50_000}
