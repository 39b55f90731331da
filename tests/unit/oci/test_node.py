"""oci.node: getters that name the place of what is wrong."""

from __future__ import annotations

import pytest

from pyrunc.errors import INVALID, PyruncError
from pyrunc.oci.node import Node, escape


def where(call) -> tuple[str, str]:
    with pytest.raises(PyruncError) as caught:
        call()
    assert caught.value.kind == INVALID
    return caught.value.where, caught.value.why


def test_a_pointer_is_escaped():
    assert escape("a/b~c") == "a~1b~0c"
    assert where(lambda: Node({"a/b": 1}, "/x").text("a/b")) == ("/x/a~1b", "is not a string")


def test_types_are_exact():
    assert where(lambda: Node({"n": True}).number("n")) == ("/n", "is not an integer")
    assert where(lambda: Node({"n": 1.0}).number("n")) == ("/n", "is not an integer")
    assert where(lambda: Node({"n": 1}).flag("n")) == ("/n", "is not a boolean")
    assert where(lambda: Node([])) == ("/", "is not an object")


def test_what_is_needed():
    assert where(lambda: Node({"n": None}, "/a").need_text("n")) == ("/a/n", "is required")
    assert where(lambda: Node({}).need_number("n")) == ("/n", "is required")


def test_entries_name_their_index():
    assert where(lambda: Node({"a": ["x", 1]}).texts("a")) == ("/a/1", "is not a string")
    assert where(lambda: Node({"a": [1, None]}).numbers("a")) == ("/a/1", "is not an integer")
    assert where(lambda: list(Node({"a": [{}, 1]}).children("a"))) == ("/a/1", "is not an object")


def test_maps_pass_null_over():
    node = Node({"texts": {"a": "b", "c": None}, "objects": {"d": {}, "e": None}, "none": None})
    assert node.pairs("texts") == (("a", "b"),)
    assert [key for key, _ in node.members("objects")] == ["d"]
    assert node.pairs("none") == ()
    assert not node.has("none")
    assert where(lambda: Node({"m": {"a/b": 1}}).pairs("m")) == ("/m/a~1b", "is not a string")
