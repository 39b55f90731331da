"""shim.loop, shim.reaper, shim.stdio and shim.console: what the kernel's processes and pipes make of them."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import termios
import time
from pathlib import Path
from select import EPOLLIN

import pytest
from support.forked import run_apart

from pyrunc.kernel import fds
from pyrunc.shim.console import ConsoleSocket, set_size
from pyrunc.shim.loop import Loop
from pyrunc.shim.reaper import Child, Reaper
from pyrunc.shim.stdio import Pump, Source, Writer


def spin(loop: Loop, seconds: float = 10) -> None:
    """Until somebody stops it; a test that nobody ends fails."""
    late: list[bool] = []
    timer = loop.after(seconds, lambda: (late.append(True), loop.stop()))
    loop.run()
    timer.cancel()
    assert not late, "nothing has stopped the loop"


def test_timers_ring_in_their_order_and_not_when_cancelled():
    def play() -> list[str]:
        loop, rung = Loop(), []
        loop.after(0.05, lambda: rung.append("second"))
        loop.after(0.01, lambda: rung.append("first"))
        loop.after(0.02, lambda: rung.append("never")).cancel()
        loop.after(0.08, loop.stop)
        spin(loop)
        loop.close()
        return rung

    assert run_apart(play, 0) == ["first", "second"]


def test_one_callback_may_close_what_another_of_its_round_is_for():
    def play() -> list[str]:
        loop, seen = Loop(), []
        pairs = [os.pipe(), os.pipe()]

        def take(mine: int, other: int) -> None:
            seen.append("taken")
            loop.forget(other)
            os.close(other)
            again = os.open("/dev/zero", os.O_RDONLY)  # by the same number
            assert again == other
            loop.forget(mine)
            loop.after(0.02, loop.stop)

        (first, first_end), (second, second_end) = pairs
        loop.watch(first, EPOLLIN, lambda _events: take(first, second))
        loop.watch(second, EPOLLIN, lambda _events: take(second, first))
        os.write(first_end, b"x")
        os.write(second_end, b"x")
        spin(loop)
        return seen

    assert run_apart(play, 0) == ["taken"]


def test_an_error_in_a_callback_is_reported_and_the_loop_goes_on():
    def play() -> list[str]:
        told: list[str] = []
        loop = Loop(lambda error: told.append(repr(error)))
        loop.after(0, lambda: 1 // 0)
        loop.after(0.02, loop.stop)
        spin(loop)
        return told

    (told,) = run_apart(play, 0)
    assert told.startswith("ZeroDivisionError")


def test_children_and_orphans_are_reaped_each_to_whom_it_belongs():
    def play() -> tuple[list[int], int, list[str]]:
        loop, codes = Loop(), []
        reaper = Reaper(loop)

        def ended(child: Child) -> None:
            codes.append(child.exit_code)
            assert abs(child.ended_ns - time.time_ns()) < 5 * 10**9
            with pytest.raises(ProcessLookupError):
                child.signal(15)
            if len(codes) == 3:
                loop.after(0.3, loop.stop)

        for way in ("exit", "signal", "orphans"):
            pid = os.fork()
            if pid == 0:
                loop.abandon()
                if way == "orphans":
                    for _ in range(20):
                        if os.fork() == 0:
                            if os.fork() == 0:
                                time.sleep(0.1)
                            os._exit(0)
                    os._exit(3)
                if way == "signal":
                    time.sleep(30)
                os._exit(7)
            child = reaper.expect(pid, ended)
            if way == "signal":
                child.signal(signal.SIGKILL)
        spin(loop)
        left = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return sorted(codes), reaper.orphans, left

    codes, orphans, left = run_apart(play, 0)
    assert codes == [3, 7, 137]
    assert orphans == 40
    assert left == []


def test_a_child_that_ended_before_it_was_known_is_not_lost_while_somebody_holds():
    def play() -> int:
        loop = Loop()
        reaper = Reaper(loop)
        reaper.hold()
        pid = os.fork()
        if pid == 0:
            os._exit(9)
        loop.after(0.1, loop.stop)
        spin(loop)
        assert reaper.orphans == 0
        codes: list[int] = []
        reaper.expect(pid, lambda child: (codes.append(child.exit_code), loop.stop()))
        reaper.release()
        spin(loop)
        return codes[0]

    assert run_apart(play, 0) == 9


def test_a_pump_holds_one_chunk_and_stops_reading():
    def play() -> tuple[int, bytes]:
        loop = Loop()
        reading, feed = os.pipe()
        hear, writing = os.pipe()
        done: list[bool] = []
        pump = Pump(loop, reading, writing, lambda: (done.append(True), loop.stop()))
        os.set_blocking(feed, False)
        sent = 0
        for _ in range(100):
            try:
                sent += os.write(feed, b"x" * 4096)
            except BlockingIOError:
                pass
            timer = loop.after(0, loop.stop)
            loop.run()
            timer.cancel()
        os.close(feed)
        heard = b""
        os.set_blocking(hear, False)
        for _ in range(1000):
            try:
                heard += os.read(hear, 65536)
            except BlockingIOError:
                pass
            if done:
                break
            timer = loop.after(0, loop.stop)
            loop.run()
            timer.cancel()
        try:
            heard += os.read(hear, 1 << 20)
        except BlockingIOError:
            pass
        assert pump.source.fd == -1
        return sent, heard

    sent, heard = run_apart(play, 0)
    assert 128 << 10 <= sent <= 160 << 10  # two pipes of 64 KiB, and what the pump holds
    assert len(heard) == sent


def test_a_pump_whose_target_is_gone_still_empties_its_source():
    def play() -> bool:
        loop = Loop()
        reading, feed = os.pipe()
        hear, writing = os.pipe()
        os.close(hear)
        done: list[bool] = []
        Pump(loop, reading, writing, lambda: (done.append(True), loop.stop()))
        pid = os.fork()
        if pid == 0:
            loop.abandon()
            os.write(feed, b"x" * (1 << 20))
            os._exit(0)
        os.close(feed)
        spin(loop)
        return done == [True] and os.waitpid(pid, 0)[1] == 0

    assert run_apart(play, 0)


def test_a_writer_beyond_its_limit_breaks_and_says_so_once():
    def play() -> int:
        loop = Loop()
        ours, theirs = socket.socketpair()
        told: list[str] = []
        writer = Writer(
            loop, os.dup(ours.fileno()), limit_bytes=100_000, broken=lambda: told.append("broken")
        )
        for _ in range(200):
            writer.write(b"x" * 10_000)
        assert writer.fd == -1
        assert writer.pending == 0
        theirs.close()
        return len(told)

    assert run_apart(play, 0) == 1


def test_a_writer_learns_that_its_reader_is_gone_without_writing():
    def play() -> None:
        loop = Loop()
        hear, writing = os.pipe()
        writer = Writer(loop, writing, broken=loop.stop)
        os.close(hear)
        spin(loop)
        assert writer.fd == -1

    run_apart(play, 0)


def test_the_master_of_a_terminal_ends_with_its_last_slave():
    def play() -> tuple[bytes, bool]:
        loop = Loop()
        master, slave = os.openpty()
        said = bytearray()
        source = Source(loop, master, said.extend, loop.stop)
        os.write(slave, b"last words")
        os.close(slave)
        spin(loop)
        return bytes(said), source.fd == -1

    assert run_apart(play, 0) == (b"last words", True)


def test_a_peer_that_left_something_unread_is_the_end():
    """It has closed its socket with output in it: a read says ECONNRESET then."""

    def play() -> tuple[bytes, bool]:
        loop = Loop()
        ours, theirs = socket.socketpair()
        heard = bytearray()
        source = Source(loop, ours.detach(), heard.extend, loop.stop)
        os.write(source.fd, b"never read")
        theirs.close()
        spin(loop)
        return bytes(heard), source.fd == -1

    assert run_apart(play, 0) == (b"", True)


def test_a_console_socket_takes_one_terminal_however_long_its_path(tmp_path):
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)

    def play() -> tuple[int, int]:
        loop = Loop()
        taken = ConsoleSocket(loop, f"{directory}/console.sock")
        assert os.stat(taken.path).st_mode & 0o777 == 0o600
        assert taken.take() == -1
        master, slave = os.openpty()
        connection = fds.connect_stream(taken.path)
        fds.send(connection, b"/dev/pts/x", (master,))
        received = taken.take()
        taken.close()
        assert not os.path.exists(taken.path)
        set_size(received, rows=11, columns=22)
        return struct.unpack("HHHH", fcntl.ioctl(slave, termios.TIOCGWINSZ, bytes(8)))[:2]

    assert run_apart(play, 0) == (11, 22)
