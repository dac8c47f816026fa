"""SpaceNet's F1 of proposed buildings, from files; roads: `python -m lib.apls`."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lib.errors import InputError, ParameterError
from lib.vectors.buildingio import Buildings, read_building_csv, read_building_vectors
from lib.vectors.buildings import IOU_THRESHOLD, score_buildings

CITY = re.compile(r"AOI_\d+_[A-Za-z]+")


def main(arguments: Sequence[str] | None = None) -> int:
    """Score two files: CSV of the images on stdout, sums on stderr; 1 if a file was refused."""
    parser = argparse.ArgumentParser(prog="python -m lib.scores", description="SpaceNet's F1 of proposed buildings.")
    parser.add_argument("truth", help="CSV of ImageId and PolygonWKT_Pix or WKT_Pix, or one GeoJSON / GeoPackage")
    parser.add_argument("proposal", help="the same; a column Confidence says which polygons come first")
    parser.add_argument("--iou", type=float, default=IOU_THRESHOLD, help="from which one counts; default: %(default)s")
    parser.add_argument("--grid", help="image whose pixels vector files are brought to")
    options = parser.parse_args(arguments)
    try:
        grid = None
        if options.grid:
            from lib.rasters import read_grid

            grid = read_grid(options.grid)
        sides = [Path(options.truth), Path(options.proposal)]
        tables = [path.suffix.lower() == ".csv" for path in sides]
        (truth, _), (proposed, sure) = (
            read_building_csv(path) if table else ({"": read_building_vectors(path, grid)}, None)
            for path, table in zip(sides, tables, strict=True)
        )
        if tables[0] != tables[1]:  # a vector file is of one image: the table has to be, too
            truth, proposed = _named_alike(truth, proposed, *sides)
            sure = sure and {name: sure[name] for name in proposed if name in sure}
        images, cities, total = score_buildings(truth, proposed, _city_of, options.iou, sure)
    except (InputError, ParameterError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    images.drop(columns="city").to_csv(sys.stdout, index=False, float_format="%.12f")
    if len(cities) > 1:
        print(cities.round(4).to_string(index=False), file=sys.stderr)
    shown = ", ".join(f"{name} {value:.6f}" for name, value in total.items() if len(cities) > 1 or "cities" not in name)
    print(f"{len(images)} images, IoU of at least {options.iou:g}: {shown}", file=sys.stderr)
    return 0


def _named_alike(truth: Buildings, proposed: Buildings, *paths: Path) -> tuple[Buildings, Buildings]:
    """Both sides under the name of the one image that the CSV of them has."""
    table, other = (truth, proposed) if "" in proposed else (proposed, truth)
    if len(table) > 1:
        raise InputError(
            f"{paths[0]} and {paths[1]}: expected one image beside a vector file, got {len(table)} in the CSV"
        )
    name = next(iter(table), "")
    return ({name: truth[""]}, proposed) if other is truth else (truth, {name: proposed[""]})


def _city_of(image: str) -> str:
    found = CITY.search(image)
    return found[0] if found else ""


if __name__ == "__main__":
    sys.exit(main())
