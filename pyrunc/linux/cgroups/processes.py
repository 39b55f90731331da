"""Which processes are in a cgroup, and how to signal every one of them."""

from __future__ import annotations

import posix
from errno import EOPNOTSUPP, ESRCH

from pyrunc.errors import PyruncError
from pyrunc.kernel.procfs import read_text
from pyrunc.linux.cgroups import freezer
from pyrunc.linux.cgroups.files import GONE, Paths, is_v2, place_of, read_if_there, subtree, write_file

_SIGKILL = 9
_PASSES = 20


def read_processes(directory: str) -> list[int]:
    """The processes in one cgroup: none if it is gone. 0 stands for one of another pid namespace."""
    try:
        text = read_text(f"{directory}/cgroup.procs")
    except OSError as error:
        if error.errno == EOPNOTSUPP:
            return _owners_of_threads(directory)
        if error.errno in GONE:
            return []
        raise
    return [int(line) for line in text.split() if line != "0"]


def _owners_of_threads(directory: str) -> list[int]:
    """A threaded cgroup of v2 lists no processes, only threads, whose processes may be elsewhere in part."""
    owners = []
    for thread in (read_if_there(f"{directory}/cgroup.threads") or "").split():
        status = read_if_there(f"/proc/{thread}/status")
        if status is not None:
            owners.append(int(status.partition("Tgid:")[2].split(None, 1)[0]))
    return owners


def processes_below(directory: str) -> list[int]:
    """The processes in a cgroup and all below it, in the order of their numbers."""
    found = {pid for path in subtree(directory) for pid in read_processes(path)}
    return sorted(found)


def procs(paths: Paths) -> list[int]:
    """The processes of a container. On v1 they are in all of its hierarchies alike, so one is asked."""
    directory = _main_directory(paths)
    return processes_below(directory) if directory else []


def _main_directory(paths: Paths) -> str:
    """The freezer's, so that what was frozen is what is listed; runc's choice is `devices`."""
    if not paths:
        return ""
    return place_of(paths, "freezer") or place_of(paths, "devices") or paths[0][1]


def kill_all(paths: Paths, signal: int) -> None:
    """Send `signal` to every process of the container, and let none escape by forking. SIGKILL by one write
    where there is cgroup.kill (Linux 5.14); other signals while nobody runs. A container that was paused
    stays so, but for SIGKILL, which a frozen v1 cgroup would keep waiting."""
    unified = dict(paths).get("")
    was_killed = signal == _SIGKILL and bool(unified) and _kill_unified(unified or "")
    if was_killed and is_v2(paths):
        return
    was_frozen = freezer.is_frozen(paths)
    is_frozen = was_frozen or _try_to_freeze(paths)
    try:
        _signal_processes(paths, signal, passes=1 if is_frozen else _PASSES)
    finally:
        if is_frozen and (signal == _SIGKILL or not was_frozen):
            freezer.thaw(paths)


def _kill_unified(directory: str) -> bool:
    """False: no such cgroup, or an older kernel, or a threaded one, which can't be killed like that."""
    try:
        write_file(f"{directory}/cgroup.kill", "1")
    except OSError as error:
        if error.errno in (*GONE, EOPNOTSUPP):
            return False
        raise
    return True


def _try_to_freeze(paths: Paths) -> bool:
    """False where that can't be had, without a freezer or with a process that hangs in the kernel: it
    must not keep us from signalling the others."""
    try:
        freezer.freeze(paths)
    except PyruncError:
        return False
    return True


def _signal_processes(paths: Paths, signal: int, *, passes: int) -> None:
    """Running processes may have forked since they were listed: then look again, for new ones only."""
    signalled: set[int] = set()
    for _ in range(passes):
        new = set(procs(paths)) - signalled
        if not new:
            return
        for pid in new:
            try:
                posix.kill(pid, signal)
            except OSError as error:
                if error.errno != ESRCH:
                    raise PyruncError.from_errno(
                        error.errno or 0, "failed to signal process", str(pid)
                    ) from error
        signalled |= new
