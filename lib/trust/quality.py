"""
How far each pseudo-label can be trusted: a table of the OSM-labelled chips, and rules that drop the bad ones.

===============  ====================================================================================
chip, scene      as in the manifest
class            as in the manifest, where it has several: then a row is a chip's mask of one of them
split            as in the manifest; a measure drops only chips that train
vectors          roads or buildings of the map that touch the chip, drawn or not; not known of mask images
road_m           metres of OSM road drawn on the chip; not known of buildings and of mask images
foreground       share of the chip's known pixels that are road or building in its OSM mask
ignored          share of its pixels that are neither: no data, or within the ignore band
osm_age_years    from the day at which OpenStreetMap looked like this until today
offset_m         measured distance between map and image of its scene, metres, before it was undone
confidence       of that offset, 0 to 1
iou_clean        IoU of its OSM mask with the clean one, where it has both
iou_predicted    IoU of its OSM mask with what a stage-1 model predicts
dropped          the first rule that it met, or why a person took it out; empty: used
===============  ====================================================================================

What is not known is empty, and no rule applies to it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from lib.chips.emptiness import touching
from lib.chips.manifest import CLASS, LABELS, load_manifest, of_class, read_bands, read_mask, windows_of, write_manifest
from lib.chips.sources import Scene, by_class
from lib.chips.vectors import moved_at
from lib.errors import InputError
from lib.grid import MASK_FOREGROUND, MASK_IGNORE
from lib.limits import nearest
from lib.mapping.predict import predict_image
from lib.masks.pixel_shapes import lengths_in_windows
from lib.masks.rasterize import index_roads
from lib.masks.scanline import SUBPIXELS
from lib.networks.checkpoint import TrainedModel, for_class
from lib.osm.lanes import LaneProfile
from lib.osm.layers import OsmLayers
from lib.paths import locked, write_whole
from lib.scores.evaluate import to_mask
from lib.scores.metrics import PixelScores, pixel_scores
from lib.trust.alignment import certain, check_gsd, with_vectors
from lib.trust.rules import MEASURES, ByHand, Rule, meets, named_chips, parse_rule

TABLE_NAME = "quality.csv"  # beside the manifest
DAYS_A_YEAR = 365.25


def chip_table(
    manifest: pd.DataFrame,
    scenes: list[Scene],
    layers: Mapping[str, OsmLayers],
    task: str,
    profile: LaneProfile,
    offsets: pd.DataFrame,
    shifts_m: Mapping[str, tuple[float, float]],
    model: TrainedModel | None = None,
) -> pd.DataFrame:
    """
    The table above, without `dropped`: one row an OSM-labelled chip and class, in the manifest's order of each class.

    Parameters
    ----------
    manifest
        From `lib.chips.manifest.load_manifest`.
    scenes, layers, task, profile, shifts_m
        As the chips were drawn.
    offsets
        From `lib.trust.alignment.scene_offsets`; the first row of a scene that is certain counts, else its first.
    model
        Of stage 1, for `iou_predicted`; the chips are predicted in one view each.
    """
    tables = {}
    for kind, views in by_class(scenes, task).items():
        own, model_of = of_class(manifest, kind), model and for_class(model, kind)
        tables[kind] = _table(own, views, layers, kind, profile, offsets, shifts_m, model_of)
        if CLASS in manifest:
            tables[kind].insert(2, CLASS, kind)
    return pd.concat(tables.values(), ignore_index=True) if len(tables) > 1 else tables[task]


def _table(
    manifest: pd.DataFrame,
    scenes: list[Scene],
    layers: Mapping[str, OsmLayers],
    task: str,
    profile: LaneProfile,
    offsets: pd.DataFrame,
    shifts_m: Mapping[str, tuple[float, float]],
    model: TrainedModel | None,
) -> pd.DataFrame:
    """`chip_table` of one class."""
    chips = manifest[manifest["label"] == "osm"]
    table = chips[["chip", "scene", "split"]].assign(**dict.fromkeys(MEASURES, np.nan))
    for scene in with_vectors(scenes, layers):
        own = chips[chips["scene"] == scene.name]
        layer = layers[scene.label_sources["osm"]]
        table.loc[own.index, "osm_age_years"] = age_years(layer.date)
        if len(own):
            vectors = moved_at(scene, getattr(layer, task), shifts_m.get(scene.name))
            chip, _ = touching(vectors, scene, windows_of(own, scene.grid))
            table.loc[own.index, "vectors"] = np.bincount(chip, minlength=len(own))
            if task == "roads":
                table.loc[own.index, "road_m"] = _road_m(own, scene, vectors, profile)
    # the certain offset of each scene, or else the first
    known = pd.concat([certain(offsets), offsets.drop_duplicates("scene").set_index("scene")])
    known = known[~known.index.duplicated()]
    table["offset_m"] = table["scene"].map(np.hypot(known["dx_m"], known["dy_m"])).astype(float)
    table["confidence"] = table["scene"].map(known["confidence"]).astype(float)
    agreement = label_agreement(manifest)
    if len(agreement):
        table["iou_clean"] = table["chip"].map(agreement.set_index("chip")["iou"])
    predicted = PixelScores()
    for chip in chips.itertuples():
        mask = read_mask(chip.mask)
        lost = np.count_nonzero(mask == MASK_IGNORE)
        table.loc[chip.Index, "ignored"] = lost / mask.size
        table.loc[chip.Index, "foreground"] = np.count_nonzero(mask == MASK_FOREGROUND) / max(mask.size - lost, 1)
        if model is not None:
            check_gsd(model, chip.gsd_m)
            probability = predict_image(model, read_bands(chip.image), tta="none")
            predicted.update(to_mask(probability, model.info.threshold), mask)
    if model is not None and len(chips):
        table["iou_predicted"] = predicted.table()["iou"].to_numpy()
    return table.reset_index(drop=True)


def _road_m(chips: pd.DataFrame, scene: Scene, roads: pd.DataFrame, profile: LaneProfile) -> np.ndarray:
    """Metres of the centrelines that are drawn on each chip of a scene, (chips,)."""
    index = index_roads(roads, scene.grid, profile)
    # one entry a piece of line in a chip: number of the chip, and length
    chip, _, length_px = lengths_in_windows(index.xy / SUBPIXELS, index.starts, windows_of(chips, scene.grid))
    return np.bincount(chip, length_px, len(chips)) * scene.grid.gsd_m


def age_years(date: str | None) -> float:
    """Years from an ISO date or time until now, to a tenth; NaN where there is none."""
    if not date:
        return float("nan")
    then = datetime.fromisoformat(date)
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return round((datetime.now(UTC) - then).days / DAYS_A_YEAR, 1)


def drop_chips(manifest_path: Path, table: pd.DataFrame, rules: Sequence[Rule]) -> pd.DataFrame:
    """
    Mark the chips that meet a rule as dropped, in manifest.csv and in quality.csv beside it.

    A measure drops OSM-labelled training chips alone. A chip that is named is dropped with all its labels, also where
    it validates or tests; that comes before any measure. No row leaves the manifest: other rules, or none, bring a chip
    back.

    Parameters
    ----------
    manifest_path
        From `lib.chips.dataset.build_chips`: manifest.csv, or a draft beside which it is written, whole.
    table
        From `chip_table`.
    rules
        The first that a chip meets is its reason.

    Returns
    -------
    report
        One row a rule: rule, met (of a measure, the training chips that meet it), dropped (those for which it is the
        reason).

    Raises
    ------
    ParameterError
        If a rule can't be read.
    InputError
        If no OSM-labelled chip would be left to train on, a rule names a chip that is not there, or the chips are no
        longer those of the table.
    BusyError
        If another process cuts chips there.
    """
    by_hand, final = named_chips(rules), Path(manifest_path).with_name("manifest.csv")
    with locked(final):
        manifest = load_manifest(manifest_path)
        noisy = manifest["label"] == "osm"
        if set(_keys(manifest[noisy])) != set(_keys(table)):
            raise InputError(f"{manifest_path} lists other chips than when they were judged: run the notebook again.")
        if gone := sorted(by_hand.keys() - set(manifest["chip"])):
            raise InputError(
                f"drop names {', '.join(gone[:5])} ({len(gone)} in all), but {manifest_path} lists no such chip; the "
                f"nearest is {nearest(gone[0], manifest['chip'])}. Chips that are cut otherwise have other names: take "
                "these rules out."
            )
        train = table["split"] == "train"
        named = {chip: str(rule) for chip, rule in by_hand.items()}
        reasons = pd.Series([named.get(chip, "") for chip in table["chip"]], table.index, dtype=object)
        report = []
        for rule in rules:
            if isinstance(parsed := parse_rule(rule), ByHand):
                report.append({"rule": f"{parsed.chip}, {parsed}", "met": 1, "dropped": 1})
                continue
            met = meets(table, rule) & train
            fresh = met & (reasons == "")
            reasons[fresh] = " ".join(rule.split())
            report.append({"rule": rule, "met": int(met.sum()), "dropped": int(fresh.sum())})
        if train.any() and not (reasons[train] == "").any():
            raise InputError(
                f"the rules {list(rules)} drop all {train.sum()} chips of OSM labels that train: loosen them"
            )
        table = table.assign(dropped=reasons)
        write_whole(final.with_name(TABLE_NAME), table.round(4).to_csv(index=False))
        of_osm = dict(zip(_keys(table), reasons, strict=True))
        dropped = [
            of_osm[key] if osm else named.get(chip, "")
            for key, chip, osm in zip(_keys(manifest), manifest["chip"], noisy, strict=True)
        ]
        write_manifest(manifest.assign(dropped=dropped), final)
    return pd.DataFrame(report, columns=["rule", "met", "dropped"])


def _keys(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """What tells the OSM-labelled rows of a manifest, or of the table, apart: chip, and class among several."""
    return list(zip(rows["chip"], rows.get(CLASS, [""] * len(rows)), strict=True))


def most_doubtful(table: pd.DataFrame, manifest: pd.DataFrame, count: int = 4) -> pd.DataFrame:
    """
    OSM-labelled training chips that deserve a look first: those that agree least, or else have the least drawn on them.

    Parameters
    ----------
    table, manifest
        From `chip_table` and `lib.chips.manifest.load_manifest`.
    count
        How many chips at most.

    Returns
    -------
    chips
        Rows of the manifest, the worst first, with a `title` that states the measure, and the class among several.
    """
    train = table[table["split"] == "train"]
    titles = {
        "iou_clean": "IoU with the clean mask {:.2f}",
        "iou_predicted": "IoU with the prediction {:.2f}",
        "road_m": "{:.0f} m of road",
        "foreground": "{:.1%} foreground",
    }
    # the first measure by which chips differ; a comparison with NaN is False, so that unknown ones are passed over
    measure = next((name for name in titles if train[name].min() < train[name].max()), "foreground")
    worst = train[train[measure].notna()].nsmallest(count, measure)
    said, keys = worst[measure].map(titles[measure].format), ["chip"]
    if CLASS in worst:  # above a picture there is room for so much
        said, keys = worst[CLASS] + ": " + said.str.replace("IoU with the ", "", regex=False), ["chip", CLASS]
    return worst.assign(title=said)[[*keys, "title"]].merge(manifest[manifest["label"] == "osm"], on=keys)


def summary(agreement: pd.DataFrame) -> dict[str, float] | None:
    """Pooled scores of the OSM masks against the clean ones; None if no chip has both."""
    if agreement.empty:
        return None
    return {"chips": len(agreement)} | {k: v for k, v in pixel_scores(agreement).items() if np.isfinite(v)}


def label_agreement(manifest: pd.DataFrame) -> pd.DataFrame:
    """
    Scores of the OSM mask against the clean one, for the chips that have both; what either ignores is not scored.

    Returns
    -------
    table
        One row a chip: `chip`, counts and scores of `lib.scores.metrics.PixelScores`; empty if no chip has both.
    """
    masks = manifest.pivot(index="chip", columns="label", values="mask").reindex(columns=list(LABELS)).dropna()
    scores = PixelScores()
    for chip in masks.itertuples():
        osm, clean = read_mask(chip.osm), read_mask(chip.clean)
        clean[osm == MASK_IGNORE] = MASK_IGNORE
        scores.update(osm, clean, chip=chip.Index)
    return scores.table()
