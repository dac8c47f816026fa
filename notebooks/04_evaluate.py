# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. What was it worth?
#
# *Does training on OpenStreetMap first beat training on the clean masks alone?*
#
# **In:** checkpoints of notebooks 2 and 3 (run by themselves where they are missing) and the test chips, which lie on
# ground that no training saw. **Out:** scoreboard, figures and map, in `reports/<area>`. **Takes** half a minute on
# two CPU cores.
#
# *Map data © OpenStreetMap contributors, ODbL 1.0.*

# %% tags=["parameters"]
area: str = "demo"  # study area: names the folders of chips, runs and report
work_dir: str = "."  # where data/, runs/ and reports/ are written; relative to the project's root
task: str = "roads"  # "roads" or "buildings"
test_label: str = "clean"  # label source that the test chips are scored against
tta: str = "none"  # "d4": mean of 8 views (flips and rotations), as the paper; "none": one view, eight times as fast
threshold: float = (
    0.0  # probability from which a pixel counts, for the last run alone; 0: the checkpoint's, as for the others
)
examples: int = 4  # best and worst chips shown of each
seed: int = 0  # of the bootstrap

# %%
from lib.parameters import check_notebook

parameters = check_notebook("04_evaluate", globals())

# %%
# %matplotlib inline
print("importing: some seconds", flush=True)
from functools import partial

import pandas as pd
from IPython.display import display

from lib.chips import load_manifest, read_image, read_mask, select
from lib.mapping import predict_chips, read_probability
from lib.networks import load_model
from lib.paths import ROOT
from lib.scores import calibrate, evaluate, threshold_sweep
from lib.show import (
    ThresholdPanel,
    best_and_worst,
    chip_browser,
    plot_scoreboard,
    precision_recall,
    reliability_diagram,
    reports,
    split_map,
    storyboard,
    widgets,
)
from lib.show.leaflet import save_map
from lib.training import refuse_overlap

pd.Series(reports.run_record()["packages"], name="version").to_frame()

# %% [markdown]
# ## Where it is tested
# Test chips share no ground with those that trained or validated. Those that somebody took out by hand, in the browser
# below, are not scored; how many they are, and why, stands beside the scores.

# %%
runs = reports.RUN_FOLDERS
done = {name: reports.run_dir(area, name, work_dir) / "done.json" for name in ("two_stage", "scratch")}
if not done["scratch"].exists():  # stage 2 alone leaves only that; it comes after both stages where there are two
    reports.require(done["two_stage"], "03_train_stage2", area, work_dir)
manifest = load_manifest(reports.chip_dir(area, work_dir))
test = select(manifest, test_label, "test")
left_out = storyboard.left_out(manifest, test_label)
display(left_out) if len(left_out) else print(f"all {len(test)} test chips count: none was left out by hand")
placed = (manifest["footprint"] != "").any()
split_map(manifest) if placed else print("no georeference: split by whole scenes, or by strips of one or two")

# %% [markdown]
# ## Probabilities
# Each network looks at each test chip once; a second run of this cell reads what is there. One that was trained on
# ground of a test chip is refused. Each checkpoint carries the threshold that was best on the validation chips; the
# parameter `threshold` is for the last run instead. Where most of a chip is foreground, a network has learned little,
# or its threshold is not its own: the graph of such a chip takes long, and says nothing.

# %%
models, probabilities = {}, {}
for name, folder in runs.items():
    checkpoint = reports.run_dir(area, folder, work_dir) / "best.safetensors"
    if checkpoint.exists():
        models[name] = load_model(checkpoint, task=task)
        refuse_overlap(test, models[name].info, "test")
        say = partial(print, f"{name}:", flush=True)
        probabilities[name] = predict_chips(models[name], test, checkpoint.parent / "test", tta=tta, progress=say)
models, origins = evaluate.at_threshold(models, threshold)
best, thresholds = list(models)[-1], {name: model.info.threshold for name, model in models.items()}
for name, path in probabilities.items():
    if mostly := evaluate.mostly_foreground(test, path, thresholds[name]):
        print(f"{name}: more than half of {len(mostly)} of {len(test)} test chips is {task}, as of {mostly[0]}")
pd.DataFrame({"threshold": pd.Series(thresholds).round(3), "from": origins})

# %% [markdown]
# ## The scoreboard
# Three things are called IoU in the literature, so each has its name:
# *pooled* adds up the pixels of all chips, *mean a chip* averages the chips' IoUs, *mean of classes* averages
# foreground and background. *Relaxed* scores forgive 3 px. For roads, APLS (strict mode) and TOPO compare the graphs
# taken from both masks by the same rules, a chip at a time: APLS asks whether routes keep their length, TOPO what is
# within 300 m of a place. `docs/scores.md` has the formulas.

# %%
print("pixels, then graphs and routes or outlines; after an update code is compiled first, a minute", flush=True)
tables = {n: evaluate.score_chips(test, probabilities[n], thresholds[n], task, progress=print) for n in models}
print("intervals of the scores", flush=True)
board = evaluate.scoreboard(tables, task, seed)
wide = board.pivot(index="run", columns="metric", values="value").loc[list(models), list(evaluate.statistics(task))]
display(wide.T.round(3))
headline_metrics = ["IoU, pooled", list(evaluate.statistics(task))[-1]]
shown_metrics = ["IoU, pooled", "relaxed F1", *list(evaluate.statistics(task))[len(evaluate.PIXEL_METRICS) :]]
note = f"{len(test)} test chips; lines: 95 % intervals, bootstrap over chips; one training run each"
board_figure = plot_scoreboard(board, metrics=shown_metrics, title=f"{area}: {task}", note=note)
board_figure

# %% [markdown]
# ## Is the difference real?
# The same chips are drawn for both runs, so that hard chips do not blur the comparison. An interval that holds 0 shows
# nothing; and all this is about other chips, not about other seeds.

# %%
gains = evaluate.differences(tables, best, task, seed)
shown = gains[gains.metric.isin(shown_metrics)].set_index(["difference", "metric"])
shown.replace({"shown": {"no: the interval holds 0": "no"}}).round(3)

# %% [markdown]
# ## What the threshold trades
# On the validation chips, by which the checkpoint's was chosen.

# %%
val = select(manifest, test_label, "val")
val_dir = reports.run_dir(area, runs[best], work_dir) / "val"
val_paths = predict_chips(models[best], val, val_dir, tta=tta, progress=print)
chosen = thresholds[best]
sweep_figure = precision_recall(threshold_sweep(evaluate.probability_pairs(val, val_paths)), chosen=chosen)
sweep_figure

# %% [markdown]
# ## Confidence that means something
# A network ranks pixels well and lies about how often it is right. The curve that mends that is fitted on the
# validation chips, judged here on the test chips, and kept beside the checkpoint for notebook 5. On other ground it may
# not hold.

# %%
val_pairs = evaluate.probability_pairs(val, val_paths)
test_pairs = evaluate.probability_pairs(test, probabilities[best])
checkpoint = reports.run_dir(area, runs[best], work_dir) / "best.safetensors"
judged = calibrate(checkpoint, val_pairs, test_pairs, f"{len(val)} validation chips of {area}")
note = ", ".join(f"{name}: calibration error {error:.3f}" for name, (_, error) in judged.items())
reliability_figure = reliability_diagram(
    {name: table for name, (table, _) in judged.items()}, title=f"pixels of {len(test)} test chips", note=note
)
reliability_figure

# %% [markdown]
# ## Best and worst chips
# Green was found, orange is a false alarm, blue was missed.

# %%
cases = [evaluate.read_case(chip, probabilities[best][chip.Index], chosen) for chip in test.itertuples()]
cases_figure = best_and_worst(cases, count=examples)
cases_figure

# %% [markdown]
# ## One chip, three trainings
# The chip with the most foreground: what each training makes of it.

# %%
busiest = next(test.loc[[tables[best].eval("tp + fn").idxmax()]].itertuples())
comparison_figure = storyboard.trainings(busiest, {n: p[busiest.Index] for n, p in probabilities.items()}, models)
comparison_figure

# %% [markdown]
# ## What it costs on the road
# For roads: the graph taken from the prediction over that of the truth, and the routes that lose the most. For
# buildings: the outlines of both.

# %%
shape_figure = storyboard.shapes(busiest, probabilities[best][busiest.Index], chosen, task)
shape_figure

# %% [markdown]
# ## The ten worst routes
# For roads: all test chips of the map below as one network, and the routes between its control points that cost the
# most APLS. *No snap*: an end is more than 4 m from the other network; *no route*: it is cut off there; *detour*,
# *shortcut*: it is longer or shorter there; *one place*: both ends are one point there.

# %%
ground = storyboard.evaluation_ground(test, probabilities[best], chosen)
routes = storyboard.worst_routes(ground) if task == "roads" else None
if routes is not None:
    display(routes[["direction", "reason", "truth_m", "proposal_m", "cost"]].round(2))

# %% [markdown]
# ## The map
# Image, OpenStreetMap, truth, prediction, errors and the worst routes as layers; it opens with the network off.

# %%
scene_map = storyboard.evaluation_map(ground, task, reports.recorded("01_rasterize_osm", area, work_dir), routes)
scene_map

# %% [markdown]
# ## The numbers

# %%
figures = {
    "1_scoreboard": (board_figure, f"Scores on {len(test)} test chips with 95 % intervals."),
    "2_one_chip": (comparison_figure, "One test chip, and what each training makes of it."),
    "3_shapes": (shape_figure, "What is taken from the masks: prediction against truth."),
    "4_best_and_worst": (cases_figure, "The best and the worst test chips after both stages."),
    "5_threshold": (sweep_figure, "What the threshold trades, on the validation chips."),
    "6_confidence": (reliability_figure, "How often what was said is right, on the test chips."),
}
captions = storyboard.save_figures(figures, reports.report_dir(area, work_dir))
save_map(scene_map, reports.report_dir(area, work_dir) / "map.html")
record = storyboard.summary(board, gains, best, headline_metrics, len(test)) | {"captions": captions, "tta": tta}
record |= {"thresholds": thresholds, "left_out": left_out.to_dict("records")}
record["remarks"] = storyboard.remarks(left_out, len(test), origins, models)
record["calibration_error"] = {name: error for name, (_, error) in judged.items()}
reports.write_metrics("04_evaluate", area, work_dir, record, parameters)
print(record["headline"], *record["remarks"], sep="\n")

# %% [markdown]
# **Next:** notebook 5, a map of whole images and what OpenStreetMap lacks; more seeds (`make results`); your own
# imagery (README). In JupyterLab, the chips below stand worst first: what should not count is taken out there, by a
# rule in `params/<area>/01_rasterize_osm.yaml`. The slider below them sets the threshold of the next run, on the
# validation chips: one that is chosen on the test chips flatters the score on them.

# %% tags=["interactive"]
if widgets.is_interactive():
    params, run = ROOT / "params" / area, reports.run_dir(area, runs[best], work_dir)
    known = {"scored": tables[best], "task": task, "tta": tta, "progress": print}
    display(chip_browser(manifest, test_label, models[best], run, params / "01_rasterize_osm.yaml", **known))
    arrays = [read_probability(val_paths[i]) for i in val.index]
    masks, images = [read_mask(p) for p in val["mask"]], [read_image(p) for p in val.image]
    shown = {"names": list(val.chip), "threshold": chosen, "params_dir": params}
    display(ThresholdPanel(arrays, masks, images, **shown))
