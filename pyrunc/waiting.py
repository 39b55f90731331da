"""Work that waits for others: a generator, so that whoever does it may do something else meanwhile.

    def answered(fd: int) -> Work[bytes]:
        yield fd, POLLIN, None              # resumed when there is something
        return posix.read(fd, 4096)

    finish(answered(fd))                    # here and now: waits where it waits

The command line does one thing and calls `finish`; a process with more in hand (spawner.server) resumes each
work when what it waits for has come. To give up is to close the generator: it undoes then what it has done.

What is waited for is a descriptor; some of its events (POLL*, poll(2); the end of the other side always
counts); and so many seconds at most, or None. Which of the two it was is not told. It is a triple and no
class: making that is what each `start` would pay for.
"""

from __future__ import annotations

from select import poll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeAlias, TypeVar

    _T = TypeVar("_T")
    Wait: TypeAlias = tuple[int, int, float | None]
    Work: TypeAlias = Generator[Wait, None, _T]


def finish(work: Work[_T]) -> _T:
    """What it returns. Raises what it raises; what is raised here meanwhile, by a signal, ends it first. That
    the wait itself fails is for the work to tell, which knows what it was for."""
    try:
        fd, events, seconds = next(work)
        while True:
            watch = poll()
            watch.register(fd, events)
            try:
                watch.poll(None if seconds is None else seconds * 1000)
            except OSError as error:
                fd, events, seconds = work.throw(error)
            else:
                fd, events, seconds = next(work)
    except StopIteration as done:
        value: _T = done.value
        return value
    finally:
        work.close()
