"""The launcher's `_json`: the standard library's verdict on every text, and its text for every value."""

from __future__ import annotations

import _json
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.launcher import extension

from pyrunc import jsonio

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
)
# Of what JSON is made, in disorder
_WORDS = (
    '{ } [ ] , : " \\ / t rue true null false - + . e E 0 1 23 -1 1.5 1e5 1E-2 -0 01 1. .5 1e NaN Infinity '
    '-Infinity -I \\u00e4 \\ud83d \\ude00 \\x \\" ä 😀 a \x00 \x1f \x7f'
)
TOKENS = st.lists(
    st.sampled_from(
        [*_WORDS.split(" "), " ", "\n", "\t", "\r", "\v", "\u00a0", '"a"', '"a":', "[1,", '{"a":1,']
    )
).map("".join)


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> types.ModuleType:
    return extension("_json", "json.c", tmp_path_factory.mktemp("extension"))


def verdict(module: types.ModuleType, text: str) -> object:
    try:
        value, end = module.make_scanner(jsonio._Context)(text, 0)
    except RecursionError:
        return "too deep"
    except (ValueError, StopIteration, SystemError):
        return "not JSON"
    return repr(value), end  # by repr: 1 is not 1.0, nor -0.0 0.0


@given(TOKENS | st.text())
def test_every_text_is_read_alike(ours, text):
    assert verdict(ours, text) == verdict(_json, text)


@pytest.mark.parametrize(
    "text",
    [
        "", "nul", "tru", "fals", "Infinit", "-Infinit", "-", "1e400", "-1e400", "1" * 5000, '"\\u12"',
        '"\\u123', '"\\', '"\\"', '"\\ud800\\u0041"', '"\\ud800\\udc00"', '"\\ud800x"', '"\\udc00"',
        '"\\ud83d\\ud83d\\ude00"', '"\\u0000"', '{"a":1,"a":2}', "[1,]", '{"a":1,}', "{,}", "[,]", '{"a" 1}',
        "{1:2}", "[1 2]", '"a\tb"', "[" * 100_000, '{"a":' * 100_000, "[" * 200 + "]" * 200,
        '"' + "\\n" * 3000 + '"', "9" * 400 + "e-400",
    ],
)  # fmt: skip
def test_corners_are_read_alike(ours, text):
    assert verdict(ours, text) == verdict(_json, text)


@pytest.mark.parametrize("at", [1, 4, 99])
def test_it_begins_where_it_is_told(ours, at):
    scan, theirs = (module.make_scanner(jsonio._Context) for module in (ours, _json))
    text = '  [1] "x" '
    try:
        expected = theirs(text, at)
    except StopIteration:
        with pytest.raises(ValueError):
            scan(text, at)
    else:
        assert scan(text, at) == expected


def encoder(module: types.ModuleType) -> object:
    return module.make_encoder(
        None, jsonio._default, module.encode_basestring, None, ":", ",", False, False, False
    )


@given(VALUES)
def test_every_value_is_written_alike(ours, value):
    assert "".join(encoder(ours)(value, 0)) == "".join(encoder(_json)(value, 0))


@given(st.text(st.characters()))
def test_every_string_is_quoted_alike(ours, text):
    assert ours.encode_basestring(text) == _json.encode_basestring(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), object(), {"a": {1}}])
def test_what_has_no_json_is_refused_alike(ours, value):
    for module in (ours, _json):
        with pytest.raises((ValueError, TypeError)):
            encoder(module)(value, 0)


def test_a_tuple_is_a_list(ours):
    assert encoder(ours)(((), (1, [2])), 0) == ("[[],[1,[2]]]",)


def test_what_contains_itself_is_refused(ours):
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(RecursionError):
        encoder(ours)(endless, 0)


def test_nothing_is_lost_or_kept_too_long(ours):
    """References: the same call thousands of times leaves as many objects as once."""
    import gc
    import sys

    scan, write = ours.make_scanner(jsonio._Context), encoder(ours)
    text = '{"a": [1, 2.5, "x\\n", null, true, {"b": {}}], "c": ""}'
    counts = []
    for _ in range(3):
        for _ in range(100):
            value, _ = scan(text, 0)
            write(value, 0)
            for broken in ('{"a": [1, {"b": }]}', '{"a": "\\x"}', '{"a"}', "[1", "NaN"):
                with pytest.raises(ValueError):
                    scan(broken, 0)
        del value
        gc.collect()
        counts.append(sys.getallocatedblocks())
    assert counts[2] - counts[1] < 100
