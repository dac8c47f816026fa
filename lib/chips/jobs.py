"""Many independent jobs: here one after the other, on all cores of this machine, or on a Dask cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from lib.errors import ParameterError
from lib.paths import ROOT

if TYPE_CHECKING:
    import distributed

WORTH_S = 20.0  # work that takes longer than this is shared out over the cores: workers need seconds to start
REACH_S = 60.0  # patience with a scheduler that does not answer, or has no worker yet
ORPHANED_S = 120  # workers without work for so long end by themselves: the run that started them was killed
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
    """
    jobs = iter(jobs)
    started, done = time.monotonic(), 0
    while not scheduler and not _worth_sharing(time.monotonic() - started, done, count):
        job = next(jobs, None)
        if job is None:
            return
        yield job, work(job)
        done += 1
    with _connected(scheduler) as client:
        yield from _shared_out(client, work, jobs)


def _worth_sharing(elapsed_s: float, done: int, count: int) -> bool:
    from dask.system import CPU_COUNT

    return CPU_COUNT > 1 and done > 0 and elapsed_s / done * (count - done) > WORTH_S


def _shared_out(
    client: distributed.Client, work: Callable[[Job], Result], jobs: Iterator[Job]
) -> Iterator[tuple[Job, Result]]:
    from distributed import wait

    running = {}
    while True:
        room = JOBS_A_CORE * max(1, sum(client.nthreads().values())) - len(running)
        for job in islice(jobs, max(0, room)):
            running[client.submit(work, job, pure=False)] = job
        if not running:
            return
        try:
            done, _ = wait(list(running), timeout=REACH_S, return_when="FIRST_COMPLETED")
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
    """A client of the scheduler, or of workers on this machine, one a core, which end with it."""
    from distributed import Client

    if not scheduler:
        with _all_cores() as cluster, Client(cluster) as client:
            yield client
        return
    try:
        client = Client(scheduler, timeout=REACH_S)
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"No Dask scheduler answers at {scheduler!r} (`dask scheduler` starts one): {error}"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=REACH_S)
        except TimeoutError as error:
            raise ParameterError(f"{scheduler} has no workers; start some: `dask worker {scheduler}`.") from error
        yield client


def _all_cores() -> distributed.SpecCluster:
    """Workers on this machine, one a core; started afresh, so that a script needs no guard around its main part."""
    from dask.system import CPU_COUNT
    from distributed.deploy.subprocess import SubprocessCluster

    find_lib = [f"import sys; sys.path.insert(0, {str(ROOT)!r})"]  # of this checkout, wherever the run was started
    return SubprocessCluster(
        n_workers=CPU_COUNT,
        threads_per_worker=1,
        dashboard_address=None,
        scheduler_kwargs={"idle_timeout": f"{ORPHANED_S} s", "preload": find_lib},
        worker_kwargs={
            "silence_logs": logging.ERROR,
            "dashboard": False,
            "death_timeout": ORPHANED_S,
            "preload": find_lib,
        },
        silence_logs=logging.ERROR,
    )
