"""A client on a terminal of its own: what a user types, and what they see."""

from __future__ import annotations

import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from fcntl import ioctl

from pyrunc.files import write_all

SECONDS = 60
# For a shell in the container: docker tells the size only when the program runs already.
UNTIL_SIZED = "while [ \"$(stty size 2>&1)\" != '33 77' ]; do sleep 0.05; done"


class Session:
    """`command` on a terminal of 33 rows and 77 columns, which controls it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.fd, inner = pty.openpty()
        self.resize(33, 77)
        self.process = subprocess.Popen(
            command,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inner)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, text: bytes, seconds: float = SECONDS) -> None:
        """What comes up to the end of `text` is taken."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(deadline - time.monotonic(), 0))
            assert ready, self.seen
            self.seen += os.read(self.fd, 4096)
        self.seen = self.seen.partition(text)[2]

    def type(self, text: bytes) -> None:
        write_all(self.fd, text)

    def end(self) -> int:
        """Its exit code."""
        try:
            return self.process.wait(SECONDS)
        finally:
            self.process.kill()
            os.close(self.fd)
