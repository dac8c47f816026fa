"""Raster files: where they say that they lie, how large they may be, and what is said of those that can't be read."""

import warnings
import zlib

import numpy as np
import pytest
import rasterio
from PIL import Image
from pyproj import CRS
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC
from rasterio.transform import Affine

from lib.errors import InputError
from lib.grid import Grid, tile_grid
from lib.rasters import opened, read_grid

UTM = "EPSG:32635"
NORTH_UP = (0.5, 0.0, 385500.0, 0.0, -0.5, 6673300.0)
WORLD = "0.5 0 0 -0.5 385500.25 6673299.75"
ONES = [1.0] * 20
RPCS = RPC(1, 1, 1, 1, ONES, ONES, 1, 1, 1, 1, ONES, ONES, 1, 1)
LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1]]'


def write_image(path, transform=None, crs=None, size=(12, 10), **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    more |= {"transform": Affine(*transform)} if transform else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", width=size[0], height=size[1], count=3, dtype="uint8", crs=crs, **more) as raster:
            raster.write(np.zeros((3, size[1], size[0]), dtype=np.uint8))
    return path


def test_geotiff(tmp_path):
    assert read_grid(write_image(tmp_path / "scene.tif", NORTH_UP, UTM)) == Grid(NORTH_UP, UTM, 12, 10)
    dot = read_grid(write_image(tmp_path / "dot.tif", NORTH_UP, UTM, size=(1, 1)))
    assert (dot.width, dot.height, dot.gsd_m) == (1, 1, 0.5)


@pytest.mark.parametrize("name", ["OAM-1238424-1046544-21.png", "1238424-1046544-21.png", "21/1238424/1046544.png"])
def test_tile_names(tmp_path, name):
    path = write_image(tmp_path / name, size=(256, 256))
    assert read_grid(path) == tile_grid(1238424, 1046544, 21)
    assert read_grid(path, require_crs=False, by_name=False).crs is None


@pytest.mark.parametrize(
    ("name", "side"),
    [
        *(("town-2021-05-14.png", 256), ("town-2021-11-14.png", 256), ("2021/05/14.png", 256), ("5-14-21.png", 512)),
        *(("plot-999-3-4.png", 256), ("1-1-31.png", 256), ("img-120-45-7.png", 300), ("17/007/93131.png", 256)),
    ],
)
def test_names_that_only_look_like_tiles(tmp_path, name, side):
    path = write_image(tmp_path / name, size=(side, side))
    assert read_grid(path, require_crs=False).crs is None
    with pytest.raises(InputError, match="is not georeferenced"):
        read_grid(path)
    assert read_grid(write_image(tmp_path / "1-1-2.png", size=(256, 128)), require_crs=False).crs is None


@pytest.mark.parametrize("profile", ["mercator", "global-mercator", "geodetic", "raster"])
def test_tiles_of_gdal2tiles_count_from_the_south(tmp_path, profile):
    path = write_image(tmp_path / "tiles/17/74616/93131.png", size=(256, 256))
    tiles = f'<TileMap version="1.0.0"><SRS>EPSG:3857</SRS><TileSets profile="{profile}"/></TileMap>'
    (tmp_path / "tiles" / "tilemapresource.xml").write_text(tiles)
    if "mercator" not in profile:
        with pytest.raises(InputError, match=rf"tilemapresource\.xml: expected .* mercator, got '{profile}'"):
            read_grid(path)
        return
    assert read_grid(path) == tile_grid(74616, 2**17 - 1 - 93131, 17)
    assert 60.1 < float(read_grid(path).footprint_wkt().split()[2].rstrip(",")) < 60.2


@pytest.mark.parametrize("text", ["", "<TileMap", "<TileMap></TileMap>", "no xml"])
def test_a_damaged_description_of_tiles_is_named(tmp_path, text):
    path = write_image(tmp_path / "17/74616/93131.png", size=(256, 256))
    (tmp_path / "tilemapresource.xml").write_text(text)
    with pytest.raises(InputError, match=r"tilemapresource\.xml: expected"):
        read_grid(path)


@pytest.mark.parametrize(
    ("image", "world_file"),
    [
        *(("a.png", "a.pgw"), ("a.jpg", "a.jgw"), ("a.tif", "a.tfw"), ("a.png", "a.wld"), ("a.jpeg", "a.jpegw")),
        *(("a.png", "a.PGW"), ("A.JPG", "A.JGW")),
    ],
)
def test_world_files_place_the_centre_of_the_first_pixel(tmp_path, image, world_file):
    path = write_image(tmp_path / image)
    (tmp_path / world_file).write_text("0.5\n0.1\n0.2\n-0.5\n1000.35\n2000.0\n")
    grid = read_grid(path, crs=UTM)
    assert np.allclose(grid.transform, (0.5, 0.2, 1000.0, 0.1, -0.5, 2000.2))
    assert np.allclose(grid.pixel_to_world([[0.5, 0.5]]), [[1000.35, 2000.0]])


@pytest.mark.parametrize("ending", [".prj", ".PRJ"])
def test_a_world_file_takes_its_crs_from_a_prj_beside_it(tmp_path, ending):
    path = write_image(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text(WORLD)
    with pytest.raises(InputError, match="a.png is not georeferenced: it has a place, but states no CRS.*`crs`"):
        read_grid(path)
    (tmp_path / f"a{ending}").write_text(CRS.from_user_input(UTM).to_wkt("WKT1_ESRI"))
    assert read_grid(path) == Grid(NORTH_UP, UTM, 12, 10)
    assert read_grid(path, crs="EPSG:3857").crs == UTM  # a key of the source is for files that state none


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        *(("a.pgw", "0.5 0 0", "six numbers"), ("a.pgw", "a b c d e f", "six numbers")),
        *(("a.pgw", b"\xff\xfe\x00", "six numbers"), ("a.pgw", "0.5 0 0 -0.5 nan 1", "six finite numbers")),
        *(("a.pgw", "0 0 0 0 1 1", "squeezes"), ("a.pgw", "0.5 0 0 -0.5 24.9 9e15", "do not exist in its CRS")),
        *(("a.prj", "no CRS", "Expected a CRS"), ("a.prj", b"\xff\xfe\xfa", "a CRS as WKT"), ("a.prj", "", "a CRS")),
    ],
)
def test_damaged_world_files_and_prj_are_named(tmp_path, name, content, said):
    path = write_image(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text(WORLD)
    (tmp_path / "a.prj").write_text(CRS.from_user_input(UTM).to_wkt())
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        read_grid(path)
    assert str(tmp_path / "a.") in str(error.value)


@pytest.mark.parametrize(
    ("transform", "crs", "more", "said"),
    [
        (None, UTM, {}, "states a CRS, but no place in it.*gdal_translate"),
        (NORTH_UP, LOCAL, {}, "'site grid' is a local one.*`crs`.*`gsd_m`"),
        (NORTH_UP, None, {}, "states no CRS.*`crs`"),
        (NORTH_UP, 'GEOCCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]]]', {}, "is a local one"),
        (None, None, {"rpcs": RPCS}, "RPCs.*-rpc"),
        (
            None,
            UTM,
            {"gcps": [GroundControlPoint(r, c, 24.9 + c, 60.1 - r, 0.0) for r, c in ((0, 0), (0, 9), (9, 0))]},
            "ground control points alone. Run gdalwarp -t_srs",
        ),
    ],
    ids=["no place", "local", "no CRS", "geocentric", "RPCs", "GCPs"],
)
def test_what_lacks_of_a_georeference_is_said_and_what_to_do(tmp_path, transform, crs, more, said):
    path = write_image(tmp_path / "half.tif", transform, crs, **more)
    with pytest.raises(InputError, match=rf"half\.tif is not georeferenced: .*{said}"):
        read_grid(path)
    assert read_grid(path, require_crs=False).crs is None
    if crs == LOCAL:
        assert read_grid(path, crs="EPSG:3067").crs == "EPSG:3067"


@pytest.mark.parametrize("crs", ["EPSG:32635", "EPSG:25832", "EPSG:2263"])
@pytest.mark.parametrize("height", ["5773", "7837", "6360"])
def test_a_crs_with_heights_is_its_horizontal_part(tmp_path, crs, height):
    path = write_image(tmp_path / "a.tif", NORTH_UP, f"{crs}+{height}")
    assert read_grid(path).crs == crs
    assert read_grid(write_image(tmp_path / "b.tif", NORTH_UP), crs=f"{crs}+{height}").crs == crs


def test_a_place_on_another_planet_is_named(tmp_path):
    moon = (
        'GEOGCS["Moon",DATUM["Moon_2000",SPHEROID["Moon",1737400,0]],PRIMEM["Reference",0],UNIT["degree",0.01745329]]'
    )
    path = write_image(tmp_path / "moon.tif", (1e-5, 0, 24.9, 0, -1e-5, 60.1), moon)
    try:
        read_grid(path)  # PROJ takes it for the earth, or refuses
    except InputError as error:
        assert "moon.tif" in str(error)


def test_no_image_is_named(tmp_path):
    with pytest.raises(InputError, match="nothing.tif: no such image"):
        read_grid(tmp_path / "nothing.tif")
    (tmp_path / "text.tif").write_text("this is no image")
    with pytest.raises(InputError, match="text.tif: expected an image"):
        read_grid(tmp_path / "text.tif")
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(InputError, match="folder.tif: no such image"):
        read_grid(tmp_path / "folder.tif")


@pytest.mark.parametrize("name", ["Zürich ß 東京.tif", "a#1?x=%20.tif", "[1]!x.tif", "zip+x:y.tif", "ends. .tif"])
def test_names_of_files_are_only_names(tmp_path, name):
    write_image(tmp_path / "real" / name, NORTH_UP, UTM)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / f"link_{name}").symlink_to(tmp_path / "real" / name)
    assert read_grid(tmp_path / "link" / name) == read_grid(tmp_path / f"link_{name}") == Grid(NORTH_UP, UTM, 12, 10)


def declared(path, side, driver="GTiff", **more):
    """An image whose header declares that size, and that holds next to nothing."""
    profile = {"width": side, "height": side, "count": 1, "dtype": "uint8", "transform": Affine(*NORTH_UP), "crs": UTM}
    with rasterio.open(path, "w", driver=driver, sparse_ok=True, **profile | more):
        pass
    return path


def test_declared_sizes_are_checked_before_memory_is_taken(tmp_path):
    declared(tmp_path / "tiles.tif", 1_000_000, tiled=True, blockxsize=4096, blockysize=4096, bigtiff="yes")
    with pytest.raises(InputError, match=r"tiles\.tif declares 1000000 x 1000000 px; 200000 squared.*gdal_retile"):
        read_grid(tmp_path / "tiles.tif")
    declared(tmp_path / "block.tif", 40_000, tiled=True, blockxsize=32_768, blockysize=32_768, dtype="uint16")
    with pytest.raises(InputError, match=r"block\.tif is stored in pieces of 2\.0 GiB.*TILED=YES"):
        read_grid(tmp_path / "block.tif")
    Image.new("L", (8, 8)).save(tmp_path / "small.png")
    header = bytearray((tmp_path / "small.png").read_bytes())
    header[16:24] = (1_000_000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    (tmp_path / "huge.png").write_bytes(header)
    with pytest.raises(InputError, match=r"huge\.png(: expected an image| declares 1000000 x 1000000)"):
        read_grid(tmp_path / "huge.png")


def test_a_list_of_other_files_is_no_image_by_another_name(tmp_path):
    other = tmp_path / "other.png"
    Image.fromarray(np.full((20, 20), 7, np.uint8)).save(other)
    name = f'<SourceFilename relativeToVRT="0">{other}</SourceFilename>'
    band = f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource>{name}</SimpleSource></VRTRasterBand>'
    vrt = f'<VRTDataset rasterXSize="20" rasterYSize="20">{band}</VRTDataset>'
    (tmp_path / "a.tif").write_text(vrt)
    with pytest.raises(InputError, match=r"a\.tif: expected an image"), opened(tmp_path / "a.tif"):
        pass
    (tmp_path / "a.vrt").write_text(vrt)
    with opened(tmp_path / "a.vrt") as file:
        assert file.read(1).max() == 7
