"""
What self-training is worth on the sample town: its labels against the truth, and networks trained on them.

    python -m benchmarks.self_training [--seed 0] [--epochs 8]

Stage 1 is that of notebook 2. Then the same network goes on for as many epochs on the mended masks and, to compare, on
the masks as they were; both are scored on the clean test chips. Results go to results/self_training.csv. What is there
already is not made again.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from lib.chips.manifest import load_manifest, read_mask, select
from lib.mapping.predict import predict_chips
from lib.networks.checkpoint import load_model
from lib.paths import ROOT, write_whole
from lib.scores import evaluate
from lib.scores.metrics import PixelScores
from lib.show import reports
from lib.training.recipe import TrainConfig
from lib.training.trainer import fit
from lib.trust.self_training import RelabelOptions, relabel

AREA = "demo"
NEVER = float("inf")
STEPS = {"moved only": RelabelOptions(NEVER, NEVER), "moved, drawn": RelabelOptions(drop_odds=NEVER)}
STEPS["moved, drawn, erased"] = RelabelOptions()


def label_scores(chips: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """Pooled IoU, precision and recall of masks against the truth of the same chips; what is ignored does not count."""
    scores, known = PixelScores(), truth.set_index("chip")["mask"]
    for chip in chips.itertuples():
        mask, true = read_mask(chip.mask), read_mask(known[chip.chip])
        true[mask == 127] = 127
        scores.update(mask, true, chip=chip.chip)
    pooled = scores.compute()
    return {"iou": pooled["iou_pooled"], "precision": pooled["precision"], "recall": pooled["recall"]}


def network_scores(checkpoint: Path, test: pd.DataFrame) -> dict[str, float]:
    """IoU and APLS on the clean test chips, at the threshold that validation chose."""
    trained = load_model(checkpoint)
    paths = predict_chips(trained, test, checkpoint.parent / "test", tta="none")
    board = evaluate.scoreboard({"run": evaluate.score_chips(test, paths, trained.info.threshold, "roads")}, "roads")
    values = board.set_index("metric")["value"]
    return {"iou": values["IoU, pooled"], "apls": values["APLS"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8, help="after stage 1; 0 scores the labels alone")
    options = parser.parse_args()
    work_dir, truth_dir = (ROOT / "runs" / "self_training" / f"{name}_{options.seed}" for name in ("work", "truth"))
    data = {"data_dir": str(work_dir / "sample"), "seed": options.seed}
    folder = reports.run_dir(AREA, "stage1", work_dir)
    if not (folder / "done.json").is_file():
        reports.run_notebook("01_rasterize_osm", AREA, data, work_dir)
        reports.run_notebook("02_train_stage1", AREA, {"seed": options.seed}, work_dir)
    if not reports.chip_dir(AREA, truth_dir).is_dir():  # the same chips with the truth of all of them
        reports.run_notebook("01_rasterize_osm", AREA, {**data, "clean_chips": 0}, truth_dir)
    stage1 = load_model(folder / "best.safetensors")
    chips, truth = (load_manifest(reports.chip_dir(AREA, place)) for place in (work_dir, truth_dir))
    truth, osm = truth[truth["label"] == "clean"], select(chips, "osm", "train")
    rows = [{"what": "labels", "masks": "as OpenStreetMap has them", **label_scores(osm, truth)}]
    for name, step in STEPS.items():
        path = relabel(stage1, reports.chip_dir(AREA, work_dir), folder / "probabilities", step)
        better = select(load_manifest(path), "osm", "train")
        rows.append({"what": "labels", "masks": name, **label_scores(better, truth)})
    if options.epochs:
        val, test = select(chips, "osm", "val"), select(chips, "clean", "test")
        rows.append({"what": "stage 1", "masks": "", **network_scores(folder / "best.safetensors", test)})
        config = replace(TrainConfig(**stage1.info.training), epochs=options.epochs)
        for name, train in (("mended", better), ("as OpenStreetMap has them", osm)):
            place = reports.run_dir(AREA, "self_" + name.split()[0], work_dir)
            done = fit(train, val, place, config, stage1.info.model, "roads", folder / "best.safetensors")
            rows.append({"what": "stage 1b", "masks": name, **network_scores(done.checkpoint, test)})
    table = pd.DataFrame(rows).assign(seed=options.seed, epochs=options.epochs).replace({np.nan: None})
    write_whole(ROOT / "results" / "self_training.csv", table.to_csv(index=False, float_format="%.4f"))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
