"""
The network that ships with the project: trained on tiles of Massachusetts, scored on tiles apart from them, published.

    python -m benchmarks.massachusetts DATA_DIR [--epochs 100] [--decay 15] [--start FILE] [--finished] [--epfl DIR]
    python -m benchmarks.massachusetts DATA_DIR --cycle EPOCHS --start massachusetts-roads [--device NAME]
    python -m benchmarks.massachusetts DATA_DIR --paper

DATA_DIR holds images/ and masks/ of the tiles that params/massachusetts-tiles/split.csv names; the recipe lies beside
it (notebook 3 of that area trains the same). A constant rate can be stopped at any epoch; then the rate falls to 0
within `--decay` epochs. Killed at any time, the same call goes on; `--finished` takes the epochs at the constant rate
that are, so that no time spent is lost. `--cycle` goes on from what ships on a GPU: large crops, many an epoch, a rate
that rises and falls once. If that was another machine, copy the folder of its run here: `--finished --device NAME`.

With `--epfl`, the folder of EPFL's images/ and groundtruth/, it is also scored on ground of another kind.

Scores go to results/massachusetts_roads.csv, epochs to results/massachusetts_roads_epochs.csv, and the network with its
card and curve to lib/networks/weights/massachusetts-roads. `--paper` trains the paper's network at the paper's budget
on the same tiles, for a GPU; it is scored beside, and is too large to ship.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pandas as pd

from benchmarks.massachusetts_card import card
from lib import parameters
from lib.chips.manifest import load_manifest, read_bands, read_image, read_mask, select
from lib.errors import run
from lib.mapping.predict import predict_chips, predict_image, read_probability
from lib.networks.calibration import at_views, read_curves
from lib.networks.checkpoint import TrainedModel, load_model
from lib.networks.devices import device_name, precision_for
from lib.networks.hub import save_pretrained
from lib.networks.models import ModelConfig
from lib.networks.published import WEIGHTS, WEIGHTS_DIR, weights_of
from lib.paths import ROOT, write_whole
from lib.scores.confidence import calibrate
from lib.scores.evaluate import probability_pairs, score_chips, to_mask
from lib.scores.metrics import pixel_scores
from lib.scores.sweep import break_even, relaxed_sweep, threshold_sweep
from lib.show import reports
from lib.show.figures import comparison
from lib.show.sheet import save_figure
from lib.training.recipe import TrainConfig, train_config
from lib.training.trainer import fit

AREA, NAME = "massachusetts-tiles", "massachusetts-roads"
PAPER = ModelConfig("pp_linknet", "resnet34", "imagenet"), TrainConfig(crop_px=1024)
CYCLE = {"batch_size": 16, "crop_px": 512, "samples_per_epoch": 1600, "learning_rate": 2e-3, "weight_decay": 0.05}
CYCLE |= {"schedule": "onecycle", "schedule_per_step": True, "ema_decay": 0.998, "workers": 8}
SHOWN = "10528780"  # tile of the picture
EPFL_GSD_M = 0.4  # not stated; an estimate from the blocks of streets
WINDOW_PX = 1536  # a tile is one window: nothing is predicted twice
LEVELS = np.arange(1, 256) / 255  # of probability, as predictions are kept
RESULTS = ROOT / "results"
EPOCHS = RESULTS / "massachusetts_roads_epochs.csv"


def train(chips: pd.DataFrame, options: argparse.Namespace) -> tuple[Path, pd.DataFrame]:
    """Checkpoint of the whole training, and its epochs."""
    parts = select(chips, "clean", "train"), select(chips, "clean", "val")
    recipe = parameters.check("03_train_stage2", parameters.load(AREA, "03_train_stage2"))
    model, config = PAPER if options.paper else (ModelConfig(**recipe["network"]), train_config(recipe))
    start, done = options.start, []

    def phase(name: str, folder: str, config: TrainConfig) -> None:
        nonlocal start
        run_dir = reports.run_dir(AREA, folder)
        if not (options.finished and (run_dir / "best.safetensors").is_file()):
            fit(*parts, run_dir, config, model, init_from=start)
        start = run_dir / "best.safetensors"
        facts = {"phase": name, "samples": config.samples_per_epoch or len(parts[0]), "crop_px": config.crop_px}
        done.append(pd.read_csv(run_dir / "history.csv").assign(**facts, device=options.device))

    if options.paper:
        phase("paper", "paper", config)
    elif options.cycle:
        phase("cycle", "cycle", replace(config, epochs=options.cycle, **CYCLE))
    else:
        if options.epochs != 0:
            phase("constant", "scratch", replace(config, epochs=options.epochs or config.epochs))
        if options.decay:
            falls = {"schedule": "poly", "schedule_per_step": True, "normalisation": "init"}
            phase("decay", "decayed", replace(config, epochs=options.decay, **falls))
    return start, pd.concat(done)


def score(model: TrainedModel, test: pd.DataFrame, paths: pd.Series) -> tuple[dict[str, float], pd.DataFrame]:
    """Scores over the tiles held out as they were predicted, and those of each."""
    at, threshold = break_even(relaxed_sweep(probability_pairs(test, paths), LEVELS))
    tiles = score_chips(test, paths, model.info.threshold, "roads")
    pooled = pixel_scores(tiles)
    scores = {"relaxed_break_even": at, "at_threshold": threshold, "threshold": model.info.threshold}
    scores |= {name: pooled[name] for name in ("iou_pooled", "precision", "recall", "relaxed_f1")}
    return scores | {"apls": float(tiles["apls"].mean())}, tiles


def halves(full: TrainedModel, half: TrainedModel, image: np.ndarray) -> float:
    """Largest difference of a probability between weights in full and in half precision, computed in float32."""
    with patch("lib.networks.devices.precision_for", return_value="32-true"):  # bfloat16 itself moves them further
        return float(np.abs(predict_image(full, image, "none") - predict_image(half, image, "none")).max())


def elsewhere(model: TrainedModel, folder: Path | None) -> dict[str, float]:
    """IoU on road surface that people drew, in images of another place and sensor, brought to the network's GSD."""
    if folder is None:
        return {}
    pairs = []
    for path in sorted(folder.glob("images/*.png")):
        image, truth = read_image(path), read_image(folder / "groundtruth" / path.name)[..., 0]
        size = tuple(round(side * EPFL_GSD_M / model.info.gsd_m) for side in truth.shape[::-1])
        small, mask = (cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) for pixels in (image, truth))
        pairs.append((predict_image(model, small, "none"), np.where(mask > 127, 255, 0).astype(np.uint8)))
    here, best = (threshold_sweep(pairs, levels)["iou"].max() for levels in (np.array([model.info.threshold]), LEVELS))
    return {"elsewhere_iou": float(here), "elsewhere_best_iou": float(best), "elsewhere_images": len(pairs)}


def picture(tile: pd.Series, folder: Path, threshold: float) -> None:
    """What the network sees of a tile, and its errors; without the image, which is not this project's to show."""
    truth, probability = read_mask(tile["mask"]), read_probability(folder / f"{tile['chip']}.png")
    grey = np.repeat(np.rint(255 * (1 - probability)).astype(np.uint8)[..., None], 3, axis=2)
    figure = comparison(grey, truth, to_mask(probability, threshold, truth), gsd_m=1.0, title=f"{NAME}: {SHOWN}")
    save_figure(figure, RESULTS / "massachusetts_roads")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--epochs", type=int, help="at the constant rate; default: those of params/; 0: none")
    parser.add_argument("--decay", type=int, default=15, help="epochs in which the rate falls to 0; 0: none")
    parser.add_argument("--cycle", type=int, default=0, help="instead: epochs for a GPU, the rate rises and falls")
    parser.add_argument("--start", type=weights_of, help="weights to go on from: a checkpoint, or massachusetts-roads")
    parser.add_argument("--finished", action="store_true", help="take the epochs that are")
    parser.add_argument("--paper", action="store_true", help="the paper's network and budget, for a GPU")
    parser.add_argument("--device", default=f"{device_name()}, {precision_for()}", help="that trained, if not this one")
    parser.add_argument("--epfl", type=Path, help="folder of images/ and groundtruth/: to score on other ground, too")
    options = parser.parse_args()
    manifest = reports.chip_dir(AREA) / "manifest.csv"
    if not manifest.is_file():
        reports.run_notebook("01_rasterize_osm", AREA, {"data_dir": str(options.data_dir.resolve())})
    chips = load_manifest(manifest)
    parts = {split: select(chips, "clean", split) for split in ("val", "test")}
    val, test = parts.values()
    checkpoint, epochs = train(chips, options)
    if options.start:
        epochs = pd.concat([pd.read_csv(EPOCHS), epochs])  # those that made what it went on from
    full = load_model(checkpoint)
    network = "paper" if options.paper else NAME
    weights = checkpoint if options.paper else save_pretrained(checkpoint, WEIGHTS_DIR / NAME, half=True) / WEIGHTS
    model, folder = load_model(weights), checkpoint.parent / "predicted"
    measured, fitted_on = {}, f"{len(val)} tiles of Massachusetts that chose the epoch"
    for views in ("none", "d4"):
        shown_in = {"tta": views, "window_px": WINDOW_PX}
        paths = {name: predict_chips(model, own, folder / name / views, **shown_in) for name, own in parts.items()}
        pairs = (probability_pairs(own, paths[name]) for name, own in parts.items())
        (_, before), (_, after) = calibrate(weights, *pairs, fitted_on, views=views).values()
        scores, tiles = score(at_views(model, weights, views), test, paths["test"])
        measured[views] = scores | {"error_before": before, "error_after": after}, tiles
    facts = {
        "network": network,
        "parameters": sum(one.numel() for one in model.network.parameters()),
        "tiles": len(test),
        "half_difference": halves(full, model, read_bands(test["image"].iloc[0])),
        "crops": int(epochs.loc[epochs["epoch"] > 0, "samples"].sum()),
        "device": " and ".join(epochs["device"].unique()),
        **elsewhere(model, options.epfl),
    }
    rows = pd.DataFrame([{"views": views, **scores, **facts} for views, (scores, _) in measured.items()])
    path = RESULTS / "massachusetts_roads.csv"
    if path.is_file() and len(others := pd.read_csv(path).query("network != @network")):
        rows = pd.concat([others, rows])
    write_whole(path, rows.to_csv(index=False, float_format="%.4f"))
    print(rows.T.to_string(header=False))
    if not options.paper:
        write_whole(EPOCHS, epochs.to_csv(index=False, float_format="%.5g"))
        shown = test[test["scene"] == f"{SHOWN}_15"].iloc[0]
        picture(shown, folder / "test" / "d4", measured["d4"][0]["threshold"])
        shipped, tiles = rows[rows["network"] == NAME], measured["none"][1]
        text = card(model, weights, shipped, tiles, epochs, read_curves(weights)["pixels"])
        print(write_whole(weights.with_name("README.md"), text))


if __name__ == "__main__":
    run(main)
