"""An image, masks over it, a map of it, what a figure says, and a browser that opens pages."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from lib.grid import Grid
from lib.parameters import NOTEBOOKS, Settled, check_notebook, declared
from lib.paths import ROOT

SIDE = 64


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 190, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def quarters() -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction: upper left found, upper right missed, lower left false, lower right background."""
    truth, prediction = np.zeros((2, SIDE, SIDE), np.uint8)
    half = SIDE // 2
    truth[:half] = 255
    prediction[:, :half] = 255
    return truth, prediction


@pytest.fixture(scope="session")
def texts() -> Callable[[Figure], list[str]]:
    """Reads the legends of a figure and what is written into its axes."""

    def read(figure: Figure) -> list[str]:
        legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        return legends + [text.get_text() for ax in figure.axes for text in ax.texts]

    return read


@pytest.fixture(scope="session")
def grids() -> dict[str, Grid]:
    """One image of 60 x 80 pixels, lying in four kinds of places, and three times across the antimeridian."""
    cos, sin = np.cos(np.radians(20)), np.sin(np.radians(20))
    transforms = {
        "mercator": ((0.6, 0, 3_600_000.0, 0, -0.6, 40_000.0), "EPSG:3857"),
        "lonlat": ((3e-6, 0, 25.0, 0, -3e-6, 60.0), "EPSG:4326"),
        "rotated utm": ((cos, sin, 385_000.0, sin, -cos, 6_672_000.0), "EPSG:32635"),
        "pixels": ((1, 0, 0, 0, 1, 0), None),
        "utm over 180": ((0.6, 0, 180_530.0, 0, -0.6, 8_118_000.0), "EPSG:32701"),
        "lonlat over 180": ((3e-6, 0, 179.9999, 0, -3e-6, 60.0), "EPSG:4326"),
        "mercator over 180": ((0.6, 0, -20_037_532.0, 0, -0.6, 40_000.0), "EPSG:3857"),
    }
    return {name: Grid(transform, crs, 80, 60) for name, (transform, crs) in transforms.items()}


@pytest.fixture
def area(tmp_path, monkeypatch) -> Callable[..., tuple[Path, Settled]]:
    """Makes the area my-village with a params file; gives it, and what a notebook of the area is settled to."""

    def make(text: str, notebook: str, **cell: Any) -> tuple[Path, Settled]:
        monkeypatch.setattr("lib.parameters.ROOT", tmp_path)
        if not (tmp_path / "notebooks").exists():
            (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
        for name in NOTEBOOKS:
            path = tmp_path / "params" / "my-village" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text if name == notebook else "")
        own = {name: default for name, (_, default) in declared(notebook).items()}
        return path.with_name(f"{notebook}.yaml"), check_notebook(notebook, own | {"area": "my-village"} | cell)

    return make


# what a stranger may call a street, a file or a place; harmless, and none of it may be more than text
TEXTS = {
    "template": "{{7*7}}",
    "statement": "{% if %}",
    "comment": "{# #}",
    "literal": "${7*7}",
    "script": "</script><script>document.title = 'run'</script>",
    "markup": "<img src=x onerror=\"document.title='run'\">",
    "quotes": "'\"`\\",
    "formula": "$x^{$",
    "novel": "{{" + "x" * 100_000,
}


@pytest.fixture(params=TEXTS.values(), ids=TEXTS.keys())
def text(request) -> str:
    return request.param


@pytest.fixture
def all_texts() -> list[str]:
    return list(TEXTS.values())


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
)
PATIENCE_S = 300
# 1 where the page is wider than the window: what a reader would have to push aside; and what makes it so
TOO_WIDE = """(() => {
    const width = document.documentElement.clientWidth, page = document.scrollingElement;
    if (page.scrollWidth <= width) return [];
    return [...document.querySelectorAll("body *")]
        .filter(e => e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 120));
})()"""


class Browser:
    """A headless Chromium that is spoken to over a pair of pipes (--remote-debugging-pipe): no port, no package."""

    def __init__(self, profile: Path):
        theirs_in, self.to_browser = os.pipe()
        self.from_browser, theirs_out = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        command = [CHROMIUM, "--headless", "--no-sandbox", *QUIET, "--disable-component-update"]
        self.process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: [os.dup2(end, number) for end, number in zip(high, (3, 4), strict=True)],
            pass_fds=(3, 4),
        )
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
        self.number, self.rest, self.events = 0, b"", []
        own, until = None, time.monotonic() + PATIENCE_S
        while own is None:  # the browser's own page: another one may come to lie behind it, where nothing is drawn
            assert time.monotonic() < until, "the browser opens no page"
            pages = [t["targetId"] for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page"]
            own = next(iter(pages), None) or time.sleep(0.1)
        attached = self.ask("Target.attachToTarget", targetId=own, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Page.setLifecycleEventsEnabled", enabled=True)

    def _message(self) -> dict[str, Any]:
        """The next message of the browser."""
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.from_browser], [], [], PATIENCE_S)
            part = os.read(self.from_browser, 1 << 20) if ready else b""
            assert part, "the browser says no more"
            self.rest += part
        said, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(said)
        if message.get("method") == "Page.javascriptDialogOpening":  # JupyterLab asks who leaves it
            self._say("Page.handleJavaScriptDialog", accept=True)
        return message

    def _say(self, method: str, **params: Any) -> None:
        """Send one call of the DevTools protocol, by the next number."""
        self.number += 1
        call = {"id": self.number, "method": method, "params": params} | getattr(self, "session", {})
        os.write(self.to_browser, json.dumps(call).encode() + b"\0")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one call of the DevTools protocol; what else happens meanwhile is kept in `events`."""
        self._say(method, **params)
        own = self.number
        while (message := self._message()).get("id") != own:
            self.events.append(message)
        assert "error" not in message, message
        return message["result"]

    def open(self, page: Path, width: int = 1400, dark: bool = False, height: int = 900) -> None:
        """Open a page in a window so many CSS pixels wide, and wait until it is drawn."""
        self.ask("Page.bringToFront")
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media="", features=[scheme])
        self._load("about:blank")
        self.events.clear()
        self._load(page.as_uri())
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def _load(self, address: str) -> None:
        """Go to an address, and wait until that document is loaded: what is said of an earlier one counts for none."""
        loader = self.ask("Page.navigate", url=address)["loaderId"]
        loaded, until = {"name": "load", "loaderId": loader}, time.monotonic() + PATIENCE_S
        while not any(loaded.items() <= event.get("params", {}).items() for event in self.events):
            assert time.monotonic() < until, f"{address} does not load"
            self.events.append(self._message())

    def value(self, script: str) -> Any:
        """What a script of the page's returns, awaited."""
        options = {"returnByValue": True, "awaitPromise": True}
        result = self.ask("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def made_of(self, page: Path) -> str:
        """The document that a page has become once it is drawn, as HTML."""
        self.open(page)
        return self.value("document.documentElement.outerHTML")

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings in the console, and addresses on other hosts that were asked for, since `open`."""
        self.value("1")
        found = []
        for event in self.events:
            name, params = event.get("method"), event.get("params", {})
            if name == "Runtime.exceptionThrown" or (
                name == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning")
            ):
                found.append(json.dumps(params)[:500])
            if name == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
            if name == "Network.requestWillBeSent":
                address = params["request"]["url"]
                if not address.startswith(("file:", "data:", "about:", "blob:")):
                    found.append(f"fetched {address[:200]}")
        return found

    def picture(self, path: Path, whole: bool = True) -> Path:
        """The page as PNG."""
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def close(self) -> None:
        self.process.kill()  # nothing that it has is wanted any more
        self.process.wait()
        os.close(self.to_browser)
        os.close(self.from_browser)


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Browser]:
    """A real browser, or a skip that says so."""
    if CHROMIUM is None:
        pytest.skip("no browser here: install Chromium or Chrome, as chromium, chromium-browser or google-chrome")
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


LEAST_CONTRAST = """(() => {
    const parts = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const behind = e => { for (; e; e = e.parentElement) {
        const c = parts(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c;
    } return [255, 255, 255]; };
    document.querySelectorAll("details").forEach(part => { part.open = true; });
    let least = 21;
    for (const e of document.querySelectorAll("body *")) {
        if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) || !e.getClientRects().length) continue;
        const [a, b] = [light(parts(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
        least = Math.min(least, (a + .05) / (b + .05));
    }
    return least;
})()"""


@pytest.fixture
def within(browser) -> Callable[[Path, int, bool], None]:
    """Checks of a page in a window: nothing sideways, fetched from elsewhere or complained of; text is legible."""

    def check(path: Path, width: int, dark: bool) -> None:
        browser.open(path, width, dark)
        assert browser.value(TOO_WIDE) == [] and browser.complaints == []
        assert browser.value(LEAST_CONTRAST) >= 4.5  # WCAG 2.2, 1.4.3
        paper = browser.value("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") != dark
        assert browser.value("[...document.images].every(i => i.alt && i.naturalWidth)")

    return check
