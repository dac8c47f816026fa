"""
From the sample's town to chips, and from a mask back to buildings: geoai against this project, in turns.

    python -m benchmarks.chips [--peer PYTHON] [--turns 3] [--sample data/demo]

In each turn either has a process that does all its jobs, the peer's with the Python of an environment as
benchmarks/requirements-peers.txt has it; without --peer it is left out. The clock starts where all is imported. A job
is done twice: the first time includes what is loaded or compiled on the way; of the turns the median counts. CPU
seconds on one thread mean more than the wall on a busy machine. Results go to results/chips_speed.csv.

roads, buildings
    A GeoTIFF of 4096 x 4096 px in JPEG and its OSM vectors to 64 chips of 512 px with masks. geoai draws all roads
    6 m wide and keeps the image as JPEG, with loss once more; here widths come from the tags and chips are lossless.
outlines, right angles
    The town's true buildings, 2048 x 2048 px at 0.5 m, to polygons simplified by 0.5 m (geoai's
    `raster_to_vector`, then `regularize`), F1 and IoU with the truth.
floors
    Of the chips: decoding the image, and encoding 64 chips as PNG, and nothing else.
archive
    Nine images of 1300 x 1300 px, three bands of 11 bits made of the town's, in a .tar.gz as SpaceNet's, unpacked,
    stretched to 8 bits and written as PNGs of their size. Here alone.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]  # lib is not there for the peer
GSD_M, CHIP_PX, WINDOW = 0.5, 512, (1024, 0, 2048, 2048)  # the window has the most buildings
TOLERANCE_M, LEAST_M2, ROAD_M = 0.5, 12.0, 6.0
REPEATS = 2
CHIPS = ("roads", "buildings")
OUTLINES = ("outlines", "right angles")
FLOORS = ("floor: decode", "floor: encode")
ARCHIVE, ARCHIVED, ARCHIVED_PX = "archive", 9, 1300
PACKAGES = ("opencv-python-headless", "rasterio", "shapely", "numpy")
Job = Callable[[Path], object]


def chips_here(task: str, sample: Path) -> Job:
    from lib.chips import ChipOptions, build_chips, find_scenes, read_vectors
    from lib.osm.lanes import METRIC

    source = {"images": "images/town.tif", "osm": "vectors/town_osm.gpkg"}

    def job(out: Path) -> None:
        scenes = find_scenes(source, sample, GSD_M)
        options = ChipOptions(task=task, gsd_m=GSD_M, chip_px=CHIP_PX)
        build_chips(scenes, read_vectors(scenes, task), out, options, METRIC)

    return job


def chips_by_geoai(task: str, sample: Path) -> Job:
    import geopandas as gpd
    from geoai.utils.training import export_geotiff_tiles

    vectors = Path(tempfile.mkdtemp()) / f"{task}.gpkg"  # it reads the first layer of a file
    gpd.read_file(sample / "vectors" / "town_osm.gpkg", layer=task).to_file(vectors)
    options = {"tile_size": CHIP_PX, "stride": CHIP_PX, "quiet": True, "all_touched": False}
    width = {"buffer_radius": ROAD_M / 2} if task == "roads" else {}
    return lambda out: export_geotiff_tiles(str(sample / "images/town.tif"), str(out), str(vectors), **options, **width)


def outlines_here(job: str, mask: Path) -> Job:
    import rasterio

    from lib.vectors import BuildingOptions, mask_to_polygons

    options = BuildingOptions(min_area_m2=LEAST_M2, tolerance_m=TOLERANCE_M, right_angles=job == "right angles")

    def run(_: Path) -> list:
        with rasterio.open(mask) as file:
            return mask_to_polygons(file.read(1), GSD_M, options)

    return run


def outlines_by_geoai(job: str, mask: Path) -> Job:
    import rasterio
    import shapely
    from geoai.utils.geometry import regularize
    from geoai.utils.raster import raster_to_vector

    with rasterio.open(mask) as file:
        to_px = ~file.transform

    def run(_: Path) -> list:
        if job == "outlines":
            found = raster_to_vector(str(mask), min_area=LEAST_M2, simplify_tolerance=TOLERANCE_M)
        else:
            found = regularize(raster_to_vector(str(mask), min_area=LEAST_M2), simplify_tolerance=TOLERANCE_M)
        return list(shapely.transform(found.geometry.to_numpy(), lambda xy: np.column_stack(to_px * xy.T)))

    return run


def decode_floor(sample: Path) -> Job:
    import rasterio

    def job(_: Path) -> None:
        with rasterio.open(sample / "images/town.tif") as file:
            file.read()

    return job


def encode_floor(sample: Path) -> Job:
    import rasterio

    from lib.chips.png import encode_png

    with rasterio.open(sample / "images/town.tif") as file:
        image = np.moveaxis(file.read(), 0, -1)
    corners = [(row, col) for row in range(0, len(image), CHIP_PX) for col in range(0, image.shape[1], CHIP_PX)]
    chips = [np.ascontiguousarray(image[row : row + CHIP_PX, col : col + CHIP_PX]) for row, col in corners]
    return lambda _: [encode_png(chip) for chip in chips]


def archive_to_chips(sample: Path) -> Job:
    import tarfile

    import rasterio
    from rasterio.windows import Window

    from lib.chips.imagery import read_pixels
    from lib.chips.manifest import write_png
    from lib.datasets.archives import unpack
    from lib.datasets.stretch import measure as measured_stretch
    from lib.datasets.stretch import write_8bit

    rng, side = np.random.default_rng(0), ARCHIVED_PX
    packed = Path(tempfile.mkdtemp()) / "images.tar.gz"
    with rasterio.open(sample / "images/town.tif") as file, tarfile.open(packed, "w:gz", compresslevel=6) as archive:
        for number in range(ARCHIVED):
            eight = file.read(window=Window(side * (number % 3), side * (number // 3), side, side))
            path = packed.with_name(f"img{number}.tif")
            form = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint16", "crs": file.crs}
            with rasterio.open(path, "w", transform=file.transform, **form) as image:
                image.write(eight.astype(np.uint16) * 8 + rng.integers(0, 8, eight.shape, np.uint16))
            archive.add(path, f"RGB-PanSharpen/{path.name}")

    def job(out: Path) -> None:
        images = unpack(packed, lambda name: out / name.name)
        stretch = measured_stretch(images)
        for image in images:
            ready = write_8bit(image, out / "images" / image.name, stretch)
            pixels, _ = read_pixels(ready, (0, 0, side, side), (side, side))
            write_png(out / "chips" / f"{image.stem}.png", pixels)

    return job


def measure(who: str, job: str, sample: Path, mask: Path) -> dict:
    """A job in this process: CPU seconds of the first time and of the second, and polygons as WKB in hex."""
    if job == ARCHIVE:
        run = archive_to_chips(sample)
    elif job.startswith("floor"):
        run = (decode_floor if "decode" in job else encode_floor)(sample)
    elif job in CHIPS:
        run = (chips_here if who == "here" else chips_by_geoai)(job, sample)
    else:
        run = (outlines_here if who == "here" else outlines_by_geoai)(job, mask)
    seconds, found = [], None
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            before = cpu_s()
            found = run(Path(folder) / "out")
            seconds.append(cpu_s() - before)
    shapes = [] if job not in OUTLINES else [shape.wkb_hex for shape in found]
    return {"first_cpu_s": seconds[0], "cpu_s": seconds[1], "shapes": shapes}


def cpu_s() -> float:
    """CPU seconds of this process and of those that it has started."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def in_own_process(python: str, *arguments: str) -> dict:
    command = [python, __file__, "--one", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def draw_mask(sample: Path, path: Path) -> list:
    """Write the mask of the window; the true buildings in its pixels."""
    import geopandas as gpd
    import rasterio
    import shapely

    from lib.masks.pixel_shapes import in_pixels
    from lib.masks.rasterize import rasterize_buildings
    from lib.sample.places import PLACES

    grid = PLACES["town"].grid().window(*WINDOW)
    buildings = gpd.read_file(sample / "vectors" / "town_truth.gpkg", layer="buildings")
    form = {"driver": "GTiff", "width": grid.width, "height": grid.height, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=grid.crs, transform=rasterio.Affine(*grid.transform), **form) as file:
        file.write(rasterize_buildings(buildings, grid), 1)
    shapes = shapely.intersection(
        in_pixels(buildings.geometry.to_numpy(), buildings.crs, grid), shapely.box(0, 0, grid.width, grid.height)
    )
    return [shape for shape in shapes if shape.area * GSD_M**2 >= LEAST_M2]


def quality(truth: list, hexes: list[str]) -> dict[str, float]:
    import shapely

    from lib.vectors.buildings import building_f1

    found = shapely.make_valid(shapely.from_wkb(hexes))
    score = building_f1(truth, list(found))
    pairs = [(truth[k], shape) for k, shape in zip(score.matches, found, strict=True) if k >= 0]
    iou = np.mean([true.intersection(shape).area / true.union(shape).area for true, shape in pairs])
    corners = float(np.mean(shapely.get_num_coordinates(found) - 1))
    return {"polygons": len(found), "f1": score.f1, "iou": float(iou), "corners": corners}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="Python of an environment with benchmarks/requirements-peers.txt")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--sample", type=Path, default=ROOT / "data" / "demo")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # who, mask: one turn
    options = parser.parse_args()
    sample = options.sample.absolute()
    if options.one:
        who, mask = options.one
        own = (*CHIPS, *OUTLINES, *((*FLOORS, ARCHIVE) if who == "here" else ()))
        print(f"\n{json.dumps({job: measure(who, job, sample, Path(mask)) for job in own})}")
        return

    import pandas as pd

    from lib.networks.devices import device_name
    from lib.sample import make_sample

    make_sample(sample)
    whos = {"here": sys.executable} | ({"geoai": options.peer} if options.peer else {})
    turns: dict[tuple[str, str], list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder:
        mask = Path(folder) / "mask.tif"
        truth = draw_mask(sample, mask)
        for _ in range(options.turns):
            for who, python in whos.items():
                for job, found in in_own_process(python, who, str(mask), "--sample", str(sample)).items():
                    turns.setdefault((who, job), []).append(found)
                    print(f"{job:14} {who:6} {found['first_cpu_s']:7.3f} {found['cpu_s']:7.3f} CPU s", flush=True)
    versions = []
    if options.peer:
        command = [options.peer, "-c", "from importlib import metadata; print(metadata.version('geoai-py'))"]
        versions.append(f"geoai {subprocess.check_output(command, text=True).strip()}")
    versions += [f"{name} {metadata.version(name)}" for name in PACKAGES]
    rows = []
    for (who, job), own in turns.items():
        seconds = {name: float(np.median([turn[name] for turn in own])) for name in ("first_cpu_s", "cpu_s")}
        rows.append({"job": job, "who": who, **seconds} | (quality(truth, own[0]["shapes"]) if job in OUTLINES else {}))
    table = pd.DataFrame(rows)
    for name in ("first_cpu_s", "cpu_s"):
        theirs = table[table["who"] == "geoai"].set_index("job")[name]
        table[name.replace("cpu_s", "times_geoai")] = table["job"].map(theirs) / table[name]
    table["cpu"], table["versions"] = device_name(), "; ".join(versions)
    print(table.drop(columns=["cpu", "versions"]).round(3).to_string(index=False))
    table.to_csv(ROOT / "results" / "chips_speed.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
