"""The user's end of a terminal, and the caller's end of a console socket."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import pty
import select
import socket
import struct
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from support.waiting import PATIENCE


def window_size(fd: int) -> tuple[int, int]:
    """Rows and columns, tty_ioctl(4)."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    return rows, columns


def set_window_size(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    """The master side of a pseudo-terminal: what a user types and sees."""

    def __init__(self, master: int) -> None:
        self.master = master
        self.seen = ""

    def _read(self, seconds: float) -> bool:
        """Takes what there is; False when the other side is closed."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # EIO: the last descriptor of the other side is closed
            return False
        self.seen += data.decode(errors="surrogateescape")
        return bool(data)

    def expect(self, text: str, seconds: float = 15) -> str:
        """Reads until `text` has come; returns all up to its end, and forgets that."""
        seconds *= PATIENCE
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            alive = self._read(max(left, 0))
            assert text in self.seen or (alive and left > 0), f"no {text!r} in {self.seen!r}"
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def now(self) -> str:
        """What has come so far; it is not forgotten."""
        self._read(0.02)
        return self.seen

    def rest(self, seconds: float = 15) -> str:
        """Reads until the other side is closed."""
        seconds *= PATIENCE
        deadline = time.monotonic() + seconds
        while self._read(max(deadline - time.monotonic(), 0)):
            assert time.monotonic() < deadline, f"still open after {seconds} s: {self.seen!r}"
        found, self.seen = self.seen, ""
        return found

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def close(self) -> None:
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


@contextlib.contextmanager
def open_terminal(rows: int = 24, columns: int = 80) -> Iterator[tuple[Terminal, int]]:
    """A terminal and the descriptor of its other side, to be given to a program; both closed at the end."""
    master, slave = pty.openpty()
    set_window_size(slave, rows, columns)
    terminal = Terminal(master)
    try:
        yield terminal, slave
    finally:
        terminal.close()
        os.close(slave)


class ConsoleSocket:
    """Listens as conmon and containerd's shim do, and judges the message that a runtime sends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # A long path does not fit into sun_path: bind by way of its directory's descriptor.
        directory = os.open(path.parent, os.O_PATH)
        try:
            self.listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        finally:
            os.close(directory)
        self.listener.listen(2)
        self.listener.settimeout(30)
        self._terminals: list[Terminal] = []

    def receive(self) -> tuple[bytes, list[int]]:
        """One connection: its payload, and the descriptors that came with it. It was closed after."""
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(30)
            fds = array.array("i")
            data, ancillary, flags, _ = connection.recvmsg(4096, socket.CMSG_SPACE(16 * fds.itemsize))
            assert not flags & socket.MSG_CTRUNC
            for level, kind, payload in ancillary:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
            assert connection.recv(1) == b"", "the runtime sent more than one message"
        return data, list(fds)

    def terminal(self) -> Terminal:
        data, fds = self.receive()
        assert len(fds) == 1, fds
        assert data, "the message carries no name"
        self._terminals.append(Terminal(fds[0]))
        return self._terminals[-1]

    def close(self) -> None:
        self.listener.close()
        for terminal in self._terminals:
            terminal.close()
