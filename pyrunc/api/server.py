"""The server: a thread for each connection, blocking calls, and the socket in our own hands.

Why threads and not asyncio: what lies below is blocking calls (SQLite, netlink, files, other processes),
which asyncio would give to threads anyway; a connection that was upgraded is handed to the container's shim,
and after that nobody here reads it; half-closing, `logs --follow` and a client that goes away are one poll(2)
each. A hundred parallel runs are three hundred threads of which most sleep in the kernel; their stacks are
touched by a few pages each. asyncio alone would take more memory than all of that (11 MB).
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from fcntl import ioctl
from selectors import EVENT_READ, DefaultSelector
from socket import AF_UNIX, IPPROTO_TCP, SHUT_WR, TCP_NODELAY, socket, socketpair
from termios import TIOCOUTQ
from time import monotonic, sleep

from pyrunc import __version__, jsonio, log
from pyrunc.api import http1
from pyrunc.api.call import Empty, Json, Stream, Text, Upgrade
from pyrunc.api.router import VERSION, version_text
from pyrunc.api.status import body_of, code_of
from pyrunc.api.wire import PIECE_BYTES, Wire
from pyrunc.errors import INTERNAL, PyruncError
from pyrunc.later import later

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    import traceback
    from collections.abc import Iterator, Sequence

    from pyrunc.api import relay
    from pyrunc.api.call import Reply
    from pyrunc.api.router import Router
    from pyrunc.api.wire import Body
else:
    relay, traceback = later("pyrunc.api.relay"), later("traceback")

_STACK_BYTES = 512 << 10
_BACKLOG = 512
_DRAIN_LIMIT_BYTES = 1 << 20
_TLS_HANDSHAKE_SECONDS = 15.0
_LINGER_SECONDS = 1.0
_READING_SECONDS, _LOOK_AGAIN_SECONDS = 0.1, 0.0002

_COMMON = (
    ("Api-Version", version_text(VERSION)),
    ("Docker-Experimental", "false"),
    ("Ostype", "linux"),
    ("Server", f"pyrunc/{__version__} (linux)"),
)


class Listener:
    """A socket that listens; with `tls`, clients must show a certificate."""

    def __init__(self, socket: socket, tls: ssl.SSLContext | None = None) -> None:
        self.socket, self.tls = socket, tls


class Server:
    def __init__(self, router: Router, listeners: Sequence[Listener]) -> None:
        self._router, self._listeners = router, listeners
        self._stop_read, self._stop_write = socketpair()

    def serve(self) -> None:
        """Until `stop`. Connections that are open then go on in their threads."""
        threading.stack_size(_STACK_BYTES)
        with DefaultSelector() as selector:
            selector.register(self._stop_read, EVENT_READ)
            for listener in self._listeners:
                listener.socket.listen(_BACKLOG)
                listener.socket.setblocking(False)
                selector.register(listener.socket, EVENT_READ, listener)
            while True:
                for key, _ in selector.select():
                    if key.data is None:
                        return
                    self._accept(key.data)

    def stop(self) -> None:
        """From a signal handler, or another thread."""
        self._stop_write.send(b".")

    def _accept(self, listener: Listener) -> None:
        try:
            connection, _ = listener.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptors left: those who are connected go on
            log.error(f"accept: {error}")
            threading.Event().wait(0.1)
            return
        connection.setblocking(True)
        threading.Thread(target=self._serve_accepted, args=(connection, listener.tls), daemon=True).start()

    def _serve_accepted(self, connection: socket, tls: ssl.SSLContext | None) -> None:
        try:
            if tls is not None:
                connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
                connection.settimeout(_TLS_HANDSHAKE_SECONDS)
                connection = tls.wrap_socket(connection, server_side=True)
                connection.settimeout(None)
        except OSError as error:
            log.warning(f"refused a client: {error}")
            connection.close()
            return
        serve_connection(self._router, connection)


def serve_connection(router: Router, connection: socket) -> None:
    """Answer what comes over `connection` until it ends, and close it."""
    wire = Wire(connection)
    try:
        while _answer_next(router, wire):
            pass
    except OSError:  # the client is gone: nobody to tell
        pass
    finally:
        wire.close()  # no shutdown: others may have a copy of an upgraded connection


def _answer_next(router: Router, wire: Wire) -> bool:
    """Whether another request may follow."""
    try:
        head = wire.read_head()
        if head is None:
            return False
        request = http1.parse_request(head)
        body = wire.body(http1.framing_of_request(request))
    except PyruncError as error:
        _refuse(wire, error)
        return False
    if request.header("expect").lower() == "100-continue":
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    reply = _carry_out(router, request, body, wire)
    if isinstance(reply, Upgrade):
        _upgrade(wire, request, reply)
        return False
    is_open = _send(wire, request, reply)
    try:
        return is_open and request.keeps_alive and body.drain(_DRAIN_LIMIT_BYTES)
    except PyruncError:  # it is no body; the answer has been given
        return False


def _refuse(wire: Wire, error: PyruncError) -> None:
    """What is left of a message that is none is read over for a moment: a connection that is closed before is
    reset, and then the client may not see why."""
    _send_whole(wire, code_of(error), _json(body_of(error)), "application/json", (("Connection", "close"),))
    wire.socket.shutdown(SHUT_WR)
    wire.socket.settimeout(_LINGER_SECONDS)
    left = _DRAIN_LIMIT_BYTES
    while left > 0 and (data := wire.socket.recv(PIECE_BYTES)):
        left -= len(data)


def _carry_out(router: Router, request: http1.Request, body: Body, wire: Wire) -> Reply:
    try:
        return router.find(request, body, wire.socket.fileno())()
    except PyruncError as error:
        return Json(value=body_of(error), status=code_of(error))
    except OSError as error:
        if wire.has_hung_up():
            raise
        failed = PyruncError(INTERNAL, str(error))
        return Json(value=body_of(failed), status=code_of(failed))
    except Exception as error:  # a bug of ours ends one request, and not the daemon
        return Json(value=body_of(bug(error)), status=500)


def bug(error: Exception) -> PyruncError:
    """With its traceback in the log."""
    log.error("internal error: " + "".join(traceback.format_exception(error)).rstrip())
    frame = traceback.extract_tb(sys.exc_info()[2])[-1] if sys.exc_info()[2] else None
    where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" if frame else ""
    return PyruncError(INTERNAL, "internal error", where, repr(error))


def _json(value: object) -> bytes:
    return jsonio.dumps(value).encode("utf-8", "replace") + b"\n"


def _send(wire: Wire, request: http1.Request, reply: Json | Empty | Text | Stream) -> bool:
    """Whether the connection can be used further."""
    if isinstance(reply, Stream):
        return _send_stream(wire, request, reply)
    if isinstance(reply, Empty):
        data, kind = b"", ""
    elif isinstance(reply, Text):
        data, kind = reply.text.encode(), "text/plain; charset=utf-8"
    else:
        data, kind = _json(reply.value), "application/json"
    _send_whole(wire, reply.status, data, kind, reply.headers, is_head=request.method == "HEAD")
    return True


def _send_whole(
    wire: Wire, status: int, data: bytes, kind: str, headers: http1.Headers = (), is_head: bool = False
) -> None:
    fields = [*_COMMON, *headers]
    if status in (204, 304):
        data, kind = b"", ""
    if kind:
        fields.append(("Content-Type", kind))
    if status not in (204, 304):
        fields.append(("Content-Length", str(len(data))))
    head = http1.encode_response(status, fields)
    wire.send(head if is_head else head + data)


def _send_stream(wire: Wire, request: http1.Request, reply: Stream) -> bool:
    is_chunked = bool(request.minor)
    framing = ("Transfer-Encoding", "chunked") if is_chunked else ("Connection", "close")
    fields = [*_COMMON, *reply.headers, ("Content-Type", reply.content_type), framing]
    try:
        wire.send(http1.encode_response(reply.status, fields))
        for piece in reply.pieces:
            if is_chunked:
                wire.send_chunk(piece)
            else:
                wire.send(piece)
    except PyruncError as error:
        log.warning(f"{request.method} {request.target}: {error}")
        return False
    finally:
        close = getattr(reply.pieces, "close", None)
        if close is not None:
            close()
        reply.done()
    if is_chunked:
        wire.send(http1.LAST_CHUNK)
    return is_chunked


@contextmanager
def _plain(connection: socket, early: bytes) -> Iterator[int]:
    """A descriptor that carries the client's bytes as they are: the connection's own, unless TLS speaks there
    or some have been read already."""
    if type(connection) is socket and not early:
        yield connection.fileno()
        return
    with relay.relayed(connection, early) as fd:
        yield fd


def _await_reading(connection: socket) -> None:
    """Until the head of our answer has been taken: what comes together with it is lost to docker-py, which
    reads the rest past the buffer that it has read the head into. Not for long: others may read when they
    like."""
    if connection.family != AF_UNIX:  # of TCP it is known when a peer has got something, not when it reads
        return
    until = monotonic() + _READING_SECONDS
    while _unread(connection) and monotonic() < until:
        sleep(_LOOK_AGAIN_SECONDS)


def _unread(connection: socket) -> int:
    """Bytes (unix(7), SIOCOUTQ)."""
    return int.from_bytes(ioctl(connection.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)


def _upgrade(wire: Wire, request: http1.Request, reply: Upgrade) -> None:
    """101, or for who didn't ask to be upgraded, 200 and then likewise raw bytes (docker-py's older way)."""
    try:
        if request.wants_upgrade:
            fields = (("Content-Type", reply.content_type), ("Connection", "Upgrade"), ("Upgrade", "tcp"))
            wire.send(http1.encode_response(101, fields))
        else:
            wire.send(http1.encode_response(200, (("Content-Type", reply.content_type),)))
        _await_reading(wire.socket)
        early, wire.buffered = wire.buffered, b""
        with _plain(wire.socket, early) as fd:
            try:
                reply.begin(fd)
            finally:
                reply.done()
    except PyruncError as error:
        log.warning(f"{request.method} {request.target}: {error}")
    finally:
        reply.done()
