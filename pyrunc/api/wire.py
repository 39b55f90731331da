"""HTTP over one socket, blocking: where bytes meet the world, for server and client alike.

A `Wire` has one buffer: what was read beyond a head or a body is the next message's, or, after an upgrade,
the other protocol's. A body is read as it is wanted, so a tar of gigabytes passes through in pieces.
"""

from __future__ import annotations

from select import POLLERR, POLLHUP, POLLIN, POLLRDHUP, poll

from pyrunc.api import http1
from pyrunc.errors import INVALID, PyruncError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from socket import socket

PIECE_BYTES = 64 << 10


class Wire:
    """Owns the socket until `detach`."""

    def __init__(self, socket: socket) -> None:
        self.socket = socket
        self.buffered = b""

    def read_head(self) -> bytes | None:
        """Without its empty line; None where the peer closed between two messages. Raises OSError, and
        PyruncError INVALID for what is no head."""
        buffer = bytearray(self.buffered)
        self.buffered = b""
        while (end := buffer.find(http1.END_OF_HEAD)) < 0:
            if len(buffer) > http1.HEAD_LIMIT_BYTES:
                raise PyruncError(INVALID, "bad HTTP message", "", "the head is too long")
            data = self.socket.recv(PIECE_BYTES)
            if not data:
                if buffer.strip(b"\r\n"):
                    raise PyruncError(INVALID, "bad HTTP message", "", "it ends in the middle of its head")
                return None
            buffer += data
            if len(buffer) == len(data):  # some clients send an empty line after a body
                while buffer[:2] == b"\r\n":
                    del buffer[:2]
        self.buffered = bytes(buffer[end + 4 :])
        return bytes(buffer[:end])

    def body(self, framing: int) -> Body:
        return Body(self, framing)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_chunk(self, data: bytes) -> None:
        if data:
            self.socket.sendall(http1.encode_chunk(data))

    def has_hung_up(self) -> bool:
        return has_hung_up(self.socket.fileno())

    def close(self) -> None:
        self.socket.close()


class Body:
    """What follows a head. `read` is a file's, so that a tar reader takes it as one."""

    def __init__(self, wire: Wire, framing: int) -> None:
        self._wire = wire
        self._decoder = http1.Decoder(framing)
        self._ready = b""
        self.is_empty = framing == http1.NO_BODY

    def _more(self) -> bytes:
        """Some bytes of the body; nothing at its end."""
        while not self._decoder.is_done:
            data, self._wire.buffered = self._wire.buffered, b""
            data = data or self._wire.socket.recv(PIECE_BYTES)
            if not data:
                self._decoder.end()
                break
            piece = self._decoder.decode(data)
            if self._decoder.is_done:
                self._wire.buffered = self._decoder.rest
            if piece:
                return piece
        return b""

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, less only at the end; all for -1. Raises OSError, PyruncError INVALID."""
        parts = [self._ready]
        have = len(self._ready)
        self._ready = b""
        while size < 0 or have < size:
            piece = self._more()
            if not piece:
                break
            parts.append(piece)
            have += len(piece)
        data = b"".join(parts)
        if 0 <= size < len(data):
            self._ready = data[size:]
            return data[:size]
        return data

    def read_limited(self, limit_bytes: int) -> bytes:
        """All of it. Raises PyruncError INVALID if that is more."""
        data = self.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise PyruncError(
                INVALID, "the body of the request is too large", "", f"over {limit_bytes} bytes"
            )
        return data

    def pieces(self) -> Iterator[bytes]:
        """As they arrive: a stream's reader does not wait for the next."""
        if self._ready:
            ready, self._ready = self._ready, b""
            yield ready
        while piece := self._more():
            yield piece

    def drain(self, limit_bytes: int) -> bool:
        """Read over what is left, so that the next message can come. False: too much of it."""
        left = limit_bytes
        while left > 0:
            piece = self._more()
            if not piece:
                return True
            left -= len(piece)
        return False


def has_hung_up(fd: int) -> bool:
    """Whether the peer has closed its end, or the half of it that it writes to."""
    ready = poll()
    ready.register(fd, POLLRDHUP | POLLHUP | POLLERR)
    return bool(ready.poll(0))


def wait_readable(wanted: int, peer: int, timeout_seconds: float | None = None) -> bool:
    """Until `wanted` can be read (True), or the peer has hung up, or the time is over (False)."""
    ready = poll()
    ready.register(wanted, POLLIN)
    if peer >= 0:
        ready.register(peer, POLLRDHUP | POLLHUP | POLLERR)
    found = ready.poll(None if timeout_seconds is None else max(int(timeout_seconds * 1000), 0))
    return any(fd == wanted for fd, _ in found)
