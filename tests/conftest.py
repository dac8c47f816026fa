"""What the tests of networks and of training share."""

import errno
import io
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from traitlets.config import Config

from lib.chips.manifest import write_png
from lib.paths import ROOT

# the same examples in each run, and no limit of time: how busy the machine is says nothing of the code
settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
# nor of the numbers and words in those rooms of lib that other tests have imported into this process by then
providers.HypothesisProvider._local_constants = providers.Constants()


def pytest_configure(config: pytest.Config) -> None:
    """Processes that share a run (pytest-xdist) take files in the order below, not those of most tests first."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: one that is begun last would keep one process busy, and the others idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Chance begins anew with each test and what is made for it, whichever tests ran in this process before."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  what draws from the global state is meant
    torch.manual_seed(0)


@pytest.fixture
def full_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """A function: in its block the disk takes so many files of `write_whole`, and then half of one."""

    @contextmanager
    def block(files: int) -> Iterator[None]:
        begin, begun = Path.open, []

        class Part(io.FileIO):
            def write(self, data: bytes) -> int:
                begun.append(data)
                if len(begun) <= files:
                    return super().write(data)
                super().write(data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")

        def opened(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
            return Part(path, mode) if mode == "ab" else begin(path, mode, *args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", opened)
            yield

    return block


@pytest.fixture
def one_thread():
    """Small maps run no faster on many threads, and the test run may share its cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def local_kernel() -> Iterator[Config]:
    """Config of a kernel that is spoken to through a folder: a free port may be another's before a kernel has it."""
    with tempfile.TemporaryDirectory(prefix="pp-linknet-") as sockets:
        yield Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})


@pytest.fixture(scope="session")
def make_chips() -> Callable[..., pd.DataFrame]:
    """Makes a manifest of chips with a bright cross on dark ground, and a corner that is ignored."""

    def make(folder: Path, count: int, side_px: int = 48, seed: int = 0) -> pd.DataFrame:
        generator, rows = np.random.default_rng(seed), []
        for index in range(count):
            mask = np.zeros((side_px, side_px), np.uint8)
            across, along = generator.integers(8, side_px - 8, 2).tolist()
            cv2.line(mask, (across, 0), (across, side_px), 255, 6)
            cv2.line(mask, (0, along), (side_px, along), 255, 6)
            image = generator.integers(0, 60, (side_px, side_px, 3)).astype(np.uint8) + (mask // 2)[..., None]
            mask[:4, :4] = 127
            image_path = write_png(folder / f"image{seed}_{index}.png", image)
            mask_path = write_png(folder / f"mask{seed}_{index}.png", mask)
            rows.append({"chip": f"chip{index}", "image": str(image_path), "mask": str(mask_path), "gsd_m": 0.5})
        return pd.DataFrame(rows)

    return make


@pytest.fixture(scope="session")
def chips(make_chips, tmp_path_factory):
    """Five chips to train on, three to validate with."""
    folder = tmp_path_factory.mktemp("chips")
    return make_chips(folder, 5), make_chips(folder, 3, seed=1)


@pytest.fixture(scope="session")
def damages() -> Callable[[bytes, int], Iterator[tuple[str, bytes]]]:
    """Bytes of a file, damaged as disks and downloads do: (what was done, bytes); the same at each run."""

    def damage(whole: bytes, count: int) -> Iterator[tuple[str, bytes]]:
        generator = np.random.default_rng(len(whole))
        for number in range(count):
            place = int(generator.integers(len(whole)))
            if number % 2:
                yield f"cut after {place} bytes", whole[:place]
            else:
                flipped = bytearray(whole)
                flipped[place] ^= 1 << int(generator.integers(8))
                yield f"a bit of byte {place} flipped", bytes(flipped)

    return damage


# Forks once a line of its input, so that each run is a process of its own, and imports are paid for once. The process
# is killed at a step, which is a change of what stands in its folder: before or after it, or, of a file that is put in
# its place, with half of its content there.
KILLER = """
import os, signal, sys, traceback
from pathlib import Path

answers, sys.stdout = os.fdopen(os.dup(1), "w"), open(os.devnull, "w")
exec(sys.argv[1])  # defines work(out)

def watch(out, killed_at, moment):
    steps = 0
    def die():
        os.kill(os.getpid(), signal.SIGKILL)
    def watched(name, original):
        def step(path, *args, **options):
            nonlocal steps
            if not str(path).startswith(out) and "dir_fd" not in options:
                return original(path, *args, **options)
            steps += 1
            if steps == killed_at and moment == "half" and ".tmp" in str(path) and os.path.isfile(path):
                os.truncate(path, os.path.getsize(path) // 2)
            if steps == killed_at and moment != "after":
                die()
            result = original(path, *args, **options)
            if steps == killed_at:
                die()
            return result
        return step
    for name in ("replace", "unlink", "mkdir", "rmdir"):
        setattr(os, name, watched(name, getattr(os, name)))
    return lambda: steps

print("ready", file=answers, flush=True)
for line in sys.stdin:
    killed_at, moment, out = line.rstrip().split(" ", 2)
    child = os.fork()
    if not child:
        steps = watch(out, int(killed_at), moment)
        try:
            work(Path(out))
            print(steps(), file=answers, flush=True)
        except BaseException:
            print(" ".join(traceback.format_exc().split()), file=answers, flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        print("killed", file=answers, flush=True)
"""


class Killer:
    """Runs a script's `work(out)` in processes that are killed at a chosen step, and compares what they leave."""

    MOMENTS = ("before", "half", "after")

    def __init__(self, script: str, folder: Path) -> None:
        command = [sys.executable, "-W", "ignore", "-c", KILLER, script, folder]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"
        self.folder = folder
        self.count = 0

    def run(self, out: Path, killed_at: int = 0, moment: str = "before") -> str:
        """Work once; "killed", or the number of steps that it took."""
        self.process.stdin.write(f"{killed_at} {moment} {out}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def fresh(self) -> Path:
        """A folder that is not there yet."""
        self.count += 1
        return self.folder / f"out{self.count}"

    def whole(self) -> tuple[Path, int]:
        """Folder of a run that nobody kills, and how many steps it takes."""
        out = self.fresh()
        return out, int(self.run(out))


@pytest.fixture(scope="session")
def killer(tmp_path_factory) -> Iterator[Callable[[str], Killer]]:
    """Makes a `Killer` of a script; in it, sys.argv[2] is a folder for what `work` reads."""
    started = []

    def start(script: str) -> Killer:
        started.append(Killer(script, tmp_path_factory.mktemp("killed")))
        return started[-1]

    yield start
    for one in started:
        one.process.stdin.close()
        one.process.wait()


@pytest.fixture(scope="session")
def left_in() -> Callable[[Path], dict[str, bytes]]:
    """What lies in a folder: name -> content, without the locks, which stay."""

    def read(folder: Path) -> dict[str, bytes]:
        paths = sorted(path for path in folder.rglob("*") if path.suffix != ".lock")
        return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in paths}

    return read
