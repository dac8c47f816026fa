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
# # 1. From OpenStreetMap to masks
#
# *How good a training label is the map that volunteers drew?*
#
# **In:** scenes (GeoTIFF, slippy tiles, PNG, JPEG) and vectors (Overpass, `.osm.pbf`, any vector file) of a study
# area. **Out:** chips with masks and a manifest, in `data/<area>/chips`. **Takes** about half a minute on the embedded
# sample, of which most goes into rendering it.
#
# *Map data © OpenStreetMap contributors, ODbL 1.0.*

# %% tags=["parameters"]
area: str = "demo"  # study area: names the folders of chips, runs and report
data_dir: str = "data/demo"  # where scenes and vectors lie; relative to the project's root
work_dir: str = "."  # where data/, runs/ and reports/ are written; relative to the project's root
render_sample: bool = True  # first render the embedded sample town into data_dir
sources: list = [  # see lib.chips.sources: scenes by pattern, and where their masks come from
    {"images": "images/helsinki.tif", "osm": "vectors/{stem}_osm.gpkg", "clean": "vectors/{stem}_truth.gpkg"},
    {"images": "images/town.tif", "osm": "vectors/{stem}_osm.gpkg", "clean": "vectors/{stem}_truth.gpkg"},
]
task: str = "roads"  # "roads", "buildings", or "roads+buildings": both in one network
gsd_m: float = 1.0  # metres a pixel of the chips; scenes of another GSD are resampled (the sample has 0.5 m)
chip_px: int = 256  # side of a chip
val_share: float = 0.15  # share of each source's ground that validates
test_share: float = 0.25  # share of each source's ground that tests
clean_chips: int = 4  # training chips with a clean mask, a source; the others know OpenStreetMap only; 0: all
profile: str = "metric"  # lane profile: "metric" (metres), or "paper" (8 px a lane)
lane_width_m: float = 0.0  # one lane width for all classes; 0: by class
lane_widths_m: dict = {}  # lane widths by highway class; the profile's own for those not named
classes: list = []  # highway classes to draw; empty: the profile's own
dx_m: float = 0.0  # move the OSM vectors to the east by this many metres
dy_m: float = 0.0  # and to the north
align: bool = True  # move each scene's OSM vectors further by the offset measured, where that is certain
checkpoint: str = ""  # of stage 1, or one that ships: its predictions measure the offsets, too, and judge each label
gap_m: float = 0.0  # ground kept free between buildings that touch
ignore_band_m: float = 0.0  # edges of OSM masks are neither road nor background within this distance
class_weights: dict = {}  # what a road's pixels count in training, by highway class; 1 for those not named
drop: list = []  # rules that keep OSM-labelled chips out of training, such as "road_m < 50"; see lib.trust.quality
noise_study_dir: str = ""  # folder with osm/ and another folder of surveyed roads, files named alike, to compare
skip_bad: bool = False  # go on without files that can't be read; they are listed in skipped.csv beside the manifest
scheduler: str = ""  # address of a Dask scheduler that cuts the chips, such as "tcp://host:8786"; "": this machine
seed: int = 0  # of the choice of clean chips, and of splits where scenes have no georeference

# %%
from lib.parameters import check_notebook

parameters = check_notebook("01_rasterize_osm", globals())

# %%
# %matplotlib inline
print("importing: some seconds", flush=True)
import pandas as pd
from IPython.display import display

from lib.chips import (
    ChipOptions,
    build_chips,
    by_class,
    find_all_scenes,
    load_manifest,
    of_class,
    read_image,
    read_mask,
    read_vectors,
    vectors_table,
)
from lib.limits import classes_of
from lib.networks import load_model, weights_of
from lib.osm import chosen_lanes
from lib.paths import resolve
from lib.sample import make_sample
from lib.show import class_figures, label_overlay, label_figures, overlay_grid, reports, split_map, widgets
from lib.show.canvas import TRUTH
from lib.trust import alignment, fit_lane_widths, noise_study, quality

pd.Series(reports.run_record()["packages"], name="version").to_frame()

# %% [markdown]
# ## The scenes
# Each is put on the grid of the chips; ground sampling distance, coordinate system and place are read from the file.

# %%
if render_sample:
    make_sample(resolve(data_dir), progress=print)
skipped = {} if skip_bad else None
scenes = find_all_scenes(sources, resolve(data_dir), gsd_m, skipped)
print(f"{len(scenes)} scenes at {gsd_m} m a pixel")
pd.DataFrame(
    [(s.name, s.grid.width, s.grid.height, s.grid.crs) for s in scenes[:12]],
    columns=["scene", "width", "height", "CRS"],
)

# %% [markdown]
# ## The vectors
# One query, or one pass over a file, serves all scenes. An area without roads gives an empty mask; a source that can't
# be read, or of which nothing is drawn although it lies under the images, stops the run. Each layer of a file is named
# with what it was taken for and what was left out: a stale one shows here.

# %%
layers = read_vectors(scenes, task, skipped)
kinds = classes_of(task)
found = [
    (name, sum(len(getattr(layer, kind)) for kind in kinds), layer.date or "not stated")
    for name, layer in layers.items()
]
vectors_table(layers)

# %% [markdown]
# ## How wide is a road?
# In metres: the tag `width` if there is one, else lanes times the width of a lane, else what the class usually has. The
# image's GSD turns metres into pixels, so that a street is as wide at 0.3 m as at 1 m a pixel.

# %%
lanes = chosen_lanes(profile, lane_width_m, lane_widths_m, classes)
kind = kinds[0]  # of roads and buildings: roads, by which widths and offsets are measured
views = by_class(scenes, task)[kind]
label_figures.widths_figure(views, layers, lanes) if kind == "roads" else print("buildings are drawn as their polygons")

# %% [markdown]
# ## Does the map lie on the image?
# OpenStreetMap and imagery miss each other by metres. The offset is measured from the image alone: where the pixels
# under the mask are most alike and most unlike the rest. With a `checkpoint` of stage 1 its predictions are laid over
# the map as well, and believed first; but a model whose labels were off predicts roads that are off alike. `confidence`
# is the share of resamplings that agree. Where there are roads and buildings, roads say it for both.

# %%
network = resolve(weights_of(checkpoint)) if checkpoint else None
model = load_model(network, task=task) if network else None
guide = load_model(network, task=kind) if network else None
print("measuring how far the map lies off the image: some seconds a scene", flush=True)
measured = alignment.scene_offsets(views, layers, kind, lanes, guide, progress=print)
shifts_m = alignment.shifts(scenes, measured if align else None, dx_m, dy_m)
drawn_scenes = alignment.with_vectors(views, layers)
moved_scenes = [scene for scene in drawn_scenes if scene.name in shifts_m]
if moved_scenes:
    display(label_figures.offset_figure(moved_scenes[-1], layers, kind, lanes, shifts_m))
measured.round(2) if len(measured) else print("no scene with vectors is large and fine enough to measure an offset")

# %% [markdown]
# ## Chips
# Every scene is cut into chips. Where they lie decides which train, validate and test, so that no ground is shared.

# %%
options = ChipOptions(
    task=task,
    gsd_m=gsd_m,
    chip_px=chip_px,
    val_share=val_share,
    test_share=test_share,
    clean_chips=clean_chips,
    seed=seed,
    gap_m=gap_m,
    ignore_band_m=ignore_band_m,
    class_weights=class_weights,
)
chip_dir = reports.chip_dir(area, work_dir)
manifest_path = build_chips(scenes, layers, chip_dir, options, lanes, shifts_m, scheduler, skipped, "draft.csv")
manifest = load_manifest(manifest_path)
manifest.groupby([*["class"] * (len(kinds) > 1), "label", "split"]).size().unstack(fill_value=0)

# %%
placed = (manifest["footprint"] != "").any()
split_map(manifest) if placed else print("no georeference: split by whole scenes, or by strips of one or two")

# %% [markdown]
# ## The labels
# What stage 1 will be told is truth: look for streets that the mask misses, and for those that it draws too wide. An
# area without OpenStreetMap has its clean masks here, and no stage 1.

# %%
label = "osm" if (manifest.label == "osm").any() else "clean"
style = {} if label == "osm" else {"label": "clean mask", "color": TRUTH}
learnt = manifest[(manifest.label == label) & (manifest.split == "train")]
shown = class_figures.sampled(learnt, 8, seed)
display(class_figures.labels_figure(shown, task, **style))
chip = shown.iloc[0]
label_overlay(read_image(chip["image"]), read_mask(chip["mask"]), gsd_m=chip["gsd_m"], title=chip["chip"], **style)

# %% [markdown]
# ## How noisy is OpenStreetMap?
# Where a chip has both, its OSM mask is scored against the clean one, as if it were a prediction.

# %%
noises = {one: quality.summary(quality.label_agreement(of_class(manifest, one))) for one in kinds}
noise = noises if len(kinds) > 1 else noises[kind]
has_both = {f"OSM against clean, {one}": own for one, own in noises.items() if own}
pd.DataFrame(has_both) if has_both else print("no chip has both masks")

# %% [markdown]
# It is noisy elsewhere, too. Of seven places in Las Vegas that both OpenStreetMap and the surveyors of SpaceNet 3 have
# drawn, the masks agree with an IoU of 0.35 to 0.60 (mean 0.48). OSM lies 1.5 to 2.8 m off; moved by that, it reaches
# 0.44 to 0.71 (mean 0.57). What remains is streets that only one of them knows: OSM has 13 km of road there, the survey
# 18 km, and APLS, which asks for routes rather than for pixels, is 0.41 to 0.78 (mean 0.65) before the move and hardly
# changes after it. Both were drawn by the profile `metric` at 0.3 m, the shift measured by `lib.masks.offset` from the
# surveyed mask; APLS is strict. `noise_study_dir` measures it again, on this data or on yours.

# %%
pairs = noise_study.study(resolve(noise_study_dir)) if noise_study_dir else []
if pairs:
    display(noise_study.table(pairs).round(2), label_figures.study_figure(pairs))
else:
    print("no noise_study_dir: nothing compared anew")

# %% [markdown]
# ## Which labels to trust
# One row a chip with OSM labels, also in `quality.csv` beside the manifest: metres of road, the share that is ignored,
# the age of the map, how far it was off, and where there is something to compare with, how well it agrees. A rule such
# as `drop: ["road_m < 50", "offset_m > 8"]` keeps bad chips out of training; those that validate or test stay, unless
# one is named: notebook 4 shows them, and writes `{chip: ..., reason: ...}`. Now the draft becomes `manifest.csv`,
# which the next notebooks read.

# %%
labels = quality.chip_table(manifest, scenes, layers, task, lanes, measured, shifts_m, model)
dropped = quality.drop_chips(manifest_path, labels, drop)
manifest = load_manifest(chip_dir)
measures = labels[list(quality.MEASURES)].dropna(axis=1, how="all")
if measures.size:
    display(measures.describe().loc[["count", "min", "50%", "max"]].round(2))
used = labels.loc[labels.split == "train", "chip"].nunique()
dropped if drop else print(f"no rule: all {used} training chips are used")

# %%
doubtful = quality.most_doubtful(labels, manifest)
overlay_grid(
    [read_image(p) for p in doubtful.image],
    [read_mask(p) for p in doubtful["mask"]],
    gsd_m=list(doubtful.gsd_m),
    titles=list(doubtful.title),
) if len(doubtful) else print("no OSM labels to doubt")

# %% [markdown]
# ## How wide do the clean masks say the roads are?
# Lane widths fitted to the clean masks that train, and judged on those that validate. It is a suggestion: the sliders
# below offer it where it holds on chips that the fit has not seen, and `lane_widths_m` takes it.

# %%
of_kind = of_class(manifest, kind)
clean = {split: of_kind[(of_kind.label == "clean") & (of_kind.split == split)] for split in ("train", "val")}
can_fit = kind == "roads" and lanes.lane_width_px is None
fitted = fit_lane_widths(clean["train"], clean["val"], views, layers, lanes, shifts_m) if can_fit else None
if fitted:
    verdict = "better" if fitted.helps else "no better"
    print(f"on chips that the fit has not seen it is {verdict}; lane_widths_m: {fitted.lane_widths_m}")
    display(label_figures.suggestion_figure(fitted))
else:
    print("no OSM roads with clean masks under them: nothing to fit to")

# %% [markdown]
# ## The numbers

# %%
chips_of = manifest.groupby(["label", "split"])["chip"].nunique()
record = {
    "chips": {f"{label} {split}": int(n) for (label, split), n in chips_of.items()},
    "vectors": {name: {"count": count, "date": date} for name, count, date in found},
    "offsets": measured.to_dict("records"),
    "osm_against_clean": noise,
    "dropped": dropped.to_dict("records"),
    "lane_fit": fitted.record() if fitted else None,
    "manifest_sha256": manifest.attrs["sha256"],
}
print(f"written: {reports.write_metrics('01_rasterize_osm', area, work_dir, record, parameters).name}")

# %% [markdown]
# **Next:** `02_train_stage1` learns from these masks; where all of them are clean, `03_train_stage2` does, alone. In
# JupyterLab, the sliders below change lane widths, classes and offset over any scene; "save" writes them into
# `params/<area>/01_rasterize_osm.yaml`, and "cut chips again" runs this notebook anew with them.

# %% tags=["interactive"]
if widgets.is_interactive() and kind == "roads" and drawn_scenes:
    good = fitted if fitted and fitted.helps else None
    display(label_figures.lane_panel(parameters, drawn_scenes, layers, measured, good))
