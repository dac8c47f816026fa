"""Maps, figures, vectors and scenes are whole or not there, and nothing lies beside them: killed, or out of disk."""

import errno
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import paths
from lib.errors import DiskFullError
from lib.paths import ROOT, is_written, read_mapping, whole_file, write_whole

WRITE = """
os.environ["OGR_CURRENT_DATE"] = "2020-01-01T00:00:00.000Z"
import geopandas as gpd, numpy as np, shapely
from lib.grid import Grid
from lib.vectors.roadio import write_challenge_csv, write_vector
from lib.sample.places import write_layers, write_scene
from lib.show.leaflet import Map, save_map
from lib.show.sheet import Sheet, save_figure

grid = Grid((0.5, 0.0, 5e5, 0.0, -0.5, 6.7e6), "EPSG:32635", 64, 64)
roads = [np.array([[1.0, 2.0], [30.0, 40.0]]), np.array([[5.0, 6.0], [7.0, 50.0], [60.0, 61.0]])]
layer = gpd.GeoDataFrame(geometry=[shapely.LineString(grid.pixel_to_world(line)) for line in roads], crs=grid.crs)
image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)

def work(out):
    for suffix in ("geojson", "gpkg", "fgb"):
        write_vector(out / f"roads.{suffix}", roads, grid)
    write_challenge_csv(out / "roads.csv", {"image": roads})
    write_layers(out / "layers.gpkg", layer, layer)
    write_scene(out / "scene.tif", image, grid)
    save_map(Map((60.4, 27.0)), out / "map.html")
    save_figure(Sheet(2, 2, "a figure", photo=True), out / "figure")

work(Path(sys.argv[2]) / "warm")
"""

# in a mount namespace of its own, so that nothing is mounted for others and nothing stays
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=400k small "$1" || exit 77
cd "$1" && exec "$2" -W ignore -c "$3"
"""
FILL_IT = """
import os
from pathlib import Path
import geopandas as gpd, numpy as np, shapely, torch
from lib.errors import DiskFullError
from lib.grid import Grid
from lib.paths import write_whole
from lib.sample.places import write_layers, write_scene
from lib.training.engine import WholeFileIO

noise = np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), dtype=np.uint8)
layer = gpd.GeoDataFrame(geometry=shapely.linestrings(np.random.rand(9000, 2, 2)), crs="EPSG:4326")
for name, write in {
    "bytes": lambda path: write_whole(path, noise.tobytes()),
    "last.ckpt": lambda path: WholeFileIO().save_checkpoint({"weights": torch.zeros(10**6)}, path),
    "layers.gpkg": lambda path: write_layers(path, layer, layer),
    "scene.tif": lambda path: write_scene(path, noise, Grid((1, 0, 0, 0, -1, 0), "EPSG:32635", 1024, 1024)),
}.items():
    Path(name).write_text("before")
    try:
        write(Path(name).absolute())
    except DiskFullError as error:
        assert error.filename == str(Path(name).absolute())
        assert f"No space left on the disk of {os.getcwd()}" in str(error)
    else:
        raise AssertionError(f"{name} fits")
    assert os.listdir() == [name] and Path(name).read_text() == "before", os.listdir()
    os.unlink(name)
"""


@pytest.fixture(scope="module")
def writing(killer):
    return killer(WRITE)


@pytest.fixture(scope="module")
def whole(writing):
    return writing.whole()


@settings(max_examples=15)
@given(data=st.data())
def test_killed_at_any_step_outputs_end_as_if_they_had_not_been(writing, whole, left_in, data):
    expected, steps = whole
    out = writing.fresh()
    writing.run(out, data.draw(st.integers(1, steps)), data.draw(st.sampled_from(writing.MOMENTS)))
    there = {name for name in left_in(out) if not name.startswith(".")} if out.exists() else set()
    assert all(left_in(out)[name] == left_in(expected)[name] for name in there), "what is there is whole"
    assert writing.run(out).isdigit()
    assert left_in(out) == left_in(expected)


def test_a_full_disk_is_named_and_leaves_what_was_there(tmp_path):
    command = ["unshare", "-rm", "sh", "-c", ON_A_SMALL_DISK, "sh", tmp_path, sys.executable, FILL_IT]
    try:
        run = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("no `unshare` here")
    if run.returncode == 77 or "unshare" in run.stderr:
        pytest.skip(f"a small disk can't be mounted here: {run.stderr}")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_user_without_room_is_told_so_and_other_errors_stay(tmp_path, number):
    with pytest.raises(DiskFullError, match=r"No space left on the disk of .*: a\.bin was not written.*run again"):  # noqa: SIM117
        with whole_file(tmp_path / "a.bin"):
            raise OSError(number, "as the system says it")
    with pytest.raises(RuntimeError, match="something else"), whole_file(tmp_path / "a.bin"):
        raise RuntimeError("something else")
    assert list(tmp_path.iterdir()) == []


def test_parts_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path):
    (tmp_path / ".a.0123456789ab.tmp.png").write_text("half")
    (tmp_path / ".a.png.0123456789ab.tmp").write_text("half")  # as they were called before
    own = [tmp_path / ".a.tmp", tmp_path / ".a.tmp.png", tmp_path / "a.0123456789ab.tmp.png"]
    for path in own:
        path.write_text("somebody's own")
    with whole_file(tmp_path / "b.png") as part:
        part.write_text("whole")
        beside = [tmp_path / f"{name}.msk.ovr.tmp" for name in (part.name, ".a.0123456789ab.tmp.png")]  # as GDAL does
        for path in beside:
            path.write_text("overviews")
        paths.sweep.cache_clear()  # as in another process
        write_whole(tmp_path / "c.png", "c")
        assert [path.exists() for path in beside] == [True, False]
        beside[0].unlink()
    assert {path.name for path in tmp_path.iterdir()} == {"b.png", "c.png", *(path.name for path in own)}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff", b'"text"'])
def test_what_is_no_mapping_says_nothing(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    assert read_mapping(tmp_path / "a.json") == read_mapping(tmp_path / "b.json") == {}
    assert is_written(tmp_path / "a.json") == (content != b"") and not is_written(tmp_path / "b.json")
