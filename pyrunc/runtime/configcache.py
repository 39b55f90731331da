"""What config.json files were found to hold, for a process that makes more than one container.

A file is the same while device, inode, size and both times are. One that was written a moment ago is not
kept: its times could stay what they are when it is written again. The command line has no use for this.
"""

from __future__ import annotations

import posix
from time import time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    _T = TypeVar("_T")

_MOST = 32
_SETTLED_NANOSECONDS = 50_000_000  # file times advance by ticks of 1 to 10 ms


class ConfigCache:
    """The least recently used of `_MOST` files goes first."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[int, ...], Any, Any]] = {}

    def get(self, file: str, facts: object, make: Callable[[], _T]) -> _T:
        """What `make` makes of `file`, or made of it before under equal `facts`. Raises what `make` does."""
        try:
            found = posix.stat(file)
        except OSError:
            return make()
        stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        known = self._kept.pop(file, None)
        if known is not None and known[0] == stamp and known[1] == facts:
            self._kept[file] = known
            value: _T = known[2]
            return value
        value = make()
        if time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _SETTLED_NANOSECONDS:
            self._kept[file] = (stamp, facts, value)
            if len(self._kept) > _MOST:
                del self._kept[next(iter(self._kept))]
        return value
