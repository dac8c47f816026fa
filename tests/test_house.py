"""The house: wings in one order, no drawing in computing wings, and a machine without GIS packages that trains."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lib.paths import ROOT

WINGS = sorted(p.parent.name for p in (ROOT / "lib").glob("*/__init__.py"))
GIS = ("fiona", "folium", "geopandas", "osgeo", "osmium", "osmnx", "pyogrio", "pyproj", "pyrosm", "rasterio", "shapely")
MAX_TEST_LINES = 300

TRAIN_AND_PREDICT = f"""
import sys
sys.modules.update(dict.fromkeys({GIS!r}))  # importing any of them raises
from pathlib import Path
import pandas as pd, torch
from lib.chips import load_manifest, read_image, select
from lib.mapping import predict_image
from lib.networks import ModelConfig, load_model
from lib.training import TrainConfig, fit
torch.set_num_threads(1)
chips = pd.read_csv(sys.argv[1])
model = ModelConfig(architecture="linknet", context="32", encoder_name="resnet18", encoder_weights=None)
config = TrainConfig(epochs=1, batch_size=2, crop_px=32, samples_per_epoch=2)
found = fit(chips, chips, Path(sys.argv[2]), config, model)
print(predict_image(load_model(found.checkpoint), read_image(chips.image[0]), tta="none").shape)
"""


def test_wings_import_only_from_below_and_training_imports_no_gis_package(tmp_path):
    """The contracts are in pyproject.toml; a broken one prints the two files of each wrong import."""
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--cache-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[run.stdout.find("Broken contracts") :] + run.stderr


def test_every_wing_stands_in_the_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = {name.strip().removeprefix("lib.") for layer in contracts[0]["layers"] for name in layer.split("|")}
    rooms = {p.stem for p in (ROOT / "lib").glob("*.py")} - {"__init__"}
    assert named == set(WINGS) | rooms


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_says_what_flows_and_hands_on_what_it_names(wing):
    package = importlib.import_module(f"lib.{wing}")
    assert {"In:", "Out:"} <= set(package.__doc__.split())
    assert package.__all__ and all(getattr(package, name) is not None for name in package.__all__)


def test_tests_stand_where_the_rooms_stand():
    for test in (ROOT / "tests").rglob("test_*.py"):
        wing = test.parent.relative_to(ROOT / "tests")
        if wing.parts:
            names = [f"test_{room.stem.strip('_')}" for room in (ROOT / "lib" / wing).glob("*.py")]
            assert any(test.stem == name or test.stem.startswith(f"{name}_") for name in names), test
        assert len(test.read_text().splitlines()) <= MAX_TEST_LINES, test


def test_a_machine_without_gis_packages_trains_and_predicts(make_chips, tmp_path):
    chips = make_chips(tmp_path, 2)
    chips.to_csv(tmp_path / "chips.csv", index=False)
    run = subprocess.run(
        [sys.executable, "-c", TRAIN_AND_PREDICT, tmp_path / "chips.csv", tmp_path / "run"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.splitlines()[-1] == "(48, 48)"
