"""Was it for want of memory? The kernel counts its kills per cgroup; which that is, the process itself tells,
so that it is no matter which runtime made the container."""

from __future__ import annotations

from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.kernel.procfs import parse_cgroup, parse_mountinfo, read_text
from pyrunc.linux.cgroups.oom import OomWatch, count_oom_kills

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.shim.loop import Loop


def find_paths(pid: int) -> tuple[tuple[str, str], ...]:
    """(hierarchy, directory) of the cgroups that `pid` is in, as far as the memory controller may be there:
    its own v1 hierarchy, and the unified one. Raises OSError when it is gone."""
    mounts = parse_mountinfo(read_text("/proc/self/mountinfo"))
    found = []
    for controllers, path in parse_cgroup(read_text(f"/proc/{pid}/cgroup")):
        if controllers and "memory" not in controllers:
            continue
        for mount in mounts:
            options = mount.super_options.split(",")
            if mount.fstype == ("cgroup" if controllers else "cgroup2") and (
                not controllers or "memory" in options
            ):
                below = path.removeprefix(mount.root.rstrip("/"))
                found.append((",".join(controllers), f"{mount.mountpoint}{below}".rstrip("/")))
                break
    return tuple(found)


class Oom:
    """One life of a container. `happened()` is called when the kernel killed in its cgroup. Where nobody
    counts memory there is nothing to watch, and nothing happens."""

    def __init__(self, loop: Loop, pid: int, happened: Callable[[], object]) -> None:
        self._loop, self._happened = loop, happened
        self._paths = find_paths(pid)
        self._before = count_oom_kills(self._paths)
        self._watch: OomWatch | None = None
        try:
            self._watch = OomWatch(self._paths)
        except PyruncError as error:
            if error.kind != UNSUPPORTED:
                raise
            return
        loop.watch(self._watch.fd, self._watch.poll_event, self._look)

    def was_killed(self) -> bool:
        """To be asked before the cgroup is removed."""
        return count_oom_kills(self._paths) > self._before

    def close(self) -> None:
        if self._watch is not None:
            self._loop.forget(self._watch.fd)
            self._watch.close()
            self._watch = None

    def _look(self, _events: int) -> None:
        times = self._watch.take() if self._watch is not None else None
        if times is None:
            self.close()  # the cgroup is gone
        elif times:
            self._happened()
