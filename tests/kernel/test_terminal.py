"""kernel.terminal, judged by the C library's view of the same pty."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import tty
from collections.abc import Iterator

import pytest

from pyrunc.kernel import terminal


@pytest.fixture
def pty() -> Iterator[tuple[int, int]]:
    ends = os.openpty()
    yield ends
    for fd in ends:
        os.close(fd)


def test_raw_is_what_the_c_library_calls_raw(pty):
    _, ours = pty
    master, judge = os.openpty()
    try:
        for fd in (ours, judge):
            mode = termios.tcgetattr(fd)
            mode[0] |= termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
            mode[0] |= termios.IGNCR
            mode[2] = mode[2] & ~termios.CSIZE | termios.CS7 | termios.PARENB
            mode[3] |= termios.ECHONL
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 9, 9
            termios.tcsetattr(fd, termios.TCSANOW, mode)
        terminal.make_raw(ours)
        tty.setraw(judge, termios.TCSANOW)
        # Python before 3.12 does less than cfmakeraw(3) to the input
        both = [termios.tcgetattr(fd) for fd in (ours, judge)]
        for mode in both:
            mode[0] &= ~(termios.IGNBRK | termios.PARMRK | termios.INLCR | termios.IGNCR)
            mode[3] &= ~termios.ECHONL
        assert both[0] == both[1]
        assert termios.tcgetattr(ours)[0] == 0
        assert not termios.tcgetattr(ours)[3] & termios.ECHONL
    finally:
        os.close(master)
        os.close(judge)


def test_what_it_was_comes_back(pty):
    _, slave = pty
    before = termios.tcgetattr(slave)
    given = terminal.make_raw(slave)
    assert termios.tcgetattr(slave) != before
    terminal.restore(slave, given)
    assert termios.tcgetattr(slave) == before


def test_one_terminal_gets_the_size_of_another(pty, tmp_path):
    master, slave = pty
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    other, end = os.openpty()
    try:
        terminal.copy_size(slave, other)
        assert os.get_terminal_size(end) == (99, 33)
        with (tmp_path / "no terminal").open("w") as file:
            terminal.copy_size(file.fileno(), other)
        assert os.get_terminal_size(end) == (99, 33)
    finally:
        os.close(other)
        os.close(end)
