"""What a process that makes more than one container knows from the last time: what config.json files hold,
what was planned from them, and what the host is. The command line has no use for this.

A file is the same while device, inode, size and both times are. One that was written a moment ago is not
kept: its times could stay what they are when it is written again. The copy in a container's state directory
is the same while the container is, which its state tells: after `create` nobody writes to it.
"""

from __future__ import annotations

import posix
from time import time_ns

from pyrunc.linux.facts import Prober

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from pyrunc.runtime.store import State

    _T = TypeVar("_T")

_MOST = 32
_SETTLED_NANOSECONDS = 50_000_000  # file times advance by ticks of 1 to 10 ms


class ConfigCache:
    """The least recently used of `_MOST` files goes first. `probe`: as linux.facts has it."""

    __slots__ = ("_kept", "probe")

    def __init__(self) -> None:
        self.probe = Prober()
        self._kept: dict[str, tuple[object, Any]] = {}

    def get(self, file: str, facts: object, make: Callable[[], _T]) -> _T:
        """What `make` makes of `file`, or made of it before under equal `facts`. Raises what `make` does."""
        try:
            found = posix.stat(file)
        except OSError:
            return make()
        times = (found.st_mtime_ns, found.st_ctime_ns)
        stamp = (found.st_dev, found.st_ino, found.st_size, *times, facts)
        value: _T | None = self.find(file, stamp)
        if value is None:
            value = make()
            if time_ns() - max(times) > _SETTLED_NANOSECONDS:
                self.keep(file, stamp, value)
        return value

    def of_container(self, state: State, directory: str, make: Callable[[], _T]) -> _T:
        """What `make` makes of the config.json in a state `directory`, or made of it before."""
        stamp = (state.created, state.pid, state.start_time)
        value: _T | None = self.find(directory, stamp)
        if value is None:
            value = make()
            self.keep(directory, stamp, value)
        return value

    def find(self, name: str, stamp: object) -> Any:
        """What was kept under `name` with an equal `stamp`, or None."""
        known = self._kept.pop(name, None)
        if known is None or known[0] != stamp:
            return None
        self._kept[name] = known
        return known[1]

    def keep(self, name: str, stamp: object, value: object) -> None:
        self._kept[name] = (stamp, value)
        if len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]
