"""
The scenes of an area and what lies over them: images on their grids, mask images, OSM vectors.

A source is a mapping with the keys

images
    Glob of the scenes, relative to the data folder: GeoTIFF, or PNG/JPEG with a world file, a slippy tile's name, or
    no georeference at all.
osm, clean
    Where the masks of that label source come from (either or both): "overpass"; a vector file (.osm.pbf, .osm, .gpkg,
    .geojson, .parquet, .shp); or mask images. `{stem}` stands for the scene's file name without suffix.
area
    Only chips that lie in it: a box [left, bottom, right, top] in degrees, or a file of polygons (.geojson, .gpkg,
    ...) in the data folder. Missing: all that the images show.
gsd_m
    Metres a pixel, for scenes without georeference.
overpass
    Options of `lib.osm.overpass.OverpassOptions`, such as {url: ..., date: "2019-10-28T00:00:00Z"}, where a label
    source is "overpass".
nodata
    "white" or "black": large areas of that colour are not image; large transparent areas never are.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import shapely
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.windows import Window

from lib.chips.manifest import LABELS
from lib.errors import InputError, ParameterError, or_skip
from lib.grid import MASK_BACKGROUND, MASK_FOREGROUND, Grid, read_grid
from lib.osm.layers import OsmLayers, area_of_interest, read_osm, require_overlap
from lib.osm.overpass import overpass_options

SOURCE_KEYS = {"images", "area", "gsd_m", "overpass", "nodata", *LABELS}
RASTER_SUFFIXES = {".png", ".tif", ".tiff", ".jpg", ".jpeg"}
REACH_M = 100.0  # how far outside an image a road can matter: half of the widest, and an offset to be mended
ELSEWHERE_DEG = 0.5  # an image so far from all vectors lies in another place; a nearer one may have none
CACHE_BYTES = 256 * 2**20  # of decoded image, in each process; GDAL's own 5 % of the memory is much on many cores
LEAST_SIDE_PX = 32  # a network halves an image five times
NODATA_AREA_PX = 400  # a white roof is not a hole in the image; a blank corner is larger than this


@contextmanager
def opened(path: Path) -> Iterator[rasterio.DatasetReader]:
    """
    A raster file; opened again inside, it is the same one, with what has been decoded of it.

    Without rasterio's warning of a missing georeference: `find_scenes` has dealt with that.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), rasterio.open(path, sharing=True) as file:
                yield file
        except RasterioIOError as error:
            raise InputError(f"{path}: expected an image, but it is damaged or cut short: {error}") from error


@dataclass(frozen=True)
class Scene:
    """An image on its grid at the chips' GSD, with the file it comes from."""

    name: str  # of the file without suffix; with its folders, where the files of a source are called alike
    path: Path
    size_px: tuple[int, int]  # (width, height) of the file
    grid: Grid
    data_dir: Path
    source: Mapping[str, Any]

    def in_file(self, window: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
        """A window (col, row, width, height) of the scene's grid in the file's own pixels."""
        x_scale, y_scale = self.size_px[0] / self.grid.width, self.size_px[1] / self.grid.height
        col, row, width, height = window
        return col * x_scale, row * y_scale, width * x_scale, height * y_scale


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
        If no file matches, or a scene has neither georeference nor `gsd_m`.
    ParameterError
        If the source has unknown keys or no label source.
    """
    if unknown := sorted(set(source) - SOURCE_KEYS):
        raise ParameterError(f"a source knows the keys {sorted(SOURCE_KEYS)}, got {unknown}")
    if "images" not in source or not set(source) & set(LABELS):
        raise ParameterError(f"a source needs `images` and `osm` or `clean` or both, got {source}")
    paths = sorted(data_dir.glob(source["images"]))
    if not paths:
        raise InputError(f"no image matches {source['images']!r} in {data_dir}; is data_dir right?")
    alike = len({path.stem for path in paths}) < len(paths)  # such as slippy tiles, <zoom>/<x>/<y>.png
    scenes = []
    for path in paths:
        with or_skip(skipped, path):
            grid = read_grid(path, require_crs=False)
            gsd_m = grid.gsd_m if grid.crs else source.get("gsd_m")
            if not gsd_m:
                raise InputError(f"{path} is not georeferenced: give its source a `gsd_m` (metres a pixel)")
            width, height = (max(1, round(n * gsd_m / chip_gsd_m)) for n in (grid.width, grid.height))
            if min(width, height) < LEAST_SIDE_PX:
                raise InputError(
                    f"{path} is {width} x {height} px at {chip_gsd_m:g} m a pixel; a chip has at least "
                    f"{LEAST_SIDE_PX} x {LEAST_SIDE_PX}. Leave it out, or choose a smaller gsd_m."
                )
            name = "-".join(path.relative_to(data_dir).with_suffix("").parts) if alike else path.stem
            size_px = (grid.width, grid.height)
            scenes.append(Scene(name, path, size_px, grid.resampled(width, height), data_dir, source))
    return scenes


def read_scene(path: Path, window: tuple[float, float, float, float], shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """
    Part of an image file at a given size.

    Parameters
    ----------
    window
        (col, row, width, height) in the file's own pixels, fractions allowed.
    shape
        (height, width) of the result.

    Returns
    -------
    image
        uint8 (height, width, 3) RGB; one band is repeated, more than three keep the first three; other types are
        stretched from the 1st to the 99th percentile of the whole scene.
    valid
        bool (height, width), False in areas of more than 400 px where the file says that there is no data. Tile
        makers turn every black pixel transparent, deep shadows too: those specks are image.
    """
    with opened(path) as file:
        where = Window(*window)
        shrinks = window[2] > shape[1]
        how = Resampling.average if shrinks else Resampling.bilinear
        same = (round(window[3]), round(window[2])) == shape
        how = Resampling.nearest if same else how
        bands_read = file.read(_bands(file), window=where, out_shape=(3, *shape), resampling=how)
        valid = ~large_areas(file.dataset_mask(window=where, out_shape=shape) == 0)
    if bands_read.dtype != np.uint8:
        low, high = _stretch(path, path.stat().st_mtime_ns)
        bands_read = np.clip((bands_read.astype(np.float32) - low) * (255 / max(high - low, 1e-6)), 0, 255)
    return np.moveaxis(bands_read, 0, -1).astype(np.uint8), valid


def _bands(file: rasterio.DatasetReader) -> list[int]:
    return [1, 2, 3] if file.count >= 3 else [1, 1, 1]


@lru_cache(maxsize=64)
def _stretch(path: Path, _changed_ns: int) -> tuple[float, float]:
    """1st and 99th percentile of a scene, looked up once for all its chips, as long as the file stays the same."""
    with opened(path) as file:
        small = file.read(_bands(file), out_shape=(3, min(file.height, 1024), min(file.width, 1024)))
    low, high = np.percentile(small[small > 0] if (small > 0).any() else small, (1, 99))
    return float(low), float(high)


def nodata_area(image: np.ndarray, colour: str) -> np.ndarray:
    """True (H, W) inside connected areas of white (all bands >= 250) or black (all <= 5) larger than 400 px."""
    if colour not in ("white", "black"):
        raise ParameterError(f"nodata is 'white' or 'black', got {colour!r}")
    return large_areas((image >= 250).all(axis=-1) if colour == "white" else (image <= 5).all(axis=-1))


def large_areas(blank: np.ndarray) -> np.ndarray:
    """True (H, W) inside connected areas of `blank`, (H, W), of more than 400 px: a speck is no hole."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(blank.astype(np.uint8), connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] > NODATA_AREA_PX
    large[0] = False
    return large[labels]


def half_brightness(scene: Scene, name: str) -> float:
    """
    Value above which a pixel of a scene's mask image is foreground: half of the brightest that its kind has, 1 or 255.

    Raises
    ------
    InputError
        If there is no such file, or it is not as large as the scene's image.
    """
    path = scene.data_dir / name
    if not path.is_file():
        raise InputError(f"{scene.path.name} has no mask at {path}; check the pattern in its source")
    size_px, brightest = _size_and_brightest(path, path.stat().st_mtime_ns)
    if size_px != scene.size_px:
        raise InputError(f"{path} has {size_px} px, its image {scene.path.name} {scene.size_px}")
    return (1 if brightest <= 1 else 255) / 2


@lru_cache(maxsize=64)
def _size_and_brightest(path: Path, _changed_ns: int) -> tuple[tuple[int, int], int]:
    with opened(path) as file:
        return (file.width, file.height), int(file.read(1).max())


def read_mask_image(scene: Scene, name: str, half: float, window: tuple[int, int, int, int]) -> np.ndarray:
    """Window of a scene's mask image on the scene's grid; lighter than `half` is foreground."""
    with opened(scene.data_dir / name) as file:
        grey = file.read(
            1,
            window=Window(*scene.in_file(window)),
            out_shape=(window[3], window[2]),
            resampling=Resampling.bilinear,
            out_dtype=np.float32,
        )
    return np.where(grey > half, MASK_FOREGROUND, MASK_BACKGROUND).astype(np.uint8)


def chosen_area(scene: Scene) -> shapely.Geometry | None:
    """Polygon in degrees to which the scene's source keeps; None where it takes all."""
    area = scene.source.get("area")
    if area is None:
        return None
    if scene.grid.crs is None:
        raise InputError(f"{scene.path} is not georeferenced: it has no place in an `area`")
    return _read_area(scene.data_dir / area if isinstance(area, str) else tuple(area))


@lru_cache(maxsize=16)
def _read_area(area: Path | tuple[float, ...]) -> shapely.Geometry:
    return area_of_interest(area)


def source_name(scene: Scene, label: str) -> str:
    """Name of the scene's vectors or mask of one label source, with `{stem}` filled in."""
    return scene.source[label].replace("{stem}", scene.path.stem)


def read_vectors(scenes: list[Scene], task: str, skipped: dict[str, str] | None = None) -> dict[str, OsmLayers]:
    """
    OSM layers by name of each vector source: each is read once, over the ground of all scenes that it serves.

    Parameters
    ----------
    scenes
        From `find_scenes`.
    task
        "roads" or "buildings".
    skipped
        As in `find_scenes`; names bad vector files, and images that lie elsewhere. `usable` leaves their scenes out.

    Raises
    ------
    InputError
        If a file of vectors can't be read, or lies elsewhere than a scene; `skipped` may hold it.
    DownloadError
        If Overpass fails; always, since an area that was not downloaded is no area without roads.
    """
    serves: dict[str, list[Scene]] = {}
    for scene in scenes:
        for label in LABELS:
            if label in scene.source and Path(scene.source[label]).suffix.lower() not in RASTER_SUFFIXES:
                with or_skip(skipped, scene.path):
                    if scene.grid.crs is None:
                        raise InputError(
                            f"{scene.path} is not georeferenced: vectors can't be laid over it; give masks"
                        )
                    serves.setdefault(source_name(scene, label), []).append(scene)
    layers = {}
    for name, own in serves.items():
        if any(scene.source.get("overpass") != own[0].source.get("overpass") for scene in own):
            raise ParameterError("all sources ask Overpass alike: give them the same `overpass`")
        path = own[0].data_dir / name
        with or_skip(skipped, path):
            ground = shapely.union_all([_ground(scene) for scene in own])
            if ground.is_empty:
                raise InputError(f"no image lies in the area {own[0].source['area']} of its source")
            area = area_of_interest(ground, REACH_M)
            options = overpass_options(own[0].source.get("overpass", {}))
            layers[name] = read_osm(name if name == "overpass" else path, area, layers=(task,), overpass=options)
            found = len(getattr(layers[name], task))
            print(f"read {found} {task} from {name}, OSM of {layers[name].date or 'unknown date'}", flush=True)
            for scene in own:
                with or_skip(skipped, scene.path):
                    bounds = area_of_interest(scene.grid).bounds
                    require_overlap(layers[name].extent, bounds, f"{path} for {scene.path}", ELSEWHERE_DEG)
    return layers


def _ground(scene: Scene) -> shapely.Geometry:
    """Outline of a scene in degrees, as far as chips are cut from it."""
    outline, chosen = area_of_interest(scene.grid), chosen_area(scene)
    return outline if chosen is None else outline.intersection(chosen)


def usable(scenes: list[Scene], skipped: Mapping[str, str]) -> list[Scene]:
    """The scenes of which neither the image nor a file of masks or vectors is among the skipped."""
    return [s for s in scenes if not {str(p) for p in (s.path, *label_files(s))} & set(skipped)]


def label_files(scene: Scene) -> list[Path]:
    """Files that a scene's masks are read or drawn from."""
    names = [source_name(scene, label) for label in LABELS if label in scene.source]
    return [scene.data_dir / name for name in names if name != "overpass"]
