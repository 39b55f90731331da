"""protowire: by hand-made bytes, by round trips, and by the library `protobuf`, built of the same tables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.protobuf import build

from pyrunc.protowire import BOOL, BYTES, INT, TEXT, UINT, Field, Malformed, decode, encode, table

INNER = table(name=(1, TEXT), numbers=(2, UINT, True))
OUTER = table(
    flag=(1, BOOL),
    signed=(2, INT),
    unsigned=(3, UINT),
    text=(4, TEXT),
    raw=(5, BYTES),
    inner=(6, INNER),
    inners=(7, INNER, True),
    texts=(8, TEXT, True),
    numbers=(9, INT, True),
    far=(536870911, INT),
)
VALUES = {
    BOOL: st.booleans(),
    INT: st.integers(-(1 << 63), (1 << 63) - 1),
    UINT: st.integers(0, (1 << 64) - 1),
    TEXT: st.text(max_size=20),
    BYTES: st.binary(max_size=20),
}


def messages(fields: dict[str, Field]) -> st.SearchStrategy[dict[str, Any]]:
    values = {}
    for name, field in fields.items():
        one = VALUES[field.kind] if isinstance(field.kind, str) else messages(field.kind)
        values[name] = st.lists(one, min_size=1, max_size=3).map(tuple) if field.many else one
    return st.fixed_dictionaries({}, optional=values)


@pytest.mark.parametrize(
    ("message", "data"),
    [
        ({"flag": True}, "08 01"),
        ({"signed": -1}, "10 ff ff ff ff ff ff ff ff ff 01"),
        ({"unsigned": (1 << 64) - 1}, "18 ff ff ff ff ff ff ff ff ff 01"),
        ({"text": "", "raw": b"\0"}, "22 00 2a 01 00"),
        ({"inners": ({"name": "a"}, {})}, "3a 03 0a 01 61 3a 00"),
        ({"numbers": (1, 300)}, "4a 03 01 ac 02"),
        ({"far": 1}, "f8 ff ff ff 0f 01"),
    ],
)
def test_the_bytes_of_a_message(message, data):
    assert encode(OUTER, message) == bytes.fromhex(data)
    assert decode(OUTER, bytes.fromhex(data)) == message


def test_numbers_that_are_not_packed_are_read_as_well():
    assert decode(OUTER, bytes.fromhex("48 01 48 02 4a 01 03")) == {"numbers": (1, 2, 3)}


def test_what_is_not_set_has_its_zero():
    assert decode(OUTER, b"", with_zeros=True) == {
        "flag": False, "signed": 0, "unsigned": 0, "text": "", "raw": b"", "inner": None, "inners": (),
        "texts": (), "numbers": (), "far": 0,
    }  # fmt: skip
    assert decode(OUTER, bytes.fromhex("32 00"), with_zeros=True)["inner"] == {"name": "", "numbers": ()}
    assert encode(OUTER, {"inner": None}) == b""


@given(messages(OUTER))
@settings(max_examples=200, deadline=None)
def test_protobuf_reads_what_we_write_and_the_other_way_round(message):
    judge = build("Outer", OUTER)
    ours = encode(OUTER, message)
    theirs = judge.FromString(ours)
    assert decode(OUTER, ours) == message
    assert decode(OUTER, theirs.SerializeToString(), with_zeros=True) == decode(OUTER, ours, with_zeros=True)


@given(st.binary(max_size=80))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_a_message_or_malformed(data):
    try:
        decode(OUTER, data, with_zeros=True)
    except Malformed:
        pass


@given(messages(OUTER).map(lambda message: encode(OUTER, message)), st.data())
@settings(max_examples=200, deadline=None)
def test_what_protobuf_refuses_of_a_broken_message_we_refuse_too(data, draw):
    at = draw.draw(st.integers(0, len(data)))
    broken = data[:at] + draw.draw(st.binary(max_size=3)) + data[draw.draw(st.integers(at, len(data))) :]
    try:
        decode(OUTER, broken, with_zeros=True)
    except Malformed:
        return
    try:
        build("Outer", OUTER).FromString(broken)
    except Exception as error:
        # It also wants text to be UTF-8, and takes a field of another wire type for an unknown one
        assert "UTF-8" in str(error) or "utf-8" in str(error) or not is_utf8(broken), error


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize(
    "data",
    [
        "08",
        "08 ff",
        "32 05 08",
        "0b",
        "08" + " ff" * 11,
        "2d 00",
        "4a 01 ff",
        "08 00 00",
        "22 ff ff ff ff 7f",
        "0a 00",
    ],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(Malformed):
        decode(OUTER, bytes.fromhex(data))


def test_many_are_read_in_proportion():
    """A frame's worth of the smallest items: what takes time by their square would not end."""
    assert len(decode(OUTER, b"\x42\x00" * (2 << 20))["texts"]) == 2 << 20
