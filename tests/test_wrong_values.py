"""Wrong values, one by one through the second cell of each notebook: refused in words, by name, before any work."""

import math
import subprocess
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import ParameterError
from lib.parameters import NOTEBOOKS, check, check_notebook, declared, read_yaml
from lib.paths import ROOT

SOURCE = {"images": "images/*.tif", "osm": "overpass"}
EVERY = [("task", "road"), ("task", "")]
TRAINING = [
    *(("epochs", value) for value in (0, -1)),
    *(("batch_size", value) for value in (0, -4)),
    *(("crop_px", value) for value in (200, 0, -32, 16)),
    ("samples_per_epoch", -1),
    *(("learning_rate", value) for value in (0.0, -1e-3, math.nan, math.inf, 2.0)),
    *(("loss", value) for value in ("focl", "", "Focal")),
    *(("ema_decay", value) for value in (2.0, 1.0, -0.1, math.nan)),
    ("patience", -1),
    *(("seed", value) for value in (-1, 2**32)),
    *(("train_options", {name: value}) for name, value in (
        ("weight_decay", -1e-4), ("focal_alpha", 5.0), ("focal_alpha", math.nan), ("clip_norm", -1.0),
        ("clip_norm", math.inf), ("clip_norm", "1"), ("accumulate", 0), ("poly_power", 0.0), ("workers", -1),
        ("precision", "fp16"), ("augmentation", "papers"), ("normalisation", "none"), ("accelerator", "gpus"),
        ("strategy", "dp"), ("compile", 1), ("channels_last", "yes"), ("devices", 0), ("devices", 3), ("nodes", 0),
        ("clipnorm", 1.0), ("optimizer", "adamm"), ("schedule", "linear"), ("focal_gamma", -1.0),
    )),
]  # fmt: skip
WRONG = {
    "01_rasterize_osm": [
        *EVERY,
        *(("gsd_m", value) for value in (0.0, -1.0, math.nan, math.inf, 1e6)),
        *(("chip_px", value) for value in (16, 0, -256, 10**6)),
        *(("val_share", value) for value in (-0.1, 1.0, 0.8, math.nan)),  # 0.8 and a test_share of 0.25 leave nothing
        *(("test_share", value) for value in (-0.1, 1.0, 0.85, math.inf)),
        ("clean_chips", -1),
        *(("profile", value) for value in ("", "metrik", "osm")),
        *(("lane_width_m", value) for value in (-1.0, math.nan, math.inf, 300.0)),
        *(("lane_widths_m", value) for value in (
            {"residental": 3.0}, {"residential": 0}, {"residential": "3"}, {"residential": math.nan}, {3: 3.0},
            {"footway": 2.0}, {"residential": True}, {"residential": None},
        )),
        *(("classes", value) for value in (["residental"], ["residential", "trank"], [3], [""], ["default"], [None])),
        *((name, value) for name in ("dx_m", "dy_m") for value in (math.nan, math.inf, 1000.0)),
        *(("gap_m", value) for value in (-1.0, math.nan)),
        *(("ignore_band_m", value) for value in (-0.5, math.inf)),
        *(("class_weights", value) for value in (
            {"residental": 2.0}, {"track": -1.0}, {"track": 100}, {"track": "2"}, {"track": math.nan}, {"footway": 1.0},
        )),
        *(("drop", value) for value in (["roadm < 50"], ["road_m"], ["road_m < x"], [5], [None], [""])),
        *(("scheduler", value) for value in ("nonsense", "localhost", "tcp://host", "tcp://host:port")),
        ("checkpoint", "runs/nowhere/best.safetensors"),
        ("noise_study_dir", "data/nowhere"),
        *(("seed", value) for value in (-1, 2**32)),
        *(("sources", value) for value in (
            [], ["images/*.tif"], [{}], [{"images": "*.tif"}], [{"osm": "overpass"}], [SOURCE | {"osmm": "x"}],
            [SOURCE | {"images": ""}], [SOURCE | {"images": "/data/*.tif"}], [SOURCE | {"images": "../*.tif"}],
            [SOURCE | {"images": 3}], [SOURCE | {"osm": ""}], [SOURCE | {"osm": 3}], [SOURCE | {"clean": True}],
            [SOURCE | {"gsd_m": 0}], [SOURCE | {"gsd_m": "0.5"}], [SOURCE | {"gsd_m": math.nan}],
            [SOURCE | {"nodata": "grey"}], [SOURCE | {"nodata": 0}], [SOURCE | {"area": [25, 60, 24, 61]}],
            [SOURCE | {"area": [24, 60, 25]}], [SOURCE | {"area": [24, 60, 25, math.nan]}], [SOURCE | {"area": 3}],
            [SOURCE | {"area": [24, 60, 25, 91]}], [SOURCE, SOURCE | {"nodata": "blank"}],
            *([SOURCE | {"overpass": {name: value}}] for name, value in (
                ("date", "28.10.2019"), ("date", 2019), ("urll", "x"), ("url", "overpass-api.de"), ("url", ""),
                ("timeout_s", 0), ("timeout_s", math.inf), ("tries", 0), ("tries", 1.5), ("pause_s", -1),
                ("max_area_km2", 0), ("rate_limit", "yes"), ("cache_dir", 3),
            )),
            [SOURCE | {"clean_area": "part.geojson"}], [SOURCE | {"clean": "a.gpkg", "clean_area": [25, 60, 24, 61]}],
            [SOURCE | {"clean": "a.gpkg", "clean_area": 3}], [SOURCE | {"clean": "{stem}.png", "clean_area": "hull"}],
            [SOURCE | {"overpass": "today"}], [SOURCE | {"overpass": None}],
        )),
    ],
    "02_train_stage1": [
        *EVERY,
        *TRAINING,
        *(("architecture", value) for value in ("pplinknet", "", "linknet")),  # linknet has no context of 64
        *(("encoder_name", value) for value in ("resnet19", "", "tu-hf_hub:a/b", "tu-local-dir:/tmp", "../resnet18")),
        *(("encoder_weights", value) for value in ("imagnet", "weights.pth")),
        *(("context", value) for value in ("65", "", "64hdc")),
        *(("focal_gamma", value) for value in (-0.5, math.nan, math.inf)),
        ("optimizer", "Adam"),
        ("schedule", ""),
        *(("devices", value) for value in (0, -1, 3)),  # 3 don't share batches of 4
    ],
    "03_train_stage2": [
        *EVERY,
        *TRAINING,
        *(("start_from", value) for value in ("stage2", "../stage1", "/tmp")),
        *(("encoder_lr_factor", value) for value in (-0.1, math.nan, math.inf)),
        *(("network", {name: "resnet18"}) for name in ("encoder_name", "encoder", "context")),  # first: beside stage 1
    ],
    "04_evaluate": [
        *EVERY,
        *(("test_label", value) for value in ("cleen", "", "truth")),
        *(("tta", value) for value in ("d8", "", "None")),
        *(("examples", value) for value in (0, -1, 10**6)),
        *(("seed", value) for value in (-1, 2**32)),
    ],
}  # fmt: skip
CASES = [(notebook, name, value) for notebook, table in WRONG.items() for name, value in table]


def namespace(notebook, **values):
    """Globals of a notebook after its parameters cell."""
    return {name: default for name, (_, default) in declared(notebook).items()} | values


@pytest.mark.parametrize(("notebook", "name", "value"), CASES, ids=lambda v: str(v)[:40])
def test_wrong_values_are_refused_by_name(notebook, name, value):
    with pytest.raises(ParameterError) as refused:
        check_notebook(notebook, namespace(notebook, **{name: value}))
    said = str(refused.value)
    inner = next(iter(value)) if name == "train_options" else {"drop": "rule", "sources": "sources"}.get(name, name)
    assert said.startswith(notebook) and str(inner) in said, said


def test_the_nearest_known_name_is_offered():
    for notebook, name, value, near in (
        ("01_rasterize_osm", "classes", ["residental"], "residential"),
        ("01_rasterize_osm", "profile", "metrik", "metric"),
        ("01_rasterize_osm", "drop", ["roadm < 5"], "road_m"),
        ("01_rasterize_osm", "sources", [SOURCE | {"overpass": {"dates": "x"}}], "date"),
        ("02_train_stage1", "loss", "focl", "focal"),
        ("02_train_stage1", "train_options", {"clipnorm": 1.0}, "clip_norm"),
        ("02_train_stage1", "encoder_name", "resnet-34", "resnet34"),
        ("04_evaluate", "tta", "d8", "d4"),
    ):
        with pytest.raises(ParameterError, match=f"nearest.* is '{near}'"):
            check(notebook, {name: value})


@pytest.mark.parametrize("notebook", NOTEBOOKS)
@given(data=st.data())
def test_whatever_comes_is_taken_or_refused_in_words(notebook, data):
    """A value of the right type, however odd, ends in a ParameterError or in the value itself."""
    known = declared(notebook)
    name = data.draw(st.sampled_from(sorted(known)))
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    inner = st.recursive(
        scalars, lambda s: st.lists(s, max_size=2) | st.dictionaries(st.text(max_size=5), s, max_size=2)
    )
    kinds = {"int": st.integers(), "float": st.floats(), "str": st.text(), "bool": st.booleans()}
    kinds |= {"list": st.lists(inner, max_size=2), "dict": st.dictionaries(scalars, inner, max_size=2)}
    value = data.draw(kinds[known[name][0]])
    try:
        assert check(notebook, {name: value})[name] == value
    except ParameterError as error:
        assert str(error).startswith(notebook)


def test_checks_import_nothing_heavy():
    code = f"""
import sys
from lib.parameters import check
for notebook in {NOTEBOOKS}:
    check(notebook, {{}})
print(sorted({{"torch", "lightning", "rasterio", "geopandas", "osmnx", "matplotlib"}} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("area: demo\nchip_px: 0256\n", 2, "0256 as 174"),
        ("chip_px: -0256\n", 1, "-0256 as -174"),
        ("sources:\n  - {images: a, gsd_m: 010}\n", 2, "010 as 8"),
        ("gsd_m: 1:30\n", 1, "1:30 as 90"),
        ("epochs: 5\nseed: 1\nepochs: 50\n", 1, "'epochs' is given twice"),
        ("a: [1, 2\nb: 3\n", 2, "expected"),
        ("a: b: c\n", 1, "mapping values"),
        ("\tarea: demo\n", 1, "cannot start any token"),
        ("a: !!python/object/apply:os.getcwd []\n", 1, "could not determine a constructor"),
    ],
)
def test_yaml_that_says_something_else_names_file_and_line(tmp_path, text, line, message):
    path = tmp_path / "01_rasterize_osm.yaml"
    path.write_text(text)
    with pytest.raises(ParameterError, match=rf"01_rasterize_osm\.yaml, line {line}: .*{message}"):
        read_yaml(path)


def test_yaml_is_read_as_people_mean_it(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: 256\nb: 0\nc: 0x10\nd: '0256'\ne: 2019-10-28\nf: 2019-10-28T00:00:00Z\ng: 0.5\nh: 1_000\n")
    said = {"a": 256, "b": 0, "c": 16, "d": "0256", "e": "2019-10-28", "f": "2019-10-28T00:00:00Z", "g": 0.5, "h": 1000}
    assert read_yaml(path) == said
    for text in (b"- 1\n", b"hello\n", "area: K\xf6ln\n".encode("latin-1"), b"a: \x00\n"):
        path.write_bytes(text)
        with pytest.raises(ParameterError, match=r"x\.yaml.*expected lines `name: value`"):
            read_yaml(path)
    path.write_text("# nothing but a comment\n")
    assert read_yaml(path) == {}


def test_what_save_profile_writes_is_read_back(tmp_path):
    values = {"lane_width_m": 3.0, "lane_widths_m": {"residential": 2.5}, "classes": ["primary", "residential"]}
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(values))
    assert check("01_rasterize_osm", read_yaml(path)) == check("01_rasterize_osm", values)
