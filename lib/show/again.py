"""The chips cut again from a panel, by notebook 1 in a process of its own: the panel stays alive, and can stop it."""

import html
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Sequence

import ipywidgets

from lib.errors import BusyError, ParameterError
from lib.parameters import Settled
from lib.paths import ROOT
from lib.show.reports import notebooks_of
from lib.show.widgets import close_lines, warning

CUTTING = "01_rasterize_osm"
STOPPED = (130, -signal.SIGINT)  # of an interrupt: by `lib.errors.status`, and before that could answer
INTERRUPTED = "KeyboardInterrupt"  # last line of a Python that was interrupted while it started: its status is 1
PLACES = frozenset({"area", "work_dir"})  # said by arguments of their own


def notebook_command(notebook: str, settled: Settled, saved: Collection[str]) -> list[str]:
    """
    Command that runs a notebook as it is run here, but for what was saved since.

    Parameters
    ----------
    settled
        Its parameters; those that the parameters cell or the call states are stated again.
    saved
        Names that the params file has by now: that counts.
    """
    own = {name: settled[name] for name in sorted(settled.stated - PLACES - {*saved})}
    options = ["--only", notebook, "--work-dir", settled["work_dir"], "--parameters", json.dumps(own)]
    return [sys.executable, "-u", "-m", "lib.show.reports", settled["area"], *options]


class Rerun:
    """
    A command whose lines are told as they come, one run at a time.

    It belongs to the kernel's group of processes: what interrupts the kernel stops it, too, and it ends with it.

    Parameters
    ----------
    on_line
        Called with each line that it prints.
    on_end
        Called with its exit status.
    """

    def __init__(self, on_line: Callable[[str], None], on_end: Callable[[int], None]) -> None:
        self.on_line, self.on_end = on_line, on_end
        self.process: subprocess.Popen[str] | None = None
        self.listener: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.listener is not None and self.listener.is_alive()

    def start(self, command: Sequence[str]) -> None:
        """
        Start a command in the project's root.

        Raises
        ------
        BusyError
            If one is running.
        """
        if self.is_running:
            raise BusyError("It is running already: wait for it, or stop it.")
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, encoding="utf-8", errors="replace", **streams
        )
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            if line := line.strip():
                self.on_line(line)
        self.on_end(self.process.wait())

    def stop(self) -> None:
        """Interrupt it, as Ctrl-C does; what it has finished is kept."""
        if self.is_running:
            self.process.send_signal(signal.SIGINT)


class CutAgain(ipywidgets.VBox):
    """Notebook 1 run anew: how far it is, a button that stops it, and how it ended."""

    def __init__(self, settled: Settled):
        self.settled = settled
        self.rerun = Rerun(self._progressed, self._ended)
        self.to_cut, self.left_cut = 0, 0  # of the run at hand, and of those before that did not come to their end
        self.last_line, self.failure = "", ""
        self.stop = ipywidgets.Button(description="stop", icon="stop", layout={"width": "80px"})
        self.stop.on_click(lambda _: self.stop_now())
        self.bar = ipywidgets.IntProgress(layout={"width": "auto", "flex": "1 1 auto"})
        self.running = ipywidgets.HBox([self.stop, self.bar], layout={"display": "none"})
        self.said = ipywidgets.HTML()
        super().__init__([self.running, self.said])

    def start(self, saved: Collection[str]) -> None:
        """
        Run it with what the params file says; `saved` as in `notebook_command`.

        Raises
        ------
        BusyError
            If it is running.
        """
        if not self.rerun.is_running:
            self.to_cut, self.failure, self.bar.value, self.bar.max = 0, "", 0, 1
            self.running.layout.display = ""
            self._say("notebook 1 runs anew with what is saved; it takes some seconds to start")
        self.rerun.start(notebook_command(CUTTING, self.settled, saved))

    def stop_now(self) -> None:
        """Interrupt it; it says when it has ended."""
        self._say("stopping: the step at hand ends first")
        self.rerun.stop()

    def _say(self, text: str) -> None:
        self.said.value = close_lines(text)

    def _progressed(self, line: str) -> None:
        """A line of the notebook: the last one is shown, and the bar follows the chips."""
        if found := re.match(r"(\d+) chips to cut", line):
            self.to_cut = self.bar.max = int(found[1])
        elif found := re.match(r"(\d+) of \d+ chips cut", line):
            self.bar.value = int(found[1])
        elif line.startswith("error: "):
            self.failure = line
        self.last_line = line
        self._say(html.escape(line))

    def _ended(self, status: int) -> None:
        """Say how it ended, and what is to be run now."""
        self.running.layout.display = "none"
        cut = max(self.to_cut, self.left_cut)  # what one leaves is cut by the next
        self.left_cut = cut if status else 0
        if status in STOPPED or (status and self.last_line == INTERRUPTED):
            self._say("stopped: what was cut is kept, and the next cut goes on from there")
        elif status:
            self._say(warning(self.failure or f"it ended with status {status}: {self.last_line}"))
        elif not cut:
            self._say("done: all chips are as they were, so nothing else is to be run again")
        else:
            said = f"done: {cut} chips cut anew. Run again what learns from them: {self._later()}"
            self._say(html.escape(said))

    def _later(self) -> str:
        """Notebooks of the area that learn from the chips."""
        try:
            return ", ".join(name for name in notebooks_of(self.settled["area"]) if name > CUTTING)
        except ParameterError as error:  # of the params files of other notebooks
            return str(error)
