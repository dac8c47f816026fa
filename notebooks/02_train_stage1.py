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
# # 2. Stage 1: learn from OpenStreetMap
#
# *What does a network learn from many images whose masks nobody drew by hand?*
#
# **In:** chips labelled `osm` (notebook 1; run by itself where they are missing). **Out:** a checkpoint and its history
# in `runs/<area>/stage1`. **Takes** about a minute on two CPU cores with the values below, by a small encoder that has
# seen roads before: that of the network that ships. The paper's is `encoder_name` resnet34 with `encoder_weights`
# imagenet; `recipe` release-roads or release-buildings trains it as its release does, which takes a GPU.
#
# *Map data © OpenStreetMap contributors, ODbL 1.0.*

# %% tags=["parameters"]
area: str = "demo"  # study area: names the folders of chips, runs and report
work_dir: str = "."  # where data/, runs/ and reports/ are written; relative to the project's root
task: str = "roads"  # "roads", "buildings", or "roads+buildings": both in one network
architecture: str = "pp_linknet"  # or "d_linknet", or one of smp: "linknet", "unet", "deeplabv3plus", ...
encoder_name: str = "tu-regnetx_002"  # any encoder of segmentation-models-pytorch; the paper's is resnet34
encoder_weights: str = "massachusetts-roads"  # or "imagenet", a .safetensors file, "": random; each of its encoder
context: str = "64"  # side of the map that reaches pyramid pooling at 1024 px: "32", "64", "128", "64 hdc"
recipe: str = "validated"  # "release-roads" or "release-buildings": the release's, over what is said below
epochs: int = 8
batch_size: int = 4  # the release's is 8; at this small budget more steps count for more
crop_px: int = 192  # side of a training crop, a multiple of 32
samples_per_epoch: int = 160  # crops an epoch; 0: one a chip
learning_rate: float = 1.0e-3  # at the start; falls to 0 as a polynomial of power 0.9
loss: str = "focal"  # "bce", "dice", "bce_dice" (D-LinkNet's), "jaccard", "lovasz", "tversky", "mcc"
focal_gamma: float = 0.5  # the paper's; 2 is Lin's
optimizer: str = "adam"  # "adamw", "sgd"
schedule: str = "poly"  # "constant", "cosine", "onecycle"
ema_decay: float = 0.0  # validate and keep an exponential mean of the weights, e.g. 0.99; 0: off
patience: int = 0  # stop after so many epochs without a better validation IoU; 0: never (the release: 7, training loss)
devices: int = 1  # GPUs (or processes on a CPU) that share each batch
self_training: bool = False  # stage 1b: mend the masks where this network strongly disagrees, and go on from there
train_options: dict = {}  # more of lib.training.recipe.TrainConfig, by name: {clip_norm: 1.0, compile: true}
seed: int = 0  # of first weights, crops and augmentation

# %%
from lib.parameters import check_notebook

parameters = check_notebook("02_train_stage1", globals())

# %%
# %matplotlib inline
print("importing: some seconds", flush=True)
import pandas as pd
from IPython.display import display

from lib.chips import load_manifest, of_class, of_task, read_bands, select
from lib.limits import classes_of
from lib.networks import ModelConfig, for_class, load_model
from lib.progress import counted
from lib.scores import predicted_case
from lib.show import augmentation, best_and_worst, class_figures, reports, training_curves, watchers, widgets
from lib.training import beside_the_release, fit, refuse_shared_ground, train_config
from lib.trust import relabel

pd.Series(reports.run_record()["packages"], name="version").to_frame()

# %% [markdown]
# ## What it learns from
# Each training chip carries the mask that OpenStreetMap gives: cheap, plentiful, and wrong in places. Validation chips
# lie elsewhere on the map; they are noisy too, and only choose the epoch. Training on ground of a test chip is refused.
# An area without OpenStreetMap has no stage 1: notebook 3 starts from nothing with `start_from: ""`.

# %%
chips_dir = reports.require(reports.chip_dir(area, work_dir) / "manifest.csv", "01_rasterize_osm", area, work_dir, task)
manifest = of_task(load_manifest(chips_dir), task)
refuse_shared_ground(manifest)
train, val = select(manifest, "osm", "train"), select(manifest, "osm", "val")
train_chips, val_chips = train["chip"].nunique(), val["chip"].nunique()
print(f"{train_chips} chips to learn from, {val_chips} to choose the epoch")

# %%
shown = class_figures.sampled(train, 8, seed)
class_figures.labels_figure(shown, task)

# %% [markdown]
# ## Training
# The recipe `validated` takes focal loss, Adam, polynomial decay and augmentations from the paper, and adds a
# validation and the chips' own mean and deviation; the table shows all that the release does otherwise. Killed at any
# moment, the cell after it goes on from the last finished epoch; finished, it returns at once.

# %%
config = train_config(parameters)
beside_the_release(config, task)

# %% [markdown]
# A chip, bare and under its label, and crops of it as the network is shown them: moved, stretched, mirrored, in other
# colours, no two alike. Hatched is what it doesn't learn from. Roads should still be seen on the crops, where the label
# says so.

# %%
augmentation.crops_figure(shown.iloc[0], config)

# %%
bands = read_bands(train["image"].iloc[0]).shape[2]  # weights of three bands are spread over more
classes = len(classes_of(task))  # outputs of the network
model = ModelConfig(architecture, encoder_name, encoder_weights or None, context, bands, classes)
stage1 = fit(train, val, reports.run_dir(area, "stage1", work_dir), config, model, task, callbacks=watchers(area))

# %% [markdown]
# ## What happened
# The epoch with the best IoU on the validation chips is kept, of several classes with the best mean of theirs; with a
# recipe of the release, the one with the lowest training loss.

# %%
ended = f"; stopped early, after {len(stage1.history)} of {epochs} epochs" if len(stage1.history) < epochs else ""
training_curves(stage1.history, best_epoch=stage1.best_epoch, title=f"{area}, stage 1: {architecture}{ended}")

# %% [markdown]
# ## Stage 1b: the network corrects its teacher
# A network averages the errors of many masks away. With `self_training`, each scene's masks are moved onto what it
# sees, streets that it is sure of are drawn, and those that it is sure not to see are erased; then it goes on learning
# from these. Validation keeps its masks. Off unless asked for.

# %%
final = stage1
if self_training:
    folder = reports.run_dir(area, "stage1b", work_dir)
    relabelled = load_manifest(relabel(load_model(stage1.checkpoint), chips_dir, folder / "probabilities"))
    better = select(relabelled, "osm", "train")
    final = fit(better, val, folder, config, model, task, init_from=stage1.checkpoint, callbacks=watchers(area))

# %% [markdown]
# ## What it sees now
# Validation chips against their noisy masks. Much of what counts as an error here is a street that OpenStreetMap
# misses, or one that it draws some metres off: look before you believe the number.

# %%
trained = load_model(final.checkpoint)
cases = {}
for kind in classes_of(task):
    one, chips = for_class(trained, kind), counted(list(of_class(val, kind).itertuples()), "predicted", "chips", print)
    cases[kind] = best_and_worst([predicted_case(one, chip) for chip in chips], count=4)
class_figures.display_each(cases)

# %% [markdown]
# ## The numbers

# %%
best = final.history.loc[final.history["epoch"] == final.best_epoch].iloc[0]
record = {
    "checkpoint": f"{final.checkpoint.parent.name}/{final.checkpoint.name}",
    "best_epoch": final.best_epoch,
    "epochs": int(final.history["epoch"].max()),
    "val_iou_pooled_against_osm": float(best["val_iou"]),
    "threshold": float(best["threshold"]) if classes == 1 else trained.info.thresholds,
    "train_chips": train_chips,
    "val_chips": val_chips,
    "parameters": sum(p.numel() for p in trained.network.parameters()),
    "seconds": float(final.history["seconds"].sum()),
}
reports.write_metrics("02_train_stage1", area, work_dir, record, parameters)
pd.Series(record, name="value").to_frame()

# %% [markdown]
# **Next:** `03_train_stage2` goes on from this checkpoint with the few clean masks (from stage 1b's with
# `-p start_from stage1b`). Curves live: `tensorboard --logdir runs`. In JupyterLab, the panel below shows any chip
# under its label, and its crops with other augmentations; "save" writes them into `params/<area>/02_train_stage1.yaml`.

# %% tags=["interactive"]
if widgets.is_interactive():
    for kind in classes_of(task):
        display(augmentation.AugmentationPanel(of_class(manifest, kind), parameters))
