"""pause and resume: freeze and thaw the container's cgroup."""

from __future__ import annotations

import posix

from pyrunc.linux.cgroups.freezer import freeze, thaw
from pyrunc.runtime import store
from pyrunc.runtime.lifecycle import require
from pyrunc.runtime.state import status_of


def pause(state_root: str, container_id: str) -> None:
    """Returns when every process has stopped. Raises PyruncError."""
    _change(state_root, container_id, "pause")


def resume(state_root: str, container_id: str) -> None:
    _change(state_root, container_id, "resume")


def _change(state_root: str, container_id: str, verb: str) -> None:
    state = store.load(state_root, container_id)
    lock = store.lock(state_root, container_id)
    try:
        require(verb, container_id, status_of(state_root, state))
        (freeze if verb == "pause" else thaw)(state.cgroup_paths)
    finally:
        posix.close(lock)
