"""Clients that attach before the container has been started, as `docker run` does: their connections wait
here, and go to its shim between creation and start, so that no byte of output is missed.
"""

from __future__ import annotations

import os
import threading

from pyrunc import log
from pyrunc.errors import PyruncError
from pyrunc.record import Record
from pyrunc.shim import protocol


class Attachment(Record):
    """What the client wants. `multiplexed`: output in frames; never for a terminal."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    multiplexed: bool = False
    detach_keys: str = ""


class Waiting:
    """Descriptors are copies: each is closed here, once it was handed on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, list[tuple[int, Attachment]]] = {}

    def add(self, id: str, fd: int, wanted: Attachment) -> None:
        with self._lock:
            self._waiting.setdefault(id, []).append((os.dup(fd), wanted))

    def hand_over(self, id: str, directory: str) -> None:
        """To the shim. One who has gone meanwhile is no reason not to start."""
        for fd, wanted in self._take(id):
            try:
                attach(directory, fd, wanted)
            except PyruncError as error:
                log.warning(f"container {id}: attach: {error}")
            finally:
                os.close(fd)

    def drop(self, id: str) -> None:
        """The container did not start: they are told by the end of their streams."""
        for fd, _ in self._take(id):
            os.close(fd)

    def _take(self, id: str) -> list[tuple[int, Attachment]]:
        with self._lock:
            return self._waiting.pop(id, [])


def attach(directory: str, fd: int, wanted: Attachment) -> None:
    """To a running container. The shim has a copy of `fd` then. Raises PyruncError."""
    protocol.call(directory, "attach", {"stream": fd}, **wanted.__dict__)
