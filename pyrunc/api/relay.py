"""A plain descriptor for an upgraded connection whose bytes only this process can read, being TLS's, or has
read already: one end of a socket pair with a thread behind it.
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
def relayed(connection: socket, early: bytes) -> Iterator[int]:
    """Within, whoever wants to go on with the connection takes a copy of the descriptor. Leaving it waits for
    the relay, and so for the last copy to be closed."""
    ours, theirs = socketpair()
    relay = threading.Thread(target=_relay, args=(connection, ours, early), daemon=True)
    relay.start()
    try:
        yield theirs.fileno()
    finally:
        theirs.close()
        relay.join()
        ours.close()


def _relay(client: socket, plain: socket, early: bytes) -> None:
    """One thread for both directions: an SSL connection may not be read and written by two at a time. It ends
    when the plain side has been closed, for what the client sends after that nobody reads."""
    watch = poll()
    watch.register(plain, POLLIN)
    watch.register(client, POLLIN)
    client.setblocking(False)
    reads = True
    if early:
        plain.sendall(early)
    while True:
        ready = {fd for fd, _ in watch.poll(0 if reads and _pending(client) else None)}
        if plain.fileno() in ready:
            try:
                data = plain.recv(_PIECE_BYTES)
                if not data:
                    return
                _send_all(client, data)
            except OSError:
                return
        if reads and (_pending(client) or client.fileno() in ready):
            reads = _pass_on(client, plain)
            if not reads:
                watch.unregister(client)


def _pending(client: socket) -> bool:
    return isinstance(client, SSLSocket) and bool(client.pending())


def _pass_on(client: socket, plain: socket) -> bool:
    """Whether more may come from the client."""
    try:
        data = client.recv(_PIECE_BYTES)
    except (SSLWantReadError, SSLWantWriteError, BlockingIOError):
        return True
    except OSError:
        data = b""
    try:
        if data:
            plain.sendall(data)
            return True
        plain.shutdown(SHUT_WR)
    except OSError:  # nobody wants it any more
        pass
    return False


def _send_all(client: socket, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[client.send(rest) :]
        except SSLWantReadError:
            _await(client, POLLIN)
        except (SSLWantWriteError, BlockingIOError):
            _await(client, POLLOUT)


def _await(client: socket, event: int) -> None:
    ready = poll()
    ready.register(client, event | POLLERR | POLLHUP)
    ready.poll()
