"""Remove a container's cgroups, and those that it made itself below them."""

from __future__ import annotations

import posix
import select
import time
from errno import EBUSY, ENOTEMPTY, ESRCH

from pyrunc.errors import INTERNAL, PyruncError
from pyrunc.linux.cgroups.files import GONE, Paths, subtree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TIMEOUT_SECONDS = 5.0
_NAP_SECONDS = 0.001


def remove(paths: Paths, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
    """Whoever calls has killed the processes: we wait until the last is gone, but not for ever. Goes on after
    a failure, so that as little as possible stays; then raises the first."""
    failure: PyruncError | None = None
    deadline = time.monotonic() + timeout_seconds
    for _, path in paths:
        try:
            if not _remove_one(path):
                _remove_tree(path, deadline)
        except PyruncError as error:
            failure = failure or error
    if failure is not None:
        raise failure


def _remove_one(path: str) -> bool:
    """False if processes or cgroups are in it."""
    try:
        posix.rmdir(path)
    except OSError as error:
        if error.errno in (EBUSY, ENOTEMPTY):
            return False
        if error.errno not in GONE:
            raise PyruncError.from_errno(error.errno or 0, "unable to remove cgroup", path) from error
    return True


def _remove_tree(path: str, deadline: float) -> None:
    while True:
        busy = [directory for directory in reversed(subtree(path)) if not _remove_one(directory)]
        if not busy:
            return
        # fetched by name: most cgroups are empty when they are removed
        processes: Any = __import__("pyrunc.linux.cgroups.processes", fromlist=("",))
        pids = processes.processes_below(path)
        if time.monotonic() >= deadline:
            raise _left_over(path, busy, pids)
        if pids:
            _wait_for_exit(pids, deadline)
        else:
            # A process leaves its cgroup a moment after it stops being listed. Nothing tells when.
            time.sleep(_NAP_SECONDS)


def _wait_for_exit(pids: list[int], deadline: float) -> None:
    """Until one of them exits: to wait for all could take descriptors without bound."""
    for pid in pids:
        try:
            pidfd = posix.pidfd_open(pid)
        except OSError as error:
            if error.errno == ESRCH:
                return
            raise PyruncError.from_errno(error.errno or 0, "unable to wait for process", str(pid)) from error
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.poll(max(deadline - time.monotonic(), 0) * 1000)
        finally:
            posix.close(pidfd)
        return


def _left_over(path: str, busy: list[str], pids: list[int]) -> PyruncError:
    if pids:
        shown = " ".join(str(pid) for pid in pids[:10])
        why = f"{len(pids)} process(es) left: {shown}"
    else:
        why = f"still in use: {busy[-1]}"
    return PyruncError(INTERNAL, "unable to remove cgroup", path, why, "kill what is left, then delete again")
