"""delete: take away what create made, then run the poststop hooks."""

from __future__ import annotations

import posix
from select import POLLIN

from pyrunc import log
from pyrunc.errors import INTERNAL, NOT_FOUND, PyruncError, doing
from pyrunc.kernel.procfs import is_alive
from pyrunc.linux.cgroups.files import is_frozen
from pyrunc.linux.cgroups.remove import remove as remove_cgroups
from pyrunc.runtime import store
from pyrunc.runtime.lifecycle import STOPPED, require
from pyrunc.runtime.state import cgroup_tools, status_of
from pyrunc.waiting import finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.waiting import Work

_SIGKILL = 9
_LONGEST_WAIT_SECONDS = 10.0


def delete(state_root: str, container_id: str, *, force: bool) -> bool:
    """Raises PyruncError; with `force` a container that isn't there is no error (False), one that runs is
    killed, and one that a crash left half-made goes too."""
    return finish(deletion(state_root, container_id, force=force))


def deletion(state_root: str, container_id: str, *, force: bool) -> Work[bool]:
    """As `delete`, for a caller with more in hand: it waits for the end of what it kills. Executions that are
    the caller's children have to be reaped meanwhile, for the init does not end before they are gone."""
    with doing(f"delete container {container_id}"):
        return (yield from _lock_and_delete(state_root, container_id, force))


def _lock_and_delete(state_root: str, container_id: str, force: bool) -> Work[bool]:
    try:
        lock = store.lock(state_root, container_id)
    except PyruncError as error:
        if force and error.kind == NOT_FOUND:
            store.check_id(container_id)
            return False
        raise
    try:
        yield from _delete(state_root, container_id, force)
    finally:
        posix.close(lock)
    return True


def _delete(state_root: str, container_id: str, force: bool) -> Work[None]:
    try:
        state = store.load(state_root, container_id)
    except PyruncError as error:
        # No state.json: create died before it had anything but its directory. Or somebody was faster.
        if force and error.kind == NOT_FOUND:
            store.remove(state_root, container_id)
            return
        raise
    if state.systemd_unit:
        _systemd()  # now: where it has to be fetched, the whole call begins anew
    status = status_of(state_root, state)
    if not force:
        require("delete", container_id, status)
    if status != STOPPED:
        yield from ending(state)
    elif not state.has_own_pid_namespace:
        cgroup_tools("processes").kill_all(state.cgroup_paths, _SIGKILL)
    destroy(state_root, state)


def _systemd() -> Any:
    return __import__("pyrunc.linux.cgroups.systemd", fromlist=("",))  # few containers are in a unit


def end(state: store.State) -> None:
    """As `ending`, here and now."""
    finish(ending(state))


def ending(state: store.State) -> Work[None]:
    """Kill the init, and wait until it is gone, for which its descriptor tells us."""
    if not state.pid:
        _end_nameless(state)
        return
    if not is_alive(state.pid, state.start_time):
        return
    try:
        pidfd = posix.pidfd_open(state.pid)
    except ProcessLookupError:
        return
    try:
        if is_alive(state.pid, state.start_time):
            signals: Any = __import__(
                "pyrunc.kernel.signals", fromlist=("",)
            )  # most have ended by themselves
            signals.send(pidfd, _SIGKILL)
            if not state.has_own_pid_namespace:
                cgroup_tools("processes").kill_all(state.cgroup_paths, _SIGKILL)
            if is_frozen(state.cgroup_paths):
                cgroup_tools("freezer").thaw(state.cgroup_paths)
            yield pidfd, POLLIN, _LONGEST_WAIT_SECONDS
            if is_alive(state.pid, state.start_time):
                raise PyruncError(INTERNAL, "container init still running", state.id)
    except ProcessLookupError:
        pass
    finally:
        posix.close(pidfd)


def _end_nameless(state: store.State) -> None:
    """A create that was killed before it could save the pid may have left its stub waiting in the container's
    cgroup. Only that is ended: by what it executes, for the cgroup might be somebody else's. (A child that is
    no stub yet holds the container's lock, as its parent did.)"""
    for pid in cgroup_tools("processes").procs(state.cgroup_paths) if state.cgroup_paths else ():
        try:
            if posix.readlink(f"/proc/{pid}/exe").startswith("/memfd:stub "):
                posix.kill(pid, _SIGKILL)
        except (FileNotFoundError, ProcessLookupError):
            continue


def destroy(state_root: str, state: store.State) -> None:
    """In this order, so that a crash in between leaves what a second delete finds: cgroups, state, hooks."""
    hooks: Any = None
    if state.has_poststop:
        hooks = __import__("pyrunc.runtime.poststop", fromlist=("",))
        hooks = hooks.load(state_root, state)
    if state.systemd_unit:
        _systemd().stop_unit(state.systemd_unit, is_user=state.is_user_unit)
    if state.resctrl_groups:
        resctrl: Any = __import__("pyrunc.linux.intelrdt", fromlist=("",))  # few processors have it
        resctrl.remove_groups(state.resctrl_groups)
    remove_cgroups(state.cgroup_paths)
    store.remove(state_root, state.id)
    log.debug(f"{state.id}: deleted")
    if hooks is not None:
        hooks.run()
