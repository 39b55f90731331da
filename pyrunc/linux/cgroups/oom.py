"""Learn when a container runs out of memory."""

from __future__ import annotations

import posix
import select

from pyrunc.errors import UNSUPPORTED, PyruncError
from pyrunc.linux.cgroups.files import GONE, Paths, flat_keyed, place_of, read_if_there, write_file


class OomWatch:
    """Wait on `fd` for `poll_event`, then ask `take()`: how many times since it was last asked, or None when
    the cgroup is gone. v1 signals an eventfd; on v2 memory.events wakes a poll when it changes."""

    __slots__ = ("_control", "_count", "_v1_directory", "fd", "poll_event")

    def __init__(self, paths: Paths) -> None:
        self._count = 0
        self._control = -1
        self._v1_directory = place_of(paths, "memory")
        unified = dict(paths).get("", "")
        if not self._v1_directory and not unified:
            raise PyruncError(UNSUPPORTED, "cannot watch for OOM", "", "the container has no memory cgroup")
        try:
            if self._v1_directory:
                self._open_v1()
            else:
                self._open_v2(unified)
        except OSError as error:
            raise PyruncError.from_errno(
                error.errno or 0, "cannot watch for OOM", self._v1_directory or unified
            ) from error

    def _open_v1(self) -> None:
        """The eventfd is signalled at each OOM, and once more when the cgroup is removed."""
        self.poll_event = select.POLLIN
        self.fd = posix.eventfd(0, posix.EFD_CLOEXEC | posix.EFD_NONBLOCK)
        try:
            flags = posix.O_RDONLY | posix.O_CLOEXEC
            self._control = posix.open(f"{self._v1_directory}/memory.oom_control", flags)
            write_file(f"{self._v1_directory}/cgroup.event_control", f"{self.fd} {self._control}")
        except OSError:
            self.close()
            raise

    def _open_v2(self, directory: str) -> None:
        self.poll_event = select.POLLPRI
        self.fd = posix.open(f"{directory}/memory.events", posix.O_RDONLY | posix.O_CLOEXEC)
        self._count = self._read_v2() or 0

    def _read_v2(self) -> int | None:
        """`oom_kill`, as in runc: kills for the sake of a limit above ours count, too."""
        try:
            return flat_keyed(posix.pread(self.fd, 4096, 0).decode()).get("oom_kill", 0)
        except OSError as error:
            if error.errno in GONE:
                return None
            raise

    def take(self) -> int | None:
        if self._v1_directory:
            if read_if_there(f"{self._v1_directory}/memory.oom_control") is None:
                return None
            try:
                return posix.eventfd_read(self.fd)
            except BlockingIOError:
                return 0
        now = self._read_v2()
        if now is None:
            return None
        before, self._count = self._count, now
        return now - before

    def close(self) -> None:
        posix.close(self.fd)
        if self._control >= 0:
            posix.close(self._control)


def count_oom_kills(paths: Paths) -> int:
    """How many processes of the container were killed for want of memory so far; 0 where nobody counts."""
    directory = place_of(paths, "memory")
    path = f"{directory}/memory.oom_control" if directory else f"{dict(paths).get('', '')}/memory.events"
    text = read_if_there(path)
    return flat_keyed(text).get("oom_kill", 0) if text else 0
