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
# # 3. Stage 2: a few clean masks
#
# *What do a handful of masks drawn with care add, and what are they worth without stage 1?*
#
# **In:** stage 1's checkpoint (notebook 2; run by itself where it is missing) and the chips labelled `clean`. **Out:**
# checkpoints and histories in `runs/<area>/two_stage` and, for comparison, `runs/<area>/scratch`; with
# `start_from: ""`, for an area without OpenStreetMap, the latter alone. **Takes** a minute and a half on two CPU cores
# with the values below.
#
# *Map data © OpenStreetMap contributors, ODbL 1.0.*

# %% tags=["parameters"]
area: str = "demo"  # study area: names the folders of chips, runs and report
work_dir: str = "."  # where data/, runs/ and reports/ are written; relative to the project's root
task: str = "roads"  # "roads", "buildings", or "roads+buildings": both in one network
start_from: str = "stage1"  # run to go on from; "stage1b" after self-training in notebook 2; "": none, stage 2 alone
network: dict = {}  # of stage 2 alone, by lib.networks.ModelConfig: {encoder_name: resnet34, encoder_weights: imagenet}
recipe: str = "validated"  # "release-roads" or "release-buildings": the release's, over what is said below
epochs: int = 9
batch_size: int = 4
crop_px: int = 192  # side of a training crop, a multiple of 32
samples_per_epoch: int = 80  # crops an epoch; 0: one a chip
learning_rate: float = 1.0e-3  # at the start; falls to 0 as a polynomial of power 0.9
encoder_lr_factor: float = 1.0  # the encoder learns so much slower (0.1) than the rest
freeze_encoder: bool = False  # or not at all
loss: str = "focal"  # "bce", "dice", "bce_dice" (D-LinkNet's), "jaccard", "lovasz", "tversky", "mcc"
ema_decay: float = 0.0  # validate and keep an exponential mean of the weights, e.g. 0.99; 0: off
patience: int = 0  # stop after so many epochs without a better validation IoU; 0: never
compare_scratch: bool = True  # train the same network on the same clean chips without stage 1, too
train_options: dict = {}  # more of lib.training.recipe.TrainConfig, by name: {clip_norm: 1.0, compile: true}
seed: int = 0  # of first weights, crops and augmentation

# %%
from lib.parameters import check_notebook

parameters = check_notebook("03_train_stage2", globals())

# %%
# %matplotlib inline
print("importing: some seconds", flush=True)
from dataclasses import replace

import pandas as pd

from lib.chips import load_manifest, of_class, of_task, select
from lib.limits import classes_of
from lib.networks import ModelConfig, for_class, load_model, read_info
from lib.scores import predicted_case
from lib.show import best_and_worst, class_figures, reports, training_curves, watchers
from lib.show.canvas import TRUTH
from lib.training import beside_the_release, fit, refuse_overlap, refuse_shared_ground, train_config

pd.Series(reports.run_record()["packages"], name="version").to_frame()

# %% [markdown]
# ## Where it starts
# All weights of stage 1 go on learning unless `freeze_encoder` is set. Architecture, task and bands must be those of
# the checkpoint; a test chip that it was trained on would flatter every score, so that is refused here. Without stage
# 1 it starts from `network`.

# %%
chips_dir = reports.require(reports.chip_dir(area, work_dir) / "manifest.csv", "01_rasterize_osm", area, work_dir, task)
manifest = of_task(load_manifest(chips_dir), task)
refuse_shared_ground(manifest)
stage1 = reports.run_dir(area, start_from, work_dir) / "best.safetensors" if start_from else None
if stage1:
    reports.require(stage1.with_name("done.json"), "02_train_stage1", area, work_dir, task)
    info = read_info(stage1)
    refuse_overlap(manifest[manifest["split"] == "test"], info, "test")
model = info.model if stage1 else ModelConfig(**{"classes": len(classes_of(task)), **network})
start = {"architecture": model.architecture, "encoder": model.encoder_name, "from": start_from or "nothing"}
pd.Series(start | ({"task": info.task, "GSD, m": info.gsd_m} if stage1 else {}))

# %% [markdown]
# ## The clean chips
# All of them are shown: this is the whole of the careful work that the method asks for.

# %%
train, val = select(manifest, "clean", "train"), select(manifest, "clean", "val")
train_chips, val_chips = train["chip"].nunique(), val["chip"].nunique()
print(f"{train_chips} chips to learn from, {val_chips} to choose the epoch")
shown = train[train["chip"].isin(train["chip"].unique()[:12])]
class_figures.labels_figure(shown, task, label="clean mask", color=TRUTH)

# %% [markdown]
# ## Stage 2, after stage 1
# Epoch 0 is stage 1's network as it came: where no epoch of stage 2 finds more on the validation chips, it is kept.

# %%
config = train_config(parameters)
beside_the_release(config, task)

# %%
runs = {}
if stage1:
    folder = reports.run_dir(area, "two_stage", work_dir)
    runs["two_stage"] = fit(train, val, folder, config, model, task, init_from=stage1, callbacks=watchers(area))


# %%
def curves(name):
    title = f"{area}: {'stage 1, then stage 2' if name == 'two_stage' else 'stage 2 alone'}"
    return training_curves(runs[name].history, best_epoch=runs[name].best_epoch, title=title)


curves("two_stage") if stage1 else print("no stage 1 to go on from")

# %% [markdown]
# ## Stage 2 alone
# The same network, chips, crops and epochs, from the weights that stage 1 began with: what the clean masks are worth by
# themselves.

# %%
knows_all = {*classes_of(task)} <= {*train.get("class", [task])}  # alone, nothing is learned of a class without masks
if compare_scratch and knows_all or not stage1:
    alone = replace(config, encoder_lr_factor=1.0, freeze_encoder=False)  # nothing of stage 1 to keep
    folder = reports.run_dir(area, "scratch", work_dir)
    runs["scratch"] = fit(train, val, folder, alone, model, task, callbacks=watchers(area))

# %%
why = "compare_scratch is off" if knows_all else "the clean masks know one class alone"
curves("scratch") if "scratch" in runs else print(f"not compared: {why}")

# %% [markdown]
# ## What it sees now
# The clean validation chips, by the network that went through both stages, or through stage 2 alone.

# %%
trained = load_model(next(iter(runs.values())).checkpoint)
cases = {}
for kind in dict.fromkeys(val.get("class", [task])):  # clean labels may know one class alone
    one = for_class(trained, kind)
    found = [predicted_case(one, chip) for chip in of_class(val, kind).head(8).itertuples()]
    cases[kind] = best_and_worst(found, count=4)
class_figures.display_each(cases)

# %% [markdown]
# ## The numbers
# On the validation chips, which chose epoch and threshold: the test chips wait in the next notebook.

# %%
best = {name: run.history.loc[run.history["epoch"] == run.best_epoch].iloc[0] for name, run in runs.items()}
record = {
    name: {
        "best_epoch": run.best_epoch,
        "val_iou_pooled": float(best[name]["val_iou"]),
        "threshold": float(best[name]["threshold"]) if model.classes == 1 else read_info(run.checkpoint).thresholds,
        "seconds": float(run.history["seconds"].sum()),
    }
    for name, run in runs.items()
}
record |= {"train_chips": train_chips, "val_chips": val_chips}
reports.write_metrics("03_train_stage2", area, work_dir, record, parameters)
pd.DataFrame({name: record[name] for name in runs})

# %% [markdown]
# **Next:** `04_evaluate` scores them, and stage 1 alone, on ground that none of them has seen.
