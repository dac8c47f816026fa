"""
Right-angled buildings: this project's against the library buildingregulariser's: `python benchmarks/buildings.py FILE`.

FILE holds the outlines of known houses (any vector file). They are drawn into masks of 0.3 and 0.5 m a pixel, clean
and with the rounded corners and ragged edges of a prediction, and each method makes polygons of the same outlines of
pixels. Printed: mean IoU with the house, mean distance of the worst corner (Hausdorff), mean error of the direction,
corners a house, how many polygons are invalid, and the median time a house of REPEATS runs. Only houses whose patch is
theirs alone are measured. The library is no part of the installation: `uv pip install buildingregulariser`.
"""

import argparse
import time
import warnings
from pathlib import Path

import buildingregulariser
import cv2
import geopandas as gpd
import numpy as np
import shapely

from lib.vectors import buildings
from lib.vectors.outlines import outlines as traced

REPEATS = 3
OPTIONS = buildings.BuildingOptions()


def mask_of(houses: np.ndarray, shape: tuple[int, int], ragged: bool, rng: np.random.Generator) -> np.ndarray:
    """Houses (polygons in pixels) as a mask, uint8 of 0 and 1."""
    from rasterio.features import rasterize

    mask = rasterize(list(houses), shape, dtype="uint8")
    if ragged:
        noise = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 1.6)
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 2.0)
        mask = (soft + 0.6 * noise > 0.5).astype(np.uint8)
    return mask


def ours(outlines: list[shapely.Polygon], gsd_m: float) -> list[shapely.Polygon]:
    return buildings.tidied(np.array(outlines), gsd_m, buildings.BuildingOptions(right_angles=True)).tolist()


def library(outlines: list[shapely.Polygon], gsd_m: float, **options: bool) -> list[shapely.Polygon]:
    """The library's, with its defaults or `options`; it works in metres."""
    frame = gpd.GeoDataFrame(geometry=[shapely.transform(o, lambda xy: xy * gsd_m) for o in outlines], crs="EPSG:32636")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = buildingregulariser.regularize_geodataframe(
            frame, simplify_tolerance=OPTIONS.tolerance_m, num_cores=1, **options
        )
    return [shapely.transform(shape, lambda xy: xy / gsd_m) for shape in found.geometry]


METHODS = {
    "pixels": lambda outlines, gsd_m: outlines,
    "simplified": lambda outlines, gsd_m: buildings.tidied(np.array(outlines), gsd_m, OPTIONS).tolist(),
    "ours": ours,
    "library": library,
    "library, 90 degrees only": lambda o, gsd_m: library(o, gsd_m, allow_45_degree=False, allow_circles=False),
}


def direction_deg(polygon: shapely.Polygon) -> float:
    """Mean direction of the walls modulo 90 degrees, weighted by length."""
    walls = np.diff(shapely.get_coordinates(polygon.boundary), axis=0)
    angles = np.arctan2(walls[:, 1], walls[:, 0])
    return float(np.degrees(np.angle(np.sum(np.hypot(*walls.T) * np.exp(4j * angles)))) / 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("houses", type=Path)
    frame = gpd.read_file(parser.parse_args().houses)
    frame = frame[(frame.geom_type == "Polygon") & frame.is_valid]
    frame = frame.to_crs(frame.estimate_utm_crs())
    left, bottom, right, top = frame.total_bounds
    for gsd_m in (0.3, 0.5):
        shape = (int((top - bottom) / gsd_m) + 20, int((right - left) / gsd_m) + 20)
        to_px = lambda xy, g=gsd_m: np.column_stack([xy[:, 0] - left, top - xy[:, 1]]) / g + 10  # noqa: E731
        houses = shapely.transform(frame.geometry.to_numpy(), to_px)
        houses = houses[shapely.area(houses) * gsd_m**2 >= OPTIONS.min_area_m2]
        for ragged in (False, True):
            built = mask_of(houses, shape, ragged, np.random.default_rng(0))
            outlines = [o for o in traced(built) if o.area * gsd_m**2 >= OPTIONS.min_area_m2]
            pairs = shapely.STRtree(houses).query(outlines, predicate="intersects")
            alone = [o for o in range(len(outlines)) if (pairs[0] == o).sum() == 1]
            alone = [o for o in alone if (pairs[1] == pairs[1][pairs[0] == o][0]).sum() == 1]
            truth = [houses[pairs[1][pairs[0] == o][0]] for o in alone]
            mine = [outlines[o] for o in alone]
            print(f"{len(mine)} houses, {gsd_m} m a pixel, {'ragged' if ragged else 'clean'}")
            for name, method in METHODS.items():
                seconds = []
                for _ in range(REPEATS):
                    start = time.perf_counter()
                    found = method(mine, gsd_m)
                    seconds.append(time.perf_counter() - start)
                invalid = int((~shapely.is_valid(found)).sum())
                found = shapely.make_valid(found)
                iou = [t.intersection(f).area / t.union(f).area for t, f in zip(truth, found, strict=True)]
                far = [t.hausdorff_distance(f) * gsd_m for t, f in zip(truth, found, strict=True)]
                turn = [(direction_deg(t) - direction_deg(f) + 45) % 90 - 45 for t, f in zip(truth, found, strict=True)]
                corners = np.mean(shapely.get_num_coordinates(found) - 1)
                print(
                    f"  {name:26} IoU {np.mean(iou):.3f}  worst corner {np.mean(far):.2f} m  direction "
                    f"{np.mean(np.abs(turn)):4.1f} deg  corners {corners:5.1f}  "
                    f"invalid {invalid}  "
                    f"{np.median(seconds) / len(mine) * 1e3:6.3f} ms a house"
                )


if __name__ == "__main__":
    main()
