"""docker.streams: the loop between our descriptors and a container's, without a container."""

from __future__ import annotations

import os
import signal
import socket
import threading
from types import SimpleNamespace

import pytest

from pyrunc.docker.streams import Signals, Streams, show_frames
from pyrunc.errors import PyruncError


def frame(kind: int, text: bytes) -> bytes:
    return bytes((kind, 0, 0, 0)) + len(text).to_bytes(4, "big") + text


class Ends:
    """A peer as the client has it, the container's end of it, and a pipe that is our stdin."""

    def __init__(self, early: bytes = b"", is_multiplexed: bool = True) -> None:
        ours, self.container = socket.socketpair()
        self.stdin, self.typed = os.pipe()
        self.peer = SimpleNamespace(
            socket=ours,
            early=early,
            is_multiplexed=is_multiplexed,
            end_input=lambda: ours.shutdown(socket.SHUT_WR),
        )
        self.told: list[int] = []

    def run(self, signals: Signals, keys: bytes = b"") -> bool:
        streams = Streams(self.peer, stdin=self.stdin, keys=keys, signals=signals, told=self.told.append)
        return streams.run()


@pytest.fixture
def signals():
    with Signals(proxies=True) as made:
        yield made


def test_frames_go_where_they_belong(signals, capfd):
    ends = Ends(early=frame(1, b"out ")[:5])
    ends.container.sendall(frame(1, b"out ")[5:] + frame(2, b"err") + frame(1, b"put"))
    ends.container.close()
    assert ends.run(signals) is True
    assert capfd.readouterr() == ("out put", "err")


def test_two_that_both_write_do_not_wait_for_each_other(signals, capfd):
    """The container says all it has to say before it reads: more than the sockets hold, both ways."""
    ends = Ends(is_multiplexed=False)
    given, answer = os.urandom(1 << 20), b"x" * (1 << 20)
    got = []

    def container() -> None:
        ends.container.sendall(answer)
        got.append(b"".join(iter(lambda: ends.container.recv(1 << 16), b"")))
        ends.container.close()

    def typing() -> None:
        with open(ends.typed, "wb") as file:
            file.write(given)

    threads = [threading.Thread(target=container), threading.Thread(target=typing)]
    for thread in threads:
        thread.start()
    assert ends.run(signals) is True
    for thread in threads:
        thread.join()
    assert got == [given]
    assert len(capfd.readouterr().out) == len(answer)


def test_keys_leave_and_what_only_begins_like_them_goes_on(signals):
    ends = Ends(is_multiplexed=False)
    os.write(ends.typed, b"a\x10b\x10\x10\x11never")
    assert ends.run(signals, keys=b"\x10\x11") is False
    ends.peer.socket.close()
    assert ends.container.recv(100) == b"a\x10b\x10"


def test_a_signal_is_told(signals):
    ends = Ends(is_multiplexed=False)
    signal.raise_signal(signal.SIGTERM)
    threading.Timer(0.2, ends.container.close).start()
    ends.run(signals)
    assert ends.told == [signal.SIGTERM]


def test_what_the_daemon_says_of_itself_is_an_error():
    with pytest.raises(PyruncError, match="lost it"):
        show_frames(frame(3, b"lost it"))
