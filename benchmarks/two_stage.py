"""
Two stages against one, over seeds: the notebooks 2 to 4 run once a seed, scores into results/two_stage.csv.

    python benchmarks/two_stage.py --seeds 3

The seed draws the clean chips, the first weights, crops and augmentations; the town stays the same. A seed that was
run before is not run again.
"""

import argparse
import json

import pandas as pd

from lib import reports
from lib.charts import scoreboard
from lib.parameters import NOTEBOOKS
from lib.paths import ROOT, write_whole
from lib.sheet import save_figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--area", default="demo")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    rows = []
    for seed in range(arguments.seeds):
        work_dir = ROOT / "runs" / "seeds" / f"{arguments.area}_{seed}"
        path = reports.report_dir(arguments.area, work_dir) / "metrics.json"
        if not (path.is_file() and "04_evaluate" in json.loads(path.read_text())):
            for notebook in NOTEBOOKS:
                reports.run_notebook(notebook, arguments.area, {"seed": seed}, work_dir)
        record = json.loads(path.read_text())["04_evaluate"]["metrics"]
        rows += [{"seed": seed, "test_chips": record["test_chips"]} | row for row in record["scoreboard"]]
    table = pd.DataFrame(rows)
    write_whole(ROOT / "results" / "two_stage.csv", table.to_csv(index=False, float_format="%.4f"))
    metrics = [c for c in ("IoU, pooled", "APLS", "F1 of buildings") if c in table]
    tidy = table.melt(["seed", "run"], metrics, "metric")
    note = f"{table['test_chips'].iloc[0]} test chips; dots: {arguments.seeds} seeds, bar: their mean"
    save_figure(scoreboard(tidy, metrics=metrics, title=arguments.area, note=note), ROOT / "results" / "two_stage")
    spread = table.groupby("run", sort=False)[metrics].agg(["mean", "min", "max"])
    print(spread.round(3).to_string())


if __name__ == "__main__":
    main()
