"""Many chips: on all cores, on a cluster one of whose workers dies, and after a run that was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import psutil
import pytest
import rasterio
import shapely
from distributed import Client

from lib.chips import dataset, jobs
from lib.chips.cut import ChipOptions
from lib.chips.dataset import build_chips
from lib.chips.jobs import run_jobs
from lib.chips.manifest import load_manifest, read_mask
from lib.chips.sources import find_scenes
from lib.chips.vectors import read_vectors
from lib.errors import ParameterError, WorkerError
from lib.masks.offset import shift
from lib.masks.rasterize import rasterize_roads
from lib.osm.lanes import lane_profile
from lib.paths import ROOT

SIDE_PX, CHIP_PX = 640, 64  # 100 chips
SOURCE = {"images": "*.tif", "osm": "osm.gpkg"}
PATIENCE_S = 300  # with processes that have to start, whatever else this machine does
OPTIONS = ChipOptions(gsd_m=0.5, chip_px=CHIP_PX)
# a worker that notes each file it has written. The first of two whose 50th file it is dies of it, when both have begun:
# its 17th chip has an image and a mask then, and no record
NOTING = """
import os, signal, time
from pathlib import Path
from lib.chips import cut, manifest
from lib.paths import write_whole

folder, own = Path({folder!r}), []

def noted(path, content):
    own.append(write_whole(path, content))
    with (folder / "written.txt").open("a") as file:
        file.write(f"{{os.getpid()}} {{path}}\\n")
    (folder / f"{{os.getpid()}}.began").touch()
    while len(list(folder.glob("*.began"))) < 2:
        time.sleep(0.01)
    if len(own) == 50 and not (folder / "died.txt").exists():
        (folder / "died.txt").write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return path

cut.write_whole = manifest.write_whole = noted
"""


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town")
    rng = np.random.default_rng(0)
    left, top = 500_000.0, 6_700_000.0
    options = {"width": SIDE_PX, "height": SIDE_PX, "count": 3, "dtype": "uint8", "crs": "EPSG:32635"}
    transform = rasterio.Affine(0.5, 0, left, 0, -0.5, top)
    with rasterio.open(folder / "scene.tif", "w", transform=transform, **options) as file:
        file.write(rng.integers(0, 255, (3, SIDE_PX, SIDE_PX), dtype=np.uint8))
    ends = rng.uniform((left, top - 320), (left + 320, top), (30, 2, 2))
    roads = gpd.GeoDataFrame({"highway": ["residential"] * 30}, geometry=shapely.linestrings(ends), crs="EPSG:32635")
    roads.to_crs("EPSG:4326").to_file(folder / "osm.gpkg", layer="roads")
    return folder


def build(town, out_dir, **more):
    scenes = find_scenes(SOURCE, town, OPTIONS.gsd_m)
    layers = read_vectors(scenes, OPTIONS.task)
    return build_chips(scenes, layers, out_dir, OPTIONS, lane_profile("metric"), {"scene": (3.0, -2.0)}, **more)


@pytest.fixture(scope="module")
def expected(town, tmp_path_factory):
    """What a run without any trouble leaves: the bytes of each file."""
    return contents(build(town, tmp_path_factory.mktemp("expected")).parent)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_chips_are_the_pixels_of_the_whole_scene(town, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "BLOCK_CHIPS", 7)
    manifest = load_manifest(build(town, tmp_path / "chips"))
    (scene,) = find_scenes(SOURCE, town, OPTIONS.gsd_m)
    roads = shift(gpd.read_file(town / "osm.gpkg"), 3.0, -2.0)
    whole = rasterize_roads(roads, scene.grid, lane_profile("metric"))
    assert len(manifest) == 100 and whole.any()
    for chip in manifest.itertuples():
        row, col = (int(part[1:]) for part in chip.chip.split("_")[1:])
        assert np.array_equal(read_mask(chip.mask), whole[row : row + CHIP_PX, col : col + CHIP_PX])


def spawn(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": f"{PATIENCE_S}s"}
    return subprocess.Popen([sys.executable, *map(str, arguments)], env=environment, stderr=subprocess.DEVNULL)


def address_in(place):
    """What a scheduler writes into its file, as soon as it is whole."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return json.loads(place.read_text())["address"]
        except (FileNotFoundError, ValueError):
            assert time.monotonic() < until_s
            time.sleep(0.02)


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers, each a process of its own: its address, and the workers' processes."""
    (tmp_path / "noting.py").write_text(NOTING.format(folder=str(tmp_path)))
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    place = tmp_path / "scheduler.json"
    processes = [spawn("-m", "distributed.cli.dask_scheduler", *options, "--scheduler-file", place)]
    try:
        address = address_in(place)
        options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--preload", tmp_path / "noting.py"]
        options += ["--local-directory", tmp_path / "dask"]
        processes += [spawn("-m", "distributed.cli.dask_worker", address, *options) for _ in range(2)]
        with Client(address, timeout=PATIENCE_S, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=PATIENCE_S)
        yield address, processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_worker_that_dies_loses_nothing_and_nothing_is_made_twice(town, expected, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "BLOCK_CHIPS", 8)
    monkeypatch.setattr(jobs, "REACH_S", PATIENCE_S)
    address, workers = cluster
    out_dir = tmp_path / "chips"
    build(town, out_dir, scheduler=address)
    dead, alive = sorted(workers, key=lambda worker: str(worker.pid) != (tmp_path / "died.txt").read_text())
    assert dead.wait(PATIENCE_S) == -signal.SIGKILL and alive.poll() is None
    assert contents(out_dir) == expected
    lines = (tmp_path / "written.txt").read_text().splitlines()
    records = [line.split()[1] for line in lines if "/records/" in line]
    assert len(records) == len(set(records)) == 100  # each chip was finished once
    again = len(lines) - len({line.split()[1] for line in lines})
    assert again == 2  # the image and the mask that the dead worker had in its hands
    assert {int(line.split()[0]) for line in lines} == {worker.pid for worker in workers}


def test_a_cluster_without_workers_is_an_error(cluster, monkeypatch):
    address, workers = cluster
    monkeypatch.setattr(jobs, "REACH_S", PATIENCE_S)
    assert list(run_jobs(eval, [THREADS], 1, address)) == [(THREADS, 1)]
    results = run_jobs(time.sleep, [0.1] * 100, 100, address)
    next(results)
    monkeypatch.setattr(jobs, "REACH_S", 1.0)
    for worker in workers:
        worker.kill()
    with pytest.raises(ParameterError, match=f"All workers of {address} are gone"):
        list(results)


# kills itself when it is about to note its 41st chip
KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, {tests!r})
from test_jobs import build
from lib.chips import cut, jobs
jobs.WORTH_S, write, written = float("inf"), cut.write_whole, []

def write_40(path, content):
    if len(written) == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    written.append(write(path, content))

cut.write_whole = write_40
build(pathlib.Path({town!r}), pathlib.Path({out!r}))
"""


def test_a_killed_run_goes_on_where_it_was(town, expected, tmp_path, capsys):
    out_dir = tmp_path / "chips"
    code = KILLED.format(tests=str(Path(__file__).parent), town=str(town), out=str(out_dir))
    process = spawn("-c", code)
    assert process.wait(PATIENCE_S) == -signal.SIGKILL and not (out_dir / "manifest.csv").exists()
    before = {path: path.stat().st_mtime_ns for path in (out_dir / "records").glob("*.json")}
    assert len(before) == 40
    build(town, out_dir)
    assert f"{len(before)} are there already" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    for path in out_dir.rglob(".*.tmp"):
        path.unlink()  # one that was being written when the run was killed
    assert contents(out_dir) == expected


THREADS = "__import__('cv2').getNumThreads()"  # a job for eval, which any process can import
DIES = "__import__('os')._exit(9)"


@pytest.fixture
def share(monkeypatch):
    """Shares small work out, too: three helpers for whatever machine."""
    monkeypatch.setattr(jobs, "WORTH_S", 0.0)
    monkeypatch.setattr("dask.system.CPU_COUNT", 3)


def test_helpers_make_the_same_chips(share, town, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "BLOCK_CHIPS", 8)
    assert contents(build(town, tmp_path / "chips").parent) == expected


def test_helpers_open_no_port_and_opencv_keeps_to_one_thread(share, monkeypatch):
    start, helpers = jobs._start, []
    monkeypatch.setattr(jobs, "_start", lambda: helpers.append(start()) or helpers[-1])
    answers = run_jobs(eval, [THREADS] * 9, 9)
    next(answers)  # done here, to see how long one takes
    assert [next(answers)[1] for _ in range(2)] == [1, 1]
    family = [psutil.Process(helper.pid) for helper in helpers]
    family += [child for one in family for child in one.children(recursive=True)]
    assert helpers and not [c for one in family for c in one.net_connections("inet") if c.status == "LISTEN"]
    answers.close()
    assert {helper.poll() for helper in helpers} == {-signal.SIGKILL}


def test_none_starts_after_the_end():
    helper = jobs._Helper()
    helper.end()
    with pytest.raises(WorkerError):
        helper.do(abs, 1)
    assert helper._process is None


def test_a_helper_that_dies_gives_its_job_to_another(share, tmp_path):
    mark = f"__import__('pathlib').Path({str(tmp_path / 'died')!r})"
    dies_once = f"{mark}.exists() or ({mark}.touch(), {DIES})"
    found = dict(run_jobs(eval, ["1", dies_once, "2", "3"], 4))
    assert found == {"1": 1, dies_once: True, "2": 2, "3": 3}


def test_a_job_that_no_helper_survives_is_named(share):
    with pytest.raises(WorkerError, match="3 processes died of one job"):
        list(run_jobs(eval, ["1", DIES], 2))


def test_errors_of_a_helper_come_back_and_what_it_prints_is_no_result(share):
    assert [r for _, r in run_jobs(eval, ["1", "print('hello')", "2"], 3)][0] == 1
    with pytest.raises(ZeroDivisionError) as caught:
        list(run_jobs(eval, ["1", "1 / 0"], 2))
    assert "_one_thread" in caught.value.__notes__[0]


def test_a_script_needs_no_guard(tmp_path):
    script = "from lib.chips import jobs\njobs.WORTH_S = 0\nprint(len(list(jobs.run_jobs(abs, range(9), 9))))"
    (tmp_path / "script.py").write_text(script)
    run = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert run.stdout == "9\n" and not run.stderr


@pytest.mark.parametrize(("job_s", "here"), [(2.2, 10), (2.3, 1)])
def test_small_work_stays_here_and_jobs_are_drawn_as_they_are_needed(monkeypatch, job_s, here):
    clock, drawn = [0.0], []
    monkeypatch.setattr(jobs, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr("dask.system.CPU_COUNT", 2)
    monkeypatch.setattr(jobs, "_on_all_cores", lambda work, rest: ((k, "shared") for k in rest))

    def work(k):
        clock[0] += job_s
        return drawn == list(range(k + 1))

    results = list(run_jobs(work, (drawn.append(k) or k for k in range(10)), 10))
    assert results == [(k, True if k < here else "shared") for k in range(10)]


def test_a_scheduler_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(jobs, "REACH_S", 0.5)
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        with pytest.raises(ParameterError, match=f"No Dask scheduler answers at '{address}'"):
            next(run_jobs(abs, [1], 1, address))
