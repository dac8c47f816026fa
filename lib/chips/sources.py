"""
The scenes of an area: which files there are, where they lie, what belongs together.

A source is a mapping with the keys

images
    Glob of the scenes, relative to the data folder: GeoTIFF, or PNG/JPEG with a world file, a map tile's name, or
    no georeference at all. Parts of it may have names, such as `{id}` in "train/{id}_sat.jpg" (`lib.chips.naming`).
    Chips that it matches are no scenes, nor are files that `osm` or `clean` name.
osm, clean
    Where the masks of that label source come from (either or both): "overpass"; a vector file (.osm.pbf, .osm, .gpkg,
    .geojson, .parquet, .shp); or mask images. `{stem}` stands for the scene's file name without suffix, `{id}` for
    what the part `{id}` of `images` is in the scene's name. Where a task has several classes, a vector file holds all
    of them, and {roads: roads.gpkg, buildings: "masks/{stem}.png"} is a file for each; of a class that is not named
    there this label knows nothing, so that it is ignored.
area
    Only chips that lie in it: a box [left, bottom, right, top] in degrees, or a file of polygons (.geojson, .gpkg,
    ...) in the data folder. Missing: all that the images show.
clean_area
    Where the clean labels are complete: a box or a file as in `area`, or "hull": the convex hull of the labels. A chip
    outside has no clean mask, one across the edge ignores what lies outside. Missing: all that the images show.
crs
    CRS of scenes that state none (a world file never does), or a local one.
gsd_m
    Metres a pixel, for scenes without georeference; beside it a tile's name says nothing.
bands
    Numbers of the bands that are red, green and blue, or of the one that is grey, from 1. Missing: those that the file
    calls so, else the first ones. More may follow, such as infrared: chips hold them all, figures show the first three;
    what is named here is no alpha, whatever the file calls it.
    "all": red, green and blue, then every other one that is no alpha.
overpass
    Options of `lib.osm.overpass.OverpassOptions`, such as {url: ..., date: "2019-10-28T00:00:00Z"}, where a label
    source is "overpass".
foreground
    Which values of mask images are road or building, where they don't tell (`lib.mask_values`): a value, a colour
    "#rrggbb", or a list.
nodata
    "white" or "black": large areas of that colour are not image; large transparent areas never are.
split
    What decides which chips train, validate and test: "place" (strips of the ground, or scenes drawn by lot), "hash"
    (`lib.chips.splits.split_by_hash`), "named" (the part `{split}` of `images`), or a .csv file of id and split.
empty
    true: that all masks of this source are empty is meant, and no error.

Where two sources show one file, `lib.chips.merging` makes one scene of it, with the labels of both.

What they show is read elsewhere: images in `lib.chips.imagery`, mask images in `lib.chips.mask_images`, vectors in
`lib.chips.vectors`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib.chips.manifest import LABELS, is_of_chips
from lib.chips.naming import as_glob, fill, match
from lib.chips.options import HULL, check_source, is_raster, named, sources_of
from lib.errors import InputError, ParameterError, or_skip
from lib.grid import Grid, oblongness, utm_code
from lib.limits import classes_of
from lib.masks.rasterize import Window
from lib.rasters import MOST_PIXELS, read_grid

MOST_OBLONG = 1.1  # of a pixel's ground: a road of 12 m is drawn 0.6 m too wide or too narrow, by its bearing
OBLONG_TOLERANCE = 0.05  # more than what rounding a scene to whole pixels makes of squares
LEAST_SIDE_PX = 32  # a network halves an image five times


@dataclass(frozen=True)
class Scene:
    """
    An image on its grid at the chips' GSD, with the file it comes from.

    Attributes
    ----------
    name
        Of the file without suffix; with its folders, where the files of a source are called alike.
    path
        The image file.
    size_px
        (width, height) of the file.
    grid
        The same ground cut into pixels of the chips' GSD. Windows of a scene are (col, row, width, height) in them.
    data_dir, source
        The folder and the mapping that the scene was found with.
    """

    name: str
    path: Path
    size_px: tuple[int, int]
    grid: Grid
    data_dir: Path
    source: Mapping[str, Any]

    def in_file(self, window: Window) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
        """
        What to read for a window of the scene: where it lies in the file, and how many pixels it is to become.

        Returns
        -------
        file_window
            (col, row, width, height) in the file's own pixels, with fractions.
        shape
            (height, width) of the window.
        """
        x_scale, y_scale = self.size_px[0] / self.grid.width, self.size_px[1] / self.grid.height
        col, row, width, height = window
        return (col * x_scale, row * y_scale, width * x_scale, height * y_scale), (height, width)

    @property
    def own_px(self) -> tuple[int, int]:
        """(width, height) of the scene in squares of the file's finest GSD: its own size, but for oblong pixels."""
        zooms = self.size_px[0] / self.grid.width, self.size_px[1] / self.grid.height
        if abs(zooms[0] / zooms[1] - 1) <= OBLONG_TOLERANCE:
            return self.size_px
        return round(self.grid.width * max(zooms)), round(self.grid.height * max(zooms))

    @property
    def parts(self) -> dict[str, str]:
        """Text of each part of the source's pattern in the name of this scene's file, `stem` among them."""
        return match(self.source["images"], self.path.relative_to(self.data_dir).as_posix()) or {}

    @property
    def id(self) -> str:
        """What images and labels share: the part `{id}`, else the scene's name."""
        return self.parts.get("id", self.name)

    @property
    def bands(self) -> tuple[int, ...] | str:
        """Bands that the scene's source names, or "all"; () where it leaves that to the file."""
        bands = self.source.get("bands") or ()
        return bands if isinstance(bands, str) else tuple(bands)

    @property
    def nodata(self) -> str | None:
        """Colour of ground that is no image, "white" or "black", as its source says; None: it says none."""
        return self.source.get("nodata")

    @property
    def label_sources(self) -> dict[str, str]:
        """Label -> name of this scene's vectors or mask image, for the labels that its source has of one class."""
        return {label: source_name(self, label) for label in LABELS if label in self.source}

    @property
    def label_names(self) -> list[str]:
        """Names of this scene's vectors and mask images of all labels and classes."""
        return [fill(name, self.parts) for label in LABELS for name in named(self.source.get(label))]

    @property
    def label_files(self) -> list[Path]:
        """Files that the scene's masks are read or drawn from, and that bound them."""
        names = [name for name in self.label_names if name != "overpass"]
        bound = self.source.get("clean_area")
        return [self.data_dir / name for name in names + [bound] * (isinstance(bound, str) and bound != HULL)]


def by_class(scenes: list[Scene], task: str, *, every_class: bool = True) -> dict[str, list[Scene]]:
    """
    Class of a task -> the scenes as if there was no other class: `lib.chips.options.sources_of` of their sources.

    `every_class`: whether each class must have labels; not where these are some of an area's scenes.

    Raises
    ------
    ParameterError
        If no source has labels of a class, or one has mask images of which nothing says the class.
    """
    views = {id(scene.source): sources_of(scene.source, task) for scene in scenes}
    found = {}
    for kind in classes_of(task):
        own = {name: view[kind] for name, view in views.items()}  # one mapping for all scenes of a source
        if every_class and own and not any(label in source for source in own.values() for label in LABELS):
            raise ParameterError(f"no source has labels of {kind}: name them with `osm` or `clean`, or change task")
        found[kind] = [
            scene if (source := own[id(scene.source)]) is scene.source else replace(scene, source=source)
            for scene in scenes
        ]
    return found


def source_name(scene: Scene, label: str) -> str:
    """Name of the scene's vectors or mask of one label source, with its named parts filled in."""
    return fill(scene.source[label], scene.parts)


def find_scenes(
    source: dict[str, Any], data_dir: Path, chip_gsd_m: float, skipped: dict[str, str] | None = None
) -> list[Scene]:
    """
    Scenes of one source, sorted by path, each with its grid at the chips' GSD.

    Parameters
    ----------
    source
        As above.
    data_dir
        Where its patterns start.
    chip_gsd_m
        Metres a pixel of the chips.
    skipped
        Where bad files are named, each with its reason, while the others go on; None: the first one stops the run.

    Raises
    ------
    InputError
        If no file matches, or a scene has neither georeference nor `gsd_m`, or it can't be cut into square chips.
    ParameterError
        If the source has unknown keys, values that can't be meant, or no label source.
    """
    check_source(source)
    paths, labels = scene_paths(source, data_dir)
    if labels:
        print(f"left out of {source['images']!r}: {len(labels)} named as labels, such as {labels[0].name}", flush=True)
    if not paths:
        others = f" but its own labels, such as {labels[0].name}" if labels else ""
        raise InputError(f"no image matches {source['images']!r} in {data_dir}{others}; is data_dir right?")
    alike = len({path.stem for path in paths}) < len(paths)  # such as slippy tiles, <zoom>/<x>/<y>.png
    scenes = []
    for path in paths:
        with or_skip(skipped, path):
            name = "-".join(path.relative_to(data_dir).with_suffix("").parts) if alike else path.stem
            own_gsd_m = source.get("gsd_m")
            file_grid = read_grid(path, source.get("crs"), require_crs=own_gsd_m is None, by_name=own_gsd_m is None)
            grid = _at_gsd(file_grid, chip_gsd_m, own_gsd_m, path)
            scenes.append(Scene(name, path, (file_grid.width, file_grid.height), grid, data_dir, source))
    return scenes


def scene_paths(source: Mapping[str, Any], data_dir: Path) -> tuple[list[Path], list[Path]]:
    """Files that the `images` of a source means, and those that it matches and names as its labels; both sorted."""
    found = (p for p in data_dir.glob(as_glob(source["images"])) if not p.name.startswith("."))  # parts, macOS's "._"
    parts = {p: match(source["images"], p.relative_to(data_dir).as_posix()) for p in sorted(found)}
    known = {p: own for p, own in parts.items() if own is not None and not is_of_chips(p)}
    names = {name for label in LABELS for name in named(source.get(label)) if is_raster(name)}
    labels = {(data_dir / fill(name, own)).resolve() for own in known.values() for name in names}
    is_label = {p: bool(labels) and p.resolve() in labels for p in known}
    return [p for p in known if not is_label[p]], [p for p in known if is_label[p]]


def _at_gsd(file_grid: Grid, chip_gsd_m: float, stated_gsd_m: float | None, path: Path) -> Grid:
    """
    The ground of an image in pixels of the chips' GSD along both sides, however oblong the file's own are.

    `stated_gsd_m` counts where the file knows no place.
    """
    sides_m = file_grid.pixel_size_m if file_grid.crs else (stated_gsd_m, stated_gsd_m)
    size = zip((file_grid.width, file_grid.height), sides_m, strict=True)
    width, height = (max(1, round(n * side_m / chip_gsd_m)) for n, side_m in size)
    at_gsd = f"{path} is {width} x {height} px at {chip_gsd_m:g} m a pixel"
    if min(width, height) < LEAST_SIDE_PX:
        raise InputError(
            f"{at_gsd}; a chip has at least {LEAST_SIDE_PX} x {LEAST_SIDE_PX}. Leave it out, or choose a smaller gsd_m."
        )
    if width * height > MOST_PIXELS:
        raise InputError(
            f"{at_gsd}; {math.isqrt(MOST_PIXELS)} squared are cut at most. Choose a larger gsd_m, or cut it into "
            "several files (gdal_retile.py)."
        )
    grid = file_grid.resampled(width, height)
    if grid.crs and (oblong := oblongness(grid)) > MOST_OBLONG:
        raise InputError(
            f"{path}: the ground of its pixels is up to {oblong:.2f} times as long as wide, so that roads would be as "
            f"wide as they run. Run gdalwarp -t_srs {utm_code(grid)} -r bilinear {path.name} out.tif, and use that."
        )
    return grid


def usable(scenes: list[Scene], skipped: Mapping[str, str]) -> list[Scene]:
    """The scenes of which neither the image nor a file of masks or vectors is among the skipped."""
    return [s for s in scenes if not {str(p) for p in (s.path, *s.label_files)} & set(skipped)]
