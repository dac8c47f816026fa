"""The comparison of one network with two: all learn from the same chips."""

import pandas as pd
import pytest

from lib.paths import ROOT


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import two_classes

    return two_classes


@pytest.fixture
def manifest():
    """20 chips of two scenes that train and 20 that validate, each by both labels, of both classes."""
    rows = [
        {"chip": f"{split}{number}", "scene": f"s{number % 2}", "split": split, "label": label, "class": kind}
        for split in ("train", "val")
        for number in range(20)
        for label in ("osm", "clean")
        for kind in ("roads", "buildings")
    ]
    return pd.DataFrame(rows).assign(dropped="")


@pytest.mark.parametrize("stage", [1, 2])
def test_every_task_has_the_same_chips(study, manifest, stage):
    both, few = study.BOTH, study.CLEAN_CHIPS
    parts = {task: study.chips_of(manifest, stage, task, seed=1) for task in ("roads", "buildings", both)}
    for part, count in ((0, 20 if stage == 1 else few), (1, 12 if stage == 1 else 4)):
        names = {task: set(found[part]["chip"]) for task, found in parts.items()}
        assert names["roads"] == names["buildings"] == names[both]
        assert len(names[both]) == count and len(parts[both][part]) == 2 * len(parts["roads"][part]) == 2 * count


def test_the_seed_draws_the_clean_chips_but_not_those_that_validate(study, manifest):
    (first, val), (second, same) = (study.chips_of(manifest, 2, "roads", seed) for seed in (0, 1))
    assert set(first["chip"]) != set(second["chip"]) and set(val["chip"]) == set(same["chip"])
