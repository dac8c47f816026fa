"""The card of the network that ships: every figure in it is one that `benchmarks.massachusetts` measured."""

from pathlib import Path

import pandas as pd
import yaml

from lib.networks.calibration import Curve
from lib.networks.checkpoint import TrainedModel, file_digest

NAME = "massachusetts-roads"
PUBLISHED = 0.9047  # relaxed break-even at 3 px of Saito et al. (2016), on the data set's own test tiles
PHASES = {"constant": "at a constant rate", "decay": "in which the rate falls to 0"}
PHASES |= {"cycle": "in which the rate rises and falls"}
SAID = (0.1, 0.3, 0.5, 0.7, 0.9)  # where the card shows the curve

TEXT = """\
# massachusetts-roads

Roads in aerial images of 1 m a pixel, in one line and without a download:

```python
from lib.networks import from_pretrained

model = from_pretrained("massachusetts-roads")
```

`python -m lib.mapping massachusetts-roads IMAGE … OUT_DIR` maps whole images, as does notebook 5 with
`-p checkpoint massachusetts-roads`.

| | |
| --- | --- |
| finds | {task}: the 7 m around a road's centreline, whatever its width |
| network | `{architecture}` on `{encoder}`, {parameters:,} parameters |
| input | red, green, blue, 8 bits, {gsd:g} m a pixel |
| fed as | (x / 255 - mean) / std with mean {mean} and std {std} |
| threshold | {threshold:.3f}, with eight views {threshold_d4:.3f}: the best IoU on the tiles that chose the epoch |
| file | {size:.1f} MB: convolutions in float16, norms and biases in float32; float32 in memory |
| against full precision | no probability of a tile is more than {half:.3f} off, computed in float32 |
| SHA-256 | `{digest}` |

## How good it is

On {tiles} tiles of 1.5 km that neither trained it nor chose anything, and that share no edge with one that trained:

| | one view | mean of eight views |
| --- | --- | --- |
{scores}

Saito et al. (2016) reach a relaxed break-even of {published} on the data set's own test tiles, after its 1,108 tiles
of training. Between that and this stands data: {train_tiles} tiles, {crops:,} crops ({passes:.0f} times the ground of
these tiles) until validation rose no more, first weights that were random.

## What it is good and bad at

Tile by tile, one view at the threshold:

| tile | share of road | IoU | precision | recall | relaxed F1 | APLS |
| --- | --- | --- | --- | --- | --- | --- |
{by_tile}

- The masks are OpenStreetMap's centrelines: what the map lacked counts against the network, and car parks and drives
  were taught to be no road.
- Recall lies between {least:.2f} and {most:.2f}: it is lowest where roads are few, and where the ground is unlike that
  of training, as on the coast (26878750). Gaps cut routes, so that APLS is low where IoU is not.
- It has seen one part of Massachusetts, from an aeroplane. Elsewhere, at another scale or from a satellite it is where
  training begins and not where it ends. {elsewhere}
- Roads are drawn 7 px wide whatever their width: widths of its maps mean nothing.

## How sure it is

Of the pixels that it calls so, as many are right. The curve (`model.calibration.json`), which maps use, was fitted on
the {val_tiles} tiles that chose the epoch; eight views have one of their own. On the tiles held out the expected
calibration error of one view is {before:.3f} before and {after:.3f} after it. It does not survive a change of place.

| said | {said} |
| --- | {rule} |
| right | {right} |

## Data and terms

{train_tiles} tiles of the Massachusetts Roads Dataset (V. Mnih, *Machine Learning for Aerial Image Labeling*,
University of Toronto, 2013), {first} to {last}: by their names, read as EPSG:26986, the country around Springfield.
White is no image, and counts nowhere. Which tile trains, chooses and is held out stands in
`params/massachusetts-tiles/split.csv`. The imagery is MassGIS's (Commonwealth of Massachusetts); the masks are drawn
from data © OpenStreetMap contributors, ODbL 1.0. The data set states no licence and asks to cite the thesis: take
these weights for research until you have cleared more.

## How it was trained

{phases}

Of the last of these the best on the {val_tiles} tiles was kept, number {best_epoch}. The first ones by
`python -m benchmarks.massachusetts DATA_DIR`, with the recipe of `params/massachusetts-tiles/03_train_stage2.yaml`,
those in which the rate rises and falls by `--cycle EPOCHS --start massachusetts-roads`, from what was there before: so
it can be trained for longer. `--paper` trains the paper's network.
"""


def front(row: pd.Series) -> str:
    """What the hub reads of a card: terms, task, and the headline with the data that it was measured on."""
    metrics = [
        {"type": name, "value": round(float(row[name]), 4)} for name in ("relaxed_break_even", "iou_pooled", "apls")
    ]
    data = {"name": "Massachusetts Roads, tiles held out", "type": "massachusetts-roads-tiles", "split": "test"}
    result = {"task": {"type": "image-segmentation"}, "dataset": data, "metrics": metrics}
    values = {
        "license": "other",
        "license_name": "research-use",
        "license_link": "README.md#data-and-terms",
        "pipeline_tag": "image-segmentation",
        "tags": ["roads", "aerial-imagery", "pp-linknet"],
        "model-index": [{"name": NAME, "results": [result]}],
    }
    return yaml.safe_dump(values, sort_keys=False)


def card(
    model: TrainedModel, weights: Path, rows: pd.DataFrame, tiles: pd.DataFrame, epochs: pd.DataFrame, curve: Curve
) -> str:
    """
    Text of the card.

    Parameters
    ----------
    model, weights
        What is published, and its file.
    rows
        Scores with one view and with eight, columns as in results/massachusetts_roads.csv.
    tiles
        Scores of each tile held out, with one view.
    epochs
        History of the training: `phase`, `samples` and `crop_px` of an epoch, `device`.
    curve
        Of pixels.
    """
    info, (one, eight) = model.info, (rows.iloc[place] for place in (0, 1))
    shown = {"relaxed_break_even": "relaxed break-even, 3 px", "iou_pooled": "IoU, pooled", "relaxed_f1": "relaxed F1"}
    shown |= {"precision": "precision", "recall": "recall", "apls": "APLS, strict"}
    roads = (tiles["tp"] + tiles["fn"]) / tiles[["tp", "fp", "fn", "tn"]].sum(axis=1)
    columns = ["iou", "precision", "recall", "relaxed_f1", "apls"]
    learned = epochs[epochs["epoch"] > 0]
    runs = learned.groupby(learned["epoch"].diff().le(0).cumsum()).agg(
        epochs=("epoch", "size"), **{name: (name, "first") for name in ("samples", "crop_px", "phase", "device")}
    )
    facts = info.provenance
    trained = facts["train_chips"]
    split = pd.read_csv(Path(__file__).parents[1] / "params" / "massachusetts-tiles" / "split.csv")
    names = sorted(split.loc[split["split"] == "train", "id"])
    text = TEXT.format(
        task=info.task,
        architecture=info.model.architecture,
        encoder=info.model.encoder_name,
        parameters=int(one["parameters"]),
        gsd=info.gsd_m,
        mean=[round(value, 3) for value in info.mean],
        std=[round(value, 3) for value in info.std],
        threshold=info.threshold,
        threshold_d4=eight["threshold"],
        size=weights.stat().st_size / 1e6,
        digest=file_digest(weights),
        half=one["half_difference"],
        tiles=len(tiles),
        scores="\n".join(
            f"| {label} | {' | '.join(f'{value:.3f}' for value in rows[name])} |" for name, label in shown.items()
        ),
        published=PUBLISHED,
        train_tiles=trained,
        val_tiles=int((split["split"] == "val").sum()),
        crops=learned["samples"].sum(),
        passes=(learned["samples"] * learned["crop_px"] ** 2).sum() / (trained * 1500**2),
        by_tile="\n".join(
            f"| {chip.split('_')[0]} | {share:.1%} | " + " | ".join(f"{value:.2f}" for value in row) + " |"
            for chip, share, row in zip(tiles["chip"], roads, tiles[columns].to_numpy(), strict=True)
        ),
        before=one["error_before"],
        after=one["error_after"],
        said=" | ".join(f"{value:g}" for value in SAID),
        rule=" | ".join("---" for _ in SAID),
        right=" | ".join(f"{float(curve(value)):.2f}" for value in SAID),
        least=tiles["recall"].min(),
        most=tiles["recall"].max(),
        elsewhere=_elsewhere(one),
        first=names[0].split("_")[0],
        last=names[-1].split("_")[0],
        phases="\n".join(
            f"- {run.epochs} epochs of {run.samples:,} crops of {run.crop_px} px, {PHASES[run.phase]}, on {run.device}"
            for run in runs.itertuples()
        ),
        best_epoch=int(facts["best"]["epoch"]),
    )
    return f"---\n{front(one)}---\n\n{text}"


def _elsewhere(row: pd.Series) -> str:
    """What was measured on ground of another kind, in words."""
    if pd.isna(row.get("elsewhere_iou")):
        return "Nothing of that has been measured."
    images, here, best = row[["elsewhere_images", "elsewhere_iou", "elsewhere_best_iou"]]
    return (
        f"On {images:.0f} images of another place (EPFL's,\n  brought from about 0.4 m to 1 m, with road surface drawn "
        f"by hand) its IoU is {here:.2f}, and {best:.2f}\n  at the best threshold: there it has to be trained on."
    )
