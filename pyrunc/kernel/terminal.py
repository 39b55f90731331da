"""Terminals: raw mode, window size (termios(3), ioctl_tty(2)), without the `tty` module's imports."""

from __future__ import annotations

import posix
from termios import (
    BRKINT,
    CS8,
    CSIZE,
    ECHO,
    ECHONL,
    ICANON,
    ICRNL,
    IEXTEN,
    IGNBRK,
    IGNCR,
    INLCR,
    ISIG,
    ISTRIP,
    IXON,
    OPOST,
    PARENB,
    PARMRK,
    TCSANOW,
    VMIN,
    VTIME,
    tcgetattr,
    tcsetattr,
)

from pyrunc.kernel import syscall
from pyrunc.kernel.const import TIOCGWINSZ, TIOCSWINSZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def make_raw(fd: int) -> list[Any]:
    """cfmakeraw(3): every byte goes through as it is. Returns what to give `restore`."""
    before = tcgetattr(fd)
    mode = tcgetattr(fd)
    mode[0] &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON)
    mode[1] &= ~OPOST
    mode[2] = mode[2] & ~(CSIZE | PARENB) | CS8
    mode[3] &= ~(ECHO | ECHONL | ICANON | ISIG | IEXTEN)
    mode[6][VMIN], mode[6][VTIME] = 1, 0
    tcsetattr(fd, TCSANOW, mode)
    return before


def restore(fd: int, mode: list[Any]) -> None:
    tcsetattr(fd, TCSANOW, mode)


def copy_size(source: int, target: int) -> None:
    """Give `target` the window size of `source`; nothing where that is no terminal."""
    if posix.isatty(source):
        size = syscall.ioctl_bytes(source, TIOCGWINSZ, bytes(8))
        syscall.ioctl_bytes(target, TIOCSWINSZ, size)
