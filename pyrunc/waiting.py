"""Work that waits for others: a generator, so that whoever does it may do something else meanwhile.

    def answered(fd: int) -> Work[bytes]:
        yield Wait(fd, POLLIN)              # resumed when there is something, or when the time is over
        return posix.read(fd, 4096)

    finish(answered(fd))                    # here and now: waits where it waits

The command line does one thing and calls `finish`; a process with more in hand (spawner.server) resumes each
work when what it waits for has come. To give up is to close the generator: it undoes then what it has done.
"""

from __future__ import annotations

from select import poll
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeAlias, TypeVar

    _T = TypeVar("_T")
    Work: TypeAlias = "Generator[Wait, None, _T]"


class Wait:
    """For one of `events` (POLL*, poll(2); the end of the other side always counts) of `fd`, or, if it has
    one, until `deadline` (CLOCK_MONOTONIC, seconds). Which of the two it was is not told."""

    __slots__ = ("deadline", "events", "fd")

    def __init__(self, fd: int, events: int, deadline: float | None = None) -> None:
        self.fd, self.events, self.deadline = fd, events, deadline

    def seconds_left(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - monotonic())


def finish(work: Work[_T]) -> _T:
    """What it returns. Raises what it raises; what is raised here meanwhile, by a signal, ends it first."""
    try:
        while True:
            wait = next(work)
            watch = poll()
            watch.register(wait.fd, wait.events)
            left = wait.seconds_left()
            watch.poll(None if left is None else left * 1000)
    except StopIteration as done:
        value: _T = done.value
        return value
    finally:
        work.close()
