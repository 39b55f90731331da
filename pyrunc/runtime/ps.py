"""ps: the processes of a container, as the host numbers them."""

from __future__ import annotations

from pyrunc.linux.cgroups.processes import procs
from pyrunc.runtime import store


def list_processes(state_root: str, container_id: str) -> list[int]:
    """Of the container's cgroup and those below it; of one without cgroups the init alone, if it lives.

    Raises PyruncError NOT_FOUND.
    """
    state = store.load(state_root, container_id)
    if state.cgroup_paths:
        return procs(state.cgroup_paths)
    return [state.pid] if store.read_status(state_root, state, lambda _paths: False) != "stopped" else []
