"""Who listens to the shims: one thread for all of them, which keeps each container's last status and passes
on what happens. Without it (a command with an engine of its own, which is soon gone) nothing is missed but
events.
"""

from __future__ import annotations

import threading
from select import EPOLLIN, epoll

from pyrunc import log
from pyrunc.errors import NOT_FOUND, PyruncError
from pyrunc.shim.protocol import STOPPED, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LONGEST_SECONDS = 5.0


class Watch:
    """`tell(id, event)` is called in this thread, in the order in which things happened, and must not wait
    for anything; the last of a container is {"event": "gone"}."""

    def __init__(self, tell: Callable[[str, dict[str, Any]], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._has_ended = threading.Condition(self._lock)
        self._connections: dict[int, tuple[str, Connection]] = {}
        self._status: dict[str, dict[str, Any]] = {}
        self._alive: set[str] = set()  # their end has not been told yet
        self._events = epoll()
        self._thread: threading.Thread | None = None

    def add(self, id: str, directory: str) -> None:
        """From now on. Raises PyruncError NOT_FOUND if there is no shim."""
        connection = Connection(directory)
        try:
            connection.call("subscribe")
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._connections[connection.fileno()] = id, connection
            self._alive.add(id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()
        self._events.register(connection.fileno(), EPOLLIN)

    def status(self, id: str) -> dict[str, Any] | None:
        """As the shim told it last; None of a container that is not watched."""
        return self._status.get(id)

    def await_end(self, id: str) -> None:
        """Of one that has ended: until all that happened before has been told, too."""
        with self._has_ended:
            self._has_ended.wait_for(lambda: id not in self._alive, _LONGEST_SECONDS)

    def _run(self) -> None:
        while True:
            for fd, _ in self._events.poll():
                self._receive(fd)

    def _receive(self, fd: int) -> None:
        id, connection = self._connections[fd]
        try:
            event = connection.next_event(0)
        except PyruncError as error:
            if error.kind != NOT_FOUND:
                log.error(f"container {id}: {error}")
            event = {"event": "gone"}
        except OSError as error:
            log.error(f"container {id}: {error}")
            event = {"event": "gone"}
        if event is None:
            return
        if event["event"] == "gone":
            self._drop(fd, id, connection)
        elif event.get("status"):
            self._status[id] = event["status"]
        try:
            self._tell(id, event)
        except Exception as error:  # of one container: the others are watched on
            log.error(f"container {id}: event {event.get('event')}: {error!r}")
        if event["event"] == "gone" or (event["event"] == "exit" and event["status"]["status"] == STOPPED):
            with self._has_ended:
                self._alive.discard(id)
                self._has_ended.notify_all()

    def _drop(self, fd: int, id: str, connection: Connection) -> None:
        with self._lock:
            del self._connections[fd]
            self._status.pop(id, None)
        self._events.unregister(fd)
        connection.close()
