"""kernel.fds against the standard library's sockets at the other end."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrunc.kernel import fds


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    ends = fds.socket_pair()
    yield ends
    for fd in ends:
        os.close(fd)


def same_file(one: int, other: int) -> bool:
    return os.path.sameopenfile(one, other)


def test_a_pair_keeps_the_bounds_of_messages(pair):
    one, other = pair
    fds.send(one, b"first")
    fds.send(one, b"second")
    assert fds.receive(other) == (b"first", ())
    assert fds.receive(other) == (b"second", ())
    assert not os.get_inheritable(one)
    assert not os.get_inheritable(other)


@pytest.mark.parametrize("size", [1, 4096, 100_000])
def test_a_message_of_any_length_is_received_whole_with_its_descriptors(pair, size):
    one, other = pair
    fds.send(one, b"x" * size, (one,))
    fds.send(one, b"next")
    message, (received,) = fds.receive_whole(other)
    assert (message, same_file(received, one)) == (b"x" * size, True)
    os.close(received)
    assert fds.receive_whole(other) == (b"next", ())


def test_the_end_is_an_empty_message(pair):
    one, other = pair
    copy = os.dup(one)
    os.close(one)
    os.dup2(copy, one)
    with socket.socket(fileno=copy) as end:
        end.shutdown(socket.SHUT_RDWR)
    assert fds.receive_whole(other) == (b"", ())


def test_descriptors_travel_and_are_closed_by_exec(pair, tmp_path):
    one, other = pair
    files = [os.open(tmp_path / str(number), os.O_CREAT | os.O_RDWR) for number in range(3)]
    fds.send(one, b"three", tuple(files))
    data, received = fds.receive(other)
    assert data == b"three"
    assert len(received) == 3
    for sent, got in zip(files, received, strict=True):
        assert same_file(sent, got)
        assert not os.get_inheritable(got)
        os.close(sent)
        os.close(got)


def test_the_other_end_closed():
    one, other = fds.socket_pair()
    os.close(one)
    assert fds.receive(other) == (b"", ())
    with pytest.raises(BrokenPipeError):
        fds.send(other, b"x")
    os.close(other)


@pytest.mark.parametrize("depth", [1, 12])
def test_a_stream_socket_by_name_however_long(tmp_path, depth):
    """sun_path has 108 bytes; a bundle's directory may be deeper."""
    directory = tmp_path.joinpath(*["twenty-characters-xx"] * depth)
    directory.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        bind_there(server, directory / "console.sock")
        server.listen()
        fd = fds.connect_stream(str(directory / "console.sock"))
        peer, _ = server.accept()
        with peer:
            read, write = os.pipe()
            fds.send(fd, b"/dev/pts/0", (write,))
            data, ancillary, *_ = peer.recvmsg(100, socket.CMSG_SPACE(4))
            assert data == b"/dev/pts/0"
            ((level, kind, raw),) = ancillary
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            (got,) = array.array("i", raw)
            assert same_file(got, write)
            for number in (fd, read, write, got):
                os.close(number)


def bind_there(server: socket.socket, path: Path) -> None:
    directory = os.open(path.parent, os.O_PATH)
    try:
        server.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)


def test_datagrams_both_ways(tmp_path):
    path = str(tmp_path / "notify")
    receiver = fds.bind_datagram(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"READY=1", path)
    assert fds.receive(receiver)[0] == b"READY=1"
    sender = fds.connect_datagram(path)
    fds.send(sender, b"STOPPING=1")
    assert fds.receive(receiver)[0] == b"STOPPING=1"
    os.close(sender)
    os.close(receiver)


def test_a_name_of_the_abstract_namespace():
    name = f"pyrunc-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"\0{name}")
        fd = fds.connect_datagram(f"@{name}")
        fds.send(fd, b"hello")
        assert server.recv(10) == b"hello"
        os.close(fd)


@pytest.mark.parametrize("connect", [fds.connect_stream, fds.connect_datagram])
def test_nobody_there_leaves_no_descriptor(tmp_path, connect):
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        connect(str(tmp_path / "missing"))
    assert os.listdir("/proc/self/fd") == before
