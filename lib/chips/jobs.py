"""
Many independent jobs: here one after the other, on all cores of this machine, or on a Dask cluster.

On one machine jobs go down pipes to processes that nobody else can reach: Dask's workers listen on ports, and do what
anybody asks who can connect. The standard library's pools import a script's main part again, which has to be guarded
then, and are broken when one of their processes dies.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from itertools import islice
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from lib.errors import ParameterError, WorkerError
from lib.paths import ROOT

if TYPE_CHECKING:
    import distributed

WORTH_S = 20.0  # work that takes longer than this is shared out over the cores: workers need seconds to start
REACH_S = 60.0  # patience with a scheduler that does not answer, or has no worker yet
TRIES = 3  # processes that may die of a job before it is given up
JOBS_A_CORE = 3  # in flight: enough that none waits for the next, few enough that memory does not grow with the area

Job, Result = TypeVar("Job"), TypeVar("Result")


def run_jobs(
    work: Callable[[Job], Result], jobs: Iterable[Job], count: int, scheduler: str = ""
) -> Iterator[tuple[Job, Result]]:
    """
    Jobs with their results, as they are done.

    Small work runs here. If the first jobs show that the rest would take longer than WORTH_S, it is shared out over
    the cores. A job whose worker dies is given to another one.

    Parameters
    ----------
    work
        Function of one job, importable by name; doing a job twice must do no harm.
    jobs
        Drawn a few at a time, so that not all of them lie in memory.
    count
        How many jobs there are, about.
    scheduler
        Address of a Dask scheduler, such as "tcp://10.0.0.5:8786", whose workers have this project and see the same
        files under the same paths; "" for this machine.

    Raises
    ------
    ParameterError
        If no scheduler answers at that address, or it has no workers (any more).
    WorkerError
        If processes of this machine die of a job, one after the other.
    """
    jobs = iter(jobs)
    started, done = time.monotonic(), 0
    while not scheduler and not _worth_sharing(time.monotonic() - started, done, count):
        job = next(jobs, None)
        if job is None:
            return
        yield job, work(job)
        done += 1
    if scheduler:
        with _connected(scheduler) as client:
            yield from _on_cluster(client, partial(_one_thread, work), jobs)
    else:
        yield from _on_all_cores(work, jobs)


def _worth_sharing(elapsed_s: float, done: int, count: int) -> bool:
    if not done or elapsed_s / done * (count - done) <= WORTH_S:
        return False
    from dask.system import CPU_COUNT  # here, since small work is done before Dask is imported

    return CPU_COUNT > 1


def _one_thread(work: Callable[[Job], Result], job: Job) -> Result:
    """Do a job with OpenCV on the thread that calls it; else each of many workers takes all cores of the machine."""
    import cv2

    cv2.setNumThreads(1)
    return work(job)


def _on_all_cores(work: Callable[[Job], Result], jobs: Iterator[Job]) -> Iterator[tuple[Job, Result]]:
    from dask.system import CPU_COUNT

    helpers = [_Helper() for _ in range(CPU_COUNT)]
    idle: SimpleQueue[_Helper] = SimpleQueue()
    for helper in helpers:
        idle.put(helper)

    def do(job: Job) -> Result:
        helper = idle.get()
        try:
            return helper.do(work, job)
        finally:
            idle.put(helper)

    with ThreadPoolExecutor(CPU_COUNT) as threads:
        running: dict[Future[Result], Job] = {}
        try:
            while True:
                for job in islice(jobs, JOBS_A_CORE * CPU_COUNT - len(running)):
                    running[threads.submit(do, job)] = job
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        finally:  # also where nobody wants the rest
            threads.shutdown(wait=False, cancel_futures=True)
            for helper in helpers:
                helper.end()


class _Helper:
    """A process of this Python that does jobs, one at a time; it ends when this one does, since its pipe does."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._starting = Lock()  # none is started after the end

    def do(self, work: Callable[[Job], Result], job: Job) -> Result:
        """Result of a job; if the process dies of it, another one tries."""
        task, code = pickle.dumps((work, job)), None
        for _ in range(TRIES):
            with self._starting:
                if self._ended:
                    break
                process = self._process = self._process or _start()
            try:
                process.stdin.write(task)
                process.stdin.flush()
                done, result = pickle.load(process.stdout)
            except (EOFError, OSError, pickle.UnpicklingError):
                process.kill()
                code, self._process = process.wait(), None
                continue
            if done:
                return result
            raise result
        raise WorkerError(
            f"{TRIES} processes died of one job (the last with code {code}; -9 is most often a full memory). Close "
            "other programs or leave out the largest scenes, and run again: it goes on where it was."
        )

    def end(self) -> None:
        """End the process, whatever it is doing."""
        with self._starting:
            self._ended, process = True, self._process
        if process is not None:
            process.kill()
            process.wait()


def _start() -> subprocess.Popen[bytes]:
    """A process that runs `_serve`, of this checkout, wherever the run was started; Ctrl-C is this one's to handle."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lib.chips.jobs import _serve; _serve()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True, **pipes)


def _serve() -> None:
    """Read jobs from standard input until it ends, and write what became of each: (True, result) or (False, error)."""
    jobs, results = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the work prints is no result
    while True:
        try:
            work, job = pickle.load(jobs)
        except EOFError:
            return
        try:
            answer = True, _one_thread(work, job)
        except Exception as error:  # noqa: BLE001  the caller raises it
            error.add_note(traceback.format_exc())
            answer = False, error
        results.write(pickle.dumps(answer))
        results.flush()


def _on_cluster(
    client: distributed.Client, work: Callable[[Job], Result], jobs: Iterator[Job]
) -> Iterator[tuple[Job, Result]]:
    from distributed import wait as wait_for

    running = {}
    while True:
        room = JOBS_A_CORE * max(1, sum(client.nthreads().values())) - len(running)
        for job in islice(jobs, max(0, room)):
            running[client.submit(work, job, pure=False)] = job
        if not running:
            return
        try:
            done, _ = wait_for(list(running), timeout=REACH_S, return_when="FIRST_COMPLETED")
        except TimeoutError:
            if not client.nthreads():
                raise ParameterError(
                    f"All workers of {client.scheduler.address} are gone; run again to go on."
                ) from None
            continue
        for future in done:
            try:
                result = future.result(timeout=REACH_S)
            except TimeoutError:
                if future.status == "error":
                    raise  # of the work itself
                continue  # the worker died with the result in its hands: the job is another one's now
            yield running.pop(future), result


@contextmanager
def _connected(scheduler: str) -> Iterator[distributed.Client]:
    """A client of the scheduler, as soon as it has workers."""
    from distributed import Client

    try:
        client = Client(scheduler, timeout=REACH_S)
    except (OSError, TypeError, ValueError) as error:  # TypeError: an address of TLS, without certificates
        raise ParameterError(
            f"No Dask scheduler answers at {scheduler!r} (`dask scheduler` starts one): {error}"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=REACH_S)
        except TimeoutError as error:
            raise ParameterError(f"{scheduler} has no workers; start some: `dask worker {scheduler}`.") from error
        yield client
