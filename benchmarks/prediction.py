"""
A GeoTIFF through the same network: geoai's predict_geotiff against this project, each in a process of its own.

    python -m benchmarks.prediction [--peer PYTHON] [--side-px 2048] [--window-px 512]
        [--overlap-px 128] [--encoder resnet34] [--rounds 1] [--threads 1]

Equal windows, equal overlap, one view. The peer is installed as benchmarks/requirements-peers.txt says; without --peer
it is left out. Its way: float32, four windows at once, sums of the whole scene in float64, a compressed
float32 GeoTIFF. `bare` is the floor: forward passes of as many windows by PyTorch in this CPU's precision, from memory.
Ours is the map as users make it, with its files; `-float32` after a name computes as the peer does.
The clock starts where the model is ready and stops with the written file; making ready (reading weights, for another
runtime the conversion and its check) is a column of its own. CPU seconds mean more than the wall on a busy machine; the
least of the rounds counts. Results go to results/prediction_speed.csv.
"""

import argparse
import importlib.metadata
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lib.memory import freed_memory_kept
from lib.networks import devices
from lib.networks.backends import with_backend
from lib.networks.checkpoint import CheckpointInfo, TrainedModel, load_model, save_checkpoint
from lib.networks.devices import autocast, device_name
from lib.networks.models import ModelConfig, build_model
from lib.paths import ROOT

GSD_M = 0.5
FLOAT32 = "-float32"  # after the name of an engine: without bfloat16, as the peer computes
OURS = ("openvino", "torch", f"torch{FLOAT32}", "onnxruntime")
BARE = ("bare", f"bare{FLOAT32}")
Engine = Callable[[TrainedModel, Path, Path, int, int], None]


def make_scene(path: Path, side_px: int) -> None:
    """GeoTIFF of noise, smooth enough to compress: what it shows makes no difference to speed."""
    import cv2
    import rasterio

    coarse = np.random.default_rng(0).integers(0, 256, (side_px // 8, side_px // 8, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, (side_px, side_px), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1)
    transform = rasterio.Affine(GSD_M, 0, 500_000, 0, -GSD_M, 6_700_000)
    form = {"driver": "GTiff", "width": side_px, "height": side_px, "count": 3, "dtype": "uint8", "tiled": True}
    with rasterio.open(path, "w", crs="EPSG:32635", transform=transform, compress="deflate", **form) as file:
        file.write(pixels)


def map_here(model: TrainedModel, scene: Path, out: Path, window_px: int, overlap_px: int) -> None:
    """The rasters of a map as users make them: windows kept and blended, probability.tif, mask.tif, map.json."""
    from lib.mapping.area import map_rasters
    from lib.mapping.options import MapOptions

    options = MapOptions(window_px=window_px, overlap_px=overlap_px, views="none", backend="torch")  # as it comes
    map_rasters(model, [scene], out.with_suffix(""), options, progress=lambda line: None)


def map_by_geoai(model: TrainedModel, scene: Path, out: Path, window_px: int, overlap_px: int) -> None:
    """The peer's, as its documentation calls it."""
    from geoai.inference import predict_geotiff

    mean, std = (np.array(values, np.float32)[:, None, None] for values in (model.info.mean, model.info.std))
    predict_geotiff(
        torch.nn.Sequential(model.network, torch.nn.Sigmoid()),
        str(scene),
        str(out),
        tile_size=window_px,
        overlap=overlap_px,
        blend_mode="linear",
        preprocess_fn=lambda tile: (tile / np.float32(255) - mean) / std,
        device="cpu",
        verbose=False,
    )


def forward_only(model: TrainedModel, scene: Path, out: Path, window_px: int, overlap_px: int) -> None:
    """As many forward passes as there are windows, and nothing else."""
    import rasterio

    from lib.mapping.predict import window_starts

    with rasterio.open(scene) as file:
        windows = len(window_starts(file.width, window_px, overlap_px)) ** 2
    x = torch.rand(1, 3, window_px, window_px).contiguous(memory_format=torch.channels_last)
    with freed_memory_kept(), torch.inference_mode(), autocast(x.device):
        for _ in range(windows):
            model.network(x)


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """One engine's run, in this process: CPU and wall seconds, GiB at the peak and before the start."""
    torch.set_num_threads(options.threads)
    if name.endswith(FLOAT32):
        devices.cpu_has_bf16 = lambda: False
    engine: Engine = {"geoai": map_by_geoai, **dict.fromkeys(BARE, forward_only)}.get(name, map_here)
    before = time.process_time()
    model = load_model(options.checkpoint)
    if name in OURS:
        import lib.mapping.area  # noqa: F401  imports are no part of the speed

        model = with_backend(model, name.removesuffix(FLOAT32))
    if name == "geoai":
        import geoai.inference  # noqa: F401
    made_s, held_gib = time.process_time() - before, _resident_gib()
    wall, cpu = time.perf_counter(), time.process_time()
    engine(model, options.scene, options.scene.with_name(f"{name}.tif"), options.window_px, options.overlap_px)
    wall_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"cpu_s": cpu_s, "wall_s": wall_s, "ready_cpu_s": made_s, "peak_gib": peak_gib, "held_before_gib": held_gib}


def _resident_gib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**30


def in_own_process(name: str, python: str, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    command = [
        python,
        __file__,
        "--one",
        name,
        "--scene",
        folder / "scene.tif",
        "--checkpoint",
        folder / "best.safetensors",
    ]
    for option in ("window_px", "overlap_px", "threads"):
        command += [f"--{option.replace('_', '-')}", getattr(options, option)]
    threads = {"OMP_NUM_THREADS": str(options.threads), "PYTHONPATH": str(ROOT)}
    run = subprocess.run([*map(str, command)], env=os.environ | threads, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def version_of(name: str, python: str) -> str:
    package = {"geoai": "geoai-py", "bare": "torch"}.get(name.removesuffix(FLOAT32), name.removesuffix(FLOAT32))
    if python == sys.executable:
        return importlib.metadata.version(package)
    code = f"import importlib.metadata as m; print(m.version({package!r}), 'on torch', m.version('torch'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    options = _options()
    if options.one:
        print(json.dumps(measure(options.one, options)))
        return
    engines = dict.fromkeys((*BARE, *OURS), sys.executable)
    if options.peer:
        engines = {"geoai": options.peer} | engines
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_scene(folder / "scene.tif", options.side_px)
        torch.manual_seed(0)
        config = ModelConfig("pp_linknet", options.encoder)
        info = CheckpointInfo(config, "roads", (0.4, 0.4, 0.35), (0.2, 0.2, 0.2), gsd_m=GSD_M)
        save_checkpoint(folder / "best.safetensors", build_model(config), info)
        rounds = []
        for _ in range(options.rounds):
            for engine, python in engines.items():
                rounds.append({"engine": engine, **in_own_process(engine, python, options, folder)})
                print(rounds[-1], flush=True)
                report(rounds, engines, options)
        print((ROOT / "results" / "prediction_speed.csv").read_text())


def report(rounds: list[dict[str, float | str]], engines: dict[str, str], options: argparse.Namespace) -> None:
    """Write the best of what has been measured so far."""
    import pandas as pd

    best = pd.DataFrame(rounds).groupby("engine", sort=False).min()
    best["km2_an_hour_and_core"] = (options.side_px * GSD_M / 1000) ** 2 / best["cpu_s"] * 3600
    if options.peer:
        best["times_geoai"] = best.loc["geoai", "cpu_s"] / best["cpu_s"]
    best.insert(0, "version", [version_of(engine, engines[engine]) for engine in best.index])
    settings = ("encoder", "side_px", "window_px", "overlap_px", "threads")
    best = best.assign(**{key: getattr(options, key) for key in settings}, cpu=_cpu())
    best.round(3).to_csv(ROOT / "results" / "prediction_speed.csv")


def _cpu() -> str:
    from lib.networks.devices import cpu_has_bf16

    return f"{device_name()}, {'with' if cpu_has_bf16() else 'without'} bfloat16"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The same network on the same GeoTIFF, here and by geoai.")
    parser.add_argument("--peer", help="Python of an environment with benchmarks/requirements-peers.txt")
    parser.add_argument("--encoder", default="resnet34")
    for name, value in (("side-px", 2048), ("window-px", 512), ("overlap-px", 128), ("rounds", 1), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--one", choices=("geoai", *BARE, *OURS), help=argparse.SUPPRESS)
    parser.add_argument("--scene", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
