"""A stranger's header or config: each wrong value is refused by its name, before anything is built, read or fetched."""

import json
import resource
from dataclasses import asdict

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from lib.errors import CheckpointError, PPLinkNetError
from lib.networks.checkpoint import FORMAT, CheckpointInfo, load_model, read_info
from lib.networks.fields import INFO_FIELDS, MODEL_FIELDS
from lib.networks.hub import CONFIG, WEIGHTS, from_pretrained
from lib.networks.models import ModelConfig, build_model

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ModelConfig(encoder_name="tu-test_resnet")
INFO = json.loads(json.dumps(asdict(CheckpointInfo(SMALL, "roads", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), gsd_m=0.5))))
NAN, INF = float("nan"), float("inf")
OF_A_MODEL = [
    ("architecture", ["unett", 7, None, ["unet"], {}, True]),
    (
        "encoder_name",
        ["resnet35", "tu-hf_hub:user/name", "tu-hf-hub:user/name", "tu-local-dir:/etc", "tu-", "", "../x", 5],
    ),
    ("encoder_weights", [3, ["imagenet"], {}]),
    ("context", [64, "65", None, ["64"]]),
    ("in_channels", [0, -3, 100_000, 3.0, "3", True, None, [3], 10**30]),
    ("classes", [0, 100_000, 1.0, "1", False, None]),
]
OF_A_HEADER = [
    ("model", [None, [], "pp_linknet", {}]),
    ("task", ["rivers", None, 1, ["roads"], {}]),
    (
        "mean",
        [None, 0.5, [], ["0.5"] * 3, [0.5, NAN, 0.5], [0.5, INF, 0.5], [123.7, 116.3, 103.5], [True] * 3, [0.5], "abc"],
    ),
    ("std", [None, [0, 0.5, 0.5], [0.5, -0.5, 0.5], [1e-300] * 3, [NAN] * 3, [0.5] * 4, {}]),
    ("threshold", [None, "0.5", NAN, -0.1, 1.5, True, [0.5]]),
    ("gsd_m", ["0.5", 0, -1, NAN, INF, 10**400, []]),
    ("training", [None, [], "epochs"]),
    ("provenance", [None, [], {"seen": None}, {"seen": ["x"]}, {"seen": {"images": "abc"}}, {"seen": {"images": [1]}}]),
]


def cases(table):
    return [pytest.param(name, value, id=f"{name}={value!r:.30}") for name, values in table for value in values]


@pytest.fixture(scope="module")
def tensors():
    return build_model(SMALL).state_dict()


@pytest.fixture(scope="module")
def folder(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("hub")
    save_file(tensors, path / WEIGHTS)
    return path


@pytest.fixture
def unbuilt(monkeypatch):
    def build(_config):
        pytest.fail("a network was built")

    monkeypatch.setattr("lib.networks.models.build_model", build)


def write(path, tensors, header):
    path.write_bytes(save(tensors, {FORMAT: json.dumps(header)}))
    return path


def test_every_field_is_tried():
    assert {name for name, _ in OF_A_HEADER} == INFO_FIELDS.keys()
    assert {name for name, _ in OF_A_MODEL} == MODEL_FIELDS.keys()


@pytest.mark.parametrize(("name", "value"), cases(OF_A_HEADER))
def test_a_wrong_field_of_a_header(name, value, tensors, tmp_path, unbuilt):
    path = write(tmp_path / "x.safetensors", {}, INFO | {name: value})
    with pytest.raises(CheckpointError, match=rf"The header of {path}: {name} (is|has) |model does not describe"):
        load_model(path)


@pytest.mark.parametrize(("name", "value"), cases(OF_A_MODEL))
def test_a_wrong_field_of_a_headers_model(name, value, tmp_path, unbuilt):
    path = write(tmp_path / "x.safetensors", {}, INFO | {"model": INFO["model"] | {name: value}})
    with pytest.raises(CheckpointError, match=f"The header of {path}: model: {name} is .*expected "):
        load_model(path)


@pytest.mark.parametrize(("name", "value"), cases([row for row in OF_A_MODEL if row[0] not in ("encoder_weights",)]))
def test_a_wrong_field_of_a_config(name, value, folder, unbuilt):
    named = {"architecture": "_model_class"}.get(name, name)
    config = {"_model_class": "PPLinkNet", "encoder_name": "tu-test_resnet", named: value}
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=f"{folder / CONFIG}: {named} is .*expected "):
        from_pretrained(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", '"x"', "{", "[" * 100_000, '{"a": NaN', "\x00", "9" * 5000])
def test_what_is_no_object(text, folder, tmp_path, unbuilt):
    path = tmp_path / "x.safetensors"
    path.write_bytes(save({}, {FORMAT: text}))
    with pytest.raises(CheckpointError, match=f"The header of {path} "):
        load_model(path)
    (folder / CONFIG).write_text(text)
    with pytest.raises(CheckpointError, match=f"{folder / CONFIG} "):
        from_pretrained(folder)


def test_a_config_that_is_no_text_or_too_large(folder, unbuilt):
    (folder / CONFIG).write_bytes(b'{"a": "\xff"}')
    with pytest.raises(CheckpointError, match="config.json: expected a config of JSON in UTF-8"):
        from_pretrained(folder)
    (folder / CONFIG).write_text(" " * 2_000_000)
    with pytest.raises(CheckpointError, match="has 2000000 bytes"):
        from_pretrained(folder)


def test_options_that_are_not_known(folder, tmp_path, unbuilt):
    (folder / CONFIG).write_text(json.dumps({"_model_class": "Unet", "encoder_name": "resnet18", "new_option": [1]}))
    with pytest.raises(CheckpointError, match="config.json sets {'new_option': .*load it with smp"):
        from_pretrained(folder)
    path = write(tmp_path / "x.safetensors", {}, INFO | {"model": INFO["model"] | {"new_option": 1}})
    with pytest.raises(CheckpointError, match="model has .'new_option'.*update"):
        load_model(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(name=st.sampled_from(sorted(INFO_FIELDS)), inner=st.sampled_from(["", *sorted(MODEL_FIELDS)]), value=JSON)
@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_any_value_is_taken_whole_or_refused(name, inner, value, tmp_path):
    changed = INFO | {name: value}
    if name == "model" and inner:
        changed = INFO | {"model": INFO["model"] | {inner: value}}
    path = write(tmp_path / "x.safetensors", {}, changed)
    try:
        info = read_info(path)
    except CheckpointError as error:
        assert str(path) in str(error) and name in str(error)
    else:
        assert all(0 < deviation <= 1 for deviation in info.std) and 0 <= info.threshold <= 1


def test_a_network_of_gigabytes_takes_no_memory_where_the_tensors_are_others(tensors, tmp_path):
    model = INFO["model"] | {"architecture": "unet", "context": "32", "encoder_name": "tu-resnetv2_101x3_bit"}
    path = write(tmp_path / "x.safetensors", tensors, INFO | {"model": model})
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="do not fit what it says of itself"):
        load_model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before_kib + 300 * 1024


def test_weights_that_are_no_numbers(tensors, tmp_path):
    ruined = {name: tensor.clone() for name, tensor in tensors.items()}
    name = next(name for name in ruined if name.endswith("weight"))
    ruined[name].flatten()[0] = NAN
    path = write(tmp_path / "x.safetensors", ruined, INFO)
    with pytest.raises(CheckpointError, match=f"x.safetensors: .*{name}.* no finite numbers"):
        load_model(path)


def test_damaged_checkpoints_and_hub_folders_load_or_are_named(damages, tensors, folder, tmp_path):
    """Damage of the weights' own bytes can't be seen; of all else it can."""
    header = write(tmp_path / "x.safetensors", tensors, INFO).read_bytes()
    (folder / CONFIG).write_text(json.dumps({"_model_class": "PPLinkNet", "encoder_name": "tu-test_resnet"}))
    config = (folder / CONFIG).read_bytes()
    first = int.from_bytes(header[:8], "little") + 8
    for place, whole, load in [
        (tmp_path / "x.safetensors", header, load_model),
        (folder / CONFIG, config, lambda path: from_pretrained(path.parent)),
    ]:
        read_so_far = first if place.suffix == ".safetensors" else len(whole)
        for done, damaged in damages(whole[:read_so_far], 80):
            place.write_bytes(damaged + (whole[read_so_far:] if "flipped" in done else b""))
            try:
                found = load(place)
            except PPLinkNetError as error:
                assert place.name in str(error) or place.parent.name in str(error), (done, error)
            else:
                assert torch.isfinite(found.network(torch.zeros(1, 3, 32, 32))).all(), done
