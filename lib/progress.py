"""How far long work has come, in lines of text: for terminals, logs and reports, where no bar can move."""

import time
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

PAUSE_S = 5.0  # between two lines

Item = TypeVar("Item")


def counted(items: Collection[Item], done: str, things: str, say: Callable[[str], None] | None) -> Iterator[Item]:
    """
    Hand the items on one by one and say every few seconds, and at the end, how many of them are done.

    Parameters
    ----------
    done, things
        Words around the count: "predicted" and "chips" make "predicted 20 of 60 chips".
    say
        Called with such a line; None says nothing.
    """
    said_s = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        if say is not None and (count == len(items) or time.monotonic() - said_s >= PAUSE_S):
            say(f"{done} {count} of {len(items)} {things}")
            said_s = time.monotonic()


def now_and_then(say: Callable[[str], None]) -> Callable[[str], None]:
    """A function that hands a line on to `say` where the last one was PAUSE_S ago, and keeps it to itself otherwise."""
    said_s = time.monotonic()

    def heard(line: str) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= PAUSE_S:
            say(line)
            said_s = time.monotonic()

    return heard
