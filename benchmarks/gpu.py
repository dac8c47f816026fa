"""
What a GPU makes of this project, measured in one call that stops by itself.

    python -m benchmarks.gpu OUT [--minutes 8] [--chips FOLDER] [--workers 8] [--parts NAME ...] [--tiny]

Part after part, each in a process of its own and within its share of the minutes; one that fails, or is stopped, leaves
what it has, and the next one starts:

    tests       those that need a GPU
    step        PP-LinkNet's training step against the plain loop: images a second, memory, seconds of the first step
    recorded    the step on a resident batch: kernel by kernel, and recorded as CUDA graphs; seconds of the first one
    compiled    the same by torch.compile
    end-to-end  a whole training, as a share of the speed of the same step on a resident batch
    prediction  km2 an hour of a map of a GeoTIFF at 0.5 m, with one view and with eight; bare forward passes beside it
    stages      stage 1, both stages, and clean chips alone on chips of notebook 1 (a folder with manifest.csv), scored

OUT/gpu.json and OUT/gpu.md hold all that is known after each part. `--tiny` runs everything in minutes on a CPU, to see
that it runs: its figures mean nothing. Beside PyTorch it takes segmentation-models-pytorch, Lightning and what they
need; the map also rasterio, geopandas and pyproj. FOLDER's chips may have been cut on another machine: paths in a
manifest are relative to it.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from lib.memory import freed_memory_kept
from lib.networks.devices import autocast, device_name, precision_for
from lib.paths import ROOT, write_whole

Row = dict[str, Any]
GPU_TESTS = "tests/training/test_trainer_devices.py", "tests/training/test_recording.py"
GSD_M = 0.5
EPOCHS = 90  # of a stage, as the paper has them, where the minutes allow
FEWEST_EPOCHS = 2
VAL_CHIPS = 12  # that choose epoch and threshold: more would cost as much as the training
LABELS = ("osm", "clean")


def sizes(options: argparse.Namespace) -> SimpleNamespace:
    """How large everything is: as on an H100, or tiny."""
    shared = {
        "clock": "wall",
        "workers": options.workers,
        "networks": ["pp_linknet"],
        "threads": torch.get_num_threads(),
    }
    if options.tiny:
        small = {"encoder": "resnet18", "crop_px": 64, "batch_size": 2, "rounds": 1}
        return SimpleNamespace(**shared, **small, scene_px=768, window_px=256, overlap_px=64)
    full = {"encoder": "resnet34", "crop_px": 512, "batch_size": 8, "rounds": 5}
    return SimpleNamespace(**shared, **full, scene_px=12288, window_px=1024, overlap_px=128)


def gpu_tests(options: argparse.Namespace) -> Iterator[Row]:
    """The tests that are marked so; without a GPU they skip."""
    command = [sys.executable, "-m", "pytest", *GPU_TESTS, "-m", "gpu"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    lines = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
    yield {"exit_status": run.returncode, "said": lines[-1], "failed": [x for x in lines if x.startswith("FAILED")]}


def step(options: argparse.Namespace) -> Iterator[Row]:
    """`benchmarks.training`: the plain loop and ours in turns, each with its loader."""
    from benchmarks.training import compare_steps, make_chips
    from lib.training.cache import build_cache

    size = sizes(options)
    with tempfile.TemporaryDirectory() as folder:
        cache = build_cache(make_chips(Path(folder)), Path(folder) / "chips.u8")
        # CUDA starts in the forked processes of the first steps, and here only after them
        device = torch.device("cuda" if torch.cuda.device_count() else "cpu")
        for row in compare_steps(cache, size, device).to_dict("records"):
            yield row | {"crop_px": size.crop_px, "batch_size": size.batch_size, "encoder": size.encoder}


def recorded(options: argparse.Namespace) -> Iterator[Row]:
    """The step of a batch that stays on the device: kernel by kernel, and recorded as CUDA graphs, as trainings are."""
    for way in ("kernel by kernel", *["recorded"] * (this_device().type == "cuda")):
        yield {"way": way, **resident(options, way)}


def compiled(options: argparse.Namespace) -> Iterator[Row]:
    """The same by torch.compile, which has its time to the end of the part."""
    yield {"way": "compiled", **resident(options, "compiled")}


def resident(options: argparse.Namespace, way: str) -> Row:
    """Speed, memory and loss of steps on a batch that stays on the device."""
    from benchmarks.training import Trainee, crop_batches, make_chips, seconds, steps_a_turn
    from lib.training.cache import build_cache

    size, device = sizes(options), this_device()
    with tempfile.TemporaryDirectory() as folder:
        cache = build_cache(make_chips(Path(folder)), Path(folder) / "chips.u8")
        batch = next(crop_batches(cache, size.crop_px, size.batch_size, 0, False))
    batch = {name: values.to(device) for name, values in batch.items()}
    torch.manual_seed(0)
    trainee = Trainee("pp_linknet", size.encoder, device, True, size.crop_px, way == "recorded")
    if way == "compiled":
        # C++ for a CPU takes minutes to compile: tiny sizes stop before it
        trainee.network.compile(backend="aot_eager" if options.tiny else "inductor")
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def turn_s(count: int) -> float:
        return seconds(lambda: [trainee.step(batch) for _ in range(count)], device, size.clock) / count

    with freed_memory_kept():
        first_s, _ = turn_s(1), turn_s(1)
        rate = size.batch_size / min(turn_s(steps_a_turn(device)) for _ in range(size.rounds))
    row = {"images_s": rate, "first_step_s": first_s, "memory_gib": peak_gib()}
    return row | {"loss": trainee.step(batch).item()}  # after as many steps: alike, or it is wrong


def end_to_end(options: argparse.Namespace) -> Iterator[Row]:
    """`lib.training.trainer.fit` from step to step, in turns with a resident batch."""
    from benchmarks.training import compare_end_to_end, make_chips
    from lib.training.cache import build_cache

    with tempfile.TemporaryDirectory() as folder:
        chips = make_chips(Path(folder))
        cache = build_cache(chips, Path(folder) / "chips.u8")
        share = compare_end_to_end(chips, cache, sizes(options), this_device())
    yield {"share_of_resident": share, "workers": options.workers}


def prediction(options: argparse.Namespace) -> Iterator[Row]:
    """Bare forward passes of windows in memory; then maps of a GeoTIFF, files and all."""
    from benchmarks.training import seconds
    from lib.networks.checkpoint import CheckpointInfo, load_model, save_checkpoint
    from lib.networks.models import ModelConfig, build_model

    size, device = sizes(options), this_device()
    config = ModelConfig("pp_linknet", size.encoder)
    info = CheckpointInfo(config, "roads", (0.4, 0.4, 0.35), (0.2, 0.2, 0.2), gsd_m=GSD_M)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_checkpoint(folder / "best.safetensors", build_model(config), info)
        model = load_model(folder / "best.safetensors", device)
        batch = 8 if device.type == "cuda" else 1
        x = torch.rand(batch, 3, size.window_px, size.window_px, device=device)
        x = x.contiguous(memory_format=torch.channels_last)
        passes = 1 if options.tiny else 20
        with torch.inference_mode(), autocast(device), freed_memory_kept():
            model.network(x)
            taken_s = seconds(lambda: [model.network(x) for _ in range(passes)], device, size.clock)
        px = batch * passes * size.window_px**2
        yield {"what": "bare forward passes", "seconds": taken_s, "km2_h": km2_an_hour(px, taken_s)}

        from benchmarks.prediction import make_scene
        from lib.mapping.area import map_rasters
        from lib.mapping.options import MapOptions

        def map_s(side_px: int, views: str) -> float:
            chosen = MapOptions(size.window_px, size.overlap_px, views, backend="torch")
            arguments = model, [folder / f"{side_px}.tif"], folder / f"{side_px}_{views}", chosen, lambda line: None
            return seconds(lambda: map_rasters(*arguments), device, size.clock)

        for side_px in (2 * size.window_px, size.scene_px):
            make_scene(folder / f"{side_px}.tif", side_px)
        for views, name in (("none", "one view"), ("d4", "eight views")):
            map_s(2 * size.window_px, views)  # what the device does only once is no part of the speed
            taken_s = map_s(size.scene_px, views)
            rate = km2_an_hour(size.scene_px**2, taken_s)
            yield {"what": f"map, {name}", "seconds": taken_s, "km2_h": rate, "memory_gib": peak_gib()}


def stages(options: argparse.Namespace) -> Iterator[Row]:
    """
    Both stages, and the clean chips alone with as many crops, on chips that were cut before; scored on the test chips.

    How many epochs the seconds that are left allow follows from the first epoch's; a stage has EPOCHS at most.
    """
    from lib.chips.manifest import load_manifest, select
    from lib.mapping.predict import predict_chips
    from lib.networks.checkpoint import load_model
    from lib.networks.models import ModelConfig
    from lib.scores.evaluate import best_of_views, score_chips, scoreboard
    from lib.training.recipe import TrainConfig
    from lib.training.trainer import FitResult, fit

    if options.chips is None:
        yield {"training": "none", "said": "no --chips were given"}
        return
    size, folder, ends = sizes(options), options.out / "stages", time.monotonic() + options.seconds
    manifest = load_manifest(options.chips / "manifest.csv")
    osm, clean = ({split: select(manifest, label, split) for split in ("train", "val")} for label in LABELS)
    test = select(manifest, "clean", "test")
    model = ModelConfig(encoder_name=size.encoder)
    shared = {"batch_size": size.batch_size, "crop_px": size.crop_px, "workers": options.workers}

    def trained(name: str, chips: dict[str, Any], epochs: int, init: Path | None = None, samples: int = 0) -> FitResult:
        config = TrainConfig(epochs=epochs, samples_per_epoch=samples, **shared)
        return fit(chips["train"], chips["val"].head(VAL_CHIPS), folder / name, config, model, "roads", init)

    # the first epoch starts the device; the second one is as all that follow
    epoch_s = trained("warm", osm, 2).history["seconds"].iloc[-1]
    as_many = len(osm["train"]) + len(clean["train"])  # crops of an epoch of both stages
    epochs = 0.7 * (ends - time.monotonic()) / (2 * as_many / len(osm["train"]) * epoch_s)
    epochs = int(min(EPOCHS, max(FEWEST_EPOCHS, epochs)))
    stage1 = trained("stage 1 alone", osm, epochs)
    for name, train in (
        ("stage 1 alone", lambda: stage1),
        ("both stages", lambda: trained("both stages", clean, epochs, stage1.checkpoint)),
        ("clean chips alone, as many crops", lambda: trained("clean", clean, epochs, samples=as_many)),
    ):
        result = train()  # one by one: what is scored stays, if time runs out in the next
        network, views = load_model(result.checkpoint, this_device()), "none" if options.tiny else "d4"
        network = best_of_views(network, clean["val"].head(VAL_CHIPS), folder / "val" / name, views)
        paths = predict_chips(network, test, folder / "test" / name, views, size.window_px, size.overlap_px)
        table = score_chips(test, paths, network.info.threshold, "roads")
        scores = scoreboard({name: table}, "roads").set_index("metric")["value"].to_dict()
        taken_s = float(result.history["seconds"].sum())
        yield {"training": name, "epochs": epochs, "test_chips": len(test), "seconds": taken_s, **scores}


# of each part: what it does, and its share of the minutes at most; the last takes what is left
PARTS: dict[str, tuple[Callable[[argparse.Namespace], Iterator[Row]], float]] = {
    "tests": (gpu_tests, 0.2),
    "step": (step, 0.3),
    "recorded": (recorded, 0.2),
    "compiled": (compiled, 0.3),
    "end-to-end": (end_to_end, 0.2),
    "prediction": (prediction, 0.3),
    "stages": (stages, 1.0),
}


def this_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def peak_gib() -> float | None:
    """Most memory of the GPU that tensors took; None on a CPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None


def km2_an_hour(pixels: int, taken_s: float) -> float:
    return pixels * (GSD_M / 1000) ** 2 / taken_s * 3600


def run_part(name: str, options: argparse.Namespace) -> None:
    """One part, in this process: its rows as they come, in OUT/NAME.json."""
    rows: list[Row] = []
    for row in PARTS[name][0](options):
        rows.append(row)
        write_whole(options.out / f"{name}.json", json.dumps(rows))


def run_in_own_process(name: str, options: argparse.Namespace, seconds: float) -> str:
    """Run a part for so long at most; what went wrong, "" where nothing did."""
    command = [sys.executable, "-m", "benchmarks.gpu", str(options.out), "--part", name, "--seconds", f"{seconds:.0f}"]
    command += ["--workers", str(options.workers), *(["--tiny"] if options.tiny else [])]
    command += [] if options.chips is None else ["--chips", str(options.chips)]
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with (options.out / f"{name}.log").open("w") as log:
        process = subprocess.Popen(  # a session of its own: the processes that it starts end with it
            command, cwd=ROOT, env=os.environ | path, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"stopped after {seconds:.0f} s"
    return f"ended with {status}, see {name}.log" if status else ""


def report(found: Row) -> str:
    """All parts as tables in Markdown."""
    lines = [f"{found['device']}, {found['precision']}, PyTorch {found['torch']}{', tiny sizes' * found['tiny']}"]
    for name, part in found["parts"].items():
        lines += ["", f"## {name}", "", f"{part['seconds']:.0f} s. {part['error']}".strip()]
        rows = part["rows"]
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = [columns, ["---"] * len(columns)] + [[_cell(row.get(key)) for key in columns] for row in rows]
        lines += ["", *(f"| {' | '.join(cells)} |" for cells in table)] if rows else []
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value).replace("|", "/")


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.part:
        run_part(options.part, options)
        return
    ends = time.monotonic() + 60 * options.minutes
    facts = {"device": device_name(), "precision": precision_for(), "torch": torch.__version__, "tiny": options.tiny}
    found: Row = {**facts, "parts": {}}
    for name in options.parts:
        (options.out / f"{name}.json").unlink(missing_ok=True)
        began = time.monotonic()
        left = min(ends - began, PARTS[name][1] * 60 * options.minutes)
        error = run_in_own_process(name, options, left) if left > 1 else "no time was left"
        rows = options.out / f"{name}.json"
        kept = json.loads(rows.read_text()) if rows.is_file() else []
        found["parts"][name] = {"seconds": time.monotonic() - began, "error": error, "rows": kept}
        write_whole(options.out / "gpu.json", json.dumps(found, indent=1))
        write_whole(options.out / "gpu.md", report(found))
        print(f"{name}: {found['parts'][name]}", flush=True)
    print(f"\n{report(found)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=lambda text: Path(text).resolve(), help="folder for what is found")
    parser.add_argument("--minutes", type=float, default=8, help="after which it stops, whatever is left")
    parser.add_argument("--chips", type=lambda text: Path(text).resolve(), help="chips of notebook 1, for the stages")
    parser.add_argument("--workers", type=int, default=8, help="processes that read chips")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="those that run")
    parser.add_argument("--tiny", action="store_true", help="sizes for a CPU, to see that it runs")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
