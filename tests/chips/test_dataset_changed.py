"""Chips are cut anew where a file has changed that decides them, be it beside the one that a source names."""

import os
import shutil

import cv2
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from lib.chips.manifest import read_image, read_mask

SHARES = {"chip_px": 400, "test_share": 0, "val_share": 0}


def draw(path, highway):
    line = shapely.LineString([(499_950, 6_699_900), (500_250, 6_699_900)])
    gpd.GeoDataFrame({"highway": [highway]}, geometry=[line], crs="EPSG:32635").to_file(path)


def foreground(manifest):
    return int((read_mask(manifest["mask"][0]) == 255).sum())


def test_a_world_file_that_was_corrected_moves_the_mask(build, area):
    cv2.imwrite(str(area / "a.jpg"), np.full((400, 400, 3), 90, np.uint8))
    (area / "a.prj").write_text(rasterio.crs.CRS.from_epsg(32635).to_wkt())
    world = area / "a.jgw"
    world.write_text("0.5 0 0 -0.5 500000.25 6699999.75")
    source = {"images": "a.jpg", "clean": "truth.gpkg"}
    before = read_mask(build(area, source, **SHARES)["mask"][0])
    world.write_text("0.5 0 0 -0.5 500000.25 6700019.75")  # 40 px
    after = read_mask(build(area, source, **SHARES)["mask"][0])
    assert np.array_equal(after[40:], before[:-40]) and (before == 255).any()


@pytest.mark.parametrize("depth", [1, 2])
def test_what_a_vrt_is_made_of_is_read_anew(build, area, depth):
    name = "scene.tif"
    for number in range(depth):
        size = 'xOff="0" yOff="0" xSize="400" ySize="400"'
        bands = "".join(
            f'<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource><SourceFilename relativeToVRT="1">{name}'
            f"</SourceFilename><SourceBand>{band}</SourceBand><SrcRect {size}/><DstRect {size}/></SimpleSource>"
            "</VRTRasterBand>"
            for band in (1, 2, 3)
        )
        name = f"{number}.vrt"
        (area / name).write_text(
            '<VRTDataset rasterXSize="400" rasterYSize="400"><SRS>EPSG:32635</SRS><GeoTransform>500000, 0.5, 0, '
            f"6700000, 0, -0.5</GeoTransform>{bands}</VRTDataset>"
        )
    source = {"images": name, "clean": "truth.gpkg"}
    before = read_image(build(area, source, **SHARES)["image"][0])
    with rasterio.open(area / "scene.tif", "r+") as file:
        file.write(file.read()[:, ::-1])
    assert np.array_equal(read_image(build(area, source, **SHARES)["image"][0]), before[::-1])


@pytest.mark.parametrize("name", ["roads/roads.shp", "roads"])
def test_attributes_that_changed_are_drawn(build, area, name):
    (area / "roads").mkdir()
    draw(area / "roads" / "roads.shp", "residential")
    source = {"images": "scene.tif", "clean": name}
    before = foreground(build(area, source, **SHARES))
    draw(area / "new.shp", "motorway")
    shutil.copy(area / "new.dbf", area / "roads" / "roads.dbf")
    assert foreground(build(area, source, **SHARES)) > before


def test_statistics_that_a_viewer_leaves_beside_an_image_change_nothing(build, area):
    first = build(area)
    manifest = area / "chips" / "manifest.csv"
    os.utime(manifest, (0, 0))
    beside = area / "scene.tif.aux.xml"
    beside.write_text(
        '<PAMDataset><PAMRasterBand band="1"><Metadata><MDI key="STATISTICS_MEAN">90</MDI></Metadata></PAMRasterBand>'
        "</PAMDataset>"
    )
    assert build(area).equals(first) and manifest.stat().st_mtime_ns == 0
    beside.write_text('<PAMDataset><PAMRasterBand band="1"><NoDataValue>90</NoDataValue></PAMRasterBand></PAMDataset>')
    build(area)
    assert manifest.stat().st_mtime_ns > 0
