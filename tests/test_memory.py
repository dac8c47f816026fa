"""Memory that stays with the process."""

import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from lib.memory import freed_memory_kept


@pytest.mark.skipif(sys.platform != "linux", reason="an option of glibc's")
def test_freed_memory_is_used_again_within_the_block_and_given_back_after_it():
    pages = 16 * 2**20 // resource.getpagesize()
    with freed_memory_kept():
        faults_of_tensors(16)
        assert faults_of_tensors(16) < pages
        held_gib = own_gib()
        torch.ones(2**28)
        assert own_gib() > held_gib + 0.9
    assert own_gib() < held_gib + 0.1
    with ThreadPoolExecutor(1) as thread:  # where GDAL's helpers are: each thread has a heap of its own
        thread.submit(faults_of_tensors, 1).result()
        assert thread.submit(faults_of_tensors, 1).result() <= pages / 8, "as glibc begins, and not as it would go on"


def faults_of_tensors(mib: int) -> int:
    """Pages that the system hands out for eight tensors, one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.ones(mib * 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def own_gib() -> float:
    """Memory of this process but for pages of files, which the system takes back when others need room."""
    _, resident, of_files, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (resident - of_files) * resource.getpagesize() / 2**30
