"""`python -m lib.mapping`."""

import json

import numpy as np
import pandas as pd
import pytest
import rasterio

from lib.errors import status
from lib.mapping import __main__
from lib.mapping.options import MapOptions
from lib.networks.checkpoint import CheckpointInfo, file_digest, save_checkpoint
from lib.networks.config import ModelConfig
from lib.networks.models import build_model
from lib.networks.published import weights_of
from lib.paths import ROOT


def main(arguments):
    """Exit status of the command."""
    return status(lambda: __main__.main(arguments))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A small network of roads at 0.5 m that nobody trained."""
    model = ModelConfig(architecture="linknet", context="32", encoder_name="resnet18", encoder_weights=None)
    info = CheckpointInfo(model, "roads", (0.5, 0.4, 0.5), (0.25, 0.25, 0.25), gsd_m=0.5)
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.safetensors", build_model(model), info)


def test_command_line(tmp_path, capsys, checkpoint, write_scene, smooth):
    scene, out = write_scene(tmp_path / "a.tif", smooth(96, 96)), tmp_path / "out"
    options = ["--window", "64", "--overlap", "16", "--views", "none", "--device", "cpu"]
    assert main([str(checkpoint), str(scene), str(out), *options]) == 0
    said = capsys.readouterr()
    assert said.err == "" and f"{scene}: 0.5 m a pixel, kept, 96 x 96 px" in said.out
    assert f"{out} holds 0.0023 km2, threshold 0.5: " in said.out
    with rasterio.open(out / "probability.tif") as file:
        assert file.shape == (96, 96)
    assert {"probability.tif", "mask.tif", "map.json", "map.gpkg", "map.osm"} <= {path.name for path in out.iterdir()}

    bad = tmp_path / "b.tif"
    bad.write_bytes(b"II*\0")
    assert main([str(checkpoint), str(scene), str(bad), str(tmp_path / "two"), *options]) == 1
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith(f"error: {bad}: expected an image")
    assert main([str(checkpoint), str(scene), str(bad), str(tmp_path / "two"), *options, "--go-on"]) == 1
    assert f"left out: {bad}: " in capsys.readouterr().err
    assert list(json.loads((tmp_path / "two/map.json").read_text())["skipped"]) == [str(bad)]


def test_a_network_that_ships_is_given_by_name(tmp_path, capsys, write_scene, smooth):
    scene, out = write_scene(tmp_path / "a.tif", smooth(96, 96)), tmp_path / "out"
    assert main(["massachusetts-roads", str(scene), str(out), "--views", "none", "--device", "cpu"]) == 0
    assert f"{scene}: 0.5 m a pixel, resampled to 1 m" in capsys.readouterr().out
    made = json.loads((out / "map.json").read_text())
    assert made["checkpoint"] == file_digest(weights_of("massachusetts-roads"))


@pytest.mark.parametrize(("views", "told"), [("", "d4"), ("--views d4", "d4"), ("--views none", "none")])
def test_each_number_of_views_is_cut_at_its_own_threshold(tmp_path, write_scene, smooth, views, told):
    """As its results have it."""
    table = pd.read_csv(ROOT / "results" / "massachusetts_roads.csv").set_index(["network", "views"])
    threshold = table.loc["massachusetts-roads", "threshold"]
    assert threshold["d4"] != threshold["none"]
    scene, out = write_scene(tmp_path / "a.tif", smooth(64, 64), gsd_m=1), tmp_path / "out"
    asked = ["massachusetts-roads", str(scene), str(out), "--window", "64", "--overlap", "0", "--device", "cpu"]
    assert main([*asked, *views.split()]) == 0
    assert json.loads((out / "map.json").read_text())["threshold"] == pytest.approx(threshold[told], abs=5e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--task", "buildings"], "finds roads, buildings were asked for"),
        (["--window", "100"], "window_px is 100: expected 32 to 8192 and a multiple of 32"),
        (["--memory", "1"], "give more memory or smaller windows"),
        (["--area", "none.gpkg"], "none.gpkg"),
        (["--device", "nonsense"], "no device 'nonsense'"),
    ],
)
def test_errors_are_a_line_or_two(tmp_path, capsys, checkpoint, write_scene, smooth, options, said):
    scene = write_scene(tmp_path / "a.tif", smooth(64, 64))
    assert main([str(checkpoint), str(scene), str(tmp_path / "out"), "--device", "cpu", *options]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and said in err and err.count("\n") <= 3 and "Traceback" not in err


@pytest.mark.parametrize("forgotten", ["b.tif", "b.tif/maps"])
def test_an_image_in_the_place_of_the_folder_is_said_to_be_no_folder(
    tmp_path, capsys, checkpoint, write_scene, smooth, forgotten
):
    scenes = [str(write_scene(tmp_path / name, smooth(64, 64))) for name in ("a.tif", "b.tif")]
    assert main([str(checkpoint), *scenes[:1], str(tmp_path / forgotten), "--device", "cpu"]) == 1
    line, _ = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / forgotten}: expected OUT_DIR, the folder of the map, as the last arg")


def test_an_image_without_crs_is_refused_before_the_first_window(tmp_path, capsys, checkpoint, write_scene, smooth):
    scene, out = write_scene(tmp_path / "a.tif", smooth(64, 64), gsd_m=0.25, crs=None), tmp_path / "out"
    asked = [str(checkpoint), str(scene), str(out), "--views", "none", "--device", "cpu"]
    assert main(asked) == 1
    said = capsys.readouterr()
    assert "give gsd_m (--gsd), metres a pixel" in said.err and "windows" not in said.out + said.err
    assert main([*asked, "--gsd", "0.25"]) == 0 and "resampled to 0.5 m, 32 x 32 px" in capsys.readouterr().out


def test_a_checkpoint_that_is_none(tmp_path, capsys):
    assert main([str(tmp_path / "none.safetensors"), "a.tif", str(tmp_path / "out")]) == 1
    assert "No checkpoint at" in capsys.readouterr().err


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for name in (
        "window",
        "overlap",
        "views",
        "backend",
        "scheduler",
        "memory",
        "threshold",
        "area",
        "crs",
        "gsd",
        "allow-gsd",
        "bands",
        "go-on",
    ):
        assert f"--{name}" in text
    assert len(MapOptions.__dataclass_fields__) == 13
    assert np.all([word in text for word in ("probability.tif", "mask.tif", "map.json", "s3://")])
