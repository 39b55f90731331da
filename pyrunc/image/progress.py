"""What long operations tell while they go on."""

from __future__ import annotations

import threading
import time

from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Callback = Callable[["Progress"], None]

_EVERY_SECONDS = 0.1


class Progress(Record):
    """`id`: twelve digits of a layer, or a tag, or nothing; `status`: docker's words for it; `current` of
    `total` in bytes, where that is known and not 0."""

    status: str
    id: str = ""
    current: int = 0
    total: int = 0


class Reporter:
    """A callback that threads may share. Bytes are told at most ten times a second for each id: a terminal
    sees no more, and a client must not be flooded."""

    def __init__(self, callback: Callback | None) -> None:
        self._callback = callback
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], float] = {}

    def say(self, status: str, ident: str = "", current: int = 0, total: int = 0) -> None:
        if self._callback is None:
            return
        with self._lock:
            if current and current != total:
                now = time.monotonic()
                if now - self._last.get((ident, status), 0.0) < _EVERY_SECONDS:
                    return
                self._last[ident, status] = now
            self._callback(Progress(status=status, id=ident, current=current, total=total))
