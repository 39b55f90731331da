"""shim.containerd.ttrpc: frames, by their bytes and cut anywhere; hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrunc.shim.containerd import ttrpc
from pyrunc.shim.containerd.ttrpc import Decoder, Failure, Frame, Request

ASKED = Request(service="containerd.task.v2.Task", method="State", payload=b"\x0a\x03box")
TOO_LONG = (ttrpc.LONGEST_BYTES + 1).to_bytes(4, "big") + bytes.fromhex("00000003 01 00")


def frames(data: bytes, cuts: list[int] | None = None) -> list[Frame]:
    decoder, found, at = Decoder(), [], 0
    for cut in sorted(cuts or []):
        found += list(decoder.feed(data[at:cut]))
        at = cut
    return found + list(decoder.feed(data[at:]))


def test_the_bytes_of_a_request():
    data = ttrpc.encode_request(1, Request(service="s", method="m", payload=b"p"), 0)
    assert data.hex(" ") == "00 00 00 0b 00 00 00 01 01 00 0a 01 73 12 01 6d 1a 01 70 20 00"


def test_a_request_arrives():
    (frame,) = frames(ttrpc.encode_request(7, ASKED, 1.5))
    assert (frame.stream, ttrpc.decode_request(frame)) == (7, ASKED)


def test_an_answer_arrives():
    (frame,) = frames(ttrpc.encode_answer(7, b"payload"))
    assert (frame.stream, ttrpc.decode_answer(frame)) == (7, b"payload")


def test_a_failure_arrives():
    (frame,) = frames(ttrpc.encode_failure(7, Failure(ttrpc.NOT_FOUND, "no such thing")))
    with pytest.raises(Failure, match="no such thing") as caught:
        ttrpc.decode_answer(frame)
    assert caught.value.code == 5


@given(st.lists(st.tuples(st.integers(1, 9), st.binary(max_size=30)), max_size=5), st.data())
@settings(deadline=None)
def test_it_does_not_matter_how_bytes_come(given_frames, draw):
    data = b"".join(ttrpc.encode_answer(stream, payload) for stream, payload in given_frames)
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=8))
    found = [(frame.stream, ttrpc.decode_answer(frame)) for frame in frames(data, cuts)]
    assert found == given_frames


@pytest.mark.parametrize("cuts", [[], [3], [10], [11, 5_000_000], [20, 4_194_314]])
def test_what_is_too_long_is_passed_over_and_refused(cuts):
    data = TOO_LONG + bytes(ttrpc.LONGEST_BYTES + 1) + ttrpc.encode_request(5, ASKED, 0)
    first, second = frames(data, cuts)
    with pytest.raises(Failure) as caught:
        ttrpc.decode_request(first)
    assert (first.stream, caught.value.code) == (3, ttrpc.RESOURCE_EXHAUSTED)
    assert ttrpc.decode_request(second) == ASKED


def test_a_frame_that_is_announced_takes_no_memory_before_it_comes():
    decoder = Decoder()
    assert list(decoder.feed(bytes.fromhex("00400000 00000001 01 00"))) == []
    assert [frame.data for frame in decoder.feed(bytes(4 << 20))] == [bytes(4 << 20)]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (Frame(stream=2, type=ttrpc.REQUEST, data=b""), ttrpc.INVALID_ARGUMENT),
        (Frame(stream=1, type=ttrpc.RESPONSE, data=b""), ttrpc.INVALID_ARGUMENT),
        (Frame(stream=1, type=3, data=b""), ttrpc.INVALID_ARGUMENT),
        (Frame(stream=1, type=ttrpc.REQUEST, data=b"\xff"), ttrpc.INVALID_ARGUMENT),
        (Frame(stream=1, type=ttrpc.REQUEST, data=None), ttrpc.RESOURCE_EXHAUSTED),
    ],
)
def test_what_may_not_be_asked_with(frame, code):
    with pytest.raises(Failure) as caught:
        ttrpc.decode_request(frame)
    assert caught.value.code == code


def test_an_answer_that_no_frame_holds_is_a_failure():
    (frame,) = frames(ttrpc.encode_answer(1, bytes(ttrpc.LONGEST_BYTES)))
    with pytest.raises(Failure) as caught:
        ttrpc.decode_answer(frame)
    assert caught.value.code == ttrpc.RESOURCE_EXHAUSTED


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_frames_or_wait(data, cuts):
    for frame in frames(data, [cut for cut in cuts if cut <= len(data)]):
        for read in (ttrpc.decode_request, ttrpc.decode_answer):
            try:
                read(frame)
            except Failure:
                pass
