"""
Study areas from nothing: their params files, and a dry run that says what notebook 1 would find and make.

`python -m lib.areas new my-town --images 'photos/*.tif' --osm roads.gpkg --clean labels.geojson` writes params/my-town
and checks it; `python -m lib.areas check my-town` checks again. Nothing is cut, trained or downloaded.
"""

import argparse
import glob
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import yaml

from lib.chips.emptiness import nothing_labelled, touching
from lib.chips.manifest import LABELS
from lib.chips.merging import find_all_scenes
from lib.chips.naming import as_glob
from lib.chips.options import RASTER_SUFFIXES
from lib.chips.plan import planned
from lib.chips.sources import Scene, by_class, scene_paths, usable
from lib.chips.vectors import read_vectors
from lib.errors import InputError, ParameterError, PPLinkNetWarning, run
from lib.grid import LONLAT, Grid
from lib.layout import layout
from lib.limits import TASKS
from lib.osm.lanes import chosen_lanes, is_drawn
from lib.osm.layers import OsmLayers, area_of_interest
from lib.parameters import NOTEBOOKS, area_name, check, declared, load
from lib.paths import ROOT, resolve, write_whole
from lib.rasters import opened, read_grid

FINEST_GSD_M = 0.25  # smaller pixels show no more of a road
LARGE_PX, LARGE_CHIPS = 512, 24  # side of a chip, and how many of them make it worth taking
COARSE_GSD_M = 1.2  # a street of 6 m is five pixels wide
FEW_CLEAN = 4  # training chips; fewer were never tried
SHOWN = 12  # scenes in the table
NAMED = 5  # bad files; a hundred are mostly bad in one way
# rough: two CPU cores that multiply bfloat16, and a ResNet-34 (docs/performance.md)
TRAINING_S_A_MPX, CUTTING_S_A_MPX = 1.1, 0.15
BYTES_A_PX = 6.0  # a chip's files and its place in the cache
BYTES_OF_RUNS = 0.6e9  # checkpoints and states of three runs
NO_OSM = "none"
HULL_PERCENT, WHOLE_PERCENT = "clean hull, %", 60  # labels that enclose less of a scene are those of a part, perhaps


def new_area(area: str, images: str = "", osm: str = "", clean: str = "", task: str = "roads") -> Path:
    """
    Write the params files of a new area; returns their folder.

    Parameters
    ----------
    area
        Its name.
    images
        Pattern of the scenes, or a folder of them, from the working directory; "" for data/<area>/images/*.tif.
    osm, clean
        A vector file, or mask images such as "masks/{stem}.png", from the working directory. Without `osm` it is
        downloaded; "none" leaves stage 1 out.
    task
        "roads", "buildings" or "roads+buildings".

    Raises
    ------
    ParameterError
        If there is such an area, or its name or task is none.
    InputError
        If there are no such images or labels; nothing is written then.
    """
    folder = ROOT / "params" / area_name(area)
    if folder.exists():
        raise ParameterError(
            f"there is an area {area!r} in {folder}; choose another name, or check it: make check AREA={area}"
        )
    if task not in TASKS:
        raise ParameterError(f"task is {task!r}: expected one of {TASKS}")
    data_dir, pattern, labels = layout(
        images or str(ROOT / "data" / area / "images" / "*.tif"),
        {"osm": osm if osm != NO_OSM else "", "clean": clean},
        must_exist=bool(images),
    )
    source = {"images": pattern} | labels
    if not osm:
        source = {"images": pattern, "osm": "overpass"} | labels
    if len(source) == 1:
        raise ParameterError("without OSM there is nothing but CLEAN to learn from: say where it lies")
    paths, masks = scene_paths(source, resolve(data_dir))
    grids = [read_grid(path, require_crs=False) for path in paths[:SHOWN]]
    gsd_m, chip_px = _fitting(grids, len(paths))
    own = {"task": task}
    chips = {"data_dir": data_dir, "render_sample": False, "sources": [source], "gsd_m": gsd_m, "chip_px": chip_px}
    settings: dict[str, dict[str, Any]] = {"01_rasterize_osm": own | chips | {"clean_chips": 0}}
    if "osm" not in source:
        settings["03_train_stage2"] = own | {
            "start_from": "",
            "network": {"encoder_name": "resnet34", "encoder_weights": "imagenet"},
        }
    if "clean" not in source:
        settings["04_evaluate"] = own | {"test_label": "osm"}
    # a map of several images needs their places; masks hold no roads to compare it with, nor are they to be mapped
    named = [glob.escape(path.relative_to(resolve(data_dir)).as_posix()) for path in paths]
    mapped = (named if masks else [as_glob(pattern)]) if not grids or grids[0].crs else []
    vectors = "" if "{" in source.get("osm", "") else source.get("osm", "")
    settings["05_map_area"] = own | {"data_dir": data_dir, "images": mapped, "osm": vectors}
    texts = {name: _params_text(area, name, settings.get(name, own)) for name in NOTEBOOKS}
    for name, text in texts.items():
        check(name, (yaml.safe_load(text) or {}) | {"area": area})
    for name, text in texts.items():
        write_whole(folder / f"{name}.yaml", text)
    return folder


def _fitting(grids: list[Grid], images: int) -> tuple[float, int]:
    """GSD in metres and side of the chips in pixels that fit the images; those of half a metre where there are none."""
    sizes_m = [grid.gsd_m for grid in grids if grid.crs]
    if not sizes_m:
        return 0.5, LARGE_PX // 2
    gsd_m = round(max(float(np.median(sizes_m)), FINEST_GSD_M), 2)
    ground_m2 = images * np.mean([g.width * g.height * g.gsd_m**2 for g in grids if g.crs])
    return gsd_m, LARGE_PX if ground_m2 / (LARGE_PX * gsd_m) ** 2 >= LARGE_CHIPS else LARGE_PX // 2


def _params_text(area: str, notebook: str, own: Mapping[str, Any]) -> str:
    """A params file: what differs from the notebook's own values, then these, commented out, with what they mean."""
    known = declared(notebook)
    cell = (ROOT / "notebooks" / f"{notebook}.py").read_text()
    lines, others = [], []
    for name, (_, default) in known.items():
        said = re.search(rf"^{name}: \w+ = .*?  # (.*)$", cell, re.MULTILINE)
        meaning = f"  # {said[1]}" if said else ""
        value = own.get(name, default)
        if name in ("area", "work_dir"):
            continue
        if value == default:
            others.append(f"# {name}: {_yaml(default)}{meaning}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            pairs = [(key, item, i) for entry in value for i, (key, item) in enumerate(entry.items())]
            entries = [f"  {' ' if i else '-'} {key}: {_yaml(item)}" for key, item, i in pairs]
            lines += [f"{name}:{meaning}", *entries]
        else:
            lines.append(f"{name}: {_yaml(value)}{meaning}")
    head = [f"# {area}: notebook {notebook}. What stands here wins over the values of its parameters cell."]
    return (
        "\n".join([*head, *lines, "", "# The notebook's own values; take a '# ' away to change one.", *others]) + "\n"
    )


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def check_area(area: str, data_dir: str = "") -> None:
    """
    Print what the notebooks would find and make of an area: scenes, vectors, labels, chips, time, disk, warnings.

    Raises
    ------
    InputError, ParameterError
        If the area can't be cut or learned from as it is; all that is wrong, as far as it can be seen from here.
    """
    values = {notebook: load(area, notebook) for notebook in NOTEBOOKS}
    first = values[NOTEBOOKS[0]]
    folder, task = resolve(data_dir or first["data_dir"]), first["task"]
    if not any(path for source in first["sources"] for path in folder.glob(as_glob(source["images"]))):
        wanted = ", ".join(source["images"] for source in first["sources"])
        if first["render_sample"]:
            print(f"{area}: notebook 1 renders the sample town into {folder} first; nothing to check before")
        else:
            print(f"{area}: no images yet. Put them where {folder} has {wanted}, then: make check AREA={area}")
        return
    skipped: dict[str, str] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PPLinkNetWarning)
        scenes = find_all_scenes(first["sources"], folder, first["gsd_m"], skipped)
        layers = read_vectors([replace(s, source=_at_hand(s.source)) for s in scenes], task, skipped)
        counts = {
            kind: pd.DataFrame([_label_counts(scene, layers, {**first, "task": kind}) for scene in views])
            for kind, views in by_class(scenes, task).items()
        }
        for kind, own in counts.items():
            _print_scenes(scenes, own, kind if len(counts) > 1 else "")
        scenes = usable(scenes, skipped)
        chips = planned(scenes, layers, first) if scenes else pd.DataFrame(columns=["label", "split"])
    if len(chips):
        print("\nchips by label and split:", chips.groupby(["label", "split"]).size().unstack(fill_value=0), sep="\n")
        _print_costs(chips, values)
    said = [str(w.message) for w in caught if issubclass(w.category, PPLinkNetWarning)]
    files = list(skipped.values())
    problems = [*files[:NAMED], *([f"and {len(files) - NAMED} more files"] if len(files) > NAMED else [])]
    for kind, views in by_class(scenes, task).items():
        said += _doubts(views, counts[kind], chips, first)
        problems += _nothing_to_learn(views, counts[kind], kind, of_several=kind != task)
    for line in dict.fromkeys(said):
        print(f"warning: {line}")
    if problems:
        raise InputError("\n  ".join([f"{area} can't be learned from as it is:", *problems]))
    print(f"\nnext: make report AREA={area}")


def _at_hand(source: Mapping[str, Any]) -> dict[str, Any]:
    """A source without labels that are to be downloaded."""
    of_classes = {key: source[key] for key in LABELS if isinstance(source.get(key), Mapping)}
    near = {key: {kind: v for kind, v in label.items() if v != "overpass"} for key, label in of_classes.items()}
    return {key: value for key, value in {**source, **near}.items() if value != "overpass"}


def _label_counts(scene: Scene, layers: Mapping[str, OsmLayers], first: Mapping[str, Any]) -> dict[str, Any]:
    """Label -> lines, polygons and how many of them are drawn, of a scene; masks -> whether the file is there."""
    lanes = chosen_lanes(*(first[name] for name in ("profile", "lane_width_m", "lane_widths_m", "classes")))
    whole, found = (0, 0, scene.grid.width, scene.grid.height), {"scene": scene.name}
    for label, name in scene.label_sources.items():
        if name in layers:
            vectors = getattr(layers[name], first["task"])
            own = vectors.iloc[np.unique(touching(vectors, scene, [whole])[1])]
            dimension = shapely.get_dimensions(own.geometry.to_numpy())
            found |= {f"{label} lines": int((dimension == 1).sum()), f"{label} polygons": int((dimension == 2).sum())}
            if label == "clean":
                found[HULL_PERCENT] = _hull_percent(own, scene)
            found[f"{label} drawn"] = int(is_drawn(own, lanes).sum()) if first["task"] == "roads" else len(own)
        elif Path(name).suffix.lower() in RASTER_SUFFIXES:
            found[f"{label} masks"] = int((scene.data_dir / name).is_file())
        else:
            found[label] = "by notebook 1" if name == "overpass" else "not read"
    return found


def _hull_percent(labels: gpd.GeoDataFrame, scene: Scene) -> int:
    """Share of a scene's ground in the convex hull of its labels, percent; 100 where their `clean_area` is stated."""
    if "clean_area" in scene.source or labels.empty:
        return 100
    ground = area_of_interest(scene.grid)
    points = shapely.multipoints(shapely.get_coordinates(labels.geometry.to_crs(LONLAT).to_numpy()))
    return round(100 * shapely.area(shapely.intersection(shapely.convex_hull(points), ground)) / ground.area)


def _print_scenes(scenes: list[Scene], counts: pd.DataFrame, kind: str) -> None:
    """The table of scenes, with what of the labels lies under each; `kind` says of which of several classes."""
    rows = []
    for scene in scenes[:SHOWN]:
        with opened(scene.path) as file:
            bands = file.count
        size = f"{scene.size_px[0]} x {scene.size_px[1]}"
        rows.append((scene.name, scene.grid.crs or "none", f"{_own_gsd_m(scene):.2f}", bands, size))
    table = pd.DataFrame(rows, columns=["scene", "CRS", "GSD, m", "bands", "px"])
    of = f", {kind}" if kind else ""
    print(f"\n{len(scenes)} scene{'s' * (len(scenes) != 1)}{of}" + f", the first {SHOWN}:" * (len(scenes) > SHOWN))
    print(table.merge(counts, on="scene").fillna("-").to_string(index=False) if len(scenes) else "none")
    totals = counts.drop(columns=["scene", HULL_PERCENT], errors="ignore").sum(numeric_only=True).astype(int)
    if len(totals):
        print("in all scenes: " + ", ".join(f"{total} {name}" for name, total in totals.items()))


def _own_gsd_m(scene: Scene) -> float:
    """Metres a pixel of the scene's file."""
    if not scene.grid.crs:
        return scene.source["gsd_m"]
    return scene.grid.gsd_m * math.sqrt(scene.grid.width * scene.grid.height / math.prod(scene.size_px))


def _print_costs(chips: pd.DataFrame, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Time and disk, by what a pixel took elsewhere."""
    stages = {"osm": values["02_train_stage1"], "clean": values["03_train_stage2"]}
    training_s = 0.0
    for label, stage in stages.items():
        own = int(((chips["label"] == label) & (chips["split"] == "train")).sum())
        crops = stage["epochs"] * (stage["samples_per_epoch"] or own) * bool(own)
        runs = 2 if label == "clean" and stage["compare_scratch"] and stage["start_from"] else 1
        training_s += runs * crops * stage["crop_px"] ** 2 / 1e6 * TRAINING_S_A_MPX
    px = float(chips["px"].sum()) if "px" in chips else 0.0
    minutes = (training_s + px / 1e6 * CUTTING_S_A_MPX) / 60
    print(
        f"rough guess: {max(1, minutes):.0f} minutes on two CPU cores (4 times that without bfloat16, less on a GPU), "
        f"{(px * BYTES_A_PX + BYTES_OF_RUNS) / 1e9:.1f} GB of disk, by the values in params/"
    )


def _doubts(scenes: list[Scene], counts: pd.DataFrame, chips: pd.DataFrame, first: Mapping[str, Any]) -> list[str]:
    """What will run, but not as one might think."""
    said = []
    sizes_m = [_own_gsd_m(scene) for scene in scenes]
    if scenes and max(sizes_m) > COARSE_GSD_M:
        said.append(f"images of {max(sizes_m):.2f} m a pixel show little of roads; 0.2 to 1 m is what this is made for")
    if scenes and min(sizes_m) > 1.5 * first["gsd_m"]:
        said.append(f"the images have {min(sizes_m):.2f} m a pixel, gsd_m is {first['gsd_m']:g}: set it to theirs")
    enclosed = counts.set_index("scene")[HULL_PERCENT] if HULL_PERCENT in counts else pd.Series(dtype=float)
    for name, percent in enclosed[enclosed < WHOLE_PERCENT][:SHOWN].items():
        said.append(
            f"the clean labels enclose {percent:.0f} % of {name}, and the rest counts as without any: name what is "
            "labelled as `clean_area`"
        )
    number = {(label, split): len(own) for (label, split), own in chips.groupby(["label", "split"])}
    if not any("clean" in source for source in first["sources"]):
        said.append("no clean labels: notebooks 1 and 2 run; 3 and 4 need some to learn from and to test against")
    elif len(chips):
        lacking = [split for split in ("train", "val", "test") if not number.get(("clean", split))]
        if lacking:
            said.append(f"no clean chip is left for {' and '.join(lacking)}: label more ground, or a smaller chip_px")
        if 0 < number.get(("clean", "train"), 0) < FEW_CLEAN:
            said.append(f"{number['clean', 'train']} clean training chips are few: label more ground")
    if any(scene.source.get("osm") == "overpass" for scene in scenes):
        said.append("OpenStreetMap is downloaded by notebook 1, and was not looked at here")
    return said


def _nothing_to_learn(scenes: list[Scene], counts: pd.DataFrame, task: str, of_several: bool) -> list[str]:
    """Why a label has nothing to teach, in words; empty where each has."""
    said = []
    for label in LABELS:
        own = [scene for scene in scenes if label in scene.source]
        if not own or any(scene.source.get("empty") for scene in own):
            continue
        files = sorted({scene.label_sources[label] for scene in own})
        if f"{label} masks" in counts and (missing := int((counts[f"{label} masks"] == 0).sum())):
            said.append(f"{missing} of {len(own)} scenes have no mask of `{label}`, such as {files[0]}")
        if f"{label} drawn" not in counts or label in counts or f"{label} masks" in counts:
            continue
        under = int(counts[[f"{label} lines", f"{label} polygons"]].sum().sum())
        if not under:
            other = next(name for name in LABELS if name != label)
            beside = [counts[c].sum() for c in (f"{other} lines", f"{other} polygons") if c in counts]
            there = f"{int(sum(beside))} {task} of `{other}`, 0 of `{label}`: " if beside and sum(beside) else ""
            said.append(f"{there}{nothing_labelled(label, task, files, of_several)}")
        elif not counts[f"{label} drawn"].sum():
            said.append(f"{under} {task} of `{label}` lie under the images and none is drawn: see `classes`, `profile`")
    return said


def main() -> None:
    """Write an area's params files, or check them."""
    parser = argparse.ArgumentParser(prog="python -m lib.areas", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="write params/AREA and check it")
    again = commands.add_parser("check", help="say what the notebooks would find and make")
    for command in (new, again):
        command.add_argument("area", help="name of the area")
    new.add_argument("--images", default="", help="pattern of the images, in quotes, or their folder")
    new.add_argument(
        "--osm", default="", help="OSM file or other vectors, or masks/{stem}.png; 'none': clean labels alone"
    )
    new.add_argument("--clean", default="", help="vectors drawn by hand, or masks/{stem}.png")
    new.add_argument("--task", default="", help="roads (if nothing is said), buildings, or roads+buildings")
    again.add_argument("--data-dir", default="", help="where the data lie, instead of params/AREA's data_dir")
    given = parser.parse_args()
    if given.command == "new":
        folder = new_area(given.area, given.images, given.osm, given.clean, given.task or "roads")
        print(f"wrote {folder}: what differs from the notebooks' own values, and these as comments")
    check_area(given.area, "" if given.command == "new" else given.data_dir)


if __name__ == "__main__":
    run(main)
