"""A map of whole scenes: see `lib.mapping`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lib.errors import ParameterError, run
from lib.limits import BACKENDS, TASKS, VIEWS
from lib.mapping.formats import WRITERS
from lib.mapping.layers import LayerOptions, write_layers
from lib.mapping.options import MapOptions
from lib.networks.calibration import at_views, curves_of_pixels, read_curves
from lib.networks.published import published, weights_of

DESCRIPTION = """
Map roads or buildings of whole scenes with a trained network.

OUT_DIR then holds
  probability.tif  how sure the network is, round(255 p); Cloud-Optimized GeoTIFF, its mask is 0 where nothing was seen
  mask.tif         255 from the threshold on, else 0; likewise
  map.json         what it was made by, how large it is, how fast it was
  map.gpkg         roads or buildings with size and confidence, coloured in QGIS
  map.osm          the same for JOSM, where the images have a place
  layers.json      how much was found

Images are resampled to the ground sampling distance (GSD) that the checkpoint learned from, on one grid: the first
image's, grown to all. Where images overlap, the first one is shown. A map that was killed or failed goes on when it is
called again; one that is finished stays as it is. Other options make again what they change.
"""
EPILOG = """
examples:
  python -m lib.mapping runs/demo/two_stage/best.safetensors scene.tif maps/town
  python -m lib.mapping massachusetts-roads north.tif south.vrt maps/town --area town.gpkg --views none
  python -m lib.mapping best.safetensors https://host/scene.tif s3://bucket/key.tif tiles/ maps/town --go-on
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Map images, lines of progress on stdout; 1 if a scene was left out."""
    options = _parser().parse_args(arguments)
    rasters, layers = (
        kind(**{name: getattr(options, name) for name in kind.__dataclass_fields__.keys() & vars(options).keys()})
        for kind in (MapOptions, LayerOptions)
    )
    made = _rasters(options, rasters)
    curves = curves_of_pixels(read_curves(options.checkpoint, rasters.views), made["task"])
    found = write_layers(options.out_dir, layers, _told("traced"), curves)
    for name, reason in made["skipped"].items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    size = f"{made['seen_px'] / 1e6:.1f} Mpx" if made["km2"] is None else f"{made['km2']:.3g} km2"
    parts = []
    for kind, own in found.get("layers", {made["task"]: found}).items():
        threshold = made["threshold"][kind] if "layers" in found else made["threshold"]
        amount = f"{own['length_km']:g} km" if "length_km" in own else f"{own['area_m2']:g} m2"
        parts.append(f"threshold {threshold:g}: {own['features']} {kind}, {amount}")
    print(f"{options.out_dir} holds {size}, {'; '.join(parts)}")
    return 1 if made["skipped"] else 0


def _told(what: str) -> Callable[[int, int], None]:
    """Says of long work how much is done, about ten times."""

    def tell(done: int, total: int) -> None:
        if total > 1 and (done == total or done % max(1, total // 10) == 0):
            print(f"{what} {done} of {total} blocks", flush=True)

    return tell


def _rasters(options: argparse.Namespace, made_by: MapOptions) -> dict[str, Any]:
    import torch

    from lib.mapping.area import map_rasters
    from lib.networks.checkpoint import load_model

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # as torch says that there is none
        raise ParameterError(f"no device {device!r} here: {str(error).splitlines()[0]}") from error
    model = at_views(load_model(options.checkpoint, device, options.task), options.checkpoint, made_by.views)
    return map_rasters(model, options.images, options.out_dir, made_by, lambda line: print(line, flush=True))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lib.mapping",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    default = MapOptions()
    add = parser.add_argument
    add(
        "checkpoint",
        metavar="CHECKPOINT",
        type=weights_of,
        help=f"file of a training, best.safetensors, or the name of a network that ships: {', '.join(published())}",
    )
    add(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="GeoTIFF, VRT, any raster that GDAL reads, PNG or JPEG with a world file; a folder of images or of map "
        "tiles; an address, https://... or s3://... (signed by AWS_... of the environment)",
    )
    add("out_dir", metavar="OUT_DIR", type=Path, help="folder of the map; made if it isn't there")
    add(
        "--task",
        choices=TASKS,
        default=None,
        help="refuse a checkpoint that can't find that; one of several may be chosen",
    )
    add(
        "--threshold",
        type=float,
        help="probability from which a pixel counts, of any class; default: the best of its views",
    )
    add("--area", metavar="FILE", help="polygons (.gpkg, .geojson, .shp, .parquet) to which the map keeps")
    add("--window", dest="window_px", type=int, help=f"side of a window, px, of 32; default: {default.window_px}")
    add("--overlap", dest="overlap_px", type=int, help=f"shared by neighbours, px; default: {default.overlap_px}")
    add("--views", choices=VIEWS, help=f"d4 averages eight flips and rotations; default: {default.views}")
    add("--backend", choices=BACKENDS, help="what computes the network on a CPU; auto: OpenVINO in large maps")
    add("--scheduler", help="address of a Dask scheduler whose workers predict, tcp://HOST:PORT")
    add("--memory", dest="memory_gib", type=float, help=f"GiB that may be used; default: {default.memory_gib:g}")
    add("--gsd", dest="gsd_m", type=float, help="metres a pixel of images that have no place")
    add("--allow-gsd", action="store_true", help="take images more than twice finer or coarser than the checkpoint's")
    add("--crs", help="CRS of images that state none, such as EPSG:32635; a world file never does")
    add("--bands", type=int, nargs="+", help="numbers of red, green, blue and what follows, or of grey, from 1")
    add("--formats", nargs="+", choices=WRITERS, help="files beside map.gpkg and map.osm")
    add("--highway", help="OSM's class of the roads in map.osm; default: road, which says that nobody has looked yet")
    add("--upload", action="store_true", help="let JOSM upload map.osm as it is")
    add("--go-on", action="store_true", help="leave out images that can't be read, and name them")
    add("--device", default=None, help="such as cpu, cuda, cuda:1; default: a GPU where there is one")
    return parser


if __name__ == "__main__":
    run(main)
