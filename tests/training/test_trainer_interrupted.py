"""A kernel that is interrupted while it trains: two lines, and the same cell goes on."""

import time

import pytest
from jupyter_client.manager import KernelManager

from lib.errors import STOPPED
from lib.paths import ROOT

PATIENCE_S = 600  # with a kernel, whatever else this machine does
EPOCHS = 100_000  # none of which but the first few are trained
CELL = """
config = TrainConfig(
    epochs={epochs}, batch_size=4, crop_px=32, samples_per_epoch=8, accelerator="cpu", precision="32-true"
)
done = fit(train, val, Path({folder!r}), config, ModelConfig(encoder_name="tu-mobilenetv3_small_050"))
"""
SETUP = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
import pandas as pd, torch
from lib.errors import say_in_words
from lib.networks import ModelConfig
from lib.training import TrainConfig, fit
torch.set_num_threads(1)
say_in_words(get_ipython())
train, val = (pd.read_csv(path) for path in {tables!r})
"""


def run(client, code, on_text=lambda text: None):
    """Lines that a cell prints, and its error if it ends in one; `on_text` is told whenever there is more of them."""
    said, error = "", None
    client.execute(code)
    until = time.monotonic() + PATIENCE_S
    while True:
        message = client.get_iopub_msg(timeout=until - time.monotonic())
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            said += content["text"]  # a part of a line, or several
            on_text(said)
        elif kind == "error":
            error = content["traceback"]
        elif kind == "status" and content["execution_state"] == "idle":
            return said.splitlines(), error


def once(interrupt):
    """Interrupts at the first epoch that is heard of."""
    left = [interrupt]
    return lambda text: left.pop()() if left and "\nepoch " in f"\n{text}" else None


@pytest.fixture
def kernel(local_kernel):
    manager = KernelManager(kernel_name="python3", config=local_kernel)
    manager.start_kernel(cwd=str(ROOT / "notebooks"))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE_S)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_an_interrupted_training_ends_in_two_lines_and_the_same_cell_goes_on(kernel, chips, tmp_path):
    manager, client = kernel
    tables = [str(tmp_path / "train.csv"), str(tmp_path / "val.csv")]
    for rows, path in zip(chips, tables, strict=True):
        rows.to_csv(path, index=False)
    assert run(client, SETUP.format(root=str(ROOT), tables=tables)) == ([], None)
    cell = CELL.format(folder=str(tmp_path / "run"), epochs=EPOCHS)
    said, error = run(client, cell, once(manager.interrupt_kernel))
    assert error == [STOPPED, "(%tb in a cell below shows where)"]
    assert said and all(line.startswith("epoch ") for line in said), "nothing but the epochs' lines"
    finished = len(said)
    went_on, error = run(client, cell, once(manager.interrupt_kernel))
    assert went_on[0].startswith("going on after the last finished epoch")
    assert int(went_on[1].split("/")[0].removeprefix("epoch ")) in (finished + 1, finished + 2)
    assert error[0] == STOPPED
