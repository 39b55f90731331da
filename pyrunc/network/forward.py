"""Questions that are for the servers outside: asked one server after the other, by the way that the container
used, and answered with what comes back. Non-blocking; the loop of `dns` owns the time.

A question goes out from a port and under an id of its own, and what comes back has to bear both and the
question itself. Nothing is waited for longer than `SECONDS` per server.
"""

from __future__ import annotations

import os
import socket

from pyrunc.network import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrunc.network.names import Question

SECONDS = 2.0
_ROUNDS = 2
_PORT = 53
_LARGEST = 65535


class Forward:
    """One question on its way. `done` is called once, with an answer that bears the container's id, or
    None."""

    def __init__(
        self,
        message: bytes,
        question: Question,
        servers: Sequence[str],
        by_tcp: bool,
        done: Callable[[bytes | None], None],
    ) -> None:
        self._identity, self._section = message[:2], question.section
        self._message, self._by_tcp, self._done = message, by_tcp, done
        self._servers = [server for _ in range(_ROUNDS) for server in servers]
        self._out = self._in = b""
        self._own_identity = b""
        self.socket: socket.socket | None = None
        self.deadline = 0.0

    @property
    def wants_to_write(self) -> bool:
        return bool(self._out)

    def ask_next(self, now: float) -> bool:
        """Ask the next server. False when there is none left: then it is over, with no answer."""
        self.close()
        while self._servers:
            server = self._servers.pop(0)
            try:
                self._ask(server)
            except OSError:
                self.close()
                continue
            self.deadline = now + SECONDS
            return True
        self._done(None)
        return False

    def _ask(self, server: str) -> None:
        self._own_identity, self._in = os.urandom(2), b""
        message = self._own_identity + self._message[2:]
        kind = socket.SOCK_STREAM if self._by_tcp else socket.SOCK_DGRAM
        self.socket = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
        try:
            self.socket.connect((server, _PORT))
        except BlockingIOError:
            pass
        if self._by_tcp:
            self._out = len(message).to_bytes(2, "big") + message
        else:
            self.socket.send(message)

    def on_event(self, now: float) -> bool:
        """The socket is ready. True: wait on, for what may be another socket; False: it is over."""
        assert self.socket is not None
        try:
            reply = self._read_stream() if self._by_tcp else self.socket.recv(_LARGEST)
        except BlockingIOError:
            return True
        except OSError:
            return self.ask_next(now)
        if reply is None:
            return True
        if not names.is_answer_to(reply, self._own_identity, self._section):
            return True if not self._by_tcp else self.ask_next(now)
        self.close()
        self._done(self._identity + reply[2:])
        return False

    def _read_stream(self) -> bytes | None:
        """A whole message, or None as long as there is more to write or to read. Raises OSError."""
        assert self.socket is not None
        if self._out:
            self._out = self._out[self.socket.send(self._out) :]
            return None
        data = self.socket.recv(_LARGEST)
        if not data:
            raise ConnectionError("closed in the middle of a message")
        self._in += data
        length = int.from_bytes(self._in[:2], "big")
        return self._in[2 : 2 + length] if len(self._in) >= 2 + length and len(self._in) > 2 else None

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self._out = b""
