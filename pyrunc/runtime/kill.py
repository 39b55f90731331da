"""kill: a signal for a container's init, or for all its processes."""

from __future__ import annotations

import posix

from pyrunc.errors import WRONG_STATE, PyruncError, doing
from pyrunc.kernel import signals
from pyrunc.kernel.procfs import is_alive
from pyrunc.linux.cgroups.files import is_frozen
from pyrunc.runtime import store
from pyrunc.runtime.lifecycle import require
from pyrunc.runtime.state import cgroup_tools, status_of

_SIGKILL = 9


def kill(state_root: str, container_id: str, signal: int, *, everyone: bool) -> None:
    """Raises PyruncError. With `everyone` a container that is not running is no error (runc's rule).

    Without a pid namespace of its own the end of init ends nobody else: KILL then is for all of the cgroup.
    """
    state = store.load(state_root, container_id)
    if everyone:
        cgroup_tools("processes").kill_all(state.cgroup_paths, signal)
        return
    require("kill", container_id, status_of(state_root, state))
    if signal == _SIGKILL and not state.has_own_pid_namespace and state.cgroup_paths:
        cgroup_tools("processes").kill_all(state.cgroup_paths, signal)
        return
    _signal_init(state, signal)
    if signal == _SIGKILL and is_frozen(state.cgroup_paths):
        cgroup_tools("freezer").thaw(state.cgroup_paths)  # v1 delivers it only then


def _signal_init(state: store.State, signal: int) -> None:
    """By a descriptor, so that the pid can't have become another process in between."""
    with doing("kill container", state.id):
        try:
            pidfd = posix.pidfd_open(state.pid)
        except ProcessLookupError:
            raise PyruncError(WRONG_STATE, "container not running") from None
        try:
            if not is_alive(state.pid, state.start_time):
                raise PyruncError(WRONG_STATE, "container not running")
            signals.send(pidfd, signal)
        finally:
            posix.close(pidfd)
