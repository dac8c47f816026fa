"""A bucket on 127.0.0.1 with archives laid out as the publisher's are: small images, the real names and folders."""

import io
import json
import tarfile

import boto3
import numpy as np
import pytest
import rasterio
import shapely
from moto.server import ThreadedMotoServer

from lib.datasets.bucket import open_bucket
from lib.datasets.catalogue import BUCKET, DATA_SETS

SIDE_PX, STEP_DEG = 64, 2.7e-6 * 4  # about 1.2 m
LEFT, TOP = -115.17, 36.24
NAME = "SN3_roads_train_AOI_2_Vegas"


def geotiff(number, dtype="uint16", count=3, empty=False):
    """An image of noise around 400, the brighter the higher its number; a black row is no data."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(200, 600, (count, SIDE_PX, SIDE_PX)) + 10 * number
    pixels = np.zeros_like(pixels) if empty else pixels.clip(1, 255 if dtype == "uint8" else 2047)
    pixels[:, 0] = 0
    transform = rasterio.Affine(STEP_DEG, 0, LEFT + number * SIDE_PX * STEP_DEG, 0, -STEP_DEG, TOP)
    profile = {"width": SIDE_PX, "height": SIDE_PX, "count": count, "dtype": dtype, "crs": "EPSG:4326"}
    with rasterio.MemoryFile() as memory:
        with memory.open(driver="GTiff", transform=transform, **profile) as file:
            file.write(pixels.astype(dtype))
        return memory.read()


def at(number, x_px, y_px):
    """Longitude and latitude of a pixel of an image."""
    return LEFT + (number * SIDE_PX + x_px) * STEP_DEG, TOP - y_px * STEP_DEG


def geojson(shapes, **properties):
    features = [
        {"type": "Feature", "properties": properties, "geometry": json.loads(shapely.to_geojson(shape))}
        for shape in shapes
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def tarball(files):
    """A .tar.gz of name -> bytes, or a TarInfo as it is."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if info is content else content
            info.size = info.size or len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def vegas_roads():
    """SpaceNet 3: four images, one without roads, one without a label; three products of which one is wanted."""
    folder, files = "AOI_2_Vegas", {}
    for number in range(1, 5):
        files[f"{folder}/PS-RGB/{NAME}_PS-RGB_img{number}.tif"] = geotiff(number)
        files[f"{folder}/PAN/{NAME}_PAN_img{number}.tif"] = b"not wanted"
    street = shapely.LineString([at(1, 10, 32), at(1, 54, 32)])
    labels = {
        1: geojson([street], lane_number="2", road_type="5", heading="0"),
        2: geojson([]),
        3: geojson(
            [shapely.MultiLineString([[at(3, 5, 5), at(3, 5, 60)], [at(3, 5, 30), at(3, 60, 30)]])], lane_number=1
        ),
    }
    for number, content in labels.items():
        files[f"{folder}/geojson_roads/{NAME}_geojson_roads_img{number}.geojson"] = content
    files[f"{folder}/{NAME}_road_labels.csv"] = b"ImageId,WKT_Pix\nAOI_2_Vegas_img1,LINESTRING EMPTY\n"
    return files


@pytest.fixture(scope="session")
def server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def upload(server):
    """Puts a file into the bucket, in one part or in several."""
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=server, **keys)
    client.create_bucket(Bucket=BUCKET)

    def put(key, data, part_bytes=None):
        if part_bytes is None:
            client.put_object(Bucket=BUCKET, Key=key, Body=data, ACL="public-read")
            return
        upload_id = client.create_multipart_upload(Bucket=BUCKET, Key=key, ACL="public-read")["UploadId"]
        own = {"Bucket": BUCKET, "Key": key, "UploadId": upload_id}
        parts = []
        for number, start in enumerate(range(0, len(data), part_bytes), start=1):
            tag = client.upload_part(**own, PartNumber=number, Body=data[start : start + part_bytes])["ETag"]
            parts.append({"PartNumber": number, "ETag": tag})
        client.complete_multipart_upload(**own, MultipartUpload={"Parts": parts})

    yield put
    for found in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=found["Key"])


@pytest.fixture
def bucket(server, upload):
    return open_bucket(BUCKET, server)


@pytest.fixture
def vegas_key():
    return DATA_SETS["spacenet-roads"].archives["Vegas"][0]
