"""Whoever may use the socket is root anyway; but no client, broken or slow, may end the daemon or keep others
from it."""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path

import pytest
from support.engine import IMAGE, Engine
from support.waiting import until

SECONDS = 60


def connect(engine: Engine) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(SECONDS)
    made.connect(str(engine.socket))
    return made


def answer_to(engine: Engine, data: bytes) -> bytes:
    """All that comes until the daemon closes, or we end the request."""
    with connect(engine) as connection:
        got = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                got += piece
        except (BrokenPipeError, ConnectionResetError):  # it had heard enough
            pass
        return got


def is_well(engine: Engine) -> bool:
    assert engine.process is not None
    assert engine.process.poll() is None, engine.log()
    return answer_to(engine, b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"OK")


POST = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * (2 << 20) + b"\r\n\r\n", (431, 400)),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200_000 + b"\r\n", (431, 400)),
        (b"GET /" + b"x" * (2 << 20) + b" HTTP/1.1\r\n\r\n", (414, 431, 400)),
        (b"\0\xff\xfe\r\n\r\n", (400,)),
        (b"GET / HTTP/9.9\r\n\r\n", (400, 505)),
        (b"GET /_ping HTTP/1.1\r\nHost : x\r\n\r\n", (400,)),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", (400,)),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n0\r\n\r\n", (400,)),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n{}", (400,)),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n", (400,)),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", (400,)),
        (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", (400,)),
        (POST + b"Content-Length: -1\r\n\r\n", (400,)),
        (POST + b"Content-Length: 99999999999999\r\n\r\n", (400, 413)),
        (POST + b"Content-Length: 9\r\n\r\n" + b"[" * 9, (400,)),
        (POST + b"Content-Length: 100000\r\n\r\n" + b"[" * 100_000, (400,)),
        (POST + b"Content-Length: 2\r\n\r\n[]", (400,)),
        (POST + b'Content-Length: 14\r\n\r\n{"Image": 1.5}', (400,)),
        (POST + b'Content-Length: 18\r\n\r\n{"HostConfig":[1]}', (400,)),
        (b"GET /containers/json?filters=%7B%22%22 HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
        (b"GET /containers/json?limit=x HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
        (b"GET /containers/%00%2e%2e%2f%2e%2e/json HTTP/1.1\r\nHost: x\r\n\r\n", (400, 404)),
        (b"BREW /_ping HTTP/1.1\r\nHost: x\r\n\r\n", (404, 405, 501)),
    ],
)
def test_nonsense_is_refused_with_a_status(engine, data, statuses):
    head = answer_to(engine, data).partition(b"\r\n")[0]
    if head or len(data) < 65536:  # of what is too long, a client may see the connection's end alone
        assert head.startswith(b"HTTP/1.1 ") and int(head.split()[1]) in statuses, head
    assert is_well(engine)


def test_a_body_that_ends_too_early_ends_the_connection_and_nothing_else(engine):
    """Also one that nobody wants to know."""
    got = answer_to(engine, b"POST /containers/none/start HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{}")
    assert got.startswith(b"HTTP/1.1 404 ")
    assert is_well(engine)
    assert "Exception in thread" not in engine.log()


def test_random_bytes(engine):
    chance = random.Random(5)
    line = b"GET /containers/json?all=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    for _ in range(150):
        damaged = bytearray(line)
        for _ in range(chance.randint(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        answer_to(engine, bytes(damaged))
    assert is_well(engine)


def test_slow_clients_keep_nobody_waiting(engine):
    """A hundred that have begun a request and don't go on."""
    slow = [connect(engine) for _ in range(100)]
    try:
        for connection in slow:
            connection.sendall(b"GET /containers/json HTTP/1.1\r\nHo")
        begun = time.monotonic()
        assert is_well(engine)
        assert time.monotonic() - begun < 5
        slow[0].sendall(b"st: x\r\n\r\n")
        assert slow[0].recv(100).startswith(b"HTTP/1.1 200")
    finally:
        for connection in slow:
            connection.close()
    assert is_well(engine)


def test_who_does_not_read_is_not_waited_for(engine, docker):
    """Of much output: the container goes on when such a reader has gone, and others read meanwhile."""
    docker.ok("run", "-d", "--name", "loud", "--network", "none", "busybox", "sh", "-c",
              "while :; do echo 0123456789012345678901234567890123456789; done")  # fmt: skip
    until(lambda: docker.ok("logs", "--tail", "1", "loud"), "it writes")
    try:
        with connect(engine) as deaf:
            deaf.sendall(b"GET /containers/loud/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(0.5)
            assert docker.ok("logs", "--tail", "1", "loud").startswith("0123")
            assert is_well(engine)
        until(lambda: docker.ok("logs", "--tail", "1", "loud"), "it writes on")
    finally:
        docker.ok("rm", "-f", "loud")


def test_threads_and_descriptors_do_not_pile_up(engine, docker):
    docker.ok("create", "--name", "box", IMAGE)
    requests = (
        b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /containers/box/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /ev",
    )
    assert engine.process is not None
    proc = Path(f"/proc/{engine.process.pid}")

    def count() -> tuple[int, int]:
        return len(list((proc / "fd").iterdir())), len(list((proc / "task").iterdir()))

    for _ in range(20):
        is_well(engine)
    fds, threads = count()
    for number in range(200):
        with connect(engine) as connection:
            connection.sendall(requests[number % len(requests)])
    is_well(engine)  # whoever came before it has been accepted
    until(lambda: count()[0] <= fds + 2 and count()[1] <= threads + 2, f"as before: {(fds, threads)}")
