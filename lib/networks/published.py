"""
Networks that ship with this project: by name, without a download and without training.

Each is a folder of weights/ in the hub's format (`lib.networks.hub`), with the curve of its confidence, and a card,
README.md, that says what it was trained on, what it is good for, and how good it is.
"""

import json
from pathlib import Path

WEIGHTS_DIR = Path(__file__).with_name("weights")
WEIGHTS = "model.safetensors"  # the hub's name for them


def published() -> list[str]:
    """Names of the networks that ship with this project."""
    return sorted(path.parent.name for path in WEIGHTS_DIR.glob(f"*/{WEIGHTS}"))


def encoder_of(name: str) -> str:
    """Name of the encoder of a published network."""
    return json.loads((WEIGHTS_DIR / name / "config.json").read_text())["encoder_name"]


def weights_of(name: str | Path) -> Path:
    """File of weights: that of a published network, by its name, or the path of any other checkpoint, as it came."""
    return WEIGHTS_DIR / str(name) / WEIGHTS if str(name) in published() else Path(name)
