"""Scenes on a cluster: one model a worker, and nothing lost with one that dies."""

import os
import signal
import sys
from collections import Counter

import cloudpickle
import pytest
from distributed import Client, LocalCluster

from lib.chips import jobs
from lib.errors import CheckpointError, InputError
from lib.mapping.area import map_rasters
from lib.mapping.cluster import _model, map_each, wait_for_files
from lib.mapping.options import MapOptions
from lib.mapping.parts import Parts
from lib.networks.checkpoint import CheckpointInfo, load_model, save_checkpoint
from lib.networks.models import ModelConfig, build_model

PATIENCE_S = 600  # with processes that have to start, whatever else this machine does
SCENES = [f"scene_{number}" for number in range(12)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    config = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
    info = CheckpointInfo(config, "roads", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    return save_checkpoint(tmp_path_factory.mktemp("run") / "best.safetensors", build_model(config), info)


def who(model, job):
    """Process and copy of the model that did a job; the first to draw the poisoned one dies of it."""
    scene, folder = job
    (folder / f"{scene}.{os.getpid()}.{os.urandom(4).hex()}").touch()
    if scene == SCENES[5] and len(list(folder.glob(f"{scene}.*"))) == 1:
        os._exit(9)
    return os.getpid(), id(model), model.digest


@pytest.fixture(autouse=True)
def _patient(monkeypatch):
    monkeypatch.setattr(jobs, "REACH_S", PATIENCE_S)


@pytest.fixture(scope="module")
def cluster():
    """Three workers: two tests kill one each, and whether Dask starts another in time is not theirs to say."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers can't import a test
    options = {"dashboard_address": None, "worker_dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(n_workers=3, threads_per_worker=2, **options) as made:
        yield made
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_worker_that_dies_loses_nothing_and_each_holds_one_model(cluster, checkpoint, tmp_path):
    jobs = [(scene, tmp_path) for scene in SCENES]
    found = list(map_each(jobs, who, checkpoint, cluster.scheduler_address, "torch"))
    assert sorted(scene for (scene, _), _ in found) == sorted(SCENES)
    processes = {process for _, (process, _, _) in found}
    copies = {(process, model) for _, (process, model, _) in found}
    assert os.getpid() not in processes and len(copies) == len(processes)
    tried = Counter(path.name.split(".")[0] for path in tmp_path.iterdir())
    assert tried[SCENES[5]] == 2 and set(tried) == set(SCENES)
    assert {digest for _, (_, _, digest) in found} == {next(map_each(jobs, who, checkpoint, "", "torch"))[1][2]}


def test_here_scenes_come_in_order_with_one_model(checkpoint, tmp_path):
    jobs = [(scene, tmp_path) for scene in SCENES[:3]]
    found = list(map_each(jobs, who, checkpoint, backend="torch"))
    assert [job for job, _ in found] == jobs and len({model for _, model in found}) == 1


def test_a_checkpoint_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        next(map_each(["a"], who, tmp_path / "none.safetensors"))


def test_a_map_by_workers_is_the_local_one_though_one_is_killed(
    cluster, checkpoint, tmp_path, smooth, write_scene, monkeypatch
):
    scene, model = write_scene(tmp_path / "a.tif", smooth(500, 700)), load_model(checkpoint)
    options = {"window_px": 64, "overlap_px": 16, "views": "none", "backend": "torch", "gsd_m": 0.5}
    map_rasters(model, [scene], tmp_path / "here", MapOptions(**options), lambda line: None)
    with Client(cluster.scheduler_address, timeout=PATIENCE_S, set_as_default=False) as client:
        first, *others = client.run(os.getpid).values()
    assert others
    write, killed = Parts.write, []

    def writing(parts, index, block):
        if not killed:
            killed.append(first)
            os.kill(first, signal.SIGKILL)
        return write(parts, index, block)

    monkeypatch.setattr(Parts, "write", writing)
    spread = MapOptions(scheduler=cluster.scheduler_address, **options)
    made = map_rasters(model, [scene], tmp_path / "there", spread, lambda line: None)
    assert killed and made["windows"] == 165 and "tcp://127.0.0.1" in made["device"]
    for name in ("probability.tif", "mask.tif"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert not (tmp_path / "there/parts").exists()


def test_workers_that_share_no_folder_are_told_so(tmp_path):
    with pytest.raises(CheckpointError, match="The worker on .* sees no .*the folder of the map among them"):
        _model(str(tmp_path / "none.safetensors"), "", "torch")
    with pytest.raises(InputError, match=r"A worker wrote .*window\.npy, and it is not there: workers"):
        wait_for_files([tmp_path / "window.npy"], patience_s=0)
