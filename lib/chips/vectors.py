"""The OSM vectors over the scenes of an area, each source read once; and the areas to which chips and labels keep."""

from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from lib.chips.naming import fill
from lib.chips.options import HULL, is_raster, named
from lib.chips.sources import Scene, by_class
from lib.errors import InputError, ParameterError, or_skip
from lib.grid import LONLAT
from lib.limits import REACH_M, classes_of
from lib.masks.offset import shift
from lib.osm.counts import is_unused
from lib.osm.files import near_windows
from lib.osm.layers import OsmLayers, area_of_interest, read_osm, require_overlap, stated_area
from lib.osm.overpass import overpass_options

ELSEWHERE_DEG = 0.5  # an image so far from all vectors lies in another place; a nearer one may have none
BENT_DEG = 0.005  # longer sides of an area are bent between degrees and pixels by more than centimetres


def read_vectors(scenes: list[Scene], task: str, skipped: dict[str, str] | None = None) -> dict[str, OsmLayers]:
    """
    OSM layers by name of each vector source: each is read once, over the ground of all scenes that it serves.

    Parameters
    ----------
    scenes
        From `find_scenes`.
    task
        One of `lib.limits.TASKS`: which layers are read.
    skipped
        As in `find_scenes`; names bad vector files, and images that lie elsewhere. `usable` leaves their scenes out.

    Raises
    ------
    InputError
        If a file of vectors can't be read, or lies elsewhere than a scene; `skipped` may hold it.
    DownloadError
        If Overpass fails; always, since an area that was not downloaded is no area without roads.
    """
    layers = {}
    for name, (own, kinds) in _by_vectors(scenes, task, skipped).items():
        source, path = own[0].source, own[0].data_dir / name
        if any(scene.source.get("overpass") != source.get("overpass") for scene in own):
            raise ParameterError("all sources ask Overpass alike: give them the same `overpass`")
        with or_skip(skipped, path):
            ground = shapely.union_all([_ground(scene) for scene in own])
            if ground.is_empty:
                raise InputError(f"no image lies in the area {source['area']} of its source")
            area = area_of_interest(ground, REACH_M)
            options = overpass_options(source.get("overpass", {}))
            layers[name] = read_osm(name if name == "overpass" else path, area, layers=kinds, overpass=options)
            found = " and ".join(f"{len(getattr(layers[name], kind))} {kind}" for kind in kinds)
            print(f"read {found} from {name}, OSM of {layers[name].date or 'unknown date'}", flush=True)
            print(*(f"  {count}\n" for count in layers[name].counts), sep="", end="", flush=True)
            if is_unused(layers[name].counts) and not any(scene.source.get("empty") for scene in own):
                raise InputError(
                    f"{path}: its rows lie under the images, but none says that it is a road or a building. Expected "
                    "the tags `highway` or `building` (as columns, in `other_tags` or `tags`), Geofabrik's or "
                    "Overture's columns, or lines and polygons without any tags. If no road and no building is meant, "
                    "give the source `empty: true`."
                )
            for scene in own:
                with or_skip(skipped, scene.path):
                    bounds = area_of_interest(scene.grid).bounds
                    require_overlap(layers[name].extent, bounds, f"{path} for {scene.path}", ELSEWHERE_DEG)
    return layers


def _by_vectors(
    scenes: list[Scene], task: str, skipped: dict[str, str] | None
) -> dict[str, tuple[list[Scene], tuple[str, ...]]]:
    """Name of a vector source -> the scenes that it serves, and the classes that it holds for them."""
    serves: dict[str, dict[tuple[Path, str], Scene]] = {}  # in it by the scene's path and label
    kinds: dict[str, dict[str, None]] = {}
    for kind, views in by_class(scenes, task, every_class=False).items():
        for scene in views:
            for label, name in scene.label_sources.items():
                if not is_raster(name):
                    with or_skip(skipped, scene.path):
                        if scene.grid.crs is None:
                            raise InputError(
                                f"{scene.path} is not georeferenced (beside a `gsd_m` a tile's name says nothing): "
                                "vectors can't be laid over it; give masks, or the `crs` of its world file"
                            )
                        serves.setdefault(name, {})[scene.path, label] = scene
                        kinds.setdefault(name, {})[kind] = None
    return {name: (list(own.values()), tuple(kinds[name])) for name, own in serves.items()}


def _ground(scene: Scene) -> shapely.Geometry:
    """Outline of a scene in degrees, as far as chips are cut from it."""
    outline, chosen = area_of_interest(scene.grid), chosen_area(scene)
    return outline if chosen is None else outline.intersection(chosen)


def moved_at(scene: Scene, vectors: gpd.GeoDataFrame, shift_m: tuple[float, float] | None) -> gpd.GeoDataFrame:
    """
    Vectors near a scene, moved by metres east and north there, if at all: as the masks of its chips show them.

    As a whole, so that a road has one place in all the blocks that it touches; but not with those of other scenes,
    where a metre may be another part of a degree.
    """
    near = near_windows(vectors, scene.grid, [(0, 0, scene.grid.width, scene.grid.height)], REACH_M)
    return near if shift_m is None else shift(near, *shift_m)


def chosen_area(scene: Scene) -> shapely.Geometry | None:
    """Polygon in degrees to which the scene's source keeps; None where it takes all."""
    area = scene.source.get("area")
    if area is None:
        return None
    if scene.grid.crs is None:
        raise InputError(f"{scene.path} is not georeferenced: it has no place in an `area`")
    return stated_area(scene.data_dir / area if isinstance(area, str) else tuple(area))


def clean_areas(scenes: list[Scene], layers: Mapping[str, OsmLayers], task: str) -> dict[str, shapely.Geometry]:
    """
    Scene -> polygon in degrees in which its clean labels are complete; without those that are labelled everywhere.

    Raises
    ------
    InputError
        If a scene has no place, or the area is the hull of labels that enclose nothing.
    """
    areas, hulls = {}, {}
    for scene in scenes:
        area = scene.source.get("clean_area")
        if area is None:
            continue
        if scene.grid.crs is None:
            raise InputError(f"{scene.path} is not georeferenced: it has no place in a `clean_area`")
        if area == HULL:
            name = fill(named(scene.source["clean"])[0], scene.parts)
            if name not in hulls:
                labels = [getattr(layers[name], kind).geometry.to_crs(LONLAT) for kind in classes_of(task)]
                hulls[name] = _hull(np.concatenate(labels), scene.data_dir / name)
            polygon = hulls[name]
        else:
            polygon = stated_area(scene.data_dir / area if isinstance(area, str) else tuple(area))
        areas[scene.name] = shapely.segmentize(polygon, BENT_DEG)
    return areas


def _hull(labels: np.ndarray, file: Path) -> shapely.Geometry:
    """Convex hull of labels, (n,) geometries in degrees."""
    hull = shapely.convex_hull(shapely.multipoints(shapely.get_coordinates(labels)))
    if shapely.get_dimensions(hull) != 2:
        raise InputError(
            f"{file}: clean_area is 'hull', but the {len(labels)} labels under the images enclose no ground; draw the "
            "area that is labelled, and name that file"
        )
    return hull
