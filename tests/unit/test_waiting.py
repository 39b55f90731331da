"""waiting: work that is done here and now, and work that is given up."""

from __future__ import annotations

import os
import select
import signal
import time

import pytest

from pyrunc.waiting import finish


def taken(fd, seconds=None):
    yield fd, select.POLLIN, seconds
    return os.read(fd, 10)


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def test_it_returns_what_the_work_returns(pipe):
    os.write(pipe[1], b"there")
    assert finish(taken(pipe[0])) == b"there"


def test_what_the_work_raises_is_raised():
    def fail():
        yield 0, 0, 0.0
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        finish(fail())


def test_a_wait_ends_with_its_time(pipe):
    os.set_blocking(pipe[0], False)
    begin = time.monotonic()
    with pytest.raises(BlockingIOError):
        finish(taken(pipe[0], 0.05))
    assert 0.05 <= time.monotonic() - begin < 10


def test_what_a_signal_raises_meanwhile_lets_the_work_undo(pipe):
    undone = []

    def waiting():
        try:
            yield pipe[0], select.POLLIN, None
        finally:
            undone.append(True)

    def interrupt(_number, _frame):
        raise InterruptedError("enough")

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(InterruptedError, match="enough"):
            finish(waiting())
    finally:
        signal.signal(signal.SIGALRM, before)
    assert undone == [True]
