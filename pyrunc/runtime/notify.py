"""sd_notify(3) for a container: its READY=1 becomes the service's, with the init as the main process.

The container talks to a socket of ours. Only readiness is passed on, in words of ours: whatever else it
might say to systemd (a MAINPID, file descriptors to store) is not its business.
"""

from __future__ import annotations

import posix
from select import POLLHUP, POLLIN, poll

from pyrunc.errors import PyruncError, doing
from pyrunc.kernel import fds
from pyrunc.runtime import store

_BARRIER_MILLISECONDS = 30_000


class NotifySocket:
    """Bound before the container is started. `fd` is readable when it has said something."""

    def __init__(self, state_root: str, state: store.State) -> None:
        path = f"{store.directory(state_root, state.id)}/notify/notify.sock"
        self._host_socket = state.notify_socket
        self._pid = state.pid
        with doing("bind notify socket", path):
            try:
                posix.unlink(path)
            except FileNotFoundError:
                pass
            self.fd = fds.bind_datagram(path)
            posix.chmod(path, 0o777)

    def take(self) -> bool:
        """Read one message; True once the container is ready and systemd has been told."""
        data, received = fds.receive(self.fd)
        for fd in received:
            posix.close(fd)
        for line in data.split(b"\n"):
            if line.startswith(b"READY="):
                self._forward()
                return True
        return False

    def _forward(self) -> None:
        try:
            host = fds.connect_datagram(self._host_socket)
        except OSError as error:
            raise PyruncError.from_errno(
                error.errno or 0, "connect to $NOTIFY_SOCKET", self._host_socket
            ) from error
        try:
            fds.send(host, f"READY=1\nMAINPID={self._pid}".encode())
            _wait_for_barrier(host)
        finally:
            posix.close(host)

    def wait(self) -> None:
        """Until it is ready, or has ended without having been."""
        try:
            init = posix.pidfd_open(self._pid)
        except ProcessLookupError:
            return
        watch = poll()
        watch.register(init, POLLIN)
        watch.register(self.fd, POLLIN)
        try:
            while True:
                ready = [fd for fd, _ in watch.poll()]
                if self.fd in ready and self.take():
                    return
                if init in ready and self.fd not in ready:
                    return
        finally:
            posix.close(init)

    def close(self) -> None:
        posix.close(self.fd)


def _wait_for_barrier(host: int) -> None:
    """sd_notify_barrier(3): systemd closes the descriptor when it has read what came before; we may be gone
    afterwards, and it still knows who we were."""
    reading, writing = posix.pipe2(posix.O_CLOEXEC)
    fds.send(host, b"BARRIER=1", (writing,))
    posix.close(writing)
    watch = poll()
    watch.register(reading, POLLHUP)
    watch.poll(_BARRIER_MILLISECONDS)
    posix.close(reading)
