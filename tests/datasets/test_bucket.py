"""Downloads that are whole, or go on, or say why not; from a server that speaks S3."""

import hashlib
import json

import numpy as np
import obstore
import pytest
from obstore.exceptions import GenericError

from lib.datasets import bucket as room
from lib.datasets.bucket import agrees, fetch, open_bucket, remote_file
from lib.errors import DownloadError

DATA = np.random.default_rng(0).bytes(6_000_000)
KEY = "spacenet/a/tarballs/a.tar.gz"


@pytest.mark.parametrize("part_bytes", [None, 5 << 20])
def test_what_comes_is_what_is_there_and_comes_once(bucket, upload, tmp_path, part_bytes):
    upload(KEY, DATA, part_bytes)
    file = remote_file(bucket, KEY)
    assert file.size_bytes == len(DATA) and ("-2" in file.e_tag) == bool(part_bytes)
    told = []
    path = fetch(bucket, file, tmp_path, lambda have, size: told.append((have, size)))
    assert path == tmp_path / "a.tar.gz" and path.read_bytes() == DATA and told[-1] == (len(DATA), len(DATA))
    assert agrees(path, file.e_tag) is True
    before = path.stat().st_mtime_ns
    fetch(bucket, file, tmp_path, lambda *_: pytest.fail("fetched again"))
    assert path.stat().st_mtime_ns == before and not list(tmp_path.glob("*.part*"))


class Cut:
    """A connection that breaks after a megabyte, each time."""

    def __init__(self, get):
        self.get, self.offsets = get, []

    def __call__(self, store, key, options):
        self.offsets.append(options["range"]["offset"])
        self.chunks = self.get(store, key, options=options).stream(min_chunk_size=1 << 20)
        return self

    def stream(self, min_chunk_size):
        yield bytes(next(iter(self.chunks)))[: 1 << 20]
        raise GenericError("connection reset")


def test_a_connection_that_breaks_is_taken_up_where_it_broke(bucket, upload, tmp_path, monkeypatch):
    upload(KEY, DATA)
    cut = Cut(obstore.get)
    monkeypatch.setattr(room.obstore, "get", cut)
    path = fetch(bucket, remote_file(bucket, KEY), tmp_path)
    assert path.read_bytes() == DATA
    assert cut.offsets == sorted(cut.offsets) and len(set(cut.offsets)) == 6


def test_a_killed_download_goes_on_with_the_rest(bucket, upload, tmp_path):
    upload(KEY, DATA)
    file = remote_file(bucket, KEY)
    with pytest.raises(KeyboardInterrupt):
        fetch(bucket, file, tmp_path, _interrupt)
    (tmp_path / "a.tar.gz.part").write_bytes(DATA[:1_000_000])
    told = []
    assert fetch(bucket, file, tmp_path, lambda have, _: told.append(have)).read_bytes() == DATA
    assert told[0] > 1_000_000


def test_a_part_of_another_content_is_begun_anew(bucket, upload, tmp_path):
    upload(KEY, DATA)
    (tmp_path / "a.tar.gz.part").write_bytes(b"x" * 1000)
    (tmp_path / "a.tar.gz.part.json").write_text(json.dumps({"key": KEY, "size_bytes": len(DATA), "e_tag": "old"}))
    assert fetch(bucket, remote_file(bucket, KEY), tmp_path).read_bytes() == DATA


def test_a_part_that_was_damaged_on_the_disk_is_found_by_its_checksum(bucket, upload, tmp_path):
    upload(KEY, DATA)
    file = remote_file(bucket, KEY)
    with pytest.raises(KeyboardInterrupt):
        fetch(bucket, file, tmp_path, _interrupt)
    (tmp_path / "a.tar.gz.part").write_bytes(b"x" * 1000)
    with pytest.raises(DownloadError, match="not what the bucket has"):
        fetch(bucket, file, tmp_path)
    assert fetch(bucket, file, tmp_path).read_bytes() == DATA


def test_what_is_not_there_and_who_does_not_answer(bucket, upload, tmp_path, monkeypatch):
    with pytest.raises(DownloadError, match="is not in the bucket"):
        remote_file(bucket, "spacenet/nothing.tar.gz")
    upload(KEY, DATA)
    file = remote_file(bucket, KEY)
    upload(KEY, DATA[::-1])  # changed since it was asked for
    with pytest.raises(DownloadError, match="stopped at 0 of 6,000,000 bytes"):
        fetch(bucket, file, tmp_path)
    monkeypatch.setattr(room.obstore, "head", _refused)
    with pytest.raises(DownloadError, match="can't be reached for .*refused"):
        remote_file(open_bucket(endpoint="http://127.0.0.1:9"), KEY)


@pytest.mark.parametrize(
    ("e_tag", "expected"),
    [
        (hashlib.md5(b"abc").hexdigest(), True),
        (hashlib.md5(b"abd").hexdigest(), False),
        ("f" * 32 + "-3", None),
        ("", None),
    ],
)
def test_what_an_e_tag_says(e_tag, expected, tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert agrees(tmp_path / "a", e_tag) is expected


def _interrupt(*_):
    raise KeyboardInterrupt


def _refused(*_):
    raise GenericError("connection refused")
