"""api.http1: bytes to heads and bodies, and what is refused because two readers could understand it in two
ways."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.api import http1
from pyrunc.errors import INVALID, PyruncError


def request(*lines: str) -> http1.Request:
    return http1.parse_request("\r\n".join(lines).encode())


def test_a_request_is_its_parts():
    found = request("POST /v1.41/images/create?tag=x HTTP/1.1", "Host: docker", "X-Registry-Auth:  e30= ")
    assert (found.method, found.target, found.minor) == ("POST", "/v1.41/images/create?tag=x", 1)
    assert found.header("x-registry-auth") == "e30="
    assert found.header("content-length") == ""


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/2.0",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1\r\nA : 1",
        "GET / HTTP/1.1\r\nA: 1\r\n folded",
        "GET / HTTP/1.1\r\n: 1",
        "GET / HTTP/1.1\r\nA: a\nb",
        "GET / HTTP/1.1\r\nA: a\0b",
        "GET http://x/ HTTP/1.1",
        "GET /a\tb HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / HTTP/1.1" + "\r\nA: 1" * 200,
    ],
)
def test_a_head_that_is_none_is_refused(head):
    with pytest.raises(PyruncError) as caught:
        http1.parse_request(head.encode())
    assert caught.value.kind == INVALID


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 3", "Content-Length: 4"),
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Content-Length: +3",),
        ("Content-Length: 3_0",),
        ("Content-Length: ٣",),
        ("Content-Length: ",),
    ],
)
def test_a_body_of_two_lengths_is_refused(headers):
    with pytest.raises(PyruncError):
        http1.framing_of_request(request("POST / HTTP/1.1", *headers))


def test_equal_lengths_twice_are_one():
    found = request("POST / HTTP/1.1", "Content-Length: 3", "Content-Length: 3")
    assert http1.framing_of_request(found) == 3


def test_a_response_without_a_length_lasts_until_the_end():
    head = http1.parse_response(b"HTTP/1.1 200 OK")
    assert http1.framing_of_response(head, "GET") == http1.UNTIL_CLOSE
    assert http1.framing_of_response(head, "HEAD") == http1.NO_BODY
    assert http1.framing_of_response(http1.parse_response(b"HTTP/1.1 304 x"), "GET") == http1.NO_BODY


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        (("Connection: Upgrade", "Upgrade: tcp"), True),
        (("Connection: keep-alive, upgrade", "Upgrade: tcp"), True),
        (("Upgrade: tcp",), False),
        (("Connection: Upgrade",), False),
    ],
)
def test_who_wants_to_be_upgraded(headers, wanted):
    assert request("POST / HTTP/1.1", *headers).wants_upgrade is wanted


@given(
    st.lists(st.binary(min_size=1, max_size=70), max_size=8),
    st.binary(max_size=20),
    st.lists(st.integers(min_value=1, max_value=40), max_size=30),
)
def test_chunks_come_out_as_they_went_in_however_they_are_cut(pieces, rest, cuts):
    data = b"".join(map(http1.encode_chunk, pieces)) + http1.LAST_CHUNK + rest
    decoder, got, position = http1.Decoder(http1.CHUNKED), b"", 0
    for cut in [*cuts, len(data)]:
        got += decoder.decode(data[position : position + cut])
        position += cut
    got += decoder.decode(data[position:]) if position < len(data) else b""
    assert (got, decoder.is_done, decoder.rest) == (b"".join(pieces), True, rest)


@given(st.binary(max_size=60), st.binary(max_size=10), st.integers(min_value=0, max_value=60))
def test_a_body_with_a_length_ends_there(body, rest, cut):
    decoder = http1.Decoder(len(body))
    data = body + rest
    got = decoder.decode(data[:cut]) + decoder.decode(data[cut:])
    assert (got, decoder.is_done, decoder.rest) == (body, True, rest)


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"-1\r\n",
        b"0x3\r\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"1_0\r\n",
        b"\r\n",
        b"f" * 17 + b"\r\n",
        b"a" * 300,
    ],
)
def test_broken_chunks_are_refused(data):
    with pytest.raises(PyruncError):
        http1.Decoder(http1.CHUNKED).decode(data)


def test_extensions_and_trailers_are_read_over():
    decoder = http1.Decoder(http1.CHUNKED)
    assert decoder.decode(b"3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\nGET") == b"abc"
    assert (decoder.is_done, decoder.rest) == (True, b"GET")


def test_an_early_end_is_noticed():
    decoder = http1.Decoder(5)
    decoder.decode(b"abc")
    with pytest.raises(PyruncError):
        decoder.end()


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: x", "a\nb"])
def test_a_value_cannot_begin_a_line(value):
    with pytest.raises(PyruncError):
        http1.encode_response(200, (("X", value),))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(data):
    try:
        http1.framing_of_request(http1.parse_request(data))
    except PyruncError as error:
        assert error.kind == INVALID
