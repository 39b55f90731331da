"""The kernel's view of a container's cgroups, whichever version this host has."""

from __future__ import annotations

from pathlib import Path

from support import host


def memberships(pid: int | str = "self") -> dict[str, str]:
    """Controller (name=… and "" included) to the path in /proc/PID/cgroup."""
    found = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def directory(pid: int, controller: str) -> Path:
    """The cgroup of a process: of this controller on v1, of the unified hierarchy on v2."""
    if host.PURE_CGROUP2:
        assert host.CGROUP2 is not None
        return Path(f"{host.CGROUP2}{memberships(pid)['']}")
    return Path(f"{host.CGROUP1[controller]}{memberships(pid)[controller]}")


def read(pid: int, controller: str, name1: str, name2: str) -> str:
    """The content of the file that is `name1` on v1 and `name2` on v2."""
    name = name2 if host.PURE_CGROUP2 else name1
    return (directory(pid, controller) / name).read_text().strip()
