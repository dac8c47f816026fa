"""The front page of a report: what was tested, where, when, on what; what scores mean; whether a gain is real."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lib.chips.manifest import load_manifest
from lib.limits import CLASSES
from lib.parameters import NOTEBOOKS, declared
from lib.show.pages import OSM_LICENCE, failure_of, templates, title_of, value_text
from lib.show.sheet import save_figure

EVALUATION, MAPPED = "04_evaluate", "05_map_area"
SCENES_NAMED = 3  # on the front page; the others are counted
# what a score says, for who reads one for the first time; docs/scores.md has the formulas
MEANINGS = {
    "IoU, pooled": "Of all pixels that truth or prediction call foreground, the share that both do; all chips in one.",
    "IoU, mean a chip": "The same for each chip by itself, then the mean: an almost empty chip counts as much.",
    "IoU, mean of classes": "The mean of foreground's and background's: high even where little is found.",
    "precision": "Of the pixels predicted, the share that is right.",
    "recall": "Of the true pixels, the share that is found.",
    "F1": "One number for both: twice the right ones over all predicted and all true ones.",
    "relaxed precision": "Precision where a miss of up to 3 pixels is forgiven.",
    "relaxed recall": "Recall where a miss of up to 3 pixels is forgiven.",
    "relaxed F1": "F1 of the two relaxed ones.",
    "TOPO F1": "Whether what lies within 300 m by road of a place is there in the other network, too.",
    "APLS": "Whether routes through the network keep their length: 1 all, 0 none; one gap costs all routes over it.",
    "F1 of buildings": "Buildings, not pixels: found is one whose outline has an IoU of at least 0.5 with a true one.",
}


def front_page(folder: Path, area: str, metrics: dict[str, Any], chips: Path) -> str:
    """
    HTML of a report's index.html; also writes the locator map into figures/ where chips have footprints.

    Parameters
    ----------
    folder
        The report's: executed notebooks and their pages, figures, map.
    area
        Its study area.
    metrics
        What metrics.json holds; a notebook that has not ended is not in it.
    chips
        Folder of the area's chips; where it is gone, the page does without a map of them.
    """
    import nbformat

    found = metrics.get(EVALUATION, {})
    own = found.get("metrics", {})
    manifest = load_manifest(chips, files_elsewhere=True) if (chips / "manifest.csv").is_file() else None
    pages = [name for name in _notebooks(folder) if (folder / f"{name}.html").is_file()]
    failures = [(name, failure_of(nbformat.read(folder / f"{name}.ipynb", as_version=4))) for name in pages]
    last = max(metrics.values(), key=lambda record: record["provenance"]["time"], default={})
    provenance = (found or last).get("provenance", {})
    board = pd.DataFrame(own["scoreboard"]) if own else None
    gains = verdicts(own.get("differences", []))
    context = {
        "area": found.get("parameters", {}).get("area", area),
        "headline": own.get("headline", ""),
        "stopped": [(name, said) for name, said in failures if said],
        "facts": _facts(found, provenance, manifest),
        "locator": _locator(manifest, folder),
        "board": board,
        "notes": own.get("notes", [])[: 1 if gains else None],  # the others say the gains in words
        "remarks": own.get("remarks", []),
        "meanings": [] if board is None else [(name, MEANINGS[name]) for name in board if name in MEANINGS],
        "gains": gains,
        "captions": own.get("captions", {}) | metrics.get(MAPPED, {}).get("metrics", {}).get("captions", {}),
        "notebooks": [(name, title_of(folder / f"{name}.ipynb")) for name in pages],
        "parameters_of": [(name, _parameters(name, record["parameters"])) for name, record in metrics.items()],
        "has_map": (folder / "map.html").is_file(),
        "maps_of": [(kind, f"map_{kind}.html") for kind in CLASSES if (folder / f"map_{kind}.html").is_file()],
        "has_whole_map": (folder / "map" / "map.html").is_file(),
        "packages": provenance.get("packages", {}),
        "protocol": found.get("protocol", "not stated"),
        "attribution": OSM_LICENCE,
    }
    parts = {"what": "What was tested", "scores": "Scores", "gain": "Is the gain real?", "pictures": "Pictures"}
    absent = {"scores": board is None, "gain": not gains, "pictures": not context["captions"]}
    contents = [(anchor, text) for anchor, text in parts.items() if not absent.get(anchor)]
    return templates.get_template("index.html").render(contents=[*contents, ("how", "How it was made")], **context)


def verdicts(differences: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The gains of the pooled IoU and of the task's own score, the last of each comparison, with a word on each."""
    shown = []
    for name in dict.fromkeys(row["difference"] for row in differences):
        rows = [row for row in differences if row["difference"] == name]
        chosen = [row for row in rows[:-1] if row["metric"] == "IoU, pooled"] + rows[-1:]
        shown += [row | {"verdict": verdict(row["low"], row["high"])} for row in chosen]
    return shown


def verdict(low: float | None, high: float | None) -> str:
    """What an interval of a difference says, in words."""
    if low is None or high is None or not np.isfinite([low, high]).all():
        return "not defined"
    if low == high == 0:
        return "the same"
    return "yes, better" if low > 0 else "yes, worse" if high < 0 else "not shown: the interval holds 0"


def _notebooks(folder: Path) -> list[str]:
    """The area's notebooks that were executed into a folder, in order."""
    return [name for name in NOTEBOOKS if (folder / f"{name}.ipynb").is_file()]


def _parameters(notebook: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a recorded parameter: name, value, changed or not from what the notebook declares."""
    defaults = {name: default for name, (_, default) in declared(notebook).items()} if notebook in NOTEBOOKS else {}
    return [
        {
            "name": name,
            "value": value_text(value),
            "note": "",
            "changed": name not in defaults or defaults[name] != value,
        }
        for name, value in values.items()
    ]


def _facts(found: dict[str, Any], provenance: dict[str, Any], manifest: pd.DataFrame | None) -> list[tuple[str, str]]:
    """What was tested, where, when, on what machine and by which code: (term, text)."""
    parameters, facts = found.get("parameters", {}), []
    label = parameters.get("test_label", "clean")
    if manifest is not None:
        test = manifest[(manifest["split"] == "test") & (manifest["label"] == label) & (manifest["dropped"] == "")]
        test = test.drop_duplicates("chip")
        if len(test):
            km2 = (test["width"] * test["height"] * test["gsd_m"] ** 2).sum() / 1e6
            task = parameters.get("task", "masks")
            source = "clean labels" if label == "clean" else "OpenStreetMap"
            facts.append(("What", f"{task} on {len(test)} test chips, {km2:.2g} km², against {source}"))
        scenes = list(dict.fromkeys(manifest["scene"]))
        places = [f"{scene} ({_place(manifest[manifest['scene'] == scene])})" for scene in scenes[:SCENES_NAMED]]
        more = [f"and {len(scenes) - SCENES_NAMED} more scenes"] if len(scenes) > SCENES_NAMED else []
        facts.append(("Where", ", ".join(places + more)))
    machine = ", ".join(filter(None, (provenance.get("device"), provenance.get("machine"))))
    python = f"; Python {provenance['python']}" if "python" in provenance else ""
    facts += [("When", provenance.get("time", "not yet").replace("T", " ").replace("+00:00", " UTC"))]
    facts += [("Device", machine + python)] if machine else []
    facts += [("Revision", provenance["revision"])] if provenance.get("revision") else []
    return facts


def _place(manifest: pd.DataFrame) -> str:
    """Middle of the chips' footprints in degrees; words where there is none."""
    import shapely

    from lib.show.splits import onward

    placed = manifest.loc[manifest["footprint"] != "", "footprint"]
    if placed.empty:
        return "without georeference"
    left, bottom, right, top = shapely.total_bounds(onward(shapely.from_wkt(placed.to_numpy())))
    latitude, longitude = (bottom + top) / 2, (left + right) / 2
    longitude -= 360 * (longitude > 180)
    north, east = "N" if latitude >= 0 else "S", "E" if longitude >= 0 else "W"
    return f"{abs(latitude):.3f}° {north}, {abs(longitude):.3f}° {east}"


def _locator(manifest: pd.DataFrame | None, folder: Path) -> str:
    """Name of the locator map in figures/, written here; "" where no chip has a place."""
    from lib.show.splits import split_map  # shapely and matplotlib: only where there is something to draw

    if manifest is None or not (manifest["footprint"] != "").any():
        return ""
    return save_figure(split_map(manifest), folder / "figures" / "0_where").name
