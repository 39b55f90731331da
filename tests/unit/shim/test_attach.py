"""shim.attach: the keys by which a client lets go; shim.memory: what may be given back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.errors import INVALID, PyruncError
from pyrunc.shim.attach import KeyScanner, parse_detach_keys
from pyrunc.shim.memory import parse_clean_mappings


@pytest.mark.parametrize(
    ("text", "keys"),
    [("ctrl-p,ctrl-q", b"\x10\x11"), ("", b""), ("a,b", b"ab"), ("ctrl-@", b"\0"),
     ("ctrl-[,ctrl-_", b"\x1b\x1f"), ("ctrl-a,x", b"\x01x")],
)  # fmt: skip
def test_keys(text, keys):
    assert parse_detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ab", "ctrl-p,", "€", "ctrl-A"])
def test_no_keys(text):
    with pytest.raises(PyruncError) as caught:
        parse_detach_keys(text)
    assert caught.value.kind == INVALID


KEYS = st.text("ab", min_size=1, max_size=3).map(str.encode)
TYPED = st.text("abc", max_size=6).map(str.encode)


def feed(keys: bytes, *chunks: bytes) -> tuple[bytes, bool]:
    scanner = KeyScanner(keys)
    passed = b""
    for chunk in chunks:
        some, found = scanner.feed(chunk)
        passed += some
        if found:
            return passed, True
    return passed, False


@pytest.mark.parametrize(
    ("keys", "chunks", "expected"),
    [
        (b"pq", (b"abpqcd",), (b"ab", True)),
        (b"pq", (b"abp", b"qcd"), (b"ab", True)),
        (b"pq", (b"p", b"p", b"q"), (b"p", True)),
        (b"pq", (b"pap",), (b"pa", False)),
        (b"pq", (b"p",), (b"", False)),  # held back: it may be the beginning
        (b"aab", (b"aaab",), (b"a", True)),
        (b"abac", (b"ababac",), (b"ab", True)),
        (b"", (b"anything",), (b"anything", False)),
    ],
)
def test_they_are_found_wherever_the_pieces_end(keys, chunks, expected):
    assert feed(keys, *chunks) == expected


@given(KEYS, st.lists(TYPED))
def test_as_a_search_in_the_whole(keys, chunks):
    whole = b"".join(chunks)
    passed, found = feed(keys, *chunks)
    assert found == (keys in whole)
    if found:
        assert passed == whole.partition(keys)[0]
    else:
        assert whole.startswith(passed)
        assert keys.startswith(whole[len(passed) :])


SMAPS = """\
00400000-00401000 r--p 00000000 fe:00 1                  /bin/x
Rss:                   4 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
00401000-00403000 r-xp 00001000 fe:00 1                  /bin/x
Anonymous:             0 kB
00403000-00404000 r--p 00003000 fe:00 1                  /bin/x
Anonymous:             4 kB
00404000-00405000 rw-p 00004000 fe:00 1                  /bin/x
Anonymous:             0 kB
01000000-01001000 rw-p 00000000 00:00 0                  [heap]
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f0000002000-7f0000003000 r-xp 00000000 00:00 0          [vdso]
Anonymous:             0 kB
"""


def test_only_pages_that_are_as_in_their_file_are_given_back():
    assert parse_clean_mappings(SMAPS) == [(0x400000, 0x1000), (0x401000, 0x2000)]
