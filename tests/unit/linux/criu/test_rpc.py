"""linux.criu.rpc: protobuf's wire format, by hand-made bytes, by round trips, and by protobuf itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.errors import PyruncError
from pyrunc.linux.criu import rpc
from pyrunc.protowire import BOOL, INT, TEXT, Field

_VALUES = {
    BOOL: st.booleans(),
    INT: st.integers(-(1 << 31), (1 << 31) - 1),
    TEXT: st.text(max_size=40),
}


def messages(table: dict[str, Field]) -> st.SearchStrategy[dict[str, Any]]:
    """With a few of the fields each: all of them at once take long to make."""
    fields = {}
    for name, field in table.items():
        one = _VALUES[field.kind] if isinstance(field.kind, str) else messages(field.kind)
        fields[name] = st.lists(one, min_size=1, max_size=2).map(tuple) if field.many else one
    names = st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: fields[name] for name in chosen}))


@pytest.mark.parametrize(
    ("table", "message", "data"),
    [
        (rpc.REQUEST, {"type": 1}, "08 01"),
        (rpc.REQUEST, {"type": 6, "notify_success": False}, "08 06 18 00"),
        (rpc.OPTIONS, {"pid": 300}, "10 ac 02"),
        (rpc.OPTIONS, {"root": "/r"}, "6a 02 2f 72"),
        (rpc.OPTIONS, {"work_dir_fd": -1}, "88 01 ff ff ff ff ff ff ff ff ff 01"),
        (rpc.OPTIONS, {"ext_mnt": ({"key": "k", "val": "v"},)}, "ba 01 06 0a 01 6b 12 01 76"),
        (rpc.OPTIONS, {"external": ("a", "b")}, "aa 02 01 61 aa 02 01 62"),
        (rpc.RESPONSE, {"type": 2, "success": True, "restore": {"pid": 7}}, "08 02 10 01 22 02 08 07"),
    ],
)
def test_the_bytes_of_a_message(table, message, data):
    assert rpc.encode(table, message) == bytes.fromhex(data)
    assert rpc.decode(table, bytes.fromhex(data)) == message


@given(messages(rpc.REQUEST))
def test_a_request_survives(message):
    assert rpc.decode(rpc.REQUEST, rpc.encode(rpc.REQUEST, message)) == message


@given(messages(rpc.RESPONSE))
def test_a_response_survives(message):
    assert rpc.decode(rpc.RESPONSE, rpc.encode(rpc.RESPONSE, message)) == message


def test_names_that_are_not_text_survive():
    data = rpc.encode(rpc.OPTIONS, {"root": "/\udcff"})
    assert data.endswith(b"/\xff")
    assert rpc.decode(rpc.OPTIONS, data) == {"root": "/\udcff"}


def test_what_a_newer_criu_adds_is_left_out():
    unknown = bytes.fromhex("f8 07 01  fd 07 00000000  f9 07 0000000000000000  fa 07 02 6869")
    assert rpc.decode(rpc.RESPONSE, unknown + b"\x08\x02" + unknown) == {"type": 2}


@pytest.mark.parametrize(
    "data", ["08", "08 ff", "22 05 08", "0b", "08" + " ff" * 11, "2d 00", "0a 01 61", "20 01"]
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(PyruncError, match="no message"):
        rpc.decode(rpc.RESPONSE, bytes.fromhex(data))


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_refused(data):
    try:
        rpc.decode(rpc.RESPONSE, data)
    except PyruncError:
        pass


def test_a_name_that_criu_does_not_know_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        rpc.encode(rpc.OPTIONS, {"leave_runing": True})
