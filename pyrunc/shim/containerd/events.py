"""Who is told: containerd, of what happens to its tasks, one event after the other, in order.

While containerd isn't there events wait, and are sent when it is again: a container whose end falls into a
restart is not forgotten. What can't be kept for want of room is the oldest, for containerd asks for the state
of all tasks when it begins.
"""

from __future__ import annotations

import posix
from time import time_ns

from pyrunc import log
from pyrunc.errors import describe_errno
from pyrunc.kernel import fds
from pyrunc.shim.containerd import messages, ttrpc
from pyrunc.shim.stdio import Source, Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.shim.loop import Loop, Timer
    from pyrunc.shim.reaper import Child, Reaper

_SERVICE, _METHOD = "containerd.services.events.ttrpc.v1.Events", "Forward"
_MOST_WAITING = 4096
_ANSWER_SECONDS = 10.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 5.0
_MESSAGE_BYTES = 1 << 20


class Event:
    """`wrapped`: an encoded Any, `envelope` the Forward request that it goes in."""

    __slots__ = ("envelope", "topic", "wrapped")

    def __init__(self, topic: str, wrapped: bytes, envelope: bytes) -> None:
        self.topic, self.wrapped, self.envelope = topic, wrapped, envelope


def make_event(name: str, namespace: str, fields: dict[str, Any], now_ns: int) -> Event:
    """`name`: of messages.EVENTS. Pure."""
    topic, table = messages.EVENTS[name]
    wrapped = messages.wrap(f"containerd.events.{name}", messages.encode(table, fields))
    envelope = {
        "timestamp": messages.timestamp(now_ns),
        "namespace": namespace,
        "topic": topic,
        "event": wrapped,
    }
    return Event(
        topic,
        messages.encode(messages.ANY, wrapped),
        messages.encode(messages.FORWARD, {"envelope": envelope}),
    )


class Publisher:
    """The queue, and the way out that the subclasses are. `pending`: events that are not delivered yet."""

    def __init__(self, loop: Loop, namespace: str) -> None:
        self._loop, self._namespace = loop, namespace
        self._waiting: list[Event] = []
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._retry: Timer | None = None
        self._is_under_way = False

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def send(self, name: str, **fields: Any) -> None:
        """Never waits, never fails."""
        if len(self._waiting) >= _MOST_WAITING:
            dropped = self._waiting.pop(1 if self._is_under_way else 0)
            log.warning(f"containerd takes no events: {dropped.topic} is dropped")
        self._waiting.append(make_event(name, self._namespace, fields, time_ns()))
        self._go_on()

    def _go_on(self) -> None:
        if self._waiting and not self._is_under_way and self._retry is None:
            self._is_under_way = True
            self._deliver(self._waiting[0])

    def _delivered(self) -> None:
        self._is_under_way = False
        self._pause_seconds = _FIRST_PAUSE_SECONDS
        self._waiting.pop(0)
        self._go_on()

    def _failed(self, why: str) -> None:
        log.debug(f"event {self._waiting[0].topic} is sent again later: {why}")
        self._is_under_way = False
        self._retry = self._loop.after(self._pause_seconds, self._try_again)
        self._pause_seconds = min(self._pause_seconds * 2, _LONGEST_PAUSE_SECONDS)

    def _try_again(self) -> None:
        self._retry = None
        self._go_on()

    def _deliver(self, event: Event) -> None:
        """Calls _delivered or _failed, now or later."""
        raise NotImplementedError


class TtrpcPublisher(Publisher):
    """Over a connection to `address`, containerd's ttrpc socket, which is kept while it lasts."""

    def __init__(self, loop: Loop, namespace: str, address: str) -> None:
        super().__init__(loop, namespace)
        self._address = address
        self._stream = -1
        self._source: Source | None = None
        self._writer: Writer | None = None
        self._decoder = ttrpc.Decoder()
        self._patience: Timer | None = None

    def _deliver(self, event: Event) -> None:
        try:
            writer = self._connected()
        except OSError as error:
            self._failed(describe_errno(error.errno or 0))
            return
        self._stream += 2
        request = ttrpc.Request(service=_SERVICE, method=_METHOD, payload=event.envelope)
        self._patience = self._loop.after(_ANSWER_SECONDS, lambda: self._lose("no answer"))
        writer.write(ttrpc.encode_request(self._stream, request, _ANSWER_SECONDS))

    def _connected(self) -> Writer:
        if self._writer is None or self._writer.fd < 0:
            fd = fds.connect_stream(self._address, waits=False)
            self._stream, self._decoder = -1, ttrpc.Decoder()
            self._writer = Writer(
                self._loop, posix.dup(fd), limit_bytes=_MESSAGE_BYTES, broken=lambda: self._lose("broken")
            )
            self._source = Source(self._loop, fd, self._take, lambda: self._lose("closed"))
        return self._writer

    def _take(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            if frame.stream != self._stream or not self._is_under_way:
                continue
            self._end_patience()
            try:
                ttrpc.decode_answer(frame)
            except ttrpc.Failure as failure:  # it was heard, and refused: a second time would be no better
                log.warning(f"containerd refuses event {self._waiting[0].topic}: {failure}")
            self._delivered()

    def _lose(self, why: str) -> None:
        self._end_patience()
        if self._source is not None and self._writer is not None:
            self._source.close()
            self._writer.close()
        self._source = self._writer = None
        if self._is_under_way:
            self._failed(why)

    def _end_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class ProgramPublisher(Publisher):
    """By `containerd publish`, a process for each: for a containerd that names no ttrpc socket."""

    def __init__(self, loop: Loop, namespace: str, reaper: Reaper, command: tuple[str, ...]) -> None:
        super().__init__(loop, namespace)
        self._reaper, self._command = reaper, command

    def _deliver(self, event: Event) -> None:
        words = (*self._command, "publish", "--topic", event.topic, "--namespace", self._namespace)
        reading, writing = posix.pipe2(posix.O_CLOEXEC)
        try:
            posix.write(writing, event.wrapped[:_MESSAGE_BYTES])  # an event is smaller than a pipe
            files = [(posix.POSIX_SPAWN_DUP2, reading, 0)]
            pid = posix.posix_spawn(words[0], words, posix.environ, file_actions=files)
            self._reaper.expect(pid, self._ended)
        except OSError as error:
            self._failed(describe_errno(error.errno or 0))
        finally:
            posix.close(reading)
            posix.close(writing)

    def _ended(self, child: Child) -> None:
        if child.exit_code == 0:
            self._delivered()
        else:
            self._failed(f"exit code {child.exit_code}")
