"""The three lists of packages say the same, and the lock is fit for any machine."""

import importlib
import re
import tomllib

import pytest
import yaml

from lib.paths import ROOT

CONDA_NAMES = {
    "torch": "pytorch",
    "huggingface-hub": "huggingface_hub",
    "opencv-python-headless": "opencv",
    "osmium": "pyosmium",
    "isal": "python-isal",
}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()


def _requirement(text: str) -> tuple[str, str]:
    name, floor = re.fullmatch(r"([A-Za-z0-9_-]+)>=([0-9.]+)", text).groups()
    return name, floor


def test_environment_yml_has_the_names_and_floors_of_pyproject():
    wanted = dict(_requirement(r) for r in PYPROJECT["project"]["dependencies"])
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    given = dict(_requirement(r) for r in conda if isinstance(r, str) and ">=" in r and not r.startswith("python>"))
    assert given == {CONDA_NAMES.get(name, name): floor for name, floor in wanted.items()}
    assert f"python{PYPROJECT['project']['requires-python']}" in conda


def test_lock_pins_and_hashes_everything_and_holds_no_address():
    assert "://" not in LOCK
    pins = re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^ ;\\]+)", LOCK, flags=re.MULTILINE)
    blocks = re.split(r"^(?=[a-z0-9][a-z0-9._-]*==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(pins) == len(blocks) > 100
    assert all("--hash=sha256:" in block for block in blocks)


def test_lock_holds_every_direct_dependency_at_or_above_its_floor():
    pins = re.findall(r"^([a-z0-9][a-z0-9._-]*)==([0-9.]+)", LOCK, flags=re.MULTILINE)
    direct = PYPROJECT["project"]["dependencies"] + PYPROJECT["project"]["optional-dependencies"]["dev"]
    for name, floor in map(_requirement, direct):
        versions = [v for n, v in pins if n == name]
        assert versions, f"{name} is not in requirements.lock: run make lock"
        assert all(_numbers(v) >= _numbers(floor) for v in versions)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in version.strip(".").split("."))


@pytest.mark.filterwarnings("error::UserWarning")
def test_torch_and_torchvision_are_of_one_make():
    torch, torchvision = importlib.import_module("torch"), importlib.import_module("torchvision")
    assert torch.__version__.partition("+")[2] == torchvision.__version__.partition("+")[2]
    boxes, scores = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), torch.tensor([0.9, 0.8])
    assert torchvision.ops.nms(boxes, scores, 0.5).tolist() == [0]  # a compiled operator answers
