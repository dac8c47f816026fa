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
# # 5. What does the map lack?
#
# *A trained network maps whole images: what of it does OpenStreetMap not have, and what of OpenStreetMap is not seen?*
#
# **In:** a checkpoint (of notebook 3, run by itself where it is missing), images, and OpenStreetMap's vectors of the
# same ground. **Out:** in `reports/<area>/map`, a GeoPackage that opens coloured in QGIS, a file for JOSM, rasters, and
# candidates to review. **Takes** half a minute for the test ground of the embedded sample on two CPU cores.
#
# *Map data © OpenStreetMap contributors, ODbL 1.0.*

# %% tags=["parameters"]
area: str = "demo"  # study area: names the folders of chips, runs and report
data_dir: str = "data/demo"  # where images and vectors lie; relative to the project's root
work_dir: str = "."  # where data/, runs/ and reports/ are written; relative to the project's root
task: str = "roads"  # "roads" or "buildings"
images: list = ["images/town.tif"]  # images, folders of map tiles, addresses; [] leaves this notebook out of reports
osm: str = "vectors/town_osm.gpkg"  # OpenStreetMap's vectors, or "overpass"; "": nothing is compared
mapped: str = "test"  # ground to map: "test" is that of the area's test chips; a file of polygons; "": all
name: str = "map"  # of the map's folder in reports/<area>; other images go into another one
checkpoint: str = ""  # network that maps; "": the area's of both stages
threshold: float = 0.0  # probability from which a pixel counts; 0: three quarters of the checkpoint's
window_px: int = 1024  # side of the windows that the network sees
overlap_px: int = 128  # what neighbouring windows share
tta: str = "none"  # "d4": mean of 8 views (flips and rotations); "none": one view, eight times as fast
memory_gib: float = 4.0  # what mapping may take; larger images take longer, not more
formats: list = []  # files beside map.gpkg and map.osm: "parquet", "geojson", "fgb", "csv"
highway: str = "road"  # OSM's class of new roads; "road" says that nobody has classed them

# %%
from lib.parameters import check_notebook

parameters = check_notebook("05_map_area", globals())

# %%
# %matplotlib inline
print("importing: some seconds", flush=True)
from contextlib import ExitStack
from dataclasses import replace

import geopandas as gpd
import pandas as pd
from IPython.display import display

from lib.chips import load_manifest, write_ground
from lib.conflation import Review, compare_map, export_reviewed, write_challenge, write_reviewed
from lib.mapping import (
    CANDIDATE_SHARE,
    LayerOptions,
    MapOptions,
    find_images,
    map_rasters,
    opened_ground,
    read_layers,
    read_overview,
    write_layers,
)
from lib.masks.offset import shift
from lib.networks import load_model, read_curves
from lib.osm import read_osm
from lib.paths import resolve
from lib.show import ReviewPanel, reports, result_figure, result_map, review_sheet, storyboard, viewer, widgets
from lib.show.leaflet import save_map

pd.Series(reports.run_record()["packages"], name="version").to_frame()

# %% [markdown]
# ## The network and the ground
# The network is that of both stages, unless another is named. By default it maps the ground of the area's test chips,
# which no training saw: what it finds there is what it would find elsewhere. Pixels count from three quarters of the
# threshold that is best for masks: a candidate too many is rejected by a key, one too few is never seen.

# %%
trained = reports.run_dir(area, "two_stage", work_dir) / "best.safetensors"
network = resolve(checkpoint) if checkpoint else reports.require(trained, "03_train_stage2", area, work_dir)
model, curves = load_model(network, task=task), read_curves(network)
folder = reports.report_dir(area, work_dir) / name
folder.mkdir(parents=True, exist_ok=True)

# %%
ground_file = ""
if mapped == "test":
    ground_file = str(write_ground(load_manifest(reports.chip_dir(area, work_dir)), "test", folder / "ground.geojson"))
elif mapped:
    ground_file = str(resolve(data_dir) / mapped)
places = find_images(images, resolve(data_dir))

# %%
options = MapOptions(
    window_px=window_px,
    overlap_px=overlap_px,
    views=tta,
    memory_gib=memory_gib,
    threshold=threshold or CANDIDATE_SHARE * model.info.threshold,
    area=ground_file,
)
layers = LayerOptions(formats=tuple(formats), highway=highway)
shown = ExitStack().enter_context(opened_ground(places, model.info, options))  # what the network sees, on its grid
curves_text = ", ".join(curves) or "none"
print(f"{len(shown.paths)} images on {shown.grid.width} x {shown.grid.height} px; curves of confidence: {curves_text}")

# %% [markdown]
# ## From images to rasters
# Windows overlap and are blended, finished ones are kept: a run that is killed goes on where it was. `probability.tif`
# and `mask.tif` are Cloud-Optimized GeoTIFFs on one grid.

# %%
made = map_rasters(model, places, folder, options)
pd.Series({name: made[name] for name in ("km2", "km2_per_h", "seconds", "windows", "device")}, name="map").to_frame()

# %% [markdown]
# ## From rasters to layers
# Roads become a connected network with width, length and confidence; buildings become outlines with right angles.
# Confidence is how often such pixels were right on the validation chips, where notebook 4 has measured that.

# %%
found = write_layers(folder, layers, curve=curves.get("pixels"))
pd.Series(found["classes"], name=f"{task} by confidence").to_frame()

# %%
overview = read_overview(folder, shown.paths)
result = result_figure(overview, title=area)
result

# %% [markdown]
# ## What OpenStreetMap is missing
# OpenStreetMap is moved onto the image by the measured offset first. Then each road or building is looked for in the
# other source: *missing* is what only the network sees, *unseen* or *vanished* what only OpenStreetMap has, with what
# may hide it. Decisions of an earlier review are kept.

# %%
compared, known = None, gpd.GeoDataFrame(geometry=[], crs=4326)
candidates = f"missing_{task}"
if osm:
    source = osm if osm == "overpass" else resolve(data_dir) / osm
    print("comparing with OpenStreetMap: its offset, then each road or building", flush=True)
    vectors = read_osm(source, shown.grid, (task,))
    compared = compare_map(folder, vectors, lambda window: shown.read(window)[0], curves, progress=print)
    known = shift(getattr(vectors, task), *compared.offset.believed_m)
    east_m, north_m = compared.offset.believed_m
    print(f"{len(compared.missing)} candidates; OpenStreetMap is moved by {east_m:.1f} m east, {north_m:.1f} m north")
compared.totals.round(2).replace({"highway": {"": "joins none"}}) if osm and task == "roads" else print(
    "totals by class are for roads"
)

# %% [markdown]
# ## The surest candidates
# As the panel at the end shows them: the candidate, and OpenStreetMap where it lies on the image.

# %%
has_candidates = compared is not None and len(compared.missing) > 0
sheet = None
if has_candidates:
    review = Review(folder / "map.gpkg", candidates, "surest")
    view = viewer(shown.paths, review.candidates, known)
    sheet = review_sheet(review, view)
sheet if sheet is not None else print("no candidate to show")

# %% [markdown]
# ## The map
# Image, probability and all layers; it opens with the network off.

# %%
web_map = result_map(replace(overview, layers=read_layers(folder / "map.gpkg")))
save_map(web_map, folder / "map.html")
web_map

# %% [markdown]
# ## What was decided
# Rejected candidates leave `map.gpkg`, `map.osm` and the other files. Accepted ones become `reviewed.gpkg`, which
# notebook 1 takes as `clean` with its `area`, and a challenge for MapRoulette.

# %%
decided = compared.missing["status"].value_counts() if compared is not None else pd.Series(dtype=int)
if decided.get("rejected", 0):
    found |= write_reviewed(folder, layers)
if decided.get("accepted", 0):
    km2 = export_reviewed(folder / "map.gpkg", folder / "reviewed.gpkg", known, folder / "mask.tif", task)
    back_m = [-metres for metres in compared.offset.believed_m]
    tasks = write_challenge(shift(compared.missing, *back_m), folder / "challenge.geojson", candidates, highway=highway)
    print(f"reviewed.gpkg: {km2:.2f} km2 with clean labels; challenge.geojson: {tasks} tasks")
decided.rename("candidates").to_frame()

# %% [markdown]
# ## The numbers

# %%
sizes = {name: found[name] for name in ("features", "classes", "length_km", "area_m2") if name in found}
record = {name: made[name] for name in ("km2", "km2_per_h", "windows", "device", "threshold")} | sizes
if compared is not None:
    record["candidates"] = {str(status): int(count) for status, count in decided.items()}
    record["offset_m"] = compared.offset.believed_m
figures = {"7_map": (result, "The map of the ground that no training saw: image, probability, what was found.")}
if sheet is not None:
    figures["8_candidates"] = (sheet, "What the network sees and OpenStreetMap lacks: the surest candidates.")
record["captions"] = storyboard.save_figures(figures, reports.report_dir(area, work_dir))
reports.write_metrics("05_map_area", area, work_dir, record, parameters)
print(f"{folder.name} holds {', '.join(sorted(path.name for path in folder.glob('*.*') if path.suffix != '.lock'))}")

# %% [markdown]
# **Next:** open `map.gpkg` in QGIS or `map.osm` in JOSM, or review the candidates below: `a` accepts, `r` rejects, `s`
# skips. Then run this notebook again.

# %% tags=["interactive"]
if widgets.is_interactive() and has_candidates:
    display(ReviewPanel(review, view))
