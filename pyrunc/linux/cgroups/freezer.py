"""Freeze and thaw a cgroup: v1's freezer controller, v2's cgroup.freeze."""

from __future__ import annotations

import posix
import select
import time

from pyrunc.errors import INTERNAL, UNSUPPORTED, PyruncError
from pyrunc.linux.cgroups.files import GONE, Paths, flat_keyed, place_of, read_if_there, write_file
from pyrunc.linux.cgroups.files import is_frozen as is_frozen  # there for those who only ask

_TIMEOUT_SECONDS = 5.0
_FIRST_NAP_SECONDS, _LONGEST_NAP_SECONDS = 0.000_05, 0.01
_TRIES_BEFORE_THAW = 10


def freeze(paths: Paths) -> None:
    """Returns when every process has stopped. If some don't in time, thaws again and raises PyruncError."""
    _set(paths, frozen=True)


def thaw(paths: Paths) -> None:
    """In a cgroup that has gone meanwhile nobody is frozen."""
    _set(paths, frozen=False)


def _set(paths: Paths, *, frozen: bool) -> None:
    what = "unable to freeze" if frozen else "unable to thaw"
    directory = place_of(paths, "freezer")
    unified = dict(paths).get("", "")
    try:
        if directory and frozen:
            _freeze_v1(directory)
        elif directory:
            write_file(f"{directory}/freezer.state", "THAWED")
        elif unified:
            _set_v2(unified, frozen=frozen)
        else:
            raise PyruncError(UNSUPPORTED, what, "", "the container has no cgroup that can be frozen")
    except OSError as error:
        if not frozen and error.errno in GONE:
            return
        hint = "cgroup v2 can freeze since Linux 5.2" if error.errno in GONE and not directory else ""
        raise PyruncError.from_errno(error.errno or 0, what, directory or unified, hint) from error


def _freeze_v1(directory: str) -> None:
    """The kernel freezes those it can and says FREEZING while others are left, which happens when one waits
    for another (vfork); asking again helps, and so does letting them run a moment. Nothing tells us when it
    is time to look, but reading the state makes the kernel look itself."""
    path = f"{directory}/freezer.state"
    deadline, nap = time.monotonic() + _TIMEOUT_SECONDS, _FIRST_NAP_SECONDS
    tries = 0
    while True:
        write_file(path, "FROZEN")
        if read_if_there(path) in ("FROZEN\n", None):
            return
        tries += 1
        if time.monotonic() > deadline:
            write_file(path, "THAWED")
            raise _too_late(directory)
        if tries % _TRIES_BEFORE_THAW == 0:
            write_file(path, "THAWED")
        time.sleep(nap)
        nap = min(nap * 2, _LONGEST_NAP_SECONDS)


def _set_v2(directory: str, *, frozen: bool) -> None:
    """cgroup.events tells when all have stopped: it is readable at any time and wakes a poll on change."""
    events = posix.open(f"{directory}/cgroup.events", posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        write_file(f"{directory}/cgroup.freeze", "1" if frozen else "0")
        if not frozen:
            return
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while flat_keyed(posix.pread(events, 4096, 0).decode()).get("frozen") != 1:
            left = deadline - time.monotonic()
            if left <= 0:
                write_file(f"{directory}/cgroup.freeze", "0")
                raise _too_late(directory)
            poll.poll(left * 1000)
    finally:
        posix.close(events)


def _too_late(directory: str) -> PyruncError:
    why = f"a process did not stop within {_TIMEOUT_SECONDS:.0f} seconds"
    return PyruncError(INTERNAL, "unable to freeze", directory, why, "it may hang in the kernel (state D)")
