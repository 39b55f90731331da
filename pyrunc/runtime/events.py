"""events: what a container uses, at intervals, and when it ran out of memory."""

from __future__ import annotations

import posix
from select import POLLIN, poll
from time import monotonic

from pyrunc.errors import UNSUPPORTED, WRONG_STATE, PyruncError
from pyrunc.linux.cgroups import stats
from pyrunc.linux.cgroups.oom import OomWatch
from pyrunc.runtime import store
from pyrunc.runtime.lifecycle import STOPPED, require
from pyrunc.runtime.state import status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def read_stats(state_root: str, container_id: str) -> dict[str, Any]:
    """The figures of now, in runc's form. Raises PyruncError."""
    state = store.load(state_root, container_id)
    _require_running(state_root, state)
    return stats.read_stats(state.cgroup_paths)


def _require_running(state_root: str, state: store.State) -> None:
    status = status_of(state_root, state)
    if status == STOPPED:
        raise PyruncError(WRONG_STATE, f"container with id {state.id} is not running")
    require("events", state.id, status)


def watch(state_root: str, container_id: str, interval_seconds: float) -> Iterator[dict[str, Any]]:
    """Lines for `pyrunc events`, until the container's init ends. Raises PyruncError."""
    state = store.load(state_root, container_id)
    _require_running(state_root, state)
    try:
        init = posix.pidfd_open(state.pid)
    except ProcessLookupError:
        raise PyruncError(WRONG_STATE, f"container with id {state.id} is not running") from None
    oom = _watch_oom(state)
    watched = poll()
    watched.register(init, POLLIN)
    if oom is not None:
        watched.register(oom.fd, oom.poll_event)
    try:
        deadline = monotonic() + interval_seconds
        while True:
            ready = [fd for fd, _ in watched.poll(max(0.0, deadline - monotonic()) * 1000)]
            if oom is not None and oom.fd in ready:
                times = oom.take()
                if times is None:
                    watched.unregister(oom.fd)
                yield from ({"type": "oom", "id": state.id} for _ in range(times or 0))
            if init in ready:
                return
            if monotonic() >= deadline:
                yield {"type": "stats", "id": state.id, "data": stats.read_stats(state.cgroup_paths)}
                deadline = monotonic() + interval_seconds
    finally:
        posix.close(init)
        if oom is not None:
            oom.close()


def _watch_oom(state: store.State) -> OomWatch | None:
    """None where there is no memory controller: figures are still of use."""
    try:
        return OomWatch(state.cgroup_paths)
    except PyruncError as error:
        if error.kind != UNSUPPORTED:
            raise
        return None
