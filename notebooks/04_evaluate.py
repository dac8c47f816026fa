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
task: str = "roads"  # "roads", "buildings", or "roads+buildings": both in one network
test_label: str = "clean"  # label source that the test chips are scored against
tta: str = "none"  # "d4": mean of 8 views (flips and rotations), as the paper; "none": one view, eight times as fast
threshold: float = 0.0  # probability from which a pixel counts, for the last run alone; 0: each checkpoint's own
examples: int = 4  # best and worst chips shown of each
seed: int = 0  # of the bootstrap

# %%
from lib.parameters import check_notebook

parameters = check_notebook("04_evaluate", globals())

# %%
# %matplotlib inline
print("importing: some seconds", flush=True)
from functools import partial
from itertools import product

import pandas as pd
from IPython.display import display

from lib.chips import load_manifest, of_class, of_task, read_image, read_mask, select
from lib.limits import classes_of
from lib.mapping import predict_chips, read_probability
from lib.networks import load_model, pixels_kind, read_info
from lib.paths import ROOT
from lib.scores import calibrate, evaluate, threshold_sweep
from lib.show import (
    ThresholdPanel,
    best_and_worst,
    chip_browser,
    class_figures,
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
    reports.require(done["two_stage"], "03_train_stage2", area, work_dir, task)
manifest = of_task(load_manifest(reports.chip_dir(area, work_dir)), task)
test = select(manifest, test_label, "test")
tests = {kind: of_class(test, kind) for kind in classes_of(task)}  # each class is scored by itself
unknown = [kind for kind, own in tests.items() if own.empty]
tests = {kind: own for kind, own in tests.items() if len(own)}
print(*(f"no test chip has a {test_label} mask of {kind}: it is not scored\n" for kind in unknown), sep="", end="")
test_chips, left_out = test["chip"].nunique(), storyboard.left_out(manifest, test_label)
display(left_out) if len(left_out) else print(f"all {test_chips} test chips count: none was left out by hand")
placed = (manifest["footprint"] != "").any()
split_map(manifest) if placed else print("no georeference: split by whole scenes, or by strips of one or two")

# %% [markdown]
# ## Probabilities
# Each network looks at each test chip once; a second run of this cell reads what is there. One that was trained on
# ground of a test chip is refused. Each checkpoint carries the threshold that was best on the validation chips in one
# view; eight views get one of their own. The parameter `threshold` is for the last run instead. Where most of a chip is
# foreground, a network has learned little, or its threshold is not its own: the graph of such a chip takes long, and
# says nothing.

# %%
models, probabilities, val = {}, {}, select(manifest, test_label, "val")
for name, folder in runs.items():
    checkpoint = reports.run_dir(area, folder, work_dir) / "best.safetensors"
    if checkpoint.exists():
        models[name] = load_model(checkpoint, task=task)
        refuse_overlap(test, models[name].info, "test")
        say = partial(print, f"{name}:", flush=True)
        probabilities[name] = predict_chips(models[name], test, checkpoint.parent / "test", tta=tta, progress=say)
        models[name] = evaluate.best_of_views(models[name], val, checkpoint.parent / "val", tta, say)
models, origins = evaluate.at_threshold(models, threshold)
best, thresholds = list(models)[-1], {name: model.info.thresholds for name, model in models.items()}
for (name, path), (kind, own) in product(probabilities.items(), tests.items()):
    if mostly := evaluate.mostly_foreground(own, path, thresholds[name][kind]):
        print(f"{name}: more than half of {len(mostly)} of {len(own)} test chips is {kind}, as of {mostly[0]}")
pd.DataFrame(thresholds).T.add_prefix("threshold of ").round(3).assign(**{"from": origins})

# %% [markdown]
# ## The scoreboard
# Three things are called IoU in the literature, so each has its name:
# *pooled* adds up the pixels of all chips, *mean a chip* averages the chips' IoUs, *mean of classes* averages
# foreground and background. *Relaxed* scores forgive 3 px. For roads, APLS (strict mode) and TOPO compare the graphs
# taken from both masks by the same rules, a chip at a time: APLS asks whether routes keep their length, TOPO what is
# within 300 m of a place. `docs/scores.md` has the formulas.

# %%
print("pixels, then graphs and routes or outlines; after an update code is compiled first, a minute", flush=True)
tables = evaluate.score_runs(tests, probabilities, thresholds, progress=print)
print("intervals of the scores", flush=True)
board = evaluate.by_class({kind: evaluate.scoreboard(of_runs, kind, seed) for kind, of_runs in tables.items()})
metrics = list(dict.fromkeys(board["metric"]))
wide = board.pivot(index="run", columns="metric", values="value").loc[list(dict.fromkeys(board["run"])), metrics]
display(wide.T.round(3))
headline_metrics = ["IoU, pooled", *(list(evaluate.statistics(kind))[-1] for kind in tests)]
shown_metrics = ["IoU, pooled", "relaxed F1", *metrics[len(evaluate.PIXEL_METRICS) :]]
note = f"{test_chips} test chips; lines: 95 % intervals, bootstrap over chips; one training run each"
board_figure = plot_scoreboard(board, metrics=shown_metrics, title=f"{area}: {task}", note=note)
board_figure

# %% [markdown]
# ## Is the difference real?
# The same chips are drawn for both runs, so that hard chips do not blur the comparison. An interval that holds 0 shows
# nothing; and all this is about other chips, not about other seeds.

# %%
gains = evaluate.by_class({kind: evaluate.differences(of_runs, best, kind, seed) for kind, of_runs in tables.items()})
shown = gains[gains.metric.isin(shown_metrics)].set_index(["difference", "metric"])
shown.replace({"shown": {"no: the interval holds 0": "no"}}).round(3)

# %% [markdown]
# ## What the threshold trades
# On the validation chips, by which the checkpoint's was chosen.

# %%
val_dir = reports.run_dir(area, runs[best], work_dir) / "val"
val_paths = predict_chips(models[best], val, val_dir, tta=tta, progress=print)
chosen = thresholds[best]
vals = {kind: of_class(val, kind) for kind in tests if len(of_class(val, kind))}
sweep_figures = {
    kind: precision_recall(threshold_sweep(evaluate.probability_pairs(own, val_paths)), chosen=chosen[kind])
    for kind, own in vals.items()
}
class_figures.display_each(sweep_figures)

# %% [markdown]
# ## Confidence that means something
# A network ranks pixels well and lies about how often it is right. The curve that mends that is fitted on the
# validation chips, judged here on the test chips, and kept beside the checkpoint for notebook 5. On other ground it may
# not hold.

# %%
checkpoint = reports.run_dir(area, runs[best], work_dir) / "best.safetensors"
judged, reliability_figures = {}, {}
for kind, own in vals.items():
    pairs = (evaluate.probability_pairs(*of) for of in ((own, val_paths), (tests[kind], probabilities[best])))
    said = f"{len(own)} validation chips of {area}"
    pixels = pixels_kind(read_info(checkpoint).task, kind)
    judged[kind] = calibrate(checkpoint, *pairs, said, pixels, tta)
    note = ", ".join(f"{name}: calibration error {error:.3f}" for name, (_, error) in judged[kind].items())
    of_kind = "" if len(tests) == 1 else f"{kind}: "
    reliability_figures[kind] = reliability_diagram(
        {name: table for name, (table, _) in judged[kind].items()},
        title=f"{of_kind}pixels of {len(tests[kind])} test chips",
        note=note,
    )
class_figures.display_each(reliability_figures)

# %% [markdown]
# ## Best and worst chips
# Green was found, orange is a false alarm, blue was missed.

# %%
cases_figures = {}
for kind, own in tests.items():
    found = probabilities[best]
    cases = [evaluate.read_case(chip, found[chip.Index], chosen[kind]) for chip in own.itertuples()]
    cases_figures[kind] = best_and_worst(cases, count=examples)
class_figures.display_each(cases_figures)

# %% [markdown]
# ## One chip, three trainings
# The chip with the most foreground: what each training makes of it.

# %%
busiest, comparison_figures = {}, {}
for kind, own in tests.items():
    chip = next(own.iloc[[tables[kind][best].eval("tp + fn").argmax()]].itertuples())
    found = {name: (paths[chip.Index], thresholds[name][kind]) for name, paths in probabilities.items()}
    busiest[kind], comparison_figures[kind] = chip, storyboard.trainings(chip, found)
class_figures.display_each(comparison_figures)
if len(tests) > 1:
    rows = test[test["chip"] == next(iter(busiest.values())).chip]
    display(storyboard.both_masks(rows, probabilities[best], chosen))

# %% [markdown]
# ## What it costs on the road
# For roads: the graph taken from the prediction over that of the truth, and the routes that lose the most. For
# buildings: the outlines of both.

# %%
shape_figures = {
    kind: storyboard.shapes(chip, probabilities[best][chip.Index], chosen[kind], kind) for kind, chip in busiest.items()
}
class_figures.display_each(shape_figures)

# %% [markdown]
# ## The ten worst routes
# For roads: all test chips of the map below as one network, and the routes between its control points that cost the
# most APLS. *No snap*: an end is more than 4 m from the other network; *no route*: it is cut off there; *detour*,
# *shortcut*: it is longer or shorter there; *one place*: both ends are one point there.

# %%
grounds = {kind: storyboard.evaluation_ground(own, probabilities[best], chosen[kind]) for kind, own in tests.items()}
routes = storyboard.worst_routes(grounds["roads"]) if "roads" in grounds else None
if routes is not None:
    display(routes[["direction", "reason", "truth_m", "proposal_m", "cost"]].round(2))

# %% [markdown]
# ## The map
# Image, OpenStreetMap, truth, prediction, errors and the worst routes as layers; it opens with the network off.

# %%
scene_maps = {
    "map.html" if number == 0 else f"map_{kind}.html": storyboard.evaluation_map(
        ground, kind, reports.recorded("01_rasterize_osm", area, work_dir), routes if kind == "roads" else None
    )
    for number, (kind, ground) in enumerate(grounds.items())
}
for name, scene_map in scene_maps.items():
    save_map(scene_map, reports.report_dir(area, work_dir) / name)
display(*scene_maps.values())

# %% [markdown]
# ## The numbers

# %%
figures = {
    "1_scoreboard": ({"all": board_figure}, f"Scores on {test_chips} test chips with 95 % intervals."),
    "2_one_chip": (comparison_figures, "One test chip, and what each training makes of it."),
    "3_shapes": (shape_figures, "What is taken from the masks: prediction against truth."),
    "4_best_and_worst": (cases_figures, "The best and the worst test chips after both stages."),
    "5_threshold": (sweep_figures, "What the threshold trades, on the validation chips."),
    "6_confidence": (reliability_figures, "How often what was said is right, on the test chips."),
}
captions = storyboard.save_figures(storyboard.named(figures), reports.report_dir(area, work_dir))
record = storyboard.summary(board, gains, best, headline_metrics, test_chips) | {"captions": captions, "tta": tta}
record |= {"thresholds": thresholds, "left_out": left_out.to_dict("records")}
record["remarks"] = storyboard.remarks(left_out, test_chips, origins, models)
errors = {kind: {name: error for name, (_, error) in own.items()} for kind, own in judged.items()}
record["calibration_error"] = errors if len(tests) > 1 else next(iter(errors.values()), {})
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
    for kind in tests:
        known = {"scored": tables[kind][best], "task": kind, "tta": tta, "progress": print}
        rows, rules = of_class(manifest, kind), params / "01_rasterize_osm.yaml"
        display(chip_browser(rows, test_label, models[best], run, rules, **known))
    for kind, own in vals.items():
        arrays = [read_probability(val_paths[i]) for i in own.index]
        masks, images = [read_mask(p) for p in own["mask"]], [read_image(p) for p in own.image]
        names = list(own.chip) if len(tests) == 1 else [f"{kind}: {chip}" for chip in own.chip]
        saved = params if len(tests) == 1 else None  # the parameter `threshold` is that of a single class
        display(ThresholdPanel(arrays, masks, images, names=names, threshold=chosen[kind], params_dir=saved))
