"""What a user names (files, addresses, folders) as scenes at a checkpoint's GSD, and whether they fit it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rasterio.enums import ColorInterp

from lib.chips.imagery import every_band
from lib.chips.sources import MOST_OBLONG, Scene
from lib.errors import InputError, or_skip
from lib.grid import oblongness, utm_code
from lib.mapping.images import link_images
from lib.mapping.options import MapOptions
from lib.networks.checkpoint import CheckpointInfo
from lib.rasters import opened, read_grid

MOST_GSD_RATIO = 2.0  # an image this much finer or coarser than what a network learned from shows it other things
SAME_GSD = 0.02  # an image that differs no more keeps its pixels: they would be blurred for nothing


def open_scenes(
    images: Sequence[str | Path],
    info: CheckpointInfo,
    options: MapOptions,
    folder: Path,
    skipped: dict[str, str] | None = None,
    say: Callable[[str], None] = print,
) -> list[Scene]:
    """
    What a user names as scenes, each with its grid at the checkpoint's GSD.

    Parameters
    ----------
    images
        Files, addresses (https, s3), folders; see `lib.mapping.images.link_images`.
    info
        Of the checkpoint: its bands and GSD must fit. A scene whose GSD is the checkpoint's within 2 % keeps its
        pixels.
    options
        Its crs, gsd_m, allow_gsd and bands.
    folder
        For the small files that stand for addresses and folders of tiles, as long as scenes are read.
    skipped
        Where scenes that can't be used are named, each with its reason, while the others go on; None: the first stops.
    say
        Called with what becomes of each scene.

    Raises
    ------
    InputError
        If no scene is left, one doesn't fit the checkpoint or is of a GSD that nobody states, or several lie in no
        common place.
    """
    scenes: list[Scene] = []
    for name, path in link_images(images, info.gsd_m, folder, skipped):
        with or_skip(skipped, name):
            # of a checkpoint that states no GSD, the first scene's is the map's
            gsd_m = info.gsd_m or (scenes[0].grid.gsd_m if scenes and scenes[0].grid.crs else options.gsd_m)
            scenes.append(_scene(name, path, gsd_m, info, options, say))
    if not scenes:
        raise InputError(f"No image is left to map: {skipped}")
    if len(scenes) > 1 and (lost := [scene.name for scene in scenes if scene.grid.crs is None]):
        raise InputError(f"{lost[:3]} state no place, and can't be laid beside others: map each into a folder.")
    return scenes


def _scene(
    name: str,
    path: Path,
    gsd_m: float | None,
    info: CheckpointInfo,
    options: MapOptions,
    say: Callable[[str], None],
) -> Scene:
    grid = read_grid(path, options.crs, require_crs=False, by_name=options.gsd_m is None)
    with opened(path) as file:
        colours = [kind for kind in file.colorinterp if kind != ColorInterp.alpha]
    learned_colours = len(info.mean) > 2 and len(set(info.mean)) > 1
    if not options.bands and len(colours) < 3 and ColorInterp.palette not in colours and learned_colours:
        raise InputError(
            f"{name} has {len(colours)} band{'s' * (len(colours) != 1)}, and the checkpoint learned from red, green "
            "and blue. Give it a coloured image; bands 1 takes the first for all three."
        )
    if grid.crs is None:
        grid = replace(grid, transform=(1, 0, 0, 0, 1, 0))  # a world file alone is in units that nobody knows
    if grid.crs is None and options.gsd_m is None:
        raise InputError(
            f"{name} has no CRS, so that the size of its pixels is unknown: give gsd_m (--gsd), metres a pixel; or crs "
            "(--crs) where a world file says where it lies."
        )
    size_px, source = (grid.width, grid.height), {"bands": _bands(name, path, len(info.mean), options)}
    sides_m = grid.pixel_size_m if grid.crs else (options.gsd_m, options.gsd_m)
    own_m = math.sqrt(math.prod(sides_m))
    if gsd_m is None:
        gsd_m = own_m
    elif not options.allow_gsd and max(own_m / gsd_m, gsd_m / own_m) > MOST_GSD_RATIO:
        raise InputError(
            f"{name} has {own_m:.3g} m a pixel, the checkpoint learned from {gsd_m:.3g} m: more than "
            f"{MOST_GSD_RATIO:g} times off. Use a checkpoint or an image that fits; allow_gsd goes on all the same."
        )
    kept = all(abs(side / gsd_m - 1) <= SAME_GSD for side in sides_m)
    width, height = size_px if kept else (max(1, round(n * m / gsd_m)) for n, m in zip(size_px, sides_m, strict=True))
    grid = grid.resampled(width, height)
    if grid.crs and (oblong := oblongness(grid)) > MOST_OBLONG:
        raise InputError(
            f"{name}: the ground of its pixels is up to {oblong:.2f} times as long as wide. Run gdalwarp -t_srs "
            f"{utm_code(grid)} -r bilinear {path.name} out.tif, and use that."
        )
    say(f"{name}: {own_m:.3g} m a pixel, {'kept' if kept else f'resampled to {gsd_m:.3g} m'}, {width} x {height} px")
    return Scene(name, path, size_px, grid, path.parent, source)


def _bands(name: str, path: Path, count: int, options: MapOptions) -> tuple[int, ...]:
    """Bands that are read of an image, the `count` first; () where it says which three. InputError if it has others."""
    with opened(path) as file:
        shown = (number for number, kind in enumerate(file.colorinterp, 1) if kind != ColorInterp.alpha)
        bands = tuple(options.bands) or (every_band(file) if count > 3 else () if count == 3 else tuple(shown))
        if max(bands, default=0) > file.count:
            raise InputError(f"{name} has {file.count} bands, and no band {max(bands)} as `bands` has it.")
    read = len(bands) if len(bands) > 1 or count != 3 else 3
    if read != count:
        raise InputError(
            f"{name} gives {read} band{'s' * (read != 1)}, the checkpoint learned from {count}: name as many in "
            "`bands`, in the order in which it learned them; or use another checkpoint."
        )
    return bands + bands[1:] if count == 2 else bands  # whoever shows the ground takes it for RGB: grey is read so
