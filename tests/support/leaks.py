"""What a container can leave behind, asked of the kernel: mounts, cgroups, processes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from pathlib import Path

from support import host
from support.facts import mounts
from support.waiting import until

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """A container that outlives its runtime becomes our child, as it would a shim's: we see its exit
    status, and whatever process is left when a test is over is found among our children."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(int(pid) for pid in (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended, such as a timer's
            continue
    return found


def state_of(pid: int) -> str:
    """The state letter of /proc/PID/stat; X when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def describe(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return f"{pid} ({state_of(pid)}) {words}"
    except FileNotFoundError:
        return f"{pid} (gone)"


def reap(pid: int, seconds: float = 30) -> int:
    """The exit status of a child that was reparented to us, as waitstatus_to_exitcode gives it."""
    _, status = until(lambda: _waited(pid), f"process {describe(pid)} ends", seconds)
    return os.waitstatus_to_exitcode(status)


def _waited(pid: int) -> tuple[int, int] | None:
    done, status = os.waitpid(pid, os.WNOHANG)
    return (done, status) if done else None


def reap_orphans(known: set[int]) -> set[int]:
    """Collects every zombie child that is not `known`; returns the pids of those that still live."""
    alive = set()
    for pid in children() - known:
        if state_of(pid) == "Z":
            os.waitpid(pid, 0)
        else:
            alive.add(pid)
    return alive


def kill_orphans(known: set[int]) -> None:
    """Ends every child that is not `known`, and the children that those leave to us."""

    def killed() -> bool:
        left = reap_orphans(known)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return not left

    until(killed, "killed leftovers are gone")


def mounts_below(directory: Path) -> list[str]:
    text = Path("/proc/self/mountinfo").read_text()
    inside = str(directory.resolve()) + "/"
    return [mount.target for mount in mounts(text) if (mount.target + "/").startswith(inside)]


def _hierarchies() -> list[Path]:
    return sorted({*host.CGROUP1.values(), *([host.CGROUP2] if host.CGROUP2 else [])})


def cgroups(name: str) -> list[Path]:
    """Every cgroup directory of any hierarchy whose name holds `name`."""
    found = []
    for root in _hierarchies():
        for directory, names, _ in os.walk(root):
            found += [Path(directory, entry) for entry in names if name in entry]
    return found


def cgroups_at(path: str) -> list[Path]:
    """The cgroup of this path, "/a/b", in each hierarchy where it is."""
    found = [Path(f"{root}{path}") for root in _hierarchies()]
    return [each for each in found if each.is_dir()]


class Watch:
    """Compares the machine after a test with the machine before it."""

    def __init__(self, work: Path, prefix: str) -> None:
        self.work, self.prefix = work, prefix
        self.children = children()

    def _left(self) -> list[str]:
        left = [f"process {describe(pid)}" for pid in sorted(reap_orphans(self.children))]
        left += [f"mount {target}" for target in mounts_below(self.work)]
        left += [f"cgroup {path}" for path in cgroups(self.prefix)]
        state = self.work / "state"
        if state.is_dir():
            left += [f"state {state / name}" for name in os.listdir(state)]
        return left

    def require_clean(self, seconds: float = 10) -> None:
        """Nothing is left; a process that is just ending is given time. Removes what it complains about,
        so that one test's leak is not the next one's failure."""
        try:
            until(lambda: not self._left(), "nothing is left", seconds)
        except AssertionError:
            left = self._left()
            self._remove()
            if left:
                raise AssertionError("left behind:\n  " + "\n  ".join(left)) from None

    def _remove(self) -> None:
        kill_orphans(self.children)
        for target in reversed(mounts_below(self.work)):
            subprocess.run(["umount", "--lazy", target], check=False)
        for path in reversed(cgroups(self.prefix)):
            path.rmdir()
