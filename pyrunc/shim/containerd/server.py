"""Who asks us: connections on the shim's socket, requests on them, and answers in whatever order they come.

One connection that sends nonsense is closed, and no other feels it. A peer that doesn't read its answers is
dropped when too many of them wait.
"""

from __future__ import annotations

import posix
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from select import EPOLLIN

from pyrunc import log
from pyrunc.errors import (
    CONFLICT,
    DENIED,
    INTERNAL,
    INVALID,
    NOT_FOUND,
    UNSUPPORTED,
    WRONG_STATE,
    PyruncError,
)
from pyrunc.kernel import fds
from pyrunc.protowire import Malformed
from pyrunc.shim.containerd import messages, ttrpc
from pyrunc.shim.containerd.ttrpc import Failure
from pyrunc.shim.stdio import Source, Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from pyrunc.shim.loop import Loop

    Method: TypeAlias = Callable[[dict[str, Any], "Call"], object]

SERVICES = ("containerd.task.v2.Task", "containerd.task.v3.Task")  # the same messages in both
_CODES = {
    INVALID: ttrpc.INVALID_ARGUMENT,
    NOT_FOUND: ttrpc.NOT_FOUND,
    CONFLICT: ttrpc.ALREADY_EXISTS,
    WRONG_STATE: ttrpc.FAILED_PRECONDITION,
    DENIED: ttrpc.PERMISSION_DENIED,
    UNSUPPORTED: ttrpc.UNIMPLEMENTED,
    INTERNAL: ttrpc.UNKNOWN,
}
_MOST_WAITING_BYTES = 16 << 20
_OUT_OF = (EMFILE, ENFILE, ENOBUFS, ENOMEM)
_PAUSE_SECONDS = 0.5


class Call:
    """One request, to be answered once, now or later; if the peer is gone by then nobody hears it."""

    __slots__ = ("_connection", "method", "stream")

    def __init__(self, connection: Connection, stream: int, method: str) -> None:
        self._connection, self.stream, self.method = connection, stream, method

    def carry_out(self, method: Method, message: dict[str, Any]) -> None:
        """Call it with this; what it raises is the answer."""
        try:
            method(message, self)
        except (PyruncError, Failure) as error:
            self.fail(error)
        except OSError as error:
            where = str(error.filename or error.strerror)
            self.fail(PyruncError.from_errno(error.errno or 0, self.method, where))
        except Exception as error:  # a bug of ours ends one call, and no container
            log.error(f"internal error: {self.method}: {error!r}")
            self.fail(PyruncError(INTERNAL, "internal error", self.method, repr(error)))

    def answer(self, message: dict[str, Any] | None = None) -> None:
        payload = messages.encode(messages.METHODS[self.method][1], message or {})
        self._connection.put(ttrpc.encode_answer(self.stream, payload))

    def fail(self, error: PyruncError | Failure, prefix: str = "") -> None:
        """`prefix`: what the runtime was to do, put before what it said. Its errors have no code that a
        client could act on: to containerd "not found" is a task, not the program in it."""
        if isinstance(error, PyruncError):
            text = f"{error} ({error.hint})" if error.hint else str(error)
            error = Failure(ttrpc.UNKNOWN if prefix else _CODES[error.kind], text)
        self._connection.put(ttrpc.encode_failure(self.stream, Failure(error.code, prefix + error.message)))


class Connection:
    """`closed(self)` is called when the peer is gone."""

    def __init__(
        self, loop: Loop, fd: int, methods: dict[str, Method], closed: Callable[[Connection], object]
    ) -> None:
        self._methods, self._closed = methods, closed
        self._decoder = ttrpc.Decoder()
        self._writer = Writer(loop, posix.dup(fd), limit_bytes=_MOST_WAITING_BYTES, broken=self.close)
        self._source = Source(loop, fd, self._take, self.close)

    @property
    def pending(self) -> int:
        """Bytes of answers that are not out yet."""
        return self._writer.pending

    def put(self, data: bytes) -> None:
        self._writer.write(data)

    def close(self) -> None:
        self._source.close()
        self._writer.close()
        self._closed(self)

    def _take(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            try:
                self._ask(frame)
            except Failure as failure:
                self.put(ttrpc.encode_failure(frame.stream, failure))

    def _ask(self, frame: ttrpc.Frame) -> None:
        request = ttrpc.decode_request(frame)
        if request.service not in SERVICES:
            raise Failure(ttrpc.UNIMPLEMENTED, f"service {request.service}")
        method = self._methods.get(request.method)
        if method is None:
            raise Failure(ttrpc.UNIMPLEMENTED, f"method {request.method}")
        try:
            message = messages.decode(messages.METHODS[request.method][0], request.payload)
        except Malformed:
            raise Failure(ttrpc.INVALID_ARGUMENT, f"malformed request {request.method}") from None
        Call(self, frame.stream, request.method).carry_out(method, message)


class Server:
    """Accepts whoever is root, or who we are: the socket's directory is closed to others, too."""

    def __init__(self, loop: Loop, listener: int, methods: dict[str, Method]) -> None:
        self._loop, self._listener, self._methods = loop, listener, methods
        self.connections: list[Connection] = []
        posix.set_blocking(listener, False)
        loop.watch(listener, EPOLLIN, self._accept)

    @property
    def pending(self) -> int:
        return sum(connection.pending for connection in self.connections)

    def _accept(self, _events: int) -> None:
        try:
            fd = fds.accept(self._listener)
        except OSError as error:
            if error.errno in _OUT_OF:  # the connection waits; so do we, or this would be told again at once
                log.warning(f"cannot accept a connection: {PyruncError.from_errno(error.errno, 'accept')}")
                self._loop.change(self._listener, 0)
                self._loop.after(_PAUSE_SECONDS, lambda: self._loop.change(self._listener, EPOLLIN))
            return
        uid = fds.peer_uid(fd)
        if uid not in (0, posix.geteuid()):
            log.warning(f"a connection of user {uid} is refused")
            posix.close(fd)
            return
        self.connections.append(Connection(self._loop, fd, self._methods, self._forget))

    def _forget(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)

    def close(self) -> None:
        self._loop.forget(self._listener)
        posix.close(self._listener)
