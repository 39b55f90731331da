"""A plain descriptor for an upgraded connection: its own, or for TLS, whose bytes only this process can read,
one end of a socket pair with a thread for each direction behind it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from select import POLLERR, POLLHUP, POLLIN, POLLOUT, poll
from socket import SHUT_WR, socketpair
from ssl import SSLSocket, SSLWantReadError, SSLWantWriteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from socket import socket

_PIECE_BYTES = 64 << 10


@contextmanager
def relayed(connection: socket) -> Iterator[int]:
    if not isinstance(connection, SSLSocket):
        yield connection.fileno()
        return
    ours, theirs = socketpair()
    relay = threading.Thread(target=_relay, args=(connection, ours), daemon=True)
    relay.start()
    try:
        yield theirs.fileno()
    finally:
        theirs.close()
        relay.join()
        ours.close()


def _relay(secure: SSLSocket, plain: socket) -> None:
    """One thread for both directions: an SSL connection may not be read and written by two at a time. It ends
    when the plain side has been closed, for what the client sends after that nobody reads."""
    watch = poll()
    watch.register(plain, POLLIN)
    watch.register(secure, POLLIN)
    secure.setblocking(False)
    reads = True
    while True:
        ready = {fd for fd, _ in watch.poll(0 if reads and secure.pending() else None)}
        if plain.fileno() in ready:
            try:
                data = plain.recv(_PIECE_BYTES)
                if not data:
                    return
                _send_all(secure, data)
            except OSError:
                return
        if reads and (secure.pending() or secure.fileno() in ready):
            try:
                data = secure.recv(_PIECE_BYTES)
            except (SSLWantReadError, SSLWantWriteError):
                continue
            except OSError:
                data = b""
            if data:
                plain.sendall(data)
            else:
                reads = False
                watch.unregister(secure)
                plain.shutdown(SHUT_WR)


def _send_all(secure: SSLSocket, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[secure.send(rest) :]
        except SSLWantReadError:
            _await(secure, POLLIN)
        except SSLWantWriteError:
            _await(secure, POLLOUT)


def _await(secure: SSLSocket, event: int) -> None:
    ready = poll()
    ready.register(secure, event | POLLERR | POLLHUP)
    ready.poll()
