"""kill: a signal for a container's init, or for all its processes."""

from __future__ import annotations

import posix

from pyrunc.errors import WRONG_STATE, PyruncError, doing
from pyrunc.kernel import signals
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
    with doing("kill container", state.id):
        pidfd = _open_init(state)
        try:
            require("kill", container_id, status_of(state_root, state))
            if signal == _SIGKILL and not state.has_own_pid_namespace and state.cgroup_paths:
                cgroup_tools("processes").kill_all(state.cgroup_paths, signal)
                return
            _send(pidfd, signal)
        finally:
            if pidfd >= 0:
                posix.close(pidfd)
    if signal == _SIGKILL and is_frozen(state.cgroup_paths):
        cgroup_tools("freezer").thaw(state.cgroup_paths)  # v1 delivers it only then


def _open_init(state: store.State) -> int:
    """Before it is asked whether the pid is still the container's: so it can't become another process between
    that and the signal. -1 if there is none."""
    try:
        return posix.pidfd_open(state.pid) if state.pid else -1
    except ProcessLookupError:
        return -1


def _send(pidfd: int, signal: int) -> None:
    try:
        signals.send(pidfd, signal)
    except ProcessLookupError:
        raise PyruncError(WRONG_STATE, "container not running") from None
