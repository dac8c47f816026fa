"""The panels of notebooks 1 and 2 in a real JupyterLab: keys, pointer, width, and what is saved."""

import json
import os
import socket
import subprocess
import sys
import time

import nbformat
import pytest

from lib.parameters import load
from lib.paths import ROOT

pytestmark = pytest.mark.browser

PATIENCE_S = 300
CELLS = """
from pathlib import Path
import cv2, numpy as np, pandas as pd
import lib.parameters as parameters
parameters.ROOT = Path({root!r})
from lib.osm.lanes import METRIC
from lib.show.augmentation import AugmentationPanel
from lib.show.lane_panel import Ground, LanePanel, Look
image = np.random.default_rng(0).integers(60, 190, (1024, 1024, 3), np.uint8)
def draw(width, classes, dx_m, dy_m):
    return cv2.circle(np.zeros((1024, 1024), np.uint8), (512 + round(9 * dx_m), 512), 99, 255, -1)
def settled(notebook):
    return parameters.check_notebook(notebook, {{"area": "my-village"}})
def look(window):
    return Look(np.roll(image, window[0], axis=1), draw)
ground = Ground("town", (4096, 4096), 0.5, lambda: look, (1.0, 0.0), "certain")
widths = {{"this run's": ({{"default": 3.25}}, {{}})}}
LanePanel([ground], settled("01_rasterize_osm"), classes=METRIC.drawn, own_classes=METRIC.drawn, tables=widths)
###
AugmentationPanel(pd.read_csv({chips!r}, keep_default_na=False), settled("02_train_stage1"))
"""
# controls that reach over the right edge of their cell, and columns that have to be pushed aside
HIDDEN = """[...document.querySelectorAll(".jp-OutputArea-output button, .jp-OutputArea-output select, .noUi-target")]
    .filter(e => e.getClientRects().length)
    .filter(e => e.getBoundingClientRect().right > e.closest(".jp-OutputArea").getBoundingClientRect().right + 1)
    .concat([...document.querySelectorAll(".jp-OutputArea .widget-vbox")].filter(e => e.scrollWidth > e.clientWidth))
    .map(e => e.outerHTML.slice(0, 120))"""


@pytest.fixture
def lab(area, make_chips, tmp_path):
    """Address of a JupyterLab whose notebook holds both panels, on this machine alone."""
    for notebook in ("01_rasterize_osm", "02_train_stage1"):
        area("", notebook)
    chips = tmp_path / "chips.csv"
    make_chips(tmp_path, 3).assign(label="osm", split="train", dropped="").to_csv(chips, index=False)
    cells = CELLS.format(root=str(tmp_path), chips=str(chips)).strip().split("\n###\n")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (tmp_path / "work").mkdir()
    nbformat.write(book, tmp_path / "work" / "panels.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    places = {"PYTHONPATH": str(ROOT)} | {f"JUPYTER_{name}": str(tmp_path / name.lower()) for name in own}
    places |= {f"JUPYTERLAB_{name}_DIR": str(tmp_path / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    options = {
        **{"ServerApp.port": port, "ServerApp.port_retries": 0, "ServerApp.root_dir": tmp_path / "work"},
        **{"IdentityProvider.token": "harmless", "LabApp.expose_app_in_browser": True, "LabApp.news_url": None},
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=os.environ | places, stdout=log, stderr=subprocess.STDOUT)
    until = time.monotonic() + PATIENCE_S
    while True:
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert server.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()[-2000:]
        time.sleep(0.2)
    yield f"http://127.0.0.1:{port}/lab/tree/panels.ipynb?token=harmless"
    server.terminate()
    server.wait(PATIENCE_S)


class Hand:
    """What a person does with keys and pointer, and sees come of it."""

    def __init__(self, browser):
        self.browser = browser

    def sees(self, script: str) -> None:
        """Wait until a script says yes."""
        until = time.monotonic() + PATIENCE_S
        while not self.browser.value(f"Boolean({script})"):
            assert time.monotonic() < until, f"{script}\n{self.browser.value('document.body.innerText')[-1500:]}"
            time.sleep(0.1)

    def reads(self, text: str) -> None:
        self.sees(f"document.body.innerText.includes({json.dumps(text)})")

    def key(self, name: str, *kinds: str) -> None:
        codes = {"ArrowRight": 39, "Enter": 13}
        text = {"text": "\r" if name == "Enter" else name} if len(name) == 1 or name == "Enter" else {}
        code = codes.get(name, ord(name[0].upper()))
        for kind in kinds or ("keyDown", "keyUp"):
            more = text if kind == "keyDown" else {}
            self.browser.ask("Input.dispatchKeyEvent", type=kind, key=name, windowsVirtualKeyCode=code, **more)

    def mouse(self, *kinds: str, across: float = 0.5, count: int = 1) -> None:
        """Use the mouse in the middle of the first picture's height, at a share of its width; wherever it is by now."""
        x, y = self.browser.value(
            f"(r => [r.x + {across} * r.width, r.y + r.height / 2])"
            "(document.querySelector('[data-listens] img').getBoundingClientRect())"
        )
        for kind in kinds:
            self.browser.ask(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=count
            )


def test_the_panels_are_worked_by_keys_and_pointer(lab, browser):
    browser.ask("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    browser.ask("Page.navigate", url=lab)
    hand = Hand(browser)
    hand.sees("window.jupyterapp && document.querySelector('.jp-Notebook .jp-Cell')")
    browser.value("window.book = [...jupyterapp.shell.widgets('main')].find(one => one.context), 1")
    hand.sees("book.context.sessionContext.session?.kernel?.status == 'idle'")
    browser.value("jupyterapp.shell.activateById(book.id), jupyterapp.commands.execute('notebook:run-all-cells'), 1")
    hand.sees("document.querySelectorAll('[data-listens]').length == 2")
    hand.sees("[...document.querySelectorAll('[data-listens] img')].filter(e => e.naturalWidth).length == 2")
    assert browser.value(HIDDEN) == []

    hand.reads("2,048 m across")
    hand.mouse("mousePressed", "mouseReleased")
    hand.key("+")
    hand.reads("1,024 m across")
    for count in (1, 2):
        hand.mouse("mousePressed", "mouseReleased", count=count)
    hand.reads("512 m across")
    hand.sees("(window.seen = document.querySelector('[data-listens] img').src)")
    hand.mouse("mousePressed")
    hand.mouse("mouseMoved", "mouseReleased", across=0.8)
    hand.sees("seen != document.querySelector('[data-listens] img').src")
    hand.key("b", "keyDown")
    hand.reads("as this run drew it")
    hand.key("b", "keyUp")
    hand.reads("as the sliders say")
    # the second slider moves by arrows, which do not pan then
    browser.value("document.querySelectorAll('[data-listens] [role=slider]')[1].focus()")
    hand.key("ArrowRight")
    hand.reads("with the sliders: +1.1 m east")
    browser.value("[...document.querySelectorAll('button')].find(e => e.innerText.trim() == 'save').focus()")
    hand.key("Enter")
    hand.reads("saved to params/my-village/01_rasterize_osm.yaml")
    assert load("my-village", "01_rasterize_osm")["dx_m"] == 0.1

    browser.value("document.querySelectorAll('[data-listens]')[1].focus()")
    hand.key("ArrowRight")
    hand.reads("draw 2")
    assert browser.value("document.querySelectorAll('.jp-Notebook .jp-Cell').length") == 2, (
        "b is no cell of JupyterLab's"
    )
