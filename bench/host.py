"""What the kernel does for a measurement: a private view of mounts, adoption of orphans, and its accounts."""

from __future__ import annotations

import ctypes
import os
import select
from pathlib import Path

_CLONE_NEWNS, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 0x20000, 0x4000, 0x40000, 2
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def adopt_orphans() -> None:
    """An init whose runtime has returned becomes our child: we see its end, and leave no zombie."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def hide(paths: list[str]) -> None:
    """Unmount them, for us and our children alone. crun refuses a hybrid cgroup layout:
    `--hide /sys/fs/cgroup/unified`."""
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _check(_libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None), "/")
    for path in paths:
        _check(_libc.umount2(os.fsencode(path), _MNT_DETACH), path)


def step_forward() -> None:
    """Ahead of the rest of a busy machine. Where the kernel groups tasks by session, being nice counts only
    within one: the session itself has to be moved up."""
    if os.getpid() != os.getsid(0):
        try:
            os.setsid()
        except PermissionError:  # we lead a process group
            pass
    lift_session(os.getpid())
    os.setpriority(os.PRIO_PROCESS, 0, -20)


def lift_session(pid: int) -> None:
    """The one that the process is in: a spawner has one of its own, and would stay behind."""
    try:
        Path(f"/proc/{pid}/autogroup").write_text("-20")
    except OSError:  # this kernel does not group tasks so
        pass


def cpu_ms(pid: int) -> float:
    """What the process has used of the CPU until now; not its children."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def held_kib(pid: int) -> int:
    """The process's share of memory (PSS)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def own_kib(pid: int) -> int:
    """Resident memory, the interpreter's included."""
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))


def await_end(pid: int, seconds: float = 20) -> None:
    """Of a process that we have adopted, or somebody else's."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([pidfd], [], [], seconds)[0]:
            raise TimeoutError(f"process {pid} has not ended")
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass
    finally:
        os.close(pidfd)
