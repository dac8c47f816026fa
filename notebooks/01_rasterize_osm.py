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
sources: list = [  # see lib.sources: scenes by pattern, and where their masks come from
    {"images": "images/helsinki.tif", "osm": "vectors/{stem}_osm.gpkg", "clean": "vectors/{stem}_truth.gpkg"},
    {"images": "images/town.tif", "osm": "vectors/{stem}_osm.gpkg", "clean": "vectors/{stem}_truth.gpkg"},
]
task: str = "roads"  # "roads" or "buildings"
gsd_m: float = 1.0  # metres a pixel of the chips; scenes of another GSD are resampled (the sample has 0.5 m)
chip_px: int = 256  # side of a chip
val_share: float = 0.15  # share of each source's ground that validates
test_share: float = 0.25  # share of each source's ground that tests
clean_chips: int = 4  # training chips with a clean mask, a source; the others know OpenStreetMap only; 0: all
profile: str = "metric"  # lane profile: "metric" (metres), or "paper" (8 px a lane)
lane_width_m: float = 0.0  # one lane width for all classes; 0: the profile's own
classes: list = []  # highway classes to draw; empty: the profile's own
dx_m: float = 0.0  # move the OSM vectors to the east by this many metres
dy_m: float = 0.0  # and to the north
align: bool = True  # move each scene's OSM vectors further by the offset measured, where that is certain
seed: int = 0  # of the choice of clean chips, and of splits where scenes have no georeference

# %%
from lib.parameters import check_notebook

parameters = check_notebook("01_rasterize_osm", globals())

# %%
# %matplotlib inline
import pandas as pd
from IPython.display import display

from lib import chips, quality, reports, sample, widgets
from lib.charts import split_map
from lib.dataset import ChipOptions, build_chips
from lib.figures import label_overlay, overlay_grid
from lib.lanes import lane_profile
from lib.paths import ROOT, resolve
from lib.sources import find_scenes, read_vectors

pd.Series(reports.run_record()["packages"], name="version").to_frame()

# %% [markdown]
# ## The scenes
# Each is put on the grid of the chips; ground sampling distance, coordinate system and place are read from the file.

# %%
if render_sample:
    sample.make_sample(resolve(data_dir), progress=print)
options = ChipOptions(task, gsd_m, chip_px, val_share, test_share, clean_chips, seed)
scenes = [scene for source in sources for scene in find_scenes(source, resolve(data_dir), gsd_m)]
print(f"{len(scenes)} scenes at {gsd_m} m a pixel")
pd.DataFrame(
    [(s.name, s.grid.width, s.grid.height, s.grid.crs) for s in scenes[:12]],
    columns=["scene", "width", "height", "CRS"],
)

# %% [markdown]
# ## The vectors
# One query, or one pass over a file, serves all scenes. An area without roads gives an empty mask; a source that can't
# be read stops the run.

# %%
layers = read_vectors(scenes, task)
found = [(name, len(getattr(layer, task)), layer.date or "not stated") for name, layer in layers.items()]
pd.DataFrame(found, columns=["source", task, "OSM as of"])

# %% [markdown]
# ## How wide is a road?
# In metres: the tag `width` if there is one, else lanes times the width of a lane, else what the class usually has. The
# image's GSD turns metres into pixels, so that a street is as wide at 0.3 m as at 1 m a pixel.

# %%
own = {"lane_width_m": lane_width_m} if lane_width_m else {}
lanes = lane_profile({"base": profile} | own | ({"drawn": classes} if classes else {}))
quality.widths_figure(scenes, layers, lanes) if task == "roads" else print("buildings are drawn as their polygons")

# %% [markdown]
# ## Does the map lie on the image?
# OpenStreetMap and imagery miss each other by metres. The offset is measured from the image alone: where the pixels
# under the mask are most alike and most unlike the rest. `confidence` is the share of resamplings that agree.

# %%
measured = quality.scene_offsets(scenes, layers, task, lanes)
measured.round(2)

# %%
shifts_m = quality.shifts(scenes, measured if align else None, dx_m, dy_m)
drawn_scenes = quality.with_vectors(scenes, layers)
if drawn_scenes:
    display(quality.offset_figure(drawn_scenes[-1], layers, task, lanes, shifts_m))
pd.DataFrame(shifts_m, index=["moved east, m", "moved north, m"]).T

# %% [markdown]
# ## Chips
# Every scene is cut into chips. Where they lie decides which train, validate and test, so that no ground is shared.

# %%
manifest_path = build_chips(scenes, layers, reports.chip_dir(area, work_dir), options, lanes, shifts_m)
manifest = chips.load_manifest(manifest_path)
manifest.groupby(["label", "split"]).size().unstack(fill_value=0)

# %%
placed = (manifest["footprint"] != "").any()
split_map(manifest) if placed else print("no georeference: whole scenes were dealt out by lot")

# %% [markdown]
# ## The pseudo-labels
# What stage 1 will be told is truth. Look for streets that the mask misses, and for those that it draws too wide.

# %%
noisy = manifest[(manifest.label == "osm") & (manifest.split == "train")]
shown = noisy.sample(min(8, len(noisy)), random_state=seed)
overlay_grid(
    [chips.read_image(p) for p in shown.image], [chips.read_mask(p) for p in shown["mask"]], gsd_m=list(shown.gsd_m)
)

# %%
chip = shown.iloc[0]
label_overlay(chips.read_image(chip["image"]), chips.read_mask(chip["mask"]), gsd_m=chip["gsd_m"], title=chip["chip"])

# %% [markdown]
# ## How noisy is OpenStreetMap?
# Where a chip has both, its OSM mask is scored against the clean one, as if it were a prediction.

# %%
noise = quality.summary(quality.label_agreement(manifest))
pd.Series(noise, name="OSM against clean").to_frame() if noise else print("no chip has both masks")

# %% [markdown]
# ## The numbers

# %%
record = {
    "chips": {f"{label} {split}": int(n) for (label, split), n in manifest.groupby(["label", "split"]).size().items()},
    "vectors": {name: {"count": count, "date": date} for name, count, date in found},
    "offsets": measured.to_dict("records"),
    "osm_against_clean": noise,
    "manifest_sha256": manifest.attrs["sha256"],
}
reports.write_metrics("01_rasterize_osm", area, work_dir, record, parameters)

# %% [markdown]
# **Next:** `02_train_stage1` learns from these masks. In JupyterLab, the sliders below change lane width, classes and
# offset over one chip; "save profile" writes them into `params/<area>/01_rasterize_osm.yaml`.

# %% tags=["interactive"]
if widgets.is_interactive() and task == "roads" and drawn_scenes:
    display(quality.lane_panel(drawn_scenes[-1], layers, lanes, ROOT / "params" / area / "01_rasterize_osm.yaml"))
