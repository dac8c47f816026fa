"""
Where libraries disagree, and what this project does: each row measured here, written into docs/behaviour.md.

    python -m benchmarks.behaviour [--checkpoint runs/demo/two_stage/best.safetensors --image data/demo/images/town.tif]

The checkpoint is needed for the table of views and windows alone; without it that table of the page stays as it is.
"""

import argparse
import re
import tempfile
import warnings
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import cv2
import geopandas as gpd
import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.transform import Affine

from lib.grid import Grid
from lib.masks.rasterize import rasterize_buildings, rasterize_roads
from lib.osm.layers import read_osm
from lib.paths import ROOT, write_whole
from lib.scores.metrics import PixelScores

PAGE = ROOT / "docs" / "behaviour.md"
SIDE_PX = 200
UTM = "EPSG:32635"
NODES = {1: (24.000, 60.000), 2: (24.002, 60.000), 4: (24.002, 60.001), 5: (24.000, 60.001)}  # 3 was cut off
WINDOWS_PX = (256, 512, 1024)


def table(title: str, note: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A section of the page: title, what was asked, the measured values."""
    lines = [list(columns), *(list(map(str, row)) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join([f"## {title}", "", note, "", *("| " + " | ".join(line) + " |" for line in lines), ""])


def missing_node() -> str:
    """What a way becomes whose third of five nodes an extract has cut off."""
    nodes = "".join(f'<node id="{n}" version="1" lat="{y}" lon="{x}"/>' for n, (x, y) in NODES.items())
    refs = "".join(f'<nd ref="{n}"/>' for n in range(1, 6))
    way = f'<way id="9" version="1">{refs}<tag k="highway" v="residential"/></way>'
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cut.osm"
        path.write_text(f'<?xml version="1.0"?><osm version="0.6">{nodes}{way}</osm>')
        gdal = pyogrio.read_dataframe(path, layer="lines").geometry
        here = read_osm(path, layers=("roads",)).roads.geometry
    return table(
        "A way with a missing node",
        "Five nodes around a block, of which an extract has cut off the third.",
        ("reader", "lines", "length", "so"),
        [
            (
                f"GDAL {pyogrio.__gdal_version_string__}",
                len(gdal),
                _length(gdal),
                "a street straight through the block",
            ),
            (f"pyosmium {version('osmium')}", "–", "–", "raises InvalidLocationError"),
            ("here", len(here), _length(here), "the two stretches whose nodes are known"),
        ],
    )


def _length(lines: gpd.GeoSeries) -> str:
    return f"{lines.to_crs(UTM).length.sum():.0f} m"


def thickness() -> str:
    """Rows that a horizontal line covers."""
    grid = Grid((1, 0, 0, 0, -1, SIDE_PX), UTM, SIDE_PX, SIDE_PX)
    rows = []
    for wide in range(1, 11):
        canvas = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        cv2.line(canvas, (20, 100), (180, 100), 255, wide)
        counts = []
        for y in (99.5, 100.0):  # of the middle of row 100, and of its upper border
            line = shapely.LineString([(20, y), (180, y)])
            road = gpd.GeoDataFrame({"highway": ["residential"], "width": [str(wide)]}, geometry=[line], crs=UTM)
            counts.append(np.count_nonzero(rasterize_roads(road, grid)[:, 100]))
        rows.append((wide, np.count_nonzero(canvas[:, 100]), *counts))
    return table(
        "How many rows a horizontal line covers",
        "A line of so many pixels. Here a pixel belongs to a road if its centre lies within half of the width.",
        ("asked", f"cv2.line, OpenCV {cv2.__version__}", "here, along the middle of a row", "here, between two rows"),
        rows,
    )


def claimed_pixels() -> str:
    """Pixels that a polygon claims in three libraries."""
    shapes = {
        "square of 10 px on pixel borders": shapely.box(50, 50, 60, 60),
        "the same, edges through pixel centres": shapely.box(50.5, 50.5, 60.5, 60.5),
        "the same, moved by a quarter": shapely.box(50.25, 50.25, 60.25, 60.25),
        "a sliver of 0.4 px": shapely.box(50.3, 50, 50.7, 60),
        "two squares that share a border": shapely.box(50, 50, 60, 60) | shapely.box(60, 50, 70, 60),
    }
    grid = Grid((1, 0, 0, 0, -1, SIDE_PX), UTM, SIDE_PX, SIDE_PX)
    rows = []
    for name, shape in shapes.items():
        canvas = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
        ring = np.array(shape.exterior.coords)
        cv2.fillPoly(canvas, [np.rint(np.c_[ring[:, 0], SIDE_PX - ring[:, 1]]).astype(np.int32)], 255)
        burnt = rasterize([shape], (SIDE_PX, SIDE_PX), transform=Affine(*grid.transform), dtype="uint8")
        ours = rasterize_buildings(gpd.GeoDataFrame(geometry=[shape], crs=UTM), grid)
        rows.append((name, round(shape.area), *map(np.count_nonzero, (canvas, burnt, ours))))
    return table(
        "Which pixels a polygon claims",
        "North-up image. OpenCV paints the border as well; rasterio and this project take the pixels whose centres lie "
        "inside, and differ where an edge runs through centres.",
        ("polygon", "area", "cv2.fillPoly", f"rasterio {rasterio.__version__}", "here"),
        rows,
    )


def warped_road() -> str:
    """How wide a road of a mask is after GDAL has resampled it, by the no-data value that the file states."""
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    mask[:, 97:103] = 255  # 6 px of 0.5 m
    rows = []
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        for nodata in (None, 0, 255):
            path = Path(folder) / f"{nodata}.tif"
            profile = {"driver": "GTiff", "width": SIDE_PX, "height": SIDE_PX, "count": 1, "dtype": "uint8"}
            with rasterio.open(path, "w", **profile, nodata=nodata) as file:
                file.write(mask, 1)
            shares = []
            for gsd_m in (0.6, 1.0, 2.0):
                side = round(SIDE_PX * 0.5 / gsd_m)
                with rasterio.open(path) as file:
                    how = {"resampling": Resampling.bilinear, "out_dtype": "float32"}
                    small = file.read(1, out_shape=(side, side), **how)
                shares.append(f"{np.count_nonzero(small > 127.5) * gsd_m**2 / (6 * SIDE_PX * 0.25):.2f}")
            rows.append(("none" if nodata is None else nodata, *shares))
    return table(
        "How wide a mask's road is after resampling",
        f"A road of 6 px at 0.5 m, read bilinearly by rasterio {rasterio.__version__} at another pixel size and cut at "
        "half brightness: its area, as a share of what it was. Here values are decided before anything is resampled, "
        "so that the file's no-data value makes no difference.",
        ("nodata stated", "at 0.6 m", "at 1 m", "at 2 m"),
        rows,
    )


def jpeg_decoders() -> str:
    """How far apart one JPEG's pixels are as rasterio and as OpenCV read them."""
    row, col = np.mgrid[:256, :256]
    scene = np.full((256, 256, 3), (60, 120, 90), np.uint8)  # BGR
    scene[(col + 2 * row) % 64 < 12], scene[100:140, 60:200] = (50, 60, 200), (200, 60, 40)
    colours = {
        "full (4:4:4)": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        "half (4:2:0)": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    }
    rows = []
    for name, sampling in colours.items():
        options = [cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        data = cv2.imencode(".jpg", scene, options)[1]
        with rasterio.MemoryFile(data.tobytes()) as memory, memory.open() as file:
            by_rasterio = np.moveaxis(file.read(), 0, -1)
        apart = cv2.absdiff(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), by_rasterio).max(axis=-1)
        rows.append((name, apart.max(), f"{np.mean(apart > 8):.1%}"))
    return table(
        "One JPEG, two decoders",
        f"Roofs and a pool, read by rasterio {version('rasterio')}'s wheel (libjpeg) and by OpenCV {cv2.__version__} "
        "(libjpeg-turbo), of 255 levels. Here scenes are read by rasterio and cut into lossless chips: training and "
        "maps see the same. Chips in JPEG that somebody else has cut are read by OpenCV. In two square kilometres at "
        "1 m, quality 88, by the weights that ship, that moved no IoU by more than 0.002, and 2 to 4 % of the "
        "road's pixels.",
        ("colours stored", "greatest difference", "pixels more than 8 apart"),
        rows,
    )


def three_ious() -> str:
    """One prediction over three chips, and what each IoU says of it."""
    truth, found = np.zeros((3, 100, 100), bool), np.zeros((3, 100, 100), bool)
    truth[0, :, 40:60], found[0, :, 43:63] = True, True  # much road, found 3 px to the side
    truth[1, :, 48:50], found[1, :, 49:51] = True, True  # little road, found 1 px to the side
    found[2, 50, :3] = True  # no road, three false pixels
    scores = PixelScores()
    for number in range(3):
        scores.update(found[number], truth[number], chip=str(number))
    said = scores.compute()
    names = {"IoU, pooled": "iou_pooled", "IoU, mean a chip": "iou_mean_per_image"}
    rows = [
        (name, f"{said[key]:.3f}") for name, key in (names | {"IoU, mean of classes": "iou_mean_over_classes"}).items()
    ]
    return table(
        "What each IoU says of the same masks",
        "Three chips: much road found 3 px to the side, a narrow road found 1 px to the side, no road and three false "
        "pixels. [scores.md](scores.md) has the formulas.",
        ("score", "value"),
        rows,
    )


def windows_and_views(checkpoint: Path, image: Path) -> str:
    """How far PP-LinkNet's probabilities move with views, window and padding, on a part of an image."""
    from lib.chips.imagery import read_scene
    from lib.mapping.predict import predict_image
    from lib.networks.checkpoint import load_model

    model = load_model(checkpoint)
    with rasterio.open(image) as file:
        own_m, side_m = file.res[0], min(file.width, file.height) * file.res[0]
    side_px = int(min(1024, side_m / model.info.gsd_m)) // 32 * 32
    span = side_px * model.info.gsd_m / own_m
    rgb, _ = read_scene(image, (0, 0, span, span), (side_px, side_px))
    whole = predict_image(model, rgb, tta="none", window_px=1024)
    changes = {"the eight views instead of one": predict_image(model, rgb, tta="d4", window_px=1024)}
    for window_px in WINDOWS_PX:
        if window_px < side_px:
            changes[f"windows of {window_px} px"] = predict_image(model, rgb, "none", window_px, window_px // 4)
    padded = np.pad(rgb, ((32, 32), (32, 32), (0, 0)), mode="reflect")
    changes["32 px more of mirrored border"] = predict_image(model, padded, "none")[32:-32, 32:-32]
    rows = []
    for name, other in changes.items():
        apart = np.abs(other - whole)
        moved = np.mean((other >= model.info.threshold) != (whole >= model.info.threshold))
        rows.append((name, f"{apart.mean():.4f}", f"{np.quantile(apart, 0.99):.3f}", f"{moved:.2%}"))
    return table(
        "What views, window and padding do to PP-LinkNet",
        f"{side_px} x {side_px} px of the sample's town in one piece, by the demo's two-stage network, against the "
        "same with one thing changed. The cells of its pyramid pooling are a share of the window: another window is "
        "another question.",
        ("change", "mean change of probability", "99th percentile", "pixels that change sides"),
        rows,
    )


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.behaviour", description=__doc__.splitlines()[1])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--image", type=Path, default=ROOT / "data/demo/images/town.tif")
    options = parser.parse_args()
    sections = [missing_node(), thickness(), claimed_pixels(), warped_road(), jpeg_decoders(), three_ious()]
    if options.checkpoint:
        sections.append(windows_and_views(options.checkpoint, options.image))
    elif PAGE.is_file() and (kept := re.search(r"## What views, window.*", PAGE.read_text(), flags=re.DOTALL)):
        sections.append(kept.group())
    head = (
        "# Where libraries disagree\n\nMeasured by `python -m benchmarks.behaviour`, which writes this page. "
        "[findings/](../findings/README.md) has more that libraries do\nagainst expectation.\n\n"
    )
    write_whole(PAGE, head + "\n".join(sections).rstrip() + "\n")
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
