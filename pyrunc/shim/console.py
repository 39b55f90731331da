"""Where a runtime sends the terminal that it made: the console socket of runc's command line.

socket = ConsoleSocket(loop, f"{directory}/console.sock", received)     # path for --console-socket
...                                                                    # received(master), which is yours
socket.close()                                                         # when the runtime has answered
set_size(master, rows=24, columns=80)
"""

from __future__ import annotations

import posix
from select import EPOLLIN

from pyrunc.errors import doing
from pyrunc.kernel import fds, syscall
from pyrunc.kernel.const import TIOCSWINSZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.shim.loop import Loop


class ConsoleSocket:
    """One connection, one message, one descriptor in it. `master` is it, until somebody has taken it."""

    def __init__(self, loop: Loop, path: str, received: Callable[[int], object] | None = None) -> None:
        self.path, self.master = path, -1
        self._loop, self._received = loop, received
        with doing("make console socket", path):
            self._listener = fds.listen(path, keeps_messages=False)
        loop.watch(self._listener, EPOLLIN, self._accept)

    def take(self) -> int:
        """The pty's master, which is the caller's from here on; -1: the runtime has sent none. To be asked
        when the runtime has answered: what it sent is here then."""
        if self.master < 0 and self._listener >= 0:
            posix.set_blocking(self._listener, False)
            try:
                self._accept(0)
            except BlockingIOError:
                pass
        master, self.master = self.master, -1
        return master

    def close(self) -> None:
        """The socket goes, and a terminal that nobody took."""
        if self._listener >= 0:
            self._loop.forget(self._listener)
            posix.close(self._listener)
            self._listener = -1
            try:
                posix.unlink(self.path)
            except FileNotFoundError:
                pass
        if self.master >= 0:
            posix.close(self.master)
            self.master = -1

    def _accept(self, _events: int) -> None:
        connection = fds.accept(self._listener)
        try:
            _, received = fds.receive(connection)
        finally:
            posix.close(connection)
        for fd in received[1:]:
            posix.close(fd)
        if not received:
            return
        if self.master >= 0:
            posix.close(self.master)
        self.master = received[0]
        if self._received is not None:
            self._received(self.take())


def set_size(master: int, *, rows: int, columns: int) -> None:
    """TIOCSWINSZ: who has it for a terminal gets SIGWINCH, if that is a change. Raises OSError."""
    size = b"".join(value.to_bytes(2, "little") for value in (rows, columns, 0, 0))
    syscall.ioctl_bytes(master, TIOCSWINSZ, size)
