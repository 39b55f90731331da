"""Terminals: raw mode, window size (ioctl_tty(2)), without the imports of `tty` and `termios`."""

from __future__ import annotations

import posix

from pyrunc.kernel import syscall
from pyrunc.kernel.const import TCGETS, TCSETS, TIOCGWINSZ, TIOCSWINSZ

# struct termios of the generic ABI: four words of flags (input, output, control, local), the line discipline
# and 19 control characters
_TERMIOS_BYTES, _CHARACTERS_AT = 36, 17
_VTIME, _VMIN = 5, 6
# What cfmakeraw(3) clears of the input: IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
_NOT_INPUT = 0o1 | 0o2 | 0o10 | 0o40 | 0o100 | 0o200 | 0o400 | 0o2000
_OPOST = 0o1
_CSIZE, _PARENB, _CS8 = 0o60, 0o400, 0o60
_NOT_LOCAL = 0o10 | 0o100 | 0o2 | 0o1 | 0o100000  # ECHO ECHONL ICANON ISIG IEXTEN


def make_raw(fd: int) -> bytes:
    """cfmakeraw(3): every byte goes through as it is. Returns what to give `restore`."""
    before = syscall.ioctl_bytes(fd, TCGETS, bytes(_TERMIOS_BYTES))
    given, output, control, local = (int.from_bytes(before[at : at + 4], "little") for at in range(0, 16, 4))
    flags = (given & ~_NOT_INPUT, output & ~_OPOST, control & ~(_CSIZE | _PARENB) | _CS8, local & ~_NOT_LOCAL)
    mode = bytearray(b"".join(word.to_bytes(4, "little") for word in flags) + before[16:])
    mode[_CHARACTERS_AT + _VTIME], mode[_CHARACTERS_AT + _VMIN] = 0, 1
    restore(fd, bytes(mode))
    return before


def restore(fd: int, mode: bytes) -> None:
    syscall.ioctl_bytes(fd, TCSETS, mode)


def read_size(fd: int) -> tuple[int, int]:
    """(rows, columns), tty_ioctl(4); zeros where that is no terminal."""
    size = syscall.ioctl_bytes(fd, TIOCGWINSZ, bytes(8)) if posix.isatty(fd) else bytes(8)
    return int.from_bytes(size[:2], "little"), int.from_bytes(size[2:4], "little")


def copy_size(source: int, target: int) -> None:
    """Give `target` the window size of `source`; nothing where that is no terminal."""
    if posix.isatty(source):
        size = syscall.ioctl_bytes(source, TIOCGWINSZ, bytes(8))
        syscall.ioctl_bytes(target, TIOCSWINSZ, size)
