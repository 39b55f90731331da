"""Network namespaces that a test makes for itself, and small conversations between them.

A namespace is held by a descriptor: it has no name, and nothing of it is left when the test ends, however it
ends. Sockets belong to the namespace that their maker was in, so one thread can hold both ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from pyrunc.kernel import const, syscall

_CURRENT = "/proc/thread-self/ns/net"
SECONDS = 30.0


class Namespace:
    """A network namespace: new, or the one that is mounted at `path`."""

    def __init__(self, path: str | None = None) -> None:
        self.fd = -1
        if path is not None:
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            return
        own = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscall.unshare(const.CLONE_NEWNET)
            try:
                self.fd = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
            finally:
                syscall.setns(own, const.CLONE_NEWNET)
        finally:
            os.close(own)

    def close(self) -> None:
        os.close(self.fd)

    @contextmanager
    def entered(self) -> Iterator[None]:
        own = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscall.setns(self.fd, const.CLONE_NEWNET)
            try:
                yield
            finally:
                syscall.setns(own, const.CLONE_NEWNET)
        finally:
            os.close(own)

    def run(self, *command: str, given: str | None = None) -> str:
        """What a program prints that runs in it, which must succeed."""
        with self.entered():
            done = subprocess.run(
                command, input=given, capture_output=True, text=True, timeout=30, check=False
            )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def listen(self, address: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        with self.entered():
            server = socket.socket(socket.AF_INET, kind)
        server.settimeout(SECONDS)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        if kind == socket.SOCK_STREAM:
            server.listen()
        return server

    def socket(self, kind: int = socket.SOCK_STREAM, seconds: float = SECONDS) -> socket.socket:
        with self.entered():
            client = socket.socket(socket.AF_INET, kind)
        client.settimeout(seconds)
        return client

    def reaches(self, address: str, port: int, seconds: float = 0.3) -> bool:
        """Can a connection be made from here? Waits for no more than `seconds`: a packet that was dropped
        has no other sign."""
        with self.socket(seconds=seconds) as client:
            try:
                client.connect((address, port))
            except OSError:
                return False
        return True


def converse(client_in: Namespace, address: str, port: int, server: socket.socket) -> str:
    """A word each way over TCP. Returns the address that the server saw."""
    with client_in.socket() as client:
        client.connect((address, port))
        accepted, (peer, _) = server.accept()
        with accepted:
            accepted.settimeout(SECONDS)
            client.sendall(b"there")
            assert accepted.recv(16) == b"there"
            accepted.sendall(b"back")
            assert client.recv(16) == b"back"
    return str(peer)


def exchange(client_in: Namespace, address: str, port: int, server: socket.socket) -> str:
    """A datagram each way over UDP, the answer from where the question went. Returns what the server saw."""
    with client_in.socket(socket.SOCK_DGRAM) as client:
        client.connect((address, port))
        client.send(b"there")
        data, peer = server.recvfrom(16)
        assert data == b"there"
        server.sendto(b"back", peer)
        assert client.recv(16) == b"back"
    return str(peer[0])
