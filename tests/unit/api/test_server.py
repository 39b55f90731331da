"""api.server, router and client together, over a socket pair: no daemon, and an engine of three lines."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from socket import SHUT_WR, socket, socketpair

import pytest

from pyrunc.api.call import Call, Empty, Json, Stream, Upgrade
from pyrunc.api.client import Client
from pyrunc.api.router import Router
from pyrunc.api.server import serve_connection
from pyrunc.errors import CONFLICT, INVALID, NOT_FOUND, NOT_MODIFIED, PyruncError


def echo(_: object, call: Call) -> Json:
    return Json(value={"name": call.names.get("name"), "query": call.query, "body": call.document()})


def size(_: object, call: Call) -> Json:
    return Json(value=len(call.body.read()))


def fail(_: object, call: Call) -> Empty:
    raise PyruncError(call.text("kind"), "it failed", "there", "because")


def bug(_: object, call: Call) -> Empty:
    raise ZeroDivisionError("a bug")


def count(_: object, call: Call) -> Stream:
    return Stream(pieces=(b'{"n":%d}\n' % n for n in range(3)))


def shout(_: object, call: Call) -> Upgrade:
    def begin(fd: int) -> None:
        with socket(fileno=fd) as stream:
            while data := stream.recv(100):
                stream.sendall(data.upper())
            stream.sendall(b"bye")
            stream.detach()

    return Upgrade(begin=begin)


ROUTES = (
    ("GET", "/things/{name*}/json", echo),
    ("POST", "/things/{name}", echo),
    ("POST", "/size", size),
    ("POST", "/fail", fail),
    ("GET", "/bug", bug),
    ("GET", "/count", count),
    ("POST", "/shout", shout),
)


@pytest.fixture
def dial() -> Iterator[Callable[[], socket]]:
    threads = []

    def dial() -> socket:
        ours, theirs = socketpair()
        ours.settimeout(10)
        thread = threading.Thread(target=serve_connection, args=(Router([(None, ROUTES)]), theirs))
        thread.start()
        threads.append(thread)
        return ours

    yield dial
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def client(dial: Callable[[], socket]) -> Iterator[Client]:
    with Client(dial) as made:
        yield made


def ask(dial: Callable[[], socket], data: bytes) -> bytes:
    """All that comes back, when no more is sent."""
    with dial() as connection:
        connection.sendall(data)
        connection.shutdown(SHUT_WR)
        got = b""
        while piece := connection.recv(65536):
            got += piece
        return got


def test_names_with_slashes_queries_and_bodies_arrive(client):
    got = client.call("GET", "/things/docker.io/library/x y:1/json", query={"all": True, "f": {"a": ["b"]}})
    assert got == {
        "name": "docker.io/library/x y:1",
        "query": {"all": ["1"], "f": ['{"a":["b"]}']},
        "body": {},
    }
    assert client.call("POST", "/things/a", body={"x": "é"})["body"] == {"x": "é"}


def test_a_body_in_pieces_is_read_whole(client):
    with client.stream("POST", "/size", data=(b"x" * 70_000 for _ in range(3))) as answer:
        assert answer.read() == b"210000\n"


@pytest.mark.parametrize("kind", [INVALID, NOT_FOUND, CONFLICT])
def test_an_error_is_the_same_on_both_sides(client, kind):
    with pytest.raises(PyruncError) as caught:
        client.call("POST", "/fail", query={"kind": kind})
    assert (caught.value.kind, str(caught.value)) == (kind, "it failed: there: because")


def test_nothing_to_do_is_304_without_a_body(client):
    with pytest.raises(PyruncError) as caught:
        client.call("POST", "/fail", query={"kind": NOT_MODIFIED})
    assert caught.value.kind == NOT_MODIFIED


def test_a_bug_ends_one_request(client, capfd):
    with pytest.raises(PyruncError, match="internal error"):
        client.call("GET", "/bug")
    assert client.call("POST", "/things/a")["name"] == "a"
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_stream_comes_in_objects(client):
    with client.stream("GET", "/count") as answer:
        assert list(answer.objects()) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_an_upgraded_connection_is_half_closed_by_itself(client):
    with client.upgrade("POST", "/shout") as raw:
        raw.socket.sendall(b"hello")
        assert raw.socket.recv(100) == b"HELLO"
        raw.end_input()
        assert raw.socket.recv(100) == b"bye"
        assert raw.socket.recv(100) == b""


def test_what_came_with_the_head_is_not_lost(dial):
    head = b"POST /shout HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    got = ask(dial, head + b"early")
    assert got.startswith(b"HTTP/1.1 101 ")
    assert got.endswith(b"EARLYbye")


def test_without_asking_for_an_upgrade_it_is_200_and_raw(dial):
    got = ask(dial, b"POST /shout HTTP/1.1\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"chunked" not in got
    assert got.endswith(b"\r\n\r\nbye")


def test_requests_may_follow_each_other(dial):
    one = b"POST /things/a HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    assert ask(dial, one + one).count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"GET /nothing HTTP/1.1", 404),
        (b"DELETE /count HTTP/1.1", 405),
        (b"GET /v1.10/count HTTP/1.1", 400),
        (b"GET /v1.99/count HTTP/1.1", 400),
        (b"GET /v1.24/count HTTP/1.1", 200),
        (b"GET /v1.51/count HTTP/1.1", 200),
        (b"GET /things/%ff/json HTTP/1.1", 400),
        (b"POST /things/a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", 400),
        (b"nonsense", 400),
    ],
)
def test_codes(dial, head, code):
    assert ask(dial, head + b"\r\n\r\n").split()[1] == str(code).encode()


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"a":1', b"\xff"])
def test_a_body_that_is_no_object_is_refused(dial, body):
    head = b"POST /things/a HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert ask(dial, head + body).split()[1] == b"400"


def test_a_head_without_end_is_refused(dial):
    assert ask(dial, b"GET /" + b"x" * 200_000).split()[1] == b"400"


def test_http_1_0_gets_no_chunks(dial):
    got = ask(dial, b"GET /count HTTP/1.0\r\n\r\n")
    assert b"chunked" not in got
    assert got.endswith(b'{"n":0}\n{"n":1}\n{"n":2}\n')
