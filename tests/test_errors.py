"""The boundary to libraries: their errors name the file, ours pass, faults of the process are left alone."""

import pytest

from lib.errors import DownloadError, InputError, or_skip, reading


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
