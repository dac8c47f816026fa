"""The command: sizes first, then a question, then a city at a time."""

import pytest

from lib.datasets import __main__
from lib.errors import status
from tests.datasets.conftest import tarball, vegas_roads


def main(arguments):
    """Exit status of the command."""
    return status(lambda: __main__.main(arguments))


@pytest.fixture
def command(server, upload, vegas_key, tmp_path, capsys):
    upload(vegas_key, tarball(vegas_roads()))

    def run(*arguments):
        code = main(["spacenet-roads", "--dir", str(tmp_path), "--endpoint", server, *arguments])
        return code, *capsys.readouterr()

    return run


def test_a_city_is_fetched_once_its_size_was_said(command, tmp_path):
    code, out, _ = command("--city", "vegas", "--yes")
    assert code == 0 and "GB" in out.splitlines()[0] and "Vegas: 4 images, 3 with labels, 1 of them empty" in out
    assert (tmp_path / "Vegas" / "roads.gpkg").is_file()


def test_a_file_in_the_place_of_the_folder_is_named(command, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, said = command("--city", "vegas", "--yes", "--dir", str(tmp_path / "file"))
    assert code == 1 and f"error: {tmp_path / 'file'}: expected a folder for the data set" in said


def test_without_a_yes_nothing_is_fetched(command, tmp_path, monkeypatch):
    code, _, said = command("--city", "Vegas")  # no terminal
    assert code == 1 and "add --yes" in said and "GB are free" in said
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert command("--city", "Vegas")[0] == 1 and not list(tmp_path.glob("archives/*"))


@pytest.mark.parametrize(
    ("city", "message"),
    [("Atlantis", "has no city 'Atlantis'; expected one of Vegas"), ("Paris", "is not in the bucket")],
)
def test_what_is_not_there_is_said(command, city, message):
    code, _, said = command("--city", city, "--yes")
    assert code == 1 and message in said
