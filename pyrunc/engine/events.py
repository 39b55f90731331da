"""What happens, told to whoever listens, and kept: the last thousand are in the database.

A subscription is a queue with a descriptor that can be waited for together with others: so a client that goes
away is noticed by the same poll(2).
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque

from pyrunc.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from pyrunc.engine.db import Database

_QUEUE_LIMIT = 10_000  # of one who does not read: the oldest go


class Event(Record):
    """`kind`: container, image, volume, network, daemon; `id`: what it is about; `attributes`: name, labels,
    …"""

    kind: str
    action: str
    id: str
    attributes: dict[str, str] = {}  # noqa: RUF012  (a Record's default: never changed)
    time_ns: int = 0


class Subscription:
    """A context; `fileno` can be read while something is in it."""

    def __init__(self, bus: Bus, wants: Callable[[Event], bool]) -> None:
        self._bus, self.wants = bus, wants
        self._queue: deque[Event] = deque(maxlen=_QUEUE_LIMIT)
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0 and self._bus.leave(self):
            os.close(self._fd)
            self._fd = -1

    def fileno(self) -> int:
        return self._fd

    def put(self, event: Event) -> None:
        self._queue.append(event)
        os.eventfd_write(self._fd, 1)

    def take(self) -> list[Event]:
        """What has come since; nothing perhaps."""
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return []
        taken = []
        while self._queue:
            taken.append(self._queue.popleft())
        return taken


class Bus:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []

    def subscribe(self, wants: Callable[[Event], bool]) -> Subscription:
        """All from now on that it `wants`."""
        made = Subscription(self, wants)
        with self._lock:
            self._subscriptions.append(made)
        return made

    def leave(self, subscription: Subscription) -> bool:
        with self._lock:
            self._subscriptions.remove(subscription)
        return True

    def publish(
        self, kind: str, action: str, id: str, attributes: dict[str, str] | None = None, **more: str
    ) -> None:
        event = Event(
            kind=kind, action=action, id=id, attributes={**(attributes or {}), **more}, time_ns=time.time_ns()
        )
        self._database.append_event(_to_document(event))
        with self._lock:
            for subscription in self._subscriptions:
                if subscription.wants(event):
                    subscription.put(event)

    def past(self, since_ns: int, until_ns: int) -> list[Event]:
        """In their order, of those that are still known."""
        found = [Event(**document) for document in self._database.rows("events")]
        return [event for event in found if since_ns <= event.time_ns <= until_ns]


def _to_document(event: Event) -> dict[str, Any]:
    return dict(event.__dict__)
