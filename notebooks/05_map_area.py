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
task: str = "roads"  # "roads", "buildings", or "roads+buildings": both in one network
images: list = ["images/town.tif"]  # images, folders of map tiles, addresses; [] leaves this notebook out of reports
osm: str = "vectors/town_osm.gpkg"  # OpenStreetMap's vectors, or "overpass"; "": nothing is compared
mapped: str = "test"  # ground to map: "test" is that of the area's test chips; a file of polygons; "": all
name: str = "map"  # of the map's folder in reports/<area>; other images go into another one
checkpoint: str = ""  # network that maps, or the name of one that ships; "": the area's of both stages
threshold: float = 0.0  # probability from which a pixel counts, of all classes; 0: 3/4 of the checkpoint's
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
from lib.limits import classes_of
from lib.mapping.options import rasters_of
from lib.masks.offset import shift
from lib.networks import at_views, curves_of_pixels, load_model, read_curves, weights_of
from lib.osm import read_osm
from lib.paths import resolve
from lib.show import (
    ReviewPanel,
    class_figures,
    reports,
    result_figure,
    result_map,
    review_sheet,
    storyboard,
    viewer,
    widgets,
)
from lib.show.leaflet import save_map

pd.Series(reports.run_record()["packages"], name="version").to_frame()

# %% [markdown]
# ## The network and the ground
# The network is that of both stages, unless another is named: `-p checkpoint massachusetts-roads -p mapped ""` maps
# without any training, by a network that ships with the project. By default it maps the ground of the area's test
# chips, which no training saw: what it finds there is what it would find elsewhere. Pixels count from three quarters of
# the threshold that is best for masks: a candidate too many is rejected by a key, one too few is never seen.

# %%
trained = reports.run_dir(area, "two_stage", work_dir) / "best.safetensors"
if checkpoint:
    network = resolve(weights_of(checkpoint))
else:
    network = reports.require(trained, "03_train_stage2", area, work_dir, task)
model, curves = at_views(load_model(network, task=task), network, tta), read_curves(network, tta)
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
lower = {kind: CANDIDATE_SHARE * own for kind, own in model.info.thresholds.items()}
options = MapOptions(
    window_px=window_px,
    overlap_px=overlap_px,
    views=tta,
    memory_gib=memory_gib,
    threshold=threshold or (lower if len(lower) > 1 else lower[task]),
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
found = write_layers(folder, layers, curve=curves_of_pixels(curves, task))
found_of = found.get("layers", {task: found})  # by class
pd.DataFrame({f"{kind} by confidence": own["classes"] for kind, own in found_of.items()})

# %%
overviews = {kind: read_overview(folder, shown.paths, raster=raster) for kind, (raster, _) in rasters_of(task).items()}
results = {kind: result_figure(one, layer=kind, title=area) for kind, one in overviews.items()}
class_figures.display_each(results)

# %% [markdown]
# ## What OpenStreetMap is missing
# OpenStreetMap is moved onto the image by the measured offset first. Then each road or building is looked for in the
# other source: *missing* is what only the network sees, *unseen* or *vanished* what only OpenStreetMap has, with what
# may hide it. Decisions of an earlier review are kept: what is rejected leaves `map.gpkg`, `map.osm` and the others.

# %%
compared, known = {}, {}
if osm:
    source = osm if osm == "overpass" else resolve(data_dir) / osm
    vectors = read_osm(source, shown.grid, classes_of(task))
    for kind in classes_of(task):
        print(f"comparing {kind} with OpenStreetMap: its offset, then each of them", flush=True)
        view = {"kind": kind, "progress": print}
        compared[kind] = compare_map(folder, vectors, lambda window: shown.read(window)[0], curves, **view)
        east_m, north_m = compared[kind].shift_m
        known[kind] = shift(getattr(vectors, kind), east_m, north_m)
        print(f"{len(compared[kind].missing)} candidates; OSM is moved {east_m:.1f} m east, {north_m:.1f} m north")
    found = write_reviewed(folder)  # also where nothing is rejected: what no longer is comes back
compared["roads"].totals.round(2).replace({"highway": {"": "joins none"}}) if "roads" in compared else print(
    "totals by class are for roads"
)

# %% [markdown]
# ## The surest candidates
# As the panel at the end shows them: the candidate, and OpenStreetMap where it lies on the image.

# %%
reviews, sheets = {}, {}
for kind in (kind for kind, own in compared.items() if len(own.missing) > 0):
    review = Review(folder / "map.gpkg", f"missing_{kind}", "surest")
    reviews[kind] = review, viewer(shown.paths, review.candidates, known[kind])
    sheets[kind] = review_sheet(*reviews[kind])
class_figures.display_each(sheets) if sheets else print("no candidate to show")

# %% [markdown]
# ## The map
# Image, probability and all layers; it opens with the network off.

# %%
drawn = {kind: replace(one, layers=read_layers(folder / "map.gpkg")) for kind, one in overviews.items()}
web_map = result_map(next(iter(drawn.values())), others=dict(list(drawn.items())[1:]))
save_map(web_map, folder / "map.html")
web_map

# %% [markdown]
# ## What was decided
# Accepted candidates become `reviewed.gpkg`, which notebook 1 takes as `clean` with its `area`, and a challenge for
# MapRoulette.

# %%
decided = {kind: own.missing["status"].value_counts() for kind, own in compared.items()}
for kind, own in compared.items():
    if decided[kind].get("accepted", 0):
        end = "" if len(compared) == 1 else f"_{kind}"  # of the files' names
        _, mask = rasters_of(task)[kind]
        reviewed, challenge = folder / f"reviewed{end}.gpkg", folder / f"challenge{end}.geojson"
        km2 = export_reviewed(folder / "map.gpkg", reviewed, known[kind], folder / mask, kind)
        back_m = [-metres for metres in own.shift_m]
        tasks = write_challenge(shift(own.missing, *back_m), challenge, f"missing_{kind}", highway=highway)
        print(f"{reviewed.name}: {km2:.2f} km2 with clean labels; {challenge.name}: {tasks} tasks")
pd.DataFrame({f"candidates of {kind}": counts for kind, counts in decided.items()})

# %% [markdown]
# ## The numbers

# %%
sizes = {name: found[name] for name in ("features", "classes", "length_km", "area_m2", "layers") if name in found}
record = {name: made[name] for name in ("km2", "km2_per_h", "windows", "device", "threshold")} | sizes
if compared:
    counted = {kind: {str(status): int(n) for status, n in counts.items()} for kind, counts in decided.items()}
    offsets_m = {kind: own.shift_m for kind, own in compared.items()}
    alone = len(compared) == 1
    record["candidates"] = counted[task] if alone else counted
    record["offset_m"] = offsets_m[task] if alone else offsets_m
figures = {"7_map": (results, "The map of the ground that no training saw: image, probability, what was found.")}
if sheets:
    figures["8_candidates"] = (sheets, "What the network sees and OpenStreetMap lacks: the surest candidates.")
record["captions"] = storyboard.save_figures(storyboard.named(figures), reports.report_dir(area, work_dir))
reports.write_metrics("05_map_area", area, work_dir, record, parameters)
print(f"{folder.name} holds {', '.join(sorted(path.name for path in folder.glob('*.*') if path.suffix != '.lock'))}")

# %% [markdown]
# **Next:** open `map.gpkg` in QGIS or `map.osm` in JOSM, or review the candidates below: `a` accepts, `r` rejects, `s`
# skips. Then run this notebook again.

# %% tags=["interactive"]
if widgets.is_interactive():
    display(*(ReviewPanel(*review) for review in reviews.values()))
