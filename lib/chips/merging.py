"""Scenes of several sources, each file once: OSM labels of the whole and clean ones of a part may be two sources."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lib.chips.manifest import LABELS
from lib.chips.naming import STEM, parts_of
from lib.chips.options import named
from lib.chips.sources import Scene, find_scenes
from lib.errors import ParameterError


def find_all_scenes(
    sources: Sequence[Mapping[str, Any]], data_dir: Path, chip_gsd_m: float, skipped: dict[str, str] | None = None
) -> list[Scene]:
    """
    Scenes of all sources, each file once: where several show one, it is a scene with the keys of all of them.

    The `area` of a source of clean labels alone is their `clean_area` then: OSM labels reach beyond it.

    Raises
    ------
    InputError, ParameterError
        As `find_scenes`; and if two sources over one file contradict each other.
    """
    shows: dict[Path, list[Scene]] = {}
    for source in sources:
        for scene in find_scenes(source, data_dir, chip_gsd_m, skipped):
            shows.setdefault(scene.path, []).append(scene)
    labels = {file.resolve() for scenes in shows.values() for scene in scenes for file in scene.label_files}
    shows = {path: scenes for path, scenes in shows.items() if path.resolve() not in labels}  # of another source
    merged: dict[tuple[int, ...], Mapping[str, Any]] = {}  # splits are drawn within a source: one mapping for all alike
    for scenes in shows.values():
        key = tuple(id(scene.source) for scene in scenes)
        if len(scenes) > 1 and key not in merged:
            merged[key] = _merged(scenes)
        if len({scene.grid for scene in scenes}) > 1:
            raise ParameterError(f"two sources show {scenes[0].path}, and have another `gsd_m` or `crs` for it")
        scenes[:] = [replace(scenes[0], source=merged[key])] if len(scenes) > 1 else scenes
    return [scene for scenes in shows.values() for scene in scenes]


def _merged(scenes: list[Scene]) -> dict[str, Any]:
    """One source of those of scenes of one file."""
    sources = [dict(scene.source) for scene in scenes]
    has_osm = any("osm" in source for source in sources)
    for source in sources:
        if has_osm and "osm" not in source and "area" in source and "clean_area" not in source:
            source["clean_area"] = source.pop("area")
    merged: dict[str, Any] = {}
    for source in sources:
        for key, value in source.items():
            if key != "images" and merged.setdefault(key, value) != value:
                raise ParameterError(
                    f"two sources show {scenes[0].path}, with {key}: {merged[key]!r} and {key}: {value!r}; leave one, "
                    "or keep the file out of one source's `images`"
                )
    used = set().union(*(parts_of(name) for label in LABELS for name in named(merged.get(label))))
    used |= {"split"} if merged.get("split") == "named" else set()
    patterns = [source["images"] for source in sources if used <= parts_of(source["images"]) | {STEM}]
    if not patterns:
        raise ParameterError(
            f"two sources show {scenes[0].path}, and neither's `images` has all the parts {sorted(used)} that their "
            "labels are named by; give both the same `images`"
        )
    return {"images": patterns[0]} | merged
