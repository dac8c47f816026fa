"""What a notebook says of chips: how they are cut, and from which sources. Checked before a file is opened."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from lib.chips.manifest import LABELS, MOST_WEIGHT
from lib.chips.naming import STEM, parts_of
from lib.errors import InputError, ParameterError
from lib.grid import parse_crs
from lib.limits import CLASSES, LARGEST_SEED, TASKS, check_fields, classes_of, limited, settings_from
from lib.osm.lanes import CLASS_NAMES
from lib.osm.overpass import overpass_options

RASTER_SUFFIXES = {".png", ".tif", ".tiff", ".jpg", ".jpeg"}  # of mask images
HULL = "hull"  # as a clean_area: what the clean labels themselves enclose
SPLITTERS = ("place", "hash", "named")  # what decides which chips of a source train, validate and test


@dataclass(frozen=True)
class ChipOptions:
    """
    How an area is cut into chips.

    Attributes
    ----------
    task
        "roads", "buildings", or "roads+buildings": a mask of either for each chip.
    gsd_m
        Ground sampling distance of the chips, metres; scenes of another one are resampled.
    chip_px
        Side of a chip; a scene smaller than that is one chip of its own size.
    val_share, test_share
        Share of each source's ground (or of its scenes, where nothing says how they lie) that validates and tests.
    clean_chips
        How many training chips, and how many validating ones at most, get a clean mask; 0 means all.
    seed
        Draws the clean chips, and the splits of scenes without georeference.
    gap_m
        Ground kept free between buildings that touch, metres.
    ignore_band_m
        Pixels within this distance of an edge in an OSM mask are MASK_IGNORE: there the map is least to be believed.
    class_weights
        What the pixels of a road count in training, by highway class; 1 for classes not named. Nothing is written
        where it is empty.
    """

    task: str = limited("roads", choices=TASKS)
    gsd_m: float = limited(0.5, above=0, maximum=100)
    chip_px: int = limited(512, minimum=32, maximum=8192)
    val_share: float = limited(0.15, minimum=0, below=1)
    test_share: float = limited(0.2, minimum=0, below=1)
    clean_chips: int = limited(0, minimum=0)
    seed: int = limited(0, minimum=0, maximum=LARGEST_SEED)
    gap_m: float = limited(0.0, minimum=0, maximum=100)
    ignore_band_m: float = limited(0.0, minimum=0, maximum=100)
    class_weights: Mapping[str, float] = limited(
        default_factory=dict, minimum=0, maximum=MOST_WEIGHT, key_choices=CLASS_NAMES
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check_shares(self.val_share, self.test_share)
        if self.class_weights and "roads" not in classes_of(self.task):
            raise ParameterError(f"class_weights go by highway class, so that {self.task} have none")


def check_shares(val_share: float, test_share: float) -> None:
    """Raise ParameterError unless shares of validation and test leave ground to train on."""
    if not (val_share >= 0 and test_share >= 0 and val_share + test_share < 1):
        raise ParameterError(
            f"val_share {val_share} and test_share {test_share} must be at least 0 and leave a rest to train on"
        )


@dataclass(frozen=True)
class SourceOptions:
    """
    One entry of `sources`; what each key means stands in `lib.chips.sources`.

    Raises
    ------
    ParameterError
        If a key is unknown or its value can't be meant, or neither `osm` nor `clean` says where masks come from.
    """

    images: str = limited(pattern=r"[^/\x00][^\x00]*", form="a pattern such as 'images/*.tif', relative to data_dir")
    osm: str | Mapping[str, str] | None = limited(
        None, pattern=r".+", form="'overpass', or the name of a file", key_choices=CLASSES
    )
    clean: str | Mapping[str, str] | None = limited(None, pattern=r".+", form="the name of a file", key_choices=CLASSES)
    area: str | Sequence[float] | None = None
    clean_area: str | Sequence[float] | None = None
    gsd_m: float | None = limited(None, above=0, maximum=100)
    nodata: str | None = limited(None, choices=("white", "black"))
    overpass: Mapping[str, Any] = field(default_factory=dict)
    empty: bool = False
    foreground: float | str | Sequence[Any] | None = None
    crs: str | int | None = None
    bands: Sequence[int] | str | None = limited(None, minimum=1)
    split: str = limited("place", choices=SPLITTERS, pattern=r".+\.csv", form="a .csv file of id and split")

    def __post_init__(self) -> None:
        check_fields(self)
        overpass_options(self.overpass)
        if not named(self.osm) and not named(self.clean):
            raise ParameterError(f"it needs `osm` or `clean` or both, to say where the masks of {self.images!r} are")
        if self.crs is not None:
            try:
                parse_crs(self.crs)
            except InputError as error:
                raise ParameterError(
                    f"crs is {self.crs!r}: expected one that PROJ knows, such as 'EPSG:32635'"
                ) from error
        if isinstance(self.bands, str) and self.bands != "all" or self.bands is not None and len(self.bands) in (0, 2):
            raise ParameterError(
                f"bands is {self.bands!r}: expected numbers (red, green, blue, then any others), one (grey), or 'all'"
            )
        if self.foreground is not None:
            foreground_values(self.foreground)
        if ".." in PurePath(self.images).parts:
            raise ParameterError(f"images is {self.images!r}: expected a pattern within data_dir; set data_dir higher")
        known = parts_of(self.images) | {STEM}
        for key, label in (("osm", self.osm), ("clean", self.clean)):
            if unknown := sorted(set().union(*map(parts_of, named(label))) - known):
                names = ", ".join(f"{{{name}}}" for name in sorted(known))
                raise ParameterError(
                    f"{key} is {label!r}, but {{{unknown[0]}}} is no part of images {self.images!r}; it knows {names}"
                )
            if isinstance(label, Mapping) and not label:
                raise ParameterError(
                    f"{key} is {{}}: expected a file for a class, such as {{{CLASSES[0]}: roads.gpkg}}"
                )
        if self.split == "named" and "split" not in parts_of(self.images):
            raise ParameterError(f"split is 'named', but images {self.images!r} has no part {{split}}")
        if STEM in parts_of(self.images):
            raise ParameterError(
                f"images is {self.images!r}: {{stem}} is what every image has; use * or another name, such as {{id}}"
            )
        for key, area in (("area", self.area), ("clean_area", self.clean_area)):
            if area is not None and not isinstance(area, str):
                left, bottom, right, top = area if len(area) == 4 else (math.nan,) * 4
                if not (-180 <= left < right <= 180 and -90 <= bottom < top <= 90):
                    raise ParameterError(
                        f"{key} is {area!r}: expected a file, or [left, bottom, right, top] in degrees"
                    )
        if self.clean_area is not None and self.clean is None:
            raise ParameterError(f"clean_area is {self.clean_area!r}, but there is no `clean` that it could bound")
        if self.clean_area == HULL and len(set(named(self.clean))) > 1:
            raise ParameterError(
                f"clean_area is 'hull', but the classes are in files of their own, {self.clean!r}: name the area that "
                "is labelled with all of them"
            )
        if self.clean_area == HULL and any(map(is_raster, named(self.clean))):
            raise ParameterError(
                f"clean_area is 'hull', but {self.clean!r} are mask images, which say 127 where nothing is known"
            )


def named(label: str | Mapping[str, str] | None) -> list[str]:
    """Names of the files that a label source says: of one for all classes, or of one for each."""
    return list(label.values()) if isinstance(label, Mapping) else [label] if label else []


def is_raster(name: str) -> bool:
    """Whether a file's name is that of a mask image."""
    return PurePath(name).suffix.lower() in RASTER_SUFFIXES


def sources_of(source: Mapping[str, Any], task: str) -> dict[str, Mapping[str, Any]]:
    """
    Class of a task -> a source as if there was no other class: its labels are one file each, or missing.

    Raises
    ------
    ParameterError
        If a label is mask images, and nothing says which of several classes they show.
    """
    classes = classes_of(task)
    for key in LABELS:
        label = source.get(key)
        if len(classes) > 1 and isinstance(label, str) and is_raster(label):
            raise ParameterError(
                f"{key} is {label!r}, but a mask image is of one class, and the task is {task!r}: say of which one, as "
                f"in {key}: {{{classes[0]}: {label!r}}}"
            )
    labels = {key: label for key in LABELS if isinstance(label := source.get(key), Mapping)}
    if not labels:
        return dict.fromkeys(classes, source)
    others = {key: value for key, value in source.items() if key not in labels}
    return {c: others | {key: label[c] for key, label in labels.items() if c in label} for c in classes}


def check_source(source: Any, owner: str = "a source") -> SourceOptions:
    """The entry of `sources`, checked."""
    return settings_from(SourceOptions, source, owner)


def foreground_values(foreground: float | str | Sequence[float | str]) -> list[float]:
    """
    Values of the key `foreground`: a number, a colour "#rrggbb", or a list of them.

    Raises
    ------
    ParameterError
        If it is none of these.
    """
    listed = foreground if isinstance(foreground, list | tuple) else [foreground]
    try:
        return [int(value.removeprefix("#"), 16) if isinstance(value, str) else float(value) for value in listed]
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f'foreground is {foreground!r}: expected a value of the masks, a colour such as "#ff0000", or a list'
        ) from error
