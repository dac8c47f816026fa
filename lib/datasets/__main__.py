"""Fetch and prepare a data set by name, a city at a time: see `lib.datasets`."""

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lib.datasets.bucket import RemoteFile, fetch, open_bucket, remote_file
from lib.datasets.catalogue import BUCKET, DATA_SETS, TERMS, data_set
from lib.datasets.prepare import prepare_city
from lib.errors import run
from lib.paths import made_folder, resolve

NEEDED = 4.0  # times the archive's size, on the disk, until a city is done: archive, its images, and 8-bit ones


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch and prepare; 1 if something was refused or failed, with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m lib.datasets", description="Data sets by name: fetch, prepare.")
    parser.add_argument("name", choices=list(DATA_SETS))
    parser.add_argument("--city", nargs="+", help="which of its cities; without it they are listed with their sizes")
    parser.add_argument("--dir", help="where it is written; default: data/NAME")
    parser.add_argument("--yes", action="store_true", help="do not ask before the download")
    parser.add_argument("--endpoint", default="", help="address of a mirror of the bucket that speaks S3")
    options = parser.parse_args(arguments)
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    chosen = data_set(options.name)
    bucket = open_bucket(BUCKET, options.endpoint)
    folder = resolve(options.dir or f"data/{chosen.name}")
    cities = chosen.chosen(options.city or list(chosen.archives))
    files = {city: [remote_file(bucket, key) for key in chosen.archives[city]] for city in cities}
    for city in cities:
        print(f"{city:10} {_size(files[city]):>10}  {', '.join(file.key for file in files[city])}")
    if not options.city:
        print(f"{TERMS}. Choose: python -m lib.datasets {chosen.name} --city {cities[0]}")
        return 0
    for city in cities:  # a city at a time: the next one only once this one stands
        made_folder(folder, "a folder for the data set")
        free = shutil.disk_usage(folder).free
        needed = NEEDED * sum(file.size_bytes for file in files[city])
        room = f"About {needed / 1e9:.1f} GB are needed until it is done, {free / 1e9:.1f} GB are free. {TERMS}."
        if not options.yes and not _agreed(f"{city}: fetch {_size(files[city])} into {folder}? {room} [y/N] "):
            print("nothing was fetched", file=sys.stderr)
            return 1
        archives = [fetch(bucket, file, folder / "archives", _teller(file)) for file in files[city]]
        record = prepare_city(chosen, city, archives, folder / city)
        print(f"{city}: {record['images']} images, {record['labelled']} with labels, {record['empty']} of them empty")
    print(f"The archives in {folder / 'archives'} may go now. Next: make report AREA={chosen.name}")
    return 0


def _agreed(question: str) -> bool:
    """Whether somebody says yes; nobody does where nobody can be asked."""
    if not sys.stdin.isatty():
        print(f"{question}\nnobody can be asked here: add --yes", file=sys.stderr)
        return False
    return input(question).strip().lower() in ("y", "yes")


def _size(files: list[RemoteFile]) -> str:
    return f"{sum(file.size_bytes for file in files) / 1e9:.2f} GB"


def _teller(file: RemoteFile) -> Callable[[int, int], None]:
    """A function that prints about twenty lines of progress."""
    told = -1

    def tell(have: int, size: int) -> None:
        nonlocal told
        if (share := 20 * have // size) > told:
            told = share
            print(f"{Path(file.key).name}: {have / 1e9:.2f} of {size / 1e9:.2f} GB", flush=True)

    return tell


if __name__ == "__main__":
    run(main)
