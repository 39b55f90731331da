"""What a caller passes on to the program, and what he asked to be told of it: of a create as of an exec."""

from __future__ import annotations

import posix

from pyrunc.errors import INVALID, PyruncError, doing
from pyrunc.files import write_atomically
from pyrunc.kernel import fds
from pyrunc.runtime import spawn


def listen_fds(preserve: int) -> tuple[int, int]:
    """How many descriptors systemd passes (sd_listen_fds(3)), and how many are passed on in all."""
    text = posix.environ.get(b"LISTEN_FDS", b"")
    passed = int(text) if text.isdigit() else 0
    if preserve < 0:
        raise PyruncError(INVALID, "invalid value for --preserve-fds", str(preserve), "is negative")
    for number in range(3 + passed, 3 + passed + preserve):
        try:
            posix.fstat(number)
        except OSError:
            raise PyruncError(
                INVALID,
                f"unable to stat preserved-fd {number - 3 - passed} (of {preserve})",
                f"/proc/self/fd/{number}",
            ) from None
    return passed, passed + preserve


def hand_out(pidfd_socket: str, pid_file: str, born: spawn.Born, word: bytes) -> None:
    """What callers asked to be told: the pidfd, with `word`, and the pid, without a newline."""
    if pidfd_socket:
        with doing("send pidfd", pidfd_socket):
            connection = fds.connect_stream(pidfd_socket)
            try:
                fds.send(connection, word, (born.pidfd,))
            finally:
                posix.close(connection)
    if pid_file:
        with doing("write pid file", pid_file):
            write_atomically(pid_file, str(born.pid).encode())
