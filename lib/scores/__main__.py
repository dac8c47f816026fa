"""SpaceNet's F1 of proposed buildings, from files; roads: `python -m lib.apls`."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lib.apls.report import image_beside
from lib.errors import run
from lib.vectors.buildingio import Buildings, check_buildings, read_building_csv, read_building_vectors
from lib.vectors.buildings import IOU_THRESHOLD, score_buildings

CITY = re.compile(r"AOI_\d+_[A-Za-z]+")


def main(arguments: Sequence[str] | None = None) -> int:
    """Score two files: CSV of the images on stdout, sums on stderr; 1 if a file was refused."""
    parser = argparse.ArgumentParser(prog="python -m lib.scores", description="SpaceNet's F1 of proposed buildings.")
    parser.add_argument("truth", help="CSV (.gz) of ImageId and PolygonWKT_Pix or WKT_Pix, or one GeoJSON, GeoPackage")
    parser.add_argument("proposal", help="the same; a column Confidence says which polygons come first")
    parser.add_argument("--iou", type=float, default=IOU_THRESHOLD, help="from which one counts; default: %(default)s")
    parser.add_argument("--grid", help="image whose pixels vector files are brought to")
    options = parser.parse_args(arguments)
    grid = None
    if options.grid:
        from lib.rasters import read_grid

        grid = read_grid(options.grid)
    sides = [Path(options.truth), Path(options.proposal)]
    tables = [path.name.lower().endswith((".csv", ".csv.gz")) for path in sides]
    (truth, _), (proposed, sure) = (
        read_building_csv(path) if table else read_building_vectors(path, grid, rated)
        for path, table, rated in zip(sides, tables, (False, True), strict=True)
    )
    for side, path in zip((truth, proposed), sides, strict=True):
        if isinstance(side, dict):  # all images at once: a single one may hold no more than a speck
            check_buildings([polygon for polygons in side.values() for polygon in polygons], path)
    image = _image(truth, proposed, *sides)  # of a side that is a vector file
    truth, proposed = (side if isinstance(side, dict) else {image: side} for side in (truth, proposed))
    sure = {image: sure} if isinstance(sure, list) else sure
    images, cities, total = score_buildings(truth, proposed, _city_of, options.iou, sure)
    images.drop(columns="city").to_csv(sys.stdout, index=False, float_format="%.12f")
    if len(cities) > 1:
        print(cities.round(4).to_string(index=False), file=sys.stderr)
    shown = ", ".join(f"{name} {value:.6f}" for name, value in total.items() if len(cities) > 1 or "cities" not in name)
    print(f"{len(images)} images, IoU of at least {options.iou:g}: {shown}", file=sys.stderr)
    return 0


def _image(truth: Buildings | list, proposed: Buildings | list, truth_path: Path, proposal_path: Path) -> str:
    """Image that a vector file is of: the CSV's only one beside it, or the one called like it, as `lib.apls` has it."""
    if isinstance(truth, dict) and isinstance(proposed, dict):
        return ""
    table, vector = (truth, proposal_path) if isinstance(truth, dict) else (proposed, truth_path)
    return image_beside(table, vector) if isinstance(table, dict) else proposal_path.stem


def _city_of(image: str) -> str:
    found = CITY.search(image)
    return found[0] if found else ""


if __name__ == "__main__":
    run(main)
