"""Clients that attach before the container has been started, as `docker run` does: their connections wait
here, and go to its shim between creation and start, so that no byte of output is missed.
"""

from __future__ import annotations

import os
import threading

from pyrunc import log
from pyrunc.errors import PyruncError
from pyrunc.record import Record, replaced
from pyrunc.shim import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# A client that has been told that it may attach, and does not, holds no start up for good. On a machine under
# load its thread may well be some seconds late: one that is left behind gets nothing of what is said.
_ANNOUNCED_SECONDS = 60.0


class Attachment(Record):
    """What the client wants. `multiplexed`: output in frames; never for a terminal. `keeps_all`: of those who
    came before the start, and so run the container: they hold it up rather than lose some of its output."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    multiplexed: bool = False
    detach_keys: str = ""
    keeps_all: bool = False


class Waiting:
    """Descriptors are copies: each is closed here, once it was handed on.

    A client starts the container as soon as it has read that it may attach, which is before its connection is
    here: so who is about to attach says so before (`announce`), and a start waits for it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str, list[tuple[int, Attachment]]] = {}
        self._announced: list[str] = []

    def announce(self, id: str) -> Callable[[], None]:
        """Someone will attach: call what is returned when that is done, or will not be. Twice is as once."""
        with self._changed:
            self._announced.append(id)
        pending = [id]

        def done() -> None:
            with self._changed:
                if pending:
                    self._announced.remove(pending.pop())
                    self._changed.notify_all()

        return done

    def add(self, id: str, fd: int, wanted: Attachment) -> None:
        with self._changed:
            self._waiting.setdefault(id, []).append((os.dup(fd), replaced(wanted, keeps_all=True)))

    def hand_over(self, id: str, directory: str) -> None:
        """To the shim. One who has gone meanwhile is no reason not to start."""
        with self._changed:
            self._changed.wait_for(lambda: id not in self._announced, _ANNOUNCED_SECONDS)
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
        with self._changed:
            return self._waiting.pop(id, [])


def attach(directory: str, fd: int, wanted: Attachment) -> None:
    """To a running container. The shim has a copy of `fd` then. Raises PyruncError."""
    protocol.call(directory, "attach", {"stream": fd}, **wanted.__dict__)
