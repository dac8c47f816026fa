"""What a network has seen: stated by its checkpoint, and warned of where it shall be scored."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest

from lib.chips.manifest import write_png
from lib.errors import CheckpointError, InputError, PPLinkNetWarning
from lib.networks.checkpoint import CheckpointInfo, read_info
from lib.networks.models import ModelConfig
from lib.training.overlap import overlapping, refuse_overlap, refuse_shared_ground, seen_by, warn_of_overlap
from lib.training.recipe import TrainConfig
from lib.training.trainer import fit

SIDE_DEG = 0.001


def square(x: float, y: float) -> str:
    corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1), (x, y)]
    return f"POLYGON (({', '.join(f'{24 + SIDE_DEG * a:.7f} {60 + SIDE_DEG * b:.7f}' for a, b in corners)}))"


def chips_at(folder, places, seed=0) -> pd.DataFrame:
    """Chips of noise at (x, y), in chip sides; None has no georeference."""
    generator, rows = np.random.default_rng(seed), []
    for number, place in enumerate(places):
        image = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        mask = np.where(image[..., 0] > 128, 255, 0).astype(np.uint8)
        paths = [write_png(folder / f"{seed}_{number}_{kind}.png", a) for kind, a in (("i", image), ("m", mask))]
        footprint = square(*place) if place else ""
        rows.append((f"c{number}", *map(str, paths), footprint))
    return pd.DataFrame(rows, columns=["chip", "image", "mask", "footprint"])


def info(seen) -> CheckpointInfo:
    return CheckpointInfo(ModelConfig(), "roads", (0.5,) * 3, (0.2,) * 3, provenance={"seen": seen})


def test_ground_that_is_shared_and_ground_that_touches(tmp_path):
    seen = info(seen_by(chips_at(tmp_path, [(0, 0), (1, 0), (0, 0)])))
    assert len(seen.provenance["seen"]["footprints"]) == 2
    test = chips_at(tmp_path, [(2, 0), (0.5, 0.5), (0, 1), (1.002, 1), (1, 0)], seed=1)
    assert list(overlapping(test, seen)) == [False, True, False, False, True]
    with pytest.warns(PPLinkNetWarning, match=r"2 of 5 test chips overlap.*c1, c4.*will flatter"):
        warn_of_overlap(test, seen, "test")
    with pytest.raises(InputError, match=r"2 of 5 test chips overlap.*c1, c4.*would be none"):
        refuse_overlap(test, seen, "test")
    refuse_overlap(test.drop([1, 4]), seen, "test")


@pytest.mark.parametrize(("place", "is_shared"), [((0.5, 0.5), True), ((1, 0), False), (None, False)])
def test_ground_of_two_sources_that_trains_and_tests(tmp_path, place, is_shared):
    manifest = chips_at(tmp_path, [(0, 0), (5, 5), place]).assign(split=["train", "val", "test"], dropped="")
    if not is_shared:
        return refuse_shared_ground(manifest)
    with pytest.raises(InputError, match=r"1 of 1 test chips .* in c0 and others \(c2\)"):
        refuse_shared_ground(manifest)
    return refuse_shared_ground(manifest.assign(dropped=["road_m < 50", "", ""]))


def test_images_without_georeference_are_known_by_their_content(tmp_path):
    train = chips_at(tmp_path, [None, None])
    seen = info(seen_by(train))
    test = pd.concat([train[1:], chips_at(tmp_path, [None, (0, 0)], seed=1)], ignore_index=True)
    assert list(overlapping(test, seen)) == [True, False, False]


def test_a_checkpoint_that_says_nothing_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_overlap(chips_at(tmp_path, [(0, 0), None]), info({}), "test")


def test_the_second_stage_warns_and_remembers_the_first(tmp_path):
    config = TrainConfig(1, 2, 32, 2, accelerator="cpu", precision="32-true")
    model = ModelConfig(encoder_name="tu-mobilenetv3_small_050")
    first, second, val = (chips_at(tmp_path, [place], seed) for seed, place in enumerate([(0, 0), (5, 5), (9, 9)]))
    one = fit(first, val, tmp_path / "one", config, model, progress=lambda _: None).checkpoint
    with pytest.warns(PPLinkNetWarning, match="1 of 1 validation chips overlap"):
        two = fit(second, first, tmp_path / "two", config, model, init_from=one, progress=lambda _: None).checkpoint
    assert read_info(two).provenance["seen"]["footprints"] == sorted([square(0, 0), square(5, 5)])


def test_without_shapely_that_is_said(tmp_path, monkeypatch):
    chips = chips_at(tmp_path, [(0, 0)])
    monkeypatch.setitem(sys.modules, "shapely", None)
    with pytest.warns(PPLinkNetWarning, match="shapely is not installed: whether the test chips .* is not checked"):
        warn_of_overlap(chips, info(seen_by(chips)), "test")


def test_footprints_that_are_none():
    seen = {"seen": {"footprints": ["POLYGON 7"]}}
    info = CheckpointInfo(ModelConfig(), "roads", (), (), provenance=seen)
    with pytest.raises(CheckpointError, match="provenance.seen.footprints"):
        overlapping(pd.DataFrame({"image": ["x"], "footprint": ["POINT (0 0)"]}), info)
