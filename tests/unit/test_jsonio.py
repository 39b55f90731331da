"""jsonio: what `json` reads and writes, without importing it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc import jsonio
from pyrunc.errors import PyruncError

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(DOCUMENTS, st.sampled_from([None, 2, 4]))
def test_what_is_written_is_read_again_by_us_and_by_the_standard_library(document, indent):
    try:
        text = jsonio.dumps(document, indent).encode()
    except UnicodeEncodeError:
        return  # half a surrogate pair: no file could hold it
    assert jsonio.loads(text) == json.loads(text) == document


def test_indented_it_looks_as_go_prints_it():
    document = {"a": [], "b": {}, "c": [1, {"d": "ä\n"}]}
    assert jsonio.dumps(document, 2) == json.dumps(document, indent=2, ensure_ascii=False)


BROKEN = [
    b"",
    b"{",
    b"{]",
    b'{"a"',
    b'{"a":',
    b"[1,",
    b'"\n"',
    b'"\\x"',
    b'"',
    b"nope",
    b"NaN",
    b"\xff",
    b"{} x",
    b"[" * 9999,
]


@pytest.mark.parametrize("data", BROKEN)
def test_what_is_not_json_is_refused_with_its_file(data):
    with pytest.raises(PyruncError, match=r"^invalid JSON: /some/file: .") as raised:
        jsonio.loads(data, "/some/file")
    assert raised.value.where == "/some/file"


def test_it_is_refused_where_nobody_has_imported_json_too():
    """The C scanner looks for its error class in a module that need not be there."""
    program = f"""
import sys
sys.path.insert(0, {str(Path(jsonio.__file__).parents[1])!r})
from pyrunc import jsonio
from pyrunc.errors import PyruncError
try:
    jsonio.loads(sys.argv[1].encode(errors="surrogateescape"), "there")
except PyruncError as error:
    print(error.what, error.where)
"""
    for data in BROKEN:
        command = [sys.executable, "-ISEBXutf8", "-c", program, data]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("invalid JSON there\n", "")
