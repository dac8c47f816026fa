"""A city, from its archives to what chips are cut from."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from lib.chips.jobs import run_jobs
from lib.datasets.archives import unpack
from lib.datasets.catalogue import TERMS, DataSet, image_id
from lib.datasets.labels import DEGREES, labels_of_csv, read_label
from lib.datasets.stretch import PERCENT, Stretch, measure, write_8bit
from lib.errors import InputError
from lib.masks.pixel_shapes import in_pixels
from lib.paths import locked, read_mapping, whole_file, write_whole
from lib.rasters import read_grid
from lib.vectors.buildingio import write_building_csv
from lib.vectors.roadio import without_repeats, write_challenge_csv


def prepare_city(data_set: DataSet, city: str, archives: Iterable[Path], folder: Path) -> dict[str, Any]:
    """
    Unpack a city and write what a source of notebook 1 names; a city that stands is left as it is.

    - `images/ID.tif`: 8-bit GeoTIFFs (`lib.datasets.stretch`), ID such as AOI_2_Vegas_img1
    - `roads.gpkg` or `buildings.gpkg`: the labels of all images, roads with their lanes
    - `truth.csv`: the same in pixels, as the challenge has it, images without any among them: what `lib.apls` and
      `lib.scores` take as truth
    - `unlabelled/ID.tif`: images that no label and no CSV speaks of; where nothing is known is not where nothing is
    - `city.json`: how many there are, the stretch, the archives; written last

    Raises
    ------
    InputError
        If an archive, image or label is damaged or missing; names it. What is done stays for the next call.
    DiskFullError
        If there is no room.
    """
    archives = list(archives)
    folder.mkdir(parents=True, exist_ok=True)
    made_of = [[path.name, path.stat().st_size] for path in archives]
    with locked(folder / "city.json"):
        record = read_mapping(folder / "city.json")
        if record.get("archives") == made_of:
            return record
        raw = folder / "raw"
        place = partial(_place, raw, data_set)
        files: list[Path] = []
        for archive in archives:
            files += unpack(archive, place, files)
        images, labels, tables = _by_kind(files, data_set)
        if not images:
            raise InputError(f"{archives[0]}: expected images in a folder {' or '.join(data_set.images)}, found none")
        grids = {name: read_grid(path) for name, path in images.items()}
        found = {name: read_label(path, data_set.task) for name, path in labels.items() if name in images}
        for table in tables if set(images) - set(found) else []:
            found = _of_table(table, grids, data_set.task) | found  # GeoJSON first: it has the lanes
        if not found:
            raise InputError(f"{archives[0]}: none of its {len(images)} images has labels in {data_set.labels[0]}")
        stretch = measure([images[name] for name in sorted(images)])
        known = {name: folder / ("images" if name in found else "unlabelled") / f"{name}.tif" for name in images}
        jobs = [(images[name], out, stretch) for name, out in known.items()]
        for _ in run_jobs(_write, jobs, len(jobs)):
            pass
        _write_labels(folder, data_set.task, {name: found[name] for name in sorted(found)}, grids)
        record = _record(data_set, city, made_of, images, found, stretch)
        write_whole(folder / "city.json", json.dumps(record, indent=1) + "\n")
        shutil.rmtree(raw)
    return record


def _place(raw: Path, data_set: DataSet, name: PurePosixPath) -> Path | None:
    """Where a member is unpacked to, by the folder that it lies in; None where it is not wanted."""
    suffix, parent = name.suffix.lower(), name.parent.name
    if name.name.startswith("."):  # macOS's "._"
        return None
    if suffix == ".csv":
        return raw / "tables" / name.name
    wanted = {".tif": data_set.images, ".geojson": data_set.labels}.get(suffix, ())
    return raw / parent / name.name if parent in wanted else None


def _by_kind(files: list[Path], data_set: DataSet) -> tuple[dict[str, Path], dict[str, Path], list[Path]]:
    """Id -> image, id -> label, and the CSVs. Of several folders of images, or of labels, the first named counts."""
    kinds = []
    for folders in (data_set.images, data_set.labels):
        there = [name for name in folders if any(path.parent.name == name for path in files)]
        own = [path for path in files if there and path.parent.name == there[0]]
        kinds.append({image_id(path.stem, str(path)): path for path in own})
        if len(kinds[-1]) < len(own):
            raise InputError(f"{own[0].parent}: two files have one id; expected one an image")
    return kinds[0], kinds[1], [path for path in files if path.suffix == ".csv"]


def _of_table(table: Path, grids: dict[str, Any], task: str) -> dict[str, gpd.GeoDataFrame]:
    """Labels of a CSV, if it is one of labels: archives hold other tables, too."""
    try:
        return labels_of_csv(table, grids, task)
    except InputError as error:
        print(f"{table.name} is left out: {error}", flush=True)
        return {}


def _write(job: tuple[Path, Path, Stretch]) -> Path:
    source, out, stretch = job
    return out if out.is_file() and out.stat().st_mtime_ns > source.stat().st_mtime_ns else write_8bit(*job)


def _write_labels(folder: Path, task: str, found: dict[str, gpd.GeoDataFrame], grids: dict[str, Any]) -> None:
    """The labels of all images as one layer, and in pixels."""
    frames = [own.assign(image=name) for name, own in found.items() if len(own)]
    empty = gpd.GeoDataFrame({"image": []}, geometry=[], crs=DEGREES)
    whole = gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), crs=DEGREES) if frames else empty
    kind = {"geometry_type": "LineString" if task == "roads" else "Polygon"}
    with whole_file(folder / f"{task}.gpkg") as part:
        part.unlink()  # the driver writes no database into a file that is there
        whole.to_file(part, layer=task, driver="GPKG", **kind)
    pixels = {name: list(in_pixels(own.geometry.to_numpy(), own.crs, grids[name])) for name, own in found.items()}
    if task == "roads":
        roads = {name: without_repeats([np.array(line.coords) for line in own]) for name, own in pixels.items()}
        write_challenge_csv(folder / "truth.csv", roads)
    else:
        write_building_csv(folder / "truth.csv", pixels)


def _record(
    data_set: DataSet,
    city: str,
    archives: list[list[Any]],
    images: dict[str, Path],
    found: dict[str, gpd.GeoDataFrame],
    stretch: Stretch,
) -> dict[str, Any]:
    return {
        "data_set": data_set.name,
        "city": city,
        "terms": TERMS,
        "images": len(images),
        "labelled": len(found),
        "empty": sum(not len(own) for own in found.values()),
        data_set.task: sum(map(len, found.values())),
        "stretch": asdict(stretch) | {"percent": PERCENT},
        "archives": archives,
    }
